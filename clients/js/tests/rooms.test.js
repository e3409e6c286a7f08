/** A room's log is heard in order and exactly once, whatever is cut, left out or repeated; and what a member does is told. */
import assert from "node:assert/strict";
import { heard } from "./support/seen.js";
import { ANN, refused, scenario } from "./support/play.js";

/** A room with all that it hears in one list, in order. */
function follow(client, who = ANN) {
  const room = client.join("room", who);
  const all = heard(room, "message");
  for (const name of ["updated", "deleted", "agent", "history", "reset", "joined"]) room.on(name, (value) => all.add({ event: name, ...value }));
  return Object.assign(room, { all, seqs: () => all.all.filter(({ event }) => !event || event === "updated").map(({ seq }) => seq) });
}

scenario("an empty room begins with an empty history, one with a past with its last fifty", async (s) => {
  const server = await s.serve();
  const first = follow(s.connect(server.url));
  assert.deepEqual((await first.all.next({ event: "history" })).messages, []);
  for (let n = 1; n <= 60; n += 1) server.say(`message ${n}`);
  const second = follow(s.connect(server.url), { userId: "cid", userName: "Cid" });
  const { messages, hasMore, epoch, seq } = await second.all.next({ event: "history" });
  assert.deepEqual([messages.length, messages[0].seq, hasMore, epoch, seq], [50, 11, true, "epoch-1", 60]);
  server.say("live");
  assert.equal((await second.all.next({ message: "live" })).seq, 61);
});

scenario("what comes twice is heard once, and what is left out is asked for", async (s) => {
  const server = await s.serve();
  const client = s.connect(server.url);
  const room = follow(client);
  await room.ready;
  server.say("one");
  server.tell(server.log[0]);
  server.log.push({ ...server.log[0], id: "x-2", seq: 2, message: "two" });
  server.say("three");
  await room.all.next({ message: "three" });
  assert.deepEqual(room.seqs(), [1, 2, 3]);
  assert.equal((await client.statuses.next({ state: "waiting" })).error.code, "bad_frame");
});

scenario("edits, deletions and takeovers have their places in the same order", async (s) => {
  const server = await s.serve();
  const client = s.connect(server.url);
  const room = follow(client);
  await room.ready;
  server.say("one");
  const changes = [
    { type: "message-updated", seq: 2, id: "epoch-1-1", message: "uno" },
    { type: "message-deleted", seq: 3, id: "epoch-1-1" },
    { type: "live-agent-toggled", seq: 4, enabled: true, userId: "eve" },
  ];
  for (const change of changes) server.log.push({ roomId: "room", ...change });
  server.cut();
  await room.all.next({ event: "agent" });
  // As the one who asked for what is so already is told.
  server.tell({ roomId: "room", ...changes[2] });
  server.say("five");
  await room.all.next({ message: "five" });
  assert.deepEqual(room.all.all.map(({ event, seq }) => [event ?? "message", seq]).slice(2), [["message", 1], ["joined", 4], ["updated", 2], ["deleted", 3], ["agent", 4], ["message", 5]]);
});

scenario("more is missing than the server replays: it says so, and every message comes, once and in order", async (s) => {
  const server = await s.serve();
  const client = s.connect(server.url);
  const room = follow(client);
  await room.ready;
  server.say("message 1");
  await room.all.next({ seq: 1 });
  server.admits = () => 503;
  server.cut();
  await client.statuses.next({ state: "waiting" });
  for (let n = 2; n <= 3_500; n += 1) server.log.push({ ...server.log[0], id: `x-${n}`, seq: n, message: `message ${n}` });
  let pages = 0;
  server.answers["fetch-history"] = (_frame, _reply, socket) => {
    // Once in the middle of it the connection is lost again.
    if ((pages += 1) === 5) delete server.answers["fetch-history"];
    socket.terminate();
  };
  server.answers["fetch-history"] = function ({ afterSeq, limit }, reply, socket) {
    if ((pages += 1) === 5) return socket.terminate();
    reply({ type: "message-history", roomId: "room", messages: server.log.slice(afterSeq, afterSeq + limit), hasMore: afterSeq + limit < server.log.length });
    server.say(`while it fetches ${pages}`);
  };
  server.admits = () => 101;
  const reset = await room.all.next({ event: "reset" });
  assert.deepEqual([reset.reason, reset.after, reset.seq], ["missed", 1, 3_500]);
  await room.all.next(({ message }) => message === server.log.at(-1).message);
  server.say("last");
  await room.all.next({ message: "last" });
  assert.deepEqual(room.seqs(), server.log.map(({ seq }) => seq));
  assert.ok(pages > 10);
});

