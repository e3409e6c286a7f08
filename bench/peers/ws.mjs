// The peer a Node developer would write: `ws`, a Set of members for each room, nothing stored, no presence.
// It speaks what the load generator needs of the protocol: join-room -> joined-room, send-message -> new-message to
// every member and message-sent to the sender. A message is serialised once; every member gets the same Buffer.

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { WebSocketServer } from "ws";

const host = process.env.HOST ?? "127.0.0.1";
const port = Number(process.env.PORT ?? 8787);
const versions = { peer: `ws ${createRequire(import.meta.url)("ws/package.json").version}`, node: process.version };

/** @type {Map<string, {seq: number, members: Set<import("ws").WebSocket>}>} */
const rooms = new Map();
const asText = { binary: false };
let sockets = 0;

const http = createServer((request, response) => {
  const found = request.url === "/readyz";
  response.writeHead(found ? 200 : 404, { "content-type": "application/json" });
  response.end(JSON.stringify(found ? { status: "ok", ...versions } : { error: "not found" }));
});

const server = new WebSocketServer({ server: http, path: "/ws", maxPayload: 64 * 1024, clientTracking: false });

server.on("connection", (socket) => {
  const socketId = `s${++sockets}`;
  /** @type {Set<string>} */
  const joined = new Set();
  const fail = (code) => socket.send(JSON.stringify({ type: "error", code, message: code }));

  socket.on("message", (data, isBinary) => {
    let event;
    try {
      event = JSON.parse(data.toString());
    } catch {
      return fail("invalid_json");
    }
    if (isBinary || typeof event?.roomId !== "string") return fail("invalid_request");
    if (event.type === "join-room") return join(event);
    if (event.type === "send-message") return publish(event);
    return fail("unknown_type");
  });

  socket.on("close", () => {
    for (const name of joined) {
      const room = rooms.get(name);
      room?.members.delete(socket);
      if (room?.members.size === 0) rooms.delete(name);
    }
  });
  socket.on("error", () => socket.terminate());

  function join({ roomId }) {
    let room = rooms.get(roomId);
    if (!room) rooms.set(roomId, (room = { seq: 0, members: new Set() }));
    room.members.add(socket);
    joined.add(roomId);
    const timestamp = new Date().toISOString();
    socket.send(JSON.stringify({ type: "joined-room", roomId, success: true, seq: room.seq, timestamp }));
  }

  function publish({ roomId, message, userId, userName, role }) {
    const room = rooms.get(roomId);
    if (!room || typeof message !== "string") return fail("invalid_request");
    const seq = ++room.seq;
    const id = `${roomId}-${seq}`;
    const timestamp = new Date().toISOString();
    const event = { type: "new-message", id, roomId, seq, message, userId, userName, role, socketId, timestamp };
    const frame = Buffer.from(JSON.stringify(event));
    for (const member of room.members) member.send(frame, asText);
    socket.send(JSON.stringify({ type: "message-sent", success: true, id, roomId, seq, timestamp }));
  }
});

process.on("SIGTERM", () => process.exit(0));
http.listen({ host, port, backlog: 1024 });
