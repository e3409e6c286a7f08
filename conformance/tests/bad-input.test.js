/** Frames that are wrong: the error that names the mistake, the connection lives on, and nothing is stored. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe } from "node:test";
import { say, suite } from "../scenario.js";
import { assertError, assertShape, positive } from "../shape.js";

const { scenario } = suite();

const KIB = 1024;
const LONG_ID = "x".repeat(129);
const WRONG_IDS = [17, {}, [], true, "", LONG_ID, "a\u0000b", "a\nb", "a\u007fb", "a\u0085b"];

/** Every test of this file ends with it: the same connection still works. */
async function assertAlive(client) {
  client.send({ type: "ping" });
  await client.next("pong");
}

scenario("text that is no JSON, and JSON that is no object", async (s) => {
  const client = await s.connect();
  for (const raw of ["", "hello", "{", '{"type":', "[]", '["join-room"]', '"ping"', "17", "null", "true", '{"type":"ping"} {"type":"ping"}']) {
    client.sendRaw(raw);
    assertError(await client.next("error"), "invalid_json");
  }
  await assertAlive(client);
});

scenario("an event without a type, and one nobody knows", async (s) => {
  const client = await s.connect();
  for (const type of [undefined, 17, null, {}]) {
    assertError(await client.ask({ type, roomId: "r" }), "invalid_request", "type");
  }
  for (const type of ["no-such-event", "", "JOIN-ROOM", "new-message", "__proto__", "x".repeat(5_000)]) {
    assertError(await client.ask({ type }), "unknown_type");
  }
  await assertAlive(client);
});

scenario("an error carries the event's id, if that is one", async (s) => {
  const client = await s.connect();
  client.send({ type: "no-such-event", id: "my-7" });
  assertShape(await client.next("error"), { code: "unknown_type", replyTo: "my-7" });
  client.send({ type: "join-room", id: "my-8" });
  assertShape(await client.next("error"), { code: "invalid_request", replyTo: "my-8" });
  for (const id of [17, {}, "x".repeat(65)]) {
    client.send({ type: "join-room", roomId: s.unique("room"), userId: "ann", userName: "Ann", id });
    assertError(await client.next("error"), "invalid_request", "id");
  }
  await assertAlive(client);
});

const joinRoom = { roomId: "r", userId: "u", userName: "U" };
const message = { ...joinRoom, message: "hi", role: "user" };
const nested = (levels) => (levels > 1 ? [nested(levels - 1)] : []);
/** event → a valid form, its required fields, its ids, and fields of other types with values that are none */
const events = {
  "join-room": { good: joinRoom, required: ["roomId", "userId", "userName"], ids: ["roomId", "userId", "domainId"], wrong: { userName: [17, {}], lastSeq: ["x", -1, 1.5], epoch: [17] } },
  "leave-room": { good: { roomId: "r" }, required: ["roomId"], ids: ["roomId"], wrong: {} },
  "send-message": { good: message, required: ["roomId", "message", "userId", "userName"], ids: ["roomId", "userId", "domainId"], wrong: { message: [17, {}, []], userName: [17], attachments: ["text", 17, {}, nested(65)], clientMessageId: [17, {}] } },
  "typing-start": { good: joinRoom, required: ["roomId", "userId"], ids: ["roomId", "userId"], wrong: { userName: [17] } },
  "typing-stop": { good: joinRoom, required: ["roomId", "userId"], ids: ["roomId", "userId"], wrong: { userName: [17] } },
  "user-online": { good: joinRoom, required: ["roomId", "userId"], ids: ["roomId", "userId"], wrong: { status: [17, {}] } },
  "customer-joined-room": { good: { roomId: "r", customerId: "c", customerName: "C" }, required: ["roomId", "customerId", "customerName"], ids: ["roomId", "customerId", "domainId"], wrong: { customerName: [17] } },
  "mark-read": { good: { roomId: "r", seq: 1 }, required: ["roomId", "seq"], ids: ["roomId"], wrong: { seq: ["x", -1, 1.5, {}] } },
  "fetch-history": { good: { roomId: "r" }, required: ["roomId"], ids: ["roomId"], wrong: { limit: ["x", -1] } },
  "ai-chat": { good: { message: "hi" }, required: ["message"], ids: ["domainId", "userId", "conversationId", "roomId"], wrong: { message: [17], model: [17], systemPrompt: [17] } },
  "ai-stream": { good: { message: "hi" }, required: ["message"], ids: ["domainId", "userId", "conversationId", "roomId"], wrong: { message: [17], model: [17], systemPrompt: [17] } },
  "visitor-joined-domain": { good: { domainId: "d", visitorId: "v" }, required: ["domainId", "visitorId"], ids: ["domainId", "visitorId"], wrong: { visitorData: ["text", 17, []] } },
  "visitor-left-domain": { good: { domainId: "d", visitorId: "v" }, required: ["domainId", "visitorId"], ids: ["domainId", "visitorId"], wrong: {} },
  "visitor-activity": { good: { domainId: "d", visitorId: "v" }, required: ["domainId", "visitorId"], ids: ["domainId", "visitorId"], wrong: { url: [17], title: [{}] } },
  "get-domain-stats": { good: { domainId: "d" }, required: ["domainId"], ids: ["domainId"], wrong: {} },
};
for (const [type, { good, required, ids, wrong }] of Object.entries(events)) {
  scenario(`${type}: missing and mistyped fields are named`, async (s) => {
    const client = await s.connect();
    const accepted = [];
    const tryWrong = async (fields, field) => {
      const reply = await replyOf(client, { ...fields, type });
      const named = reply.type === "error" && reply.code === "invalid_request" && reply.message.includes(field);
      if (!named) accepted.push(`${field}: ${JSON.stringify(fields[field])?.slice(0, 40)} → ${JSON.stringify(reply).slice(0, 160)}`);
    };
    for (const field of required) {
      const { [field]: _, ...without } = good;
      await tryWrong(without, field);
    }
    for (const field of ids) for (const value of WRONG_IDS) await tryWrong({ ...good, [field]: value }, field);
    for (const [field, values] of Object.entries(wrong)) for (const value of values) await tryWrong({ ...good, [field]: value }, field);
    assert.ok(accepted.length === 0, `each of these should be an invalid_request that names the field:\n${accepted.join("\n")}`);
    await assertAlive(client);
  });
}

