/** What is said is kept until the server has it, in order and once, over refusals, cuts and reloads. */
import assert from "node:assert/strict";
import { heard } from "./support/seen.js";
import { ANN, refused, scenario } from "./support/play.js";

const texts = (server) => server.log.map(({ message }) => message);

/** Keeps for as long as the test lasts, as a browser's database outlives a page. */
function memory() {
  let keys = 0;
  const kept = new Map();
  return {
    kept,
    add: async (one) => (kept.set((keys += 1), structuredClone(one)), keys),
    remove: async (key) => void kept.delete(key),
    all: async () => [...kept].map(([key, one]) => ({ ...one, key })),
  };
}

scenario("what is said before there is a connection goes out in order", async (s) => {
  const server = await s.serve();
  const room = s.connect(server.url).join("room", ANN);
  const acks = await Promise.all(["one", "two", "three"].map((text) => room.send(text)));
  assert.deepEqual(acks.map(({ seq }) => seq), [1, 2, 3]);
  assert.deepEqual(texts(server), ["one", "two", "three"]);
  assert.deepEqual(room.pending, []);
});

scenario("a refusal for its rate holds back those behind it", async (s) => {
  const server = await s.serve();
  const refusals = [];
  server.answers["send-message"] = (frame, reply) => {
    refusals.push(frame.message);
    if (refusals.length === 3) delete server.answers["send-message"];
    reply({ type: "error", code: ["rate_limited", "unavailable", "rate_limited"][refusals.length - 1], message: "later", retryAfterMs: 5 });
  };
  const room = s.connect(server.url).join("room", ANN);
  await Promise.all(["one", "two", "three"].map((text) => room.send(text)));
  assert.deepEqual(refusals, ["one", "one", "one"]);
  assert.deepEqual(texts(server), ["one", "two", "three"]);
});

scenario("what the server will never take is given back, and those behind it go on", async (s) => {
  const server = await s.serve();
  const codes = ["invalid_request", "too_large", "forbidden", "internal"];
  server.answers["send-message"] = (frame, reply) => {
    if (frame.message === "sound") return server.say("sound", frame), reply({ type: "message-sent", seq: 1 });
    reply({ type: "error", code: frame.message, message: "no" });
  };
  const room = s.connect(server.url).join("room", ANN);
  const failed = heard(room, "failed");
  const [sound, ...bad] = ["sound", ...codes].map((text) => room.send(text));
  for (const [n, code] of codes.entries()) await refused(bad[n], code);
  await sound;
  assert.deepEqual(failed.all.map(({ message, error }) => [message, error.code]), codes.map((code) => [code, code]));
  assert.deepEqual(room.pending, []);
});

scenario("an acknowledgement that never comes is asked for again, and so is one that is none", async (s) => {
  const answers = [() => {}, (_frame, reply) => reply({ type: "pong" })];
  const ids = new Set();
  const server = await s.serve();
  server.answers["send-message"] = (frame, reply) => {
    ids.add(frame.clientMessageId);
    if (answers.length === 1) delete server.answers["send-message"];
    answers.shift()(frame, reply);
  };
  const ack = await s.connect(server.url, { deadlineMs: 100 }).join("room", ANN).send("x");
  assert.deepEqual([ack.seq, ids.size], [1, 1]);
});

scenario("the queue has an end, and whoever reaches it is told", async (s) => {
  const server = await s.serve();
  server.admits = () => 503;
  const room = s.connect(server.url, { queueMax: 3 }).join("room", ANN);
  const sent = ["one", "two", "three"].map((text) => room.send(text));
  await refused(room.send("four"), "queue_full");
  server.admits = () => 101;
  await Promise.all(sent);
  await room.send("five");
  assert.deepEqual(texts(server), ["one", "two", "three", "five"]);
});

scenario("attachments and an id of one's own travel with the message", async (s) => {
  const server = await s.serve();
  const room = s.connect(server.url).join("room", { ...ANN, domainId: "shop.example" });
  const attachments = [{ url: "https://shop.example/files/1", name: "a.png" }];
  const ack = await room.send({ attachments, clientMessageId: "mine" });
  assert.equal(ack.clientMessageId, "mine");
  const { type, roomId, userId, userName, role, message, domainId, attachments: told } = server.frames.all.find((frame) => frame.type === "send-message");
  assert.deepEqual([type, roomId, userId, userName, role, message, domainId, told], ["send-message", "room", "ann", "Ann", "user", "", "shop.example", attachments]);
});

