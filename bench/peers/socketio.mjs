// Socket.IO as its documentation sets it up for reliability: connection state recovery in memory, acknowledgements, and
// rooms. Nothing else is stored. The room comes with `auth` and is joined in the turn of the event loop that answers
// CONNECT, so no message can fall between connecting and joining.

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { Server } from "socket.io";

const host = process.env.HOST ?? "127.0.0.1";
const port = Number(process.env.PORT ?? 8787);
const version = createRequire(import.meta.url)("socket.io/package.json").version;
const versions = { peer: `socket.io ${version}`, node: process.version };

const http = createServer((request, response) => {
  const found = request.url === "/readyz";
  response.writeHead(found ? 200 : 404, { "content-type": "application/json" });
  response.end(JSON.stringify(found ? { status: "ok", ...versions } : { error: "not found" }));
});

const io = new Server(http, {
  connectionStateRecovery: { maxDisconnectionDuration: 2 * 60 * 1000, skipMiddlewares: true },
});

io.on("connection", (socket) => {
  const { roomId } = socket.handshake.auth;
  // Recovery has brought a recovered one back into its rooms.
  if (!socket.recovered && typeof roomId === "string") socket.join(roomId);

  socket.on("send-message", ({ roomId, message } = {}, done) => {
    if (typeof roomId !== "string" || typeof message !== "string") return done?.({ ok: false });
    io.to(roomId).emit("new-message", { roomId, message, timestamp: new Date().toISOString() });
    done?.({ ok: true });
  });
});

process.on("SIGTERM", () => io.close(() => process.exit(0)));
http.listen({ host, port, backlog: 1024 });
