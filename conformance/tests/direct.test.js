/** Connections opened with `?roomId=`: on some hosts they lead straight to that room, and yet must reach everything else. */
import assert from "node:assert/strict";
import { after } from "node:test";
import { HandshakeRefused } from "../client.js";
import { get } from "../http.js";
import { startModels } from "../mocks/models.js";
import { join, say, streamAnswer, suite } from "../scenario.js";
import { assertError, assertHttpError, assertShape, text, timestamp } from "../shape.js";

const models = await startModels();
after(() => models.stop());
const { scenario } = suite(models.env);

const to = (room) => ({ query: `?roomId=${encodeURIComponent(room)}` });

scenario("events that name no room are meant for that one", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  const bob = await s.connect(to(room));
  assertShape(await bob.ask({ type: "join-room", userId: "bob", userName: "Bob" }, "joined-room"), { roomId: room, success: true });
  assertShape(await ann.next({ type: "user-joined", userId: "bob" }), { roomId: room });

  const ack = await bob.ask({ type: "send-message", message: "here", userId: "bob", userName: "Bob" }, "message-sent");
  for (const client of [ann, bob]) assertShape(await client.next("new-message"), { id: ack.id, roomId: room, message: "here" });
  bob.send({ type: "typing-start", userId: "bob" });
  assertShape(await ann.next("user-typing"), { roomId: room, userName: "Bob", isTyping: true });
  bob.send({ type: "user-online", userId: "bob", userName: "Bob", status: "away" });
  assertShape(await ann.next("user-presence"), { roomId: room, status: "away" });
  assertShape(await bob.ask({ type: "mark-read", seq: ack.seq }, "marked-read"), { roomId: room });
  assertShape(await ann.next("message-read"), { roomId: room, userId: "bob" });
  assert.deepEqual((await bob.ask({ type: "fetch-history" }, "message-history")).messages.map((m) => m.id), [ack.id]);
  assertShape(await bob.ask({ type: "leave-room" }, "left-room"), { roomId: room });
  assertShape(await ann.next({ type: "user-left", userId: "bob" }), { roomId: room });
});

scenario("a room may be called whatever a room may be called", async (s) => {
  const room = `${s.unique("room")}/ä ?&=#%+日`;
  const bob = await s.connect(to(room));
  assertShape(await bob.ask({ type: "join-room", userId: "bob", userName: "Bob" }, "joined-room"), { roomId: room });
  await say(await s.member(room, "ann"), room, "ann", "found you");
  assertShape(await bob.next("new-message"), { roomId: room, message: "found you" });
});

scenario("a second room is joined by name, and each room keeps its order", async (s) => {
  const [red, blue] = [s.unique("red"), s.unique("blue")];
  const [ann, bob] = [await s.member(red, "ann"), await s.member(blue, "bob")];
  const both = await s.member(red, "cid", {}, to(red));
  await join(both, blue, "cid");

  const each = 20;
  for (let n = 1; n <= each; n += 1) {
    for (const roomId of [red, blue]) both.send({ type: "send-message", roomId, message: `${n}`, userId: "cid", userName: "Cid" });
  }
  const counted = Array.from({ length: each }, (_, n) => [n + 1, `${n + 1}`]);
  for (const [client, roomId] of [[ann, red], [bob, blue], [both, red], [both, blue]]) {
    const seen = await client.take(each, { type: "new-message", roomId });
    assert.deepEqual(seen.map((f) => [f.seq, f.message]), counted);
  }
  await say(bob, blue, "bob", "to blue");
  assertShape(await both.next("new-message"), { roomId: blue, message: "to blue" });

  await both.ask({ type: "leave-room", roomId: blue }, "left-room");
  await bob.next({ type: "user-left", userId: "cid" });
  await say(ann, red, "ann", "still here?");
  assertShape(await both.next("new-message"), { roomId: red, message: "still here?" });
  await both.close();
  assertShape(await ann.next({ type: "user-left", userId: "cid" }), { roomId: red });
});

scenario("its end is seen in all of its rooms, a clean one and a death", async (s) => {
  const [red, blue] = [s.unique("red"), s.unique("blue")];
  const [ann, bob] = [await s.member(red, "ann"), await s.member(blue, "bob")];
  for (const [userId, end] of [["carl", "close"], ["dora", "die"]]) {
    const both = await s.member(red, userId, {}, to(red));
    await join(both, blue, userId);
    await both[end]();
    assertShape(await ann.next({ type: "user-left", userId }), { roomId: red });
    assertShape(await bob.next({ type: "user-left", userId }), { roomId: blue });
  }
});

