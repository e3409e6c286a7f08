/** Servers that are down, wrong, rude or slow: each has a behaviour and a code, and nothing that was said is lost. */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { once } from "node:events";
import { connect, WeeziqError } from "@weeziq/client";
import { heard } from "./support/seen.js";
import { ANN, QUICK, refused, scenario } from "./support/play.js";

const texts = (server) => server.log.map(({ message }) => message);

scenario("a server that is down: it says so, tries on, and sends what was said once it is there", async (s) => {
  const gone = await s.serve();
  await gone.stop();
  const client = s.connect(gone.url);
  const sent = client.join("room", ANN).send("Hello");
  const [first, second] = [await client.statuses.next({ state: "waiting" }), await client.statuses.next({ state: "waiting" })];
  assert.deepEqual([first.error.code, first.attempt, second.error.code, second.attempt], ["unreachable", 1, "unreachable", 2]);
  const server = await s.serve({}, gone.port);
  assert.equal((await sent).seq, 1);
  assert.deepEqual(texts(server), ["Hello"]);
});

scenario("waits grow up to the most, and each has jitter", async (s) => {
  const gone = await s.serve();
  await gone.stop();
  const client = s.connect(gone.url, { backoff: { minMs: 2, maxMs: 16 } });
  const statuses = [];
  while (statuses.length < 8) statuses.push(await client.statuses.next({ state: "waiting" }));
  statuses.forEach(({ attempt, retryInMs }) => {
    const ceiling = Math.min(16, 2 * 2 ** attempt);
    assert.ok(ceiling / 2 <= retryInMs && retryInMs <= ceiling, `attempt ${attempt} waits ${retryInMs} ms of ${ceiling}`);
  });
  assert.ok(new Set(statuses.map(({ retryInMs }) => retryInMs)).size > 4);
});

scenario("a server that refuses the origin is told apart from one that is not there", async (s) => {
  const server = await s.serve();
  server.admits = () => 403;
  const client = s.connect(server.url);
  const { error } = await client.statuses.next({ state: "waiting" });
  assert.ok(error instanceof WeeziqError);
  assert.deepEqual([error.code, server.probes], ["refused", 1]);
  const sent = client.join("room", ANN).send("kept");
  server.admits = () => 101;
  assert.equal((await sent).seq, 1);
});

scenario("a handshake that hangs is given up", async (s) => {
  const server = await s.serve();
  server.admits = () => 0;
  const client = s.connect(server.url, { deadlineMs: 50 });
  assert.equal((await client.statuses.next({ state: "waiting" })).error.code, "unreachable");
});

scenario("something else that listens there, and speaks no HTTP", async (s) => {
  const other = createServer((socket) => socket.on("error", () => {}).end("SSH-2.0-OpenSSH_9.9\r\n"));
  other.listen(0, "127.0.0.1");
  await once(other, "listening");
  s.after(() => other.close());
  const client = s.connect(`ws://127.0.0.1:${other.address().port}/ws`);
  assert.equal((await client.statuses.next({ state: "waiting" })).error.code, "unreachable");
});

scenario("garbage is reported and passed over; what is sound around it is heard", async (s) => {
  const server = await s.serve();
  const client = s.connect(server.url);
  const room = client.join("room", ANN);
  const messages = heard(room, "message");
  await room.ready;
  const garbage = ["", "{", "null", "17", '"text"', "[]", "{}", '{"type":17}', '{"type":"new-message"}', '{"type":"new-message","roomId":"room"}', "\u0000", '{"type":"joined-room","roomId":"room"}'];
  for (const text of garbage) server.tell(text);
  server.sockets.all[0].send(Buffer.from([1, 2, 3]));
  server.say("sound");
  assert.equal((await messages.next()).message, "sound");
  assert.equal(messages.all.length, 1);
  assert.ok(client.errors.all.length >= 5);
  for (const error of client.errors.all) assert.equal(error.code, "bad_frame");
});

scenario("events that are not known yet are heard as frames, and do no harm", async (s) => {
  const server = await s.serve();
  const client = s.connect(server.url);
  const frames = heard(client, "frame");
  await client.join("room", ANN).ready;
  for (const type of ["tea-time", "status", "frame", "constructor", "__proto__", "toString"]) server.tell({ type, roomId: "room", state: "closed" });
  server.tell({ type: "last-of-all" });
  await frames.next({ type: "last-of-all" });
  assert.ok(frames.all.some(({ type }) => type === "tea-time"));
  assert.equal(client.state, "open");
  assert.deepEqual(client.errors.all, []);
});