/** The direct reply or error; "(nothing)" if there is none, for some events have no reply when they are accepted. */
async function replyOf(client, event) {
  const id = randomUUID();
  client.send({ ...event, id });
  await client.fence("r");
  return client.unread({ replyTo: id })[0] ?? { type: "(nothing)" };
}

scenario("fields nobody knows are ignored", async (s) => {
  const client = await s.connect();
  const room = s.unique("room");
  const reply = await client.ask({ type: "join-room", roomId: room, userId: "u", userName: "U", nobody: { knows: ["this"] }, "": 1 });
  assertShape(reply, { type: "joined-room", success: true });
});

scenario("ids of 128 characters are fine, whatever the characters weigh", async (s) => {
  const client = await s.connect();
  for (const id of ["x".repeat(128), "日".repeat(128), "a b/c?d#e%00<>&\"'"]) {
    assertShape(await say(client, `${id}`, id, "hi"), { roomId: id });
  }
});

scenario("a message of 16 KiB passes, a byte more does not and is not stored", async (s) => {
  const room = s.unique("room");
  const [ann, bob] = [await s.member(room, "ann"), await s.member(room, "bob")];
  for (const text of ["x".repeat(16 * KIB), "ü".repeat(8 * KIB)]) {
    await say(ann, room, "ann", text);
    assertShape(await bob.next("new-message"), { message: text });
  }
  for (const text of ["x".repeat(16 * KIB + 1), `${"ü".repeat(8 * KIB)}x`]) {
    assertError(await ann.ask({ type: "send-message", roomId: room, message: text, userId: "ann", userName: "Ann", role: "user" }), "too_large");
  }
  assertError(await ann.ask({ type: "ai-chat", message: "x".repeat(16 * KIB + 1) }), "too_large");
  assertShape(await say(ann, room, "ann", "next"), { seq: 3 });
  await bob.next({ type: "new-message", seq: 3 });
});

scenario("visitor data over 4 KiB", async (s) => {
  const [client, domainId] = [await s.connect(), s.unique("domain")];
  assertError(await client.ask({ type: "visitor-joined-domain", domainId, visitorId: "v", visitorData: { title: "x".repeat(4 * KIB) } }), "too_large");
  assertShape(await client.ask({ type: "get-domain-stats", domainId }), { activeVisitors: 0, totalVisitors: 0 });
});

/** A valid event of exactly this many bytes. */
function frameOf(bytes, roomId) {
  const event = (padding) => JSON.stringify({ type: "fetch-history", roomId, padding });
  return event("x".repeat(bytes - event("").length));
}