scenario("the room of the query need not be joined", async (s) => {
  const [red, blue] = [s.unique("red"), s.unique("blue")];
  const ann = await s.member(red, "ann");
  const stranger = await s.connect(to(red));
  await join(stranger, blue, "sid");
  const ack = await stranger.ask({ type: "send-message", message: "from outside", userId: "sid", userName: "Sid" }, "message-sent");
  assertShape(await ann.next("new-message"), { id: ack.id, roomId: red });
  await stranger.fence(red);
  stranger.expectNone("new-message");
  ann.expectNone("user-joined");
});

scenario("visitors and their stats are reached over it", async (s) => {
  const [room, domainId] = [s.unique("room"), s.unique("domain")];
  const [visitor, dashboard] = [await s.connect(to(room)), await s.connect(to(s.unique("room")))];
  // The first event makes it one that watches; the next is answered once it does.
  for (let n = 0; n < 2; n += 1) await dashboard.domainFence(domainId);
  visitor.send({ type: "visitor-joined-domain", domainId, visitorId: "v1", visitorData: { url: "https://shop.example/" } });
  for (const client of [visitor, dashboard]) assertShape(await client.next({ type: "visitor-joined-domain", domainId }), { visitorId: "v1", activeCount: 1, timestamp });
  visitor.send({ type: "visitor-activity", domainId, visitorId: "v1", url: "https://shop.example/cart" });
  assertShape(await dashboard.next({ type: "visitor-activity", domainId }), { visitorId: "v1", url: "https://shop.example/cart" });
  assertShape(await visitor.ask({ type: "get-domain-stats", domainId }, "domain-stats"), { activeVisitors: 1, totalVisitors: 1 });
  visitor.send({ type: "get-all-domain-stats" });
  assertShape((await visitor.next("all-domain-stats")).stats[domainId], { activeVisitors: 1, totalVisitors: 1 });
  visitor.send({ type: "customer-joined-room", customerId: "carl", customerName: "Carl", domainId });
  assertShape(await dashboard.next({ type: "customer-joined-room", customerId: "carl" }), { roomId: room, domainId });
  visitor.send({ type: "visitor-left-domain", domainId, visitorId: "v1" });
  assertShape(await dashboard.next({ type: "visitor-left-domain", domainId }), { visitorId: "v1", activeCount: 0 });
});

scenario("answers are streamed over it, whole and in pieces", async (s) => {
  const [room, conversationId] = [s.unique("room"), s.unique("talk")];
  const client = await s.member(room, "ann", {}, to(room));
  const answer = "It rains in the morning and clears up towards the evening; take a coat.";
  models.on(conversationId, answer, { latency: 100 });
  const { chunks, joined } = await streamAnswer(client, { message: conversationId, conversationId });
  assert.ok(chunks.length >= 2, "a slow answer comes in more than one piece");
  assert.equal(joined, answer);
  assertShape(await client.ask({ type: "ai-chat", message: "and tomorrow?", conversationId }, "ai-response"), { message: text, conversationId });
  assert.equal(models.requestsAbout("and tomorrow?")[0].messages.at(-2).content, answer);
});

scenario("a ping is answered with exactly these bytes, before a join and after it", async (s) => {
  const room = s.unique("room");
  const client = await s.connect(to(room));
  client.sendRaw('{"type":"ping"}');
  await client.next("pong");
  const pongs = () => client.raw.filter((_, n) => client.frames[n].type === "pong");
  assert.deepEqual(pongs(), ['{"type":"pong"}']);
  await join(client, room, "ann");
  client.sendRaw('{"type":"ping"}');
  await client.next("pong");
  assert.equal(pongs().at(-1), '{"type":"pong"}');
  // Written another way, or with an id, it is the same event.
  client.sendRaw('{ "type" : "ping" }');
  await client.next("pong");
  assertShape(await client.ask({ type: "ping" }), { type: "pong" });
});

scenario("errors come over it as over any other", async (s) => {
  const client = await s.connect(to(s.unique("room")));
  client.sendRaw("{");
  assertError(await client.next("error"), "invalid_json");
  assertError(await client.ask({ type: "no-such-event" }), "unknown_type");
  assertError(await client.ask({ type: "join-room", userId: "ann" }), "invalid_request", "userName");
  assertError(await client.ask({ type: "fetch-history", roomId: "" }), "invalid_request", "roomId");
});

scenario("without an upgrade it says what is missing", async (s) => {
  assert.equal((await get(s.url(`/ws?roomId=${s.unique("room")}`))).status, 426);
});

scenario("a room that can't be is refused", async (s) => {
  for (const room of ["x".repeat(129), "a\nb", "a\u0000b", "a\u007fb"]) {
    const refusal = await s.connect(to(room)).then(() => null, (error) => error);
    assert.ok(refusal instanceof HandshakeRefused, `?roomId=${encodeURIComponent(room)} was answered with ${refusal}`);
    const reply = { status: refusal.status, text: refusal.body, json: JSON.parse(refusal.body) };
    assertHttpError(reply, 400, "invalid_request", "roomId");
  }
});
