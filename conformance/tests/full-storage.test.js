/**
 * Storage without room for another byte: what can't be kept is refused, what was kept can be read, nobody is sent away, and once
 * there is room again all goes on as if nothing had been.
 */
import assert from "node:assert/strict";
import { after } from "node:test";
import { eventually } from "../eventually.js";
import { Follower, storedLog } from "../follower.js";
import { get, post } from "../http.js";
import * as faulty from "../mocks/faulty.js";
import { nameOf, say, suite } from "../scenario.js";
import { absent, assertError, assertHttpError, assertShape } from "../shape.js";

const provider = await faulty.startFaultyProvider();
after(() => provider.stop());
const { host, scenario: played } = suite({ ...provider.env, SHARDS: "1" }, { needs: "smallStorage", storageBytes: 4 * 1024 * 1024 });

/** One that fails leaves room for the next. */
function scenario(name, play) {
  played(name, (s) => play(s).finally(() => host.freeStorage()), { timeout: 3 * PATIENCE_MS });
}

/** Refusals in a row that mean that nothing is left, not even in pages that were set aside. */
const REFUSALS = 5;
const ATTEMPTS_MAX = 2_000;
/** Storage is looked at again, and graces end: only a hang should meet this. */
const PATIENCE_MS = 60_000;

const send = (room, userId, clientMessageId) => ({ type: "send-message", roomId: room, userId, userName: nameOf(userId), role: "user", message: `${clientMessageId} ${"x".repeat(4_000)}`, clientMessageId });

/**
 * Speaks into storage that is full until it says so, again and again: at length, then as briefly as can be, so that not even the
 * least is left.
 * @returns what was acknowledged, and what was refused of the long words
 */
async function speakUntilRefused(client, room, userId, prefix) {
  const acked = [];
  const refusedOf = async (eventOf) => {
    const refused = [];
    for (let n = 0, inARow = 0; inARow < REFUSALS; n += 1) {
      assert.ok(n < ATTEMPTS_MAX, `still acknowledged after ${n} messages: ${JSON.stringify(acked.at(-1))}`);
      const event = eventOf(n);
      const reply = await client.ask(event);
      if (reply.type === "message-sent") [inARow] = [0, acked.push(reply)];
      else {
        assertError(reply, "unavailable");
        [inARow] = [inARow + 1, refused.push(event)];
      }
    }
    return refused;
  };
  const refused = await refusedOf((n) => send(room, userId, `${prefix}-${n}`));
  await refusedOf(() => ({ ...send(room, userId), message: "x" }));
  return { acked, refused };
}

/** Asks until storage works again, which nobody tells it. */
async function untilKept(client, event) {
  const asked = async () => {
    const reply = await client.ask(event);
    if (reply.type !== "message-sent") assertError(reply, "unavailable");
    return reply;
  };
  return eventually(asked, ({ type }) => type === "message-sent");
}

scenario("messages are refused and taken back, reading goes on, and afterwards no number is missing", async (s) => {
  const room = s.unique("room");
  const [ann, follower] = [await s.member(room, "ann"), new Follower(s, room, "bob")];
  await follower.return();
  const acks = [await say(ann, room, "ann", "before")];
  const refusals = [];
  for (const round of ["one", "two", "three"]) {
    await host.fillStorage();
    const { acked, refused } = await speakUntilRefused(ann, room, "ann", round);
    acks.push(...acked);
    refusals.push(...refused);

    const log = await storedLog(s, room, follower.epoch);
    assert.deepEqual(log.frames.map((f) => f.id), acks.map((ack) => ack.id), "what is stored is what was acknowledged");
    const { messages } = await ann.ask({ type: "fetch-history", roomId: room, limit: 1 }, "message-history");
    assert.equal(messages[0].id, acks.at(-1).id);
    await follower.hear(acks.length);
    if (round === "two") await follower.die();
    await host.freeStorage();
    acks.push(await untilKept(ann, refused[0]));
    if (round === "two") await follower.return();
    assertShape(acks.at(-1), { seq: acks.length, duplicate: absent });
  }
  for (const event of refusals) {
    const ack = await ann.ask(event, "message-sent");
    if (!ack.duplicate) acks.push(ack);
  }
  assert.deepEqual(acks.map((ack) => ack.seq), acks.map((_, n) => n + 1));
  await follower.hear(acks.length);
  await host.kill9();
  await host.restart();
  const log = await storedLog(s, room, follower.epoch);
  assert.deepEqual(log.frames.map((f) => f.id), acks.map((ack) => ack.id));
  assert.deepEqual(follower.heard, log.raw);
});

