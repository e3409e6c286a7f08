// The fastest peer a JavaScript developer has: Bun's own WebSocket server and its topics, nothing stored, no presence.
// The same part of the protocol as ws.mjs; a message is serialised once and published to the room's topic.

const host = process.env.HOST ?? "127.0.0.1";
const port = Number(process.env.PORT ?? 8787);
const versions = { peer: `bun ${Bun.version}` };

/** @type {Map<string, number>} */
const seqs = new Map();
let sockets = 0;

const server = Bun.serve({
  hostname: host,
  port,
  fetch(request, server) {
    const { pathname } = new URL(request.url);
    if (pathname === "/ws") {
      const upgraded = server.upgrade(request, { data: { socketId: `s${++sockets}` } });
      return upgraded ? undefined : new Response("upgrade required", { status: 426 });
    }
    const found = pathname === "/readyz";
    return Response.json(found ? { status: "ok", ...versions } : { error: "not found" }, { status: found ? 200 : 404 });
  },
  websocket: {
    maxPayloadLength: 64 * 1024,
    perMessageDeflate: false,
    message(socket, data) {
      let event;
      try {
        event = JSON.parse(String(data));
      } catch {
        return socket.send(JSON.stringify({ type: "error", code: "invalid_json" }));
      }
      const { type, roomId, message, userId, userName, role } = event ?? {};
      const timestamp = new Date().toISOString();
      if (type === "join-room" && typeof roomId === "string") {
        socket.subscribe(roomId);
        const seq = seqs.get(roomId) ?? 0;
        seqs.set(roomId, seq);
        return socket.send(JSON.stringify({ type: "joined-room", roomId, success: true, seq, timestamp }));
      }
      if (type === "send-message" && typeof message === "string" && seqs.has(roomId)) {
        const seq = seqs.get(roomId) + 1;
        seqs.set(roomId, seq);
        const id = `${roomId}-${seq}`;
        const { socketId } = socket.data;
        const told = { type: "new-message", id, roomId, seq, message, userId, userName, role, socketId, timestamp };
        server.publish(roomId, JSON.stringify(told));
        return socket.send(JSON.stringify({ type: "message-sent", success: true, id, roomId, seq, timestamp }));
      }
      socket.send(JSON.stringify({ type: "error", code: "invalid_request" }));
    },
  },
});

process.on("SIGTERM", () => process.exit(0));