scenario("a frame of 64 KiB passes, a larger one closes with 1009", async (s) => {
  const room = s.unique("room");
  const [fits, tooBig, fragmented] = [await s.connect(), await s.connect(), await s.connect()];
  fits.sendRaw(frameOf(64 * KIB, room));
  await fits.next("message-history");
  tooBig.sendRaw(frameOf(64 * KIB + 1, room));
  assert.equal((await tooBig.untilClosed()).code, 1009);
  const whole = frameOf(80 * KIB, room);
  for (let from = 0; from < whole.length; from += 10 * KIB) fragmented.sendRaw(whole.slice(from, from + 10 * KIB), { fin: from + 10 * KIB >= whole.length });
  assert.equal((await fragmented.untilClosed()).code, 1009);
  await assertAlive(fits);
});

scenario("an event in fragments is one event", async (s) => {
  const client = await s.connect();
  const room = s.unique("room");
  const whole = JSON.stringify({ type: "send-message", roomId: room, message: "in pieces", userId: "ann", userName: "Ann", role: "user", id: "f" });
  client.sendRaw(whole.slice(0, 10), { fin: false });
  client.socket.ping();
  client.sendRaw(whole.slice(10, 60), { fin: false });
  client.sendRaw(whole.slice(60), { fin: true });
  assertShape(await client.next("message-sent"), { replyTo: "f", seq: 1 });
});

scenario("a binary frame is an error, not a close", async (s) => {
  const client = await s.connect();
  for (const bytes of [Buffer.from('{"type":"ping"}'), Buffer.from([0, 1, 2, 255]), Buffer.alloc(0)]) {
    client.sendRaw(bytes, { binary: true });
    assertShape(await client.next("error"), { code: "invalid_request" });
  }
  await assertAlive(client);
});

scenario(
  "text that is not UTF-8 closes with 1007, and others are unharmed",
  async (s) => {
    const [client, other] = [await s.connect(), await s.connect()];
    client.sendRaw(Buffer.from([0x22, 0xff, 0x22]), { binary: false });
    assert.equal((await client.untilClosed()).code, 1007);
    await assertAlive(other);
  },
  { needs: "framing" },
);

scenario("typing and reading need a join first", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  const stranger = await s.connect();
  for (const event of [{ type: "typing-start", userId: "bob" }, { type: "mark-read", seq: 1 }]) {
    assert.equal((await stranger.ask({ ...event, roomId: room })).type, "error");
  }
  await ann.fence(room);
  for (const type of ["user-typing", "message-read"]) ann.expectNone(type);
  await assertAlive(stranger);
});

describe("with the default rate of events", () => {
  const { scenario } = suite({ EVENTS_PER_SEC: undefined });

  scenario("a connection that goes on sending too fast is closed with 1008, and others are unharmed", async (s) => {
    const [abusive, calm] = [await s.connect(), await s.connect()];
    // Some of them pass meanwhile, so many more than the thousand.
    for (let n = 0; n < 3_000; n += 1) abusive.send({ type: "ping" });
    assert.equal((await abusive.untilClosed()).code, 1008);
    await assertAlive(calm);
  });

  scenario("a connection that sends too fast is told so; what was refused is not stored", async (s) => {
    const room = s.unique("room");
    const [fast, calm] = [await s.member(room, "fast"), await s.member(room, "calm")];
    // The burst is 100; 500 at once are too many unless they take eight seconds.
    const sent = 500;
    for (let n = 0; n < sent; n += 1) fast.send({ type: "send-message", id: `e-${n}`, roomId: room, message: "x", userId: "fast", userName: "F", role: "user" });
    const replies = await fast.take(sent, (f) => f.type === "error" || f.type === "message-sent");
    const refused = replies.filter((f) => f.type === "error");
    assert.ok(refused.length > 0 && refused.length < sent, `${refused.length} of ${sent} were refused`);
    for (const frame of refused) {
      assertError(frame, "rate_limited");
      assertShape(frame, { retryAfterMs: positive });
    }
    const acks = replies.filter((f) => f.type === "message-sent");
    assert.ok(acks.length >= 99, `the burst of 100 passes, the join included; ${acks.length} did`);
    assertShape(await say(calm, room, "calm", "I may speak"), { seq: acks.length + 1 });
    assert.equal(fast.closed, null);
    const answered = replies.map((frame) => Number(frame.replyTo.slice(2))).sort((a, b) => a - b);
    assert.deepEqual(answered, Array.from({ length: sent }, (_, n) => n), "a refused event is answered by its id as well");
  });
});