scenario("a reload while offline loses nothing: what was left goes first, and once", async (s) => {
  const server = await s.serve();
  server.admits = () => 503;
  const storage = memory();
  const before = s.connect(server.url, { storage });
  const room = before.join("room", ANN);
  const queued = heard(room, "queued");
  for (const text of ["one", "two"]) room.send(text);
  await queued.next({ message: "two" });
  before.join("another", ANN).send("elsewhere");
  before.join("third", { userId: "bob", userName: "Bob" });
  before.close();

  server.admits = () => 101;
  const after = s.connect(server.url, { storage });
  const again = after.join("room", ANN);
  const [left, sent] = [heard(again, "queued"), heard(again, "sent")];
  await again.send("three");
  assert.deepEqual(left.all.map(({ message }) => message), ["one", "two", "three"]);
  assert.deepEqual(sent.all.map(({ message, ack }) => [message, ack.seq]), [["one", 1], ["two", 2], ["three", 3]]);
  assert.deepEqual(texts(server), ["one", "two", "three"]);
  await after.join("another", ANN).ready;
  await server.frames.next({ type: "send-message", message: "elsewhere" });
});

scenario("stored messages of another user, room or server stay where they are", async (s) => {
  const [server, other] = [await s.serve(), await s.serve()];
  const storage = memory();
  const cut = s.connect(other.url, { storage, WebSocket: NoWebSocket });
  const queued = heard(cut.join("room", ANN), "queued");
  cut.join("room", ANN).send("for the other server");
  await queued.next();
  cut.close();
  const client = s.connect(server.url, { storage });
  await client.join("room", ANN).send("here");
  await client.join("lobby", { userId: "bob", userName: "Bob" }).send("here too");
  assert.deepEqual(texts(server), ["here", "here too"]);
  assert.deepEqual([...storage.kept.values()].map(({ message }) => message.message), ["for the other server"]);
});

scenario("two tabs of one user find the same message left over: both send it, one is stored", async (s) => {
  const server = await s.serve();
  const storage = memory();
  const cut = s.connect(server.url, { storage, WebSocket: NoWebSocket });
  const queued = heard(cut.join("room", ANN), "queued");
  for (const text of ["one", "two"]) cut.join("room", ANN).send(text);
  await queued.next({ message: "two" });
  cut.close();
  const tabs = [1, 2].map(() => s.connect(server.url, { storage }).join("room", ANN));
  const sent = tabs.map((tab) => heard(tab, "sent"));
  for (const list of sent) await list.next({ message: "two" });
  assert.deepEqual(texts(server), ["one", "two"]);
  await Promise.all(tabs.map((tab) => tab.send("three")));
  assert.deepEqual(texts(server), ["one", "two", "three", "three"]);
  assert.equal(storage.kept.size, 0);
});

for (const [kind, storage] of Object.entries({
  "is full": { ...memory(), add: () => Promise.reject(new DOMException("full", "QuotaExceededError")) },
  "cannot be opened": { add: () => Promise.reject(new Error("no")), remove: () => Promise.reject(new Error("no")), all: () => Promise.reject(new Error("no")) },
  throws: { add: thrower, remove: thrower, all: thrower },
  "cannot delete": { ...memory(), remove: () => Promise.reject(new Error("no")) },
})) {
  scenario(`a storage that ${kind}: it is reported, and messages go out all the same`, async (s) => {
    const server = await s.serve();
    const client = s.connect(server.url, { storage });
    const room = client.join("room", ANN);
    await room.send("one");
    await room.send("two");
    assert.equal((await client.errors.next()).code, "storage");
    assert.deepEqual(texts(server), ["one", "two"]);
  });
}

function thrower() {
  throw new Error("no");
}

/** A network that is never there. */
class NoWebSocket {
  close() {}
}

scenario("a storage that is slower than the server: what is stored there already is not said to be on its way", async (s) => {
  const server = await s.serve();
  const storage = memory();
  const { promise: gate, resolve: open } = withResolvers();
  const room = s.connect(server.url, { storage: { ...storage, add: (one) => gate.then(() => storage.add(one)) } }).join("room", ANN);
  const all = heard(room, "queued");
  await room.send("quick");
  room.on("queued", (message) => all.add(message));
  open();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(all.all, []);
  assert.deepEqual([...storage.kept], [], "and it is taken out again");
});

function withResolvers() {
  let resolve;
  return { promise: new Promise((done) => (resolve = done)), resolve };
}

scenario("one message of a room is under way at a time, and rooms do not wait for each other", async (s) => {
  const server = await s.serve();
  const acks = [];
  server.answers["send-message"] = (frame, reply) => acks.push(() => reply({ type: "message-sent", roomId: frame.roomId, seq: acks.length }));
  const client = s.connect(server.url);
  const [room, lobby] = ["room", "lobby"].map((name) => client.join(name, ANN));
  await Promise.all([room.ready, lobby.ready]);
  const sent = [room.send("one"), room.send("two"), lobby.send("three")];
  for (const text of ["one", "two"]) {
    await server.frames.next({ type: "send-message", message: text });
    await client.request({ type: "fetch-history", roomId: "room" });
    const told = server.frames.all.filter(({ type }) => type === "send-message").map(({ message }) => message);
    assert.deepEqual(told.sort(), text === "one" ? ["one", "three"] : ["one", "three", "two"]);
    for (const acknowledge of acks.splice(0)) acknowledge();
  }
  await Promise.all(sent);
});
