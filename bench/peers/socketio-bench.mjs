// Socket.IO 4 as its documentation begins: default options, rooms, acknowledgements; nothing stored, no presence. Its
// adapter encodes a broadcast once for all members. (socketio.mjs beside it has connection state recovery, for the
// reliability rigs; here that would only cost.)

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { Server } from "socket.io";

const host = process.env.HOST ?? "127.0.0.1";
const port = Number(process.env.PORT ?? 8787);
const version = createRequire(import.meta.url)("socket.io/package.json").version;
const versions = { peer: `socket.io ${version}`, node: process.version };

/** @type {Map<string, number>} */
const seqs = new Map();

const http = createServer((request, response) => {
  const found = request.url === "/readyz";
  response.writeHead(found ? 200 : 404, { "content-type": "application/json" });
  response.end(JSON.stringify(found ? { status: "ok", ...versions } : { error: "not found" }));
});

const io = new Server(http);

// `success` comes first in each acknowledgement: the load generator looks there.
io.on("connection", (socket) => {
  socket.on("join-room", ({ roomId } = {}, done) => {
    if (typeof roomId !== "string") return done?.({ success: false });
    socket.join(roomId);
    const seq = seqs.get(roomId) ?? 0;
    seqs.set(roomId, seq);
    done?.({ success: true, roomId, seq, timestamp: new Date().toISOString() });
  });

  socket.on("send-message", ({ roomId, message, userId, userName, role } = {}, done) => {
    if (typeof message !== "string" || !seqs.has(roomId)) return done?.({ success: false });
    const seq = seqs.get(roomId) + 1;
    seqs.set(roomId, seq);
    const id = `${roomId}-${seq}`;
    const timestamp = new Date().toISOString();
    const event = { id, roomId, seq, message, userId, userName, role, socketId: socket.id, timestamp };
    io.to(roomId).emit("new-message", event);
    done?.({ success: true, id, roomId, seq, timestamp });
  });
});

process.on("SIGTERM", () => process.exit(0));
http.listen({ host, port, backlog: 1024 });