scenario("a room that was erased is another log: it says so and begins anew", async (s) => {
  const server = await s.serve();
  const room = follow(s.connect(server.url));
  await room.ready;
  for (const text of ["one", "two", "three"]) server.say(text);
  await room.all.next({ seq: 3 });
  [server.epoch, server.log] = ["epoch-2", []];
  server.cut();
  const reset = await room.all.next({ event: "reset" });
  assert.deepEqual([reset.reason, reset.after, reset.seq], ["replaced", 3, 0]);
  const history = await room.all.next({ event: "history" });
  assert.deepEqual([history.messages, history.epoch, history.seq], [[], "epoch-2", 0]);
  server.say("new one");
  assert.equal((await room.all.next({ message: "new one" })).seq, 1);
});

scenario("whoever has kept what it heard goes on from there after a reload", async (s) => {
  const server = await s.serve();
  for (const text of ["one", "two", "three"]) server.say(text);
  const position = { epoch: "epoch-1", seq: 1 };
  const room = follow(s.connect(server.url), { ...ANN, position });
  await room.all.next({ seq: 3, message: "three" });
  assert.deepEqual(room.seqs(), [2, 3]);
  assert.deepEqual([position.seq, room.position], [1, { epoch: "epoch-1", seq: 3 }]);
});

scenario("a join that is refused for good is told to everybody who waits for it", async (s) => {
  const server = await s.serve({ "join-room": (_frame, reply) => reply({ type: "error", code: "forbidden", message: "not yours" }) });
  const client = s.connect(server.url);
  const room = client.join("room", ANN);
  const sent = room.send("x");
  await refused(room.ready, "forbidden");
  await refused(sent, "forbidden");
  await refused(room.send("y"), "forbidden");
  assert.equal(room.error.code, "forbidden");
  assert.equal((await client.errors.next()).code, "forbidden");
  delete server.answers["join-room"];
  assert.equal((await client.join("room", ANN).send("another try")).seq, 1);
});

scenario("a join that is refused for a while is tried again", async (s) => {
  let refusals = 0;
  const server = await s.serve({
    "join-room"(_frame, reply) {
      if ((refusals += 1) === 2) delete this.answers["join-room"];
      reply({ type: "error", code: refusals === 1 ? "rate_limited" : "unavailable", message: "later", retryAfterMs: 10 });
    },
  });
  await s.connect(server.url).join("room", ANN).ready;
  assert.equal(refusals, 2);
});

scenario("one connection is one person in a room", async (s) => {
  const server = await s.serve();
  const client = s.connect(server.url);
  const room = client.join("room", ANN);
  assert.equal(client.join("room", ANN), room);
  assert.throws(() => client.join("room", { userId: "bob", userName: "Bob" }), { code: "invalid_request" });
  room.leave();
  await refused(room.ready, "closed");
  const bob = client.join("room", { userId: "bob", userName: "Bob" });
  await bob.ready;
  assert.equal(bob.userId, "bob");
});

scenario("leaving is told, and nothing is heard any more", async (s) => {
  const server = await s.serve();
  const room = follow(s.connect(server.url));
  await room.ready;
  room.on("message", () => room.leave());
  server.say("one");
  server.say("two");
  await server.frames.next({ type: "leave-room", roomId: "room" });
  server.cut();
  assert.deepEqual(room.seqs(), [1]);
  await refused(room.send("x"), "closed");
});