scenario("the server closes mid-send: the message goes again under the same id, and is stored once", async (s) => {
  const ids = [];
  const server = await s.serve({
    "send-message"({ message, clientMessageId }, _reply, socket) {
      ids.push(clientMessageId);
      // Kept, yet the acknowledgement is lost; and then not even heard.
      if (ids.length === 1) this.log.push({ type: "new-message", roomId: "room", id: "x", seq: 1, message, clientMessageId });
      else delete this.answers["send-message"];
      socket.terminate();
    },
  });
  const client = s.connect(server.url);
  const ack = await client.join("room", ANN).send("once");
  assert.deepEqual([ack.seq, ack.duplicate, ack.clientMessageId], [1, true, ids[0]]);
  assert.equal(ids[0], ids[1]);
  assert.deepEqual(texts(server), ["once"]);
});

scenario("a stop with a hint: it comes back no sooner, with jitter over it, and is not woken before", async (s) => {
  const server = await s.serve();
  const client = s.connect(server.url);
  await client.statuses.next({ state: "open" });
  server.sockets.all[0].close(1001, "restarting; retryAfterMs=60000");
  const { error, retryInMs } = await client.statuses.next({ state: "waiting" });
  assert.deepEqual([error.code, error.closeCode], ["lost", 1001]);
  assert.ok(60_000 <= retryInMs && retryInMs <= 90_000, `${retryInMs} ms`);
  client.wake();
  assert.equal(client.state, "waiting");
});

scenario("closed for abuse: it waits long", async (s) => {
  const server = await s.serve();
  const client = s.connect(server.url, { backoff: {} });
  await client.statuses.next({ state: "open" });
  server.sockets.all[0].close(1008, "too many events");
  const { error, retryInMs } = await client.statuses.next({ state: "waiting" });
  assert.equal(error.closeCode, 1008);
  assert.ok(retryInMs >= 60_000, `${retryInMs} ms`);
});

for (const code of [4008, 1012, 1001, 1011]) {
  scenario(`closed with ${code}: it comes back and goes on where it was`, async (s) => {
    const server = await s.serve();
    const client = s.connect(server.url);
    const room = client.join("room", ANN);
    const messages = heard(room, "message");
    await room.ready;
    server.say("one");
    await messages.next();
    server.sockets.all[0].close(code);
    server.say("two");
    assert.equal((await messages.next()).message, "two");
    const join = await server.frames.next(({ type, epoch }) => type === "join-room" && epoch);
    assert.deepEqual([join.epoch, join.lastSeq], ["epoch-1", 1]);
  });
}

scenario("a connection that falls silent is left, also one that still looks open", async (s) => {
  const server = await s.serve();
  const client = s.connect(server.url, { heartbeatMs: 50, deadlineMs: 2_000 });
  await client.statuses.next({ state: "open" });
  await server.frames.next({ type: "ping" });
  await server.frames.next({ type: "ping" });
  assert.deepEqual(client.statuses.all.filter(({ state }) => state === "waiting"), [], "answered pings keep it");
  // Another that waits less: on a busy machine even what is answered may come too late for it.
  const hasty = s.connect(server.url, { heartbeatMs: 50, deadlineMs: 100 });
  await hasty.statuses.next({ state: "open" });
  server.answers.ping = () => {};
  await hasty.statuses.next(({ error }) => error?.code === "silent");
  await hasty.statuses.next({ state: "open" });
  assert.equal((await client.statuses.next({ state: "waiting" })).error.code, "silent");
});

scenario("a token that expires while connected: the next connection brings the one that it is then given", async (s) => {
  let tokens = 0;
  const server = await s.serve({
    "send-message"(_frame, reply) {
      delete this.answers["send-message"];
      reply({ type: "error", code: "unauthorized", message: "the token has expired" });
    },
  });
  const client = s.connect(server.url, { token: async () => `token-${(tokens += 1)}` });
  const room = client.join("room", ANN);
  assert.equal((await room.send("survives it")).seq, 1);
  assert.deepEqual(server.paths, ["/ws?token=token-1", "/ws?token=token-2"]);
  assert.deepEqual(server.frames.all.filter(({ type }) => type === "join-room").map(({ token }) => token), ["token-1", "token-2"]);
  assert.equal((await client.statuses.next({ state: "waiting" })).error.code, "unauthorized");
});

scenario("a fixed token that is refused is not tried again: the connection is closed for that, and what was said is refused", async (s) => {
  const server = await s.serve({ "join-room": (_frame, reply) => reply({ type: "error", code: "unauthorized", message: "bad token" }) });
  const client = s.connect(server.url, { token: "bad" });
  const sent = client.join("room", ANN).send("not heard");
  assert.equal((await client.statuses.next({ state: "closed" })).error.code, "unauthorized");
  await assert.rejects(sent, { code: "unauthorized" });
  assert.equal(server.paths.length, 1);
});