scenario("whoever only reads is served, even in the same moment as somebody else is refused", async (s) => {
  const room = s.unique("room");
  const [ann, bob] = [await s.member(room, "ann"), await s.member(room, "bob")];
  await say(ann, room, "ann", "before");
  await host.fillStorage();
  await speakUntilRefused(ann, room, "ann", "fill");
  for (let n = 0; n < 100; n += 1) {
    ann.send({ ...send(room, "ann", `c-${n}`), id: "write" });
    bob.send({ type: "fetch-history", roomId: room, limit: 1, id: "read" });
    bob.send({ type: "get-domain-stats", domainId: "shop.example", id: "count" });
  }
  for (const refusal of await ann.take(100, { replyTo: "write" })) assertError(refusal, "unavailable");
  for (const [replyTo, type] of [["read", "message-history"], ["count", "domain-stats"]]) {
    for (const reply of await bob.take(100, { replyTo })) assertShape(reply, { type });
  }
  assertShape((await s.member(room, "cid", { epoch: ann.joined.epoch, lastSeq: 0 })).joined, { resumed: true });
});

scenario("visitors and questions are told so once, over both roads, and everyone stays connected", async (s) => {
  const [room, domainId] = [s.unique("room"), s.unique("domain")];
  const [ann, bob, visitor] = [await s.member(room, "ann"), await s.member(room, "bob"), await s.connect()];
  await visitor.ask({ type: "visitor-joined-domain", domainId, visitorId: "v1" }, "visitor-joined-domain");
  provider.play(faulty.answers("Good ", "day."));
  await host.fillStorage();
  await speakUntilRefused(ann, room, "ann", "fill");

  assertError(await visitor.ask({ type: "visitor-joined-domain", domainId, visitorId: "v2" }), "unavailable");
  assertHttpError(await post(s.url("/visitors/add"), { domainId, visitorId: "v3" }), 503, "unavailable");
  assertShape(await visitor.ask({ type: "get-domain-stats", domainId }, "domain-stats"), { activeVisitors: 1, totalVisitors: 1 });
  assertShape((await get(s.url(`/stats/domain/${domainId}`))).json, { activeVisitors: 1, totalVisitors: 1 });
  assertError(await ann.ask({ type: "join-room", roomId: s.unique("new"), userId: "ann", userName: "Ann" }), "unavailable");
  const question = { message: "hello?", conversationId: s.unique("talk") };
  for (const type of ["ai-chat", "ai-stream"]) assertError(await bob.ask({ type, ...question }), "unavailable");
  for (const path of ["/ai/chat", "/ai/stream"]) assertHttpError(await post(s.url(path), question), 503, "unavailable");
  await bob.fence(room);
  bob.expectNone((f) => ["error", "ai-response", "ai-stream-complete", "ai-stream-chunk"].includes(f.type));
  assert.equal(provider.requests.length, 0, "no model is paid for an answer that can't be kept");
  assert.equal((await get(s.url("/healthz"))).status, 200);

  await host.freeStorage();
  await untilKept(ann, send(room, "ann", "again"));
  assertShape(await bob.ask({ type: "ai-chat", ...question }, "ai-response"), { message: "Good day.", finishReason: "stop" });
  assertShape(await visitor.ask({ type: "visitor-joined-domain", domainId, visitorId: "v2" }, "visitor-joined-domain"), { activeCount: 2 });
  assertShape(await visitor.ask({ type: "get-domain-stats", domainId }, "domain-stats"), { activeVisitors: 2, totalVisitors: 2 });
  for (const client of [ann, bob, visitor]) assert.equal(client.closed, null);
});