scenario("typing is told once for many keystrokes, and its end with the message", async (s) => {
  const server = await s.serve();
  const client = s.connect(server.url);
  const room = client.join("room", ANN);
  room.typing();
  await room.ready;
  for (let n = 0; n < 50; n += 1) room.typing();
  await room.send("done");
  room.typing(false);
  room.typing();
  await client.request({ type: "fetch-history", roomId: "room" });
  const told = server.frames.all.map(({ type }) => type).filter((type) => /typing|send/.test(type));
  assert.deepEqual(told, ["typing-start", "typing-stop", "send-message", "typing-start"]);
  assert.equal(server.frames.all.find(({ type }) => type === "typing-start").userName, "Ann");
});

scenario("status and read marks are told again after a return", async (s) => {
  const server = await s.serve();
  const client = s.connect(server.url);
  const room = follow(client);
  await room.ready;
  for (const text of ["one", "two"]) server.say(text);
  await room.all.next({ seq: 2 });
  room.setStatus("away");
  room.markRead();
  room.markRead(1);
  await server.frames.next({ type: "mark-read", seq: 2 });
  server.cut();
  await server.frames.next({ type: "user-online", status: "away", userName: "Ann" });
  await server.frames.next({ type: "mark-read", seq: 2 });
  assert.equal(server.frames.all.filter(({ type }) => type === "mark-read").length, 2);
});

scenario("who is there, who types, who has read: heard under the names of the wire", async (s) => {
  const server = await s.serve();
  const room = s.connect(server.url).join("room", ANN);
  const names = ["room-users", "user-joined", "user-left", "user-typing", "user-presence", "message-read", "ai-stream-chunk", "ai-stream-complete"];
  const lists = names.map((name) => heard(room, name));
  await room.ready;
  for (const type of names) {
    server.tell({ type, roomId: "another room", users: [] });
    server.tell({ type, roomId: "room", users: [{ userId: "bob" }], seq: 99, fullResponse: "" });
  }
  for (const [n, list] of lists.entries()) assert.equal((await list.next()).type, names[n]);
  assert.deepEqual(lists.map(({ all }) => all.length), names.map(() => 1));
  assert.deepEqual(room.users, [{ userId: "bob" }]);
});

scenario("what is asked of a room while there is no connection is asked once the room is entered again", async (s) => {
  const server = await s.serve();
  const client = s.connect(server.url);
  const room = client.join("room", ANN);
  await room.ready;
  server.answers = { "edit-message": ({ messageId, message }, reply) => reply({ type: "message-sent", id: messageId, seq: 2, message }) };
  server.cut();
  await client.statuses.next({ state: "waiting" });
  const edited = room.edit("epoch-1-1", "uno");
  assert.equal((await edited).seq, 2);
  const types = server.frames.all.map(({ type }) => type).filter((type) => type !== "ping");
  assert.deepEqual(types, ["join-room", "join-room", "edit-message"]);
});

scenario("edits, deletions and the past are asked for, and refusals have their code", async (s) => {
  const server = await s.serve({
    "edit-message": ({ messageId, message }, reply) => reply({ type: "message-sent", id: messageId, seq: 2, message }),
    "delete-message": (_frame, reply) => reply({ type: "error", code: "not_found", message: "no such message" }),
  });
  const client = s.connect(server.url);
  const room = client.join("room", { ...ANN, role: "agent" });
  await room.send("one");
  assert.equal((await room.edit("epoch-1-1", "uno")).seq, 2);
  assert.match((await refused(room.delete("none"), "not_found")).message, /no such message/);
  assert.deepEqual((await room.history({ limit: 10 })).messages.map(({ message }) => message), ["one"]);
  room.liveAgent(true);
  await server.frames.next({ type: "toggle-live-agent", enabled: true });
});

scenario("whoever leaves while the join is under way is not left behind as a member", async (s) => {
  const server = await s.serve({ "join-room": () => {} });
  const room = s.connect(server.url).join("room", ANN);
  await server.frames.next({ type: "join-room" });
  room.leave();
  await server.frames.next({ type: "leave-room" });
});