scenario("tokens of a function that are all refused: ever longer waits, and what was said stays", async (s) => {
  const server = await s.serve({ "join-room": (_frame, reply) => reply({ type: "error", code: "unauthorized", message: "bad token" }) });
  const client = s.connect(server.url, { token: () => "bad" });
  const room = client.join("room", ANN);
  const sent = room.send("kept");
  const attempts = [];
  while (attempts.length < 4) attempts.push((await client.statuses.next(({ error }) => error?.code === "unauthorized")).attempt);
  assert.deepEqual(attempts, [1, 2, 3, 4]);
  assert.deepEqual(room.pending.map(({ message }) => message), ["kept"]);
  delete server.answers["join-room"];
  assert.equal((await sent).seq, 1);
});

scenario("a token that cannot be had is a failed attempt like any other", async (s) => {
  const server = await s.serve();
  let asked = 0;
  const token = () => {
    asked += 1;
    if (asked === 1) throw new Error("no session");
    return asked === 2 ? Promise.reject(new Error("still none")) : "good";
  };
  const client = s.connect(server.url, { token });
  for (const why of [/no session/, /still none/]) {
    const { error } = await client.statuses.next({ state: "waiting" });
    assert.equal(error.code, "unauthorized");
    assert.match(String(error.cause), why);
  }
  await client.statuses.next({ state: "open" });
  assert.deepEqual(server.paths, ["/ws?token=good"]);
});

scenario("what is asked and never answered ends with timeout", async (s) => {
  const server = await s.serve({ "get-domain-stats": () => {} });
  const client = s.connect(server.url, { deadlineMs: 50 });
  await refused(client.visitors.stats("shop.example"), "timeout");
});

scenario("what is asked and cut off ends with interrupted", async (s) => {
  const server = await s.serve({ "get-domain-stats": (_frame, _reply, socket) => socket.terminate() });
  const client = s.connect(server.url);
  await refused(client.visitors.stats("shop.example"), "interrupted");
});

scenario("what no server could take is refused before it costs the connection", async (s) => {
  const server = await s.serve();
  const client = s.connect(server.url);
  const room = client.join("room", ANN);
  const [large, small] = [room.send("x".repeat(70_000)), room.send("x")];
  await refused(large, "too_large");
  assert.equal((await small).seq, 1);
  assert.equal(server.sockets.all.length, 1);
});

scenario("close ends everything that waits, at once and twice, and nothing comes after it", async (s) => {
  const server = await s.serve({ "send-message": () => {}, "get-domain-stats": () => {}, "ai-stream": () => {} });
  const client = s.connect(server.url);
  const room = client.join("room", ANN);
  const [sent, stats, stream] = [room.send("x"), client.visitors.stats("shop.example"), client.ai.stream("?")];
  await server.frames.next({ type: "send-message" });
  client.close();
  client.close();
  for (const promise of [sent, stats, stream.answer, room.send("later"), client.visitors.stats("later")]) await refused(promise, "closed");
  await assert.rejects(async () => {
    for await (const _ of stream);
  }, { code: "closed" });
  assert.equal(client.state, "closed");
  const neverReady = s.connect(server.url);
  const other = neverReady.join("room", ANN);
  neverReady.close();
  await refused(other.ready, "closed");
});

scenario("nothing that nobody waits for is an unhandled rejection", async (s) => {
  const server = await s.serve({ "send-message": () => {}, "fetch-history": (_frame, reply) => reply({ type: "error", code: "forbidden", message: "no" }), "join-room": (_frame, reply) => reply({ type: "error", code: "forbidden", message: "no" }) });
  const client = s.connect(server.url);
  const room = client.join("room", ANN);
  room.send("x");
  room.history();
  client.ai.chat("?");
  client.ai.stream("?");
  client.files.upload(new Blob(["x"]));
  await refused(room.ready, "forbidden");
  client.close();
  await new Promise((resolve) => setImmediate(resolve));
});

scenario("a listener that throws is reported, and the others and the order are not harmed", async (s) => {
  const server = await s.serve();
  const client = s.connect(server.url);
  const room = client.join("room", ANN);
  const thrown = new Error("mine");
  room.on("message", () => {
    throw thrown;
  });
  const messages = heard(room, "message");
  await room.ready;
  server.say("one");
  server.say("two");
  assert.equal((await messages.next()).message, "one");
  assert.equal((await messages.next()).message, "two");
  assert.deepEqual(client.errors.all.map(({ code, cause }) => [code, cause]), [["callback", thrown], ["callback", thrown]]);
});

scenario("addresses that are none are refused at once, and web addresses are taken", async (s) => {
  for (const address of ["", "nonsense", "ftp://example.com", "javascript:alert(1)"]) assert.throws(() => connect(address, QUICK), { name: "WeeziqError", code: "invalid_url" });
  const server = await s.serve();
  const client = s.connect(`http://127.0.0.1:${server.port}`);
  await client.statuses.next({ state: "open" });
  assert.deepEqual(server.paths, ["/ws"]);
});