for (const [when, waits] of [["at once", false], ["or at the latest when there is room", true]]) {
  for (const type of ["ai-chat", "ai-stream"]) {
    scenario(`an answer to ${type} that can't be kept has one end, ${when}, and the conversation goes on`, async (s) => {
      const [room, conversationId] = [s.unique("room"), s.unique("talk")];
      const ann = await s.member(room, "ann");
      provider.play(faulty.held());
      ann.send({ type, id: "q", message: "tell me", conversationId });
      const upstream = await provider.request(0);
      upstream.token("It was a dark ");
      if (type === "ai-stream") await ann.next("ai-stream-chunk");
      await host.fillStorage();
      await speakUntilRefused(ann, room, "ann", "fill");
      upstream.token(`and stormy night. ${"x".repeat(8_000)}`);
      upstream.finish();
      await upstream.gone;
      const ends = (f) => ["error", "ai-response", "ai-stream-complete"].includes(f.type) && (f.replyTo === "q" || f.conversationId === conversationId);
      if (waits) await host.freeStorage();
      const end = await ann.next(ends);
      const shown = ann.frames.filter((f) => f.type === "ai-stream-chunk").map((f) => f.chunk).join("");
      if (end.type === "ai-stream-complete") assert.ok(end.fullResponse.startsWith(shown), `${JSON.stringify(shown)} was shown, yet it ends with ${JSON.stringify(end)}`);
      await host.freeStorage();
      await untilKept(ann, send(room, "ann", "again"));
      provider.play(faulty.answers("Yes."));
      assertShape(await ann.ask({ type: "ai-chat", message: "still there?", conversationId }, "ai-response"), { message: "Yes.", finishReason: "stop" });
      assert.deepEqual(ann.unread(ends), [], `ended already with ${JSON.stringify(end)}`);
    });
  }
}

scenario("who dies meanwhile is gone afterwards, once", async (s) => {
  const room = s.unique("room");
  const [ann, dora] = [await s.member(room, "ann"), await s.member(room, "dora")];
  await host.fillStorage();
  await speakUntilRefused(ann, room, "ann", "fill");
  await dora.die();
  // Whatever the answer: by then her end has been seen.
  await ann.ask({ type: "fetch-history", roomId: room, limit: 1 });
  await host.freeStorage();
  await untilKept(ann, send(room, "ann", "again"));
  assertShape(await ann.next("user-left", PATIENCE_MS), { userId: "dora" });
  await ann.next((f) => f.type === "room-users" && f.users.length === 1, PATIENCE_MS);
  await ann.fence(room);
  ann.expectNone("user-left");
});

scenario("killed while it is full: it starts or says what is wrong, and once there is room everything is there", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  const first = await say(ann, room, "ann", "before");
  // A visitor who is here has to be counted out after a start, which is something to write.
  await ann.ask({ type: "visitor-joined-domain", domainId: s.unique("domain"), visitorId: "v1" }, "visitor-joined-domain");
  await host.fillStorage();
  const { acked } = await speakUntilRefused(ann, room, "ann", "fill");
  await host.kill9();
  await host.fillStorage();
  const failure = await host.restart().then(() => null, (error) => error);
  if (failure) {
    assert.match(failure.message, /exited with 1 /);
    assert.ok(failure.message.includes(host.dataDir), `the sentence should name a file in ${host.dataDir}: ${failure.message}`);
    assert.doesNotMatch(failure.message, /panicked/);
  } else await host.kill9();
  await host.freeStorage();
  await host.restart();
  const log = await storedLog(s, room, ann.joined.epoch);
  assert.deepEqual(log.frames.map((f) => f.id), [first, ...acked].map((ack) => ack.id));
  assertShape(await say(await s.connect(), room, "ann", "after"), { seq: log.frames.length + 1 });
});
