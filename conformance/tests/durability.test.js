/** The process is killed without notice, right after an acknowledgement: whatever was acknowledged is there. */
import assert from "node:assert/strict";
import { after } from "node:test";
import { post } from "../http.js";
import * as faulty from "../mocks/faulty.js";
import { startModels } from "../mocks/models.js";
import { join, say, suite } from "../scenario.js";
import { assertShape } from "../shape.js";

const models = await startModels();
after(() => models.stop());
const { scenario } = suite(models.env);

/** A grace of 15 s, and whatever a host needs to look after it has been reset. */
const GONE_GUARD_MS = 110_000;

/** Kills the host the moment `acknowledged` is settled, and starts it again on what it left on disk. */
async function killAfter(s, acknowledged) {
  const result = await acknowledged;
  await s.host.kill9();
  await s.host.restart();
  return result;
}

scenario("messages, their order and the room's epoch survive kill -9", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  for (const n of [1, 2, 3]) await say(ann, room, "ann", `message ${n}`, { clientMessageId: `c-${n}` });
  const last = await killAfter(s, say(ann, room, "ann", "the last word"));
  assert.equal(last.seq, 4);

  const bob = await s.member(room, "bob");
  assertShape(bob.joined, { epoch: ann.joined.epoch, seq: 4 });
  const { messages } = await bob.next("message-history");
  assert.deepEqual(messages.map((m) => [m.seq, m.message]), [[1, "message 1"], [2, "message 2"], [3, "message 3"], [4, "the last word"]]);
  assert.equal(messages.at(-1).id, last.id);
  assert.equal((await say(bob, room, "bob", "after")).seq, 5);
});

scenario("a member resumes across kill -9 with the same frames as they were sent live", async (s) => {
  const room = s.unique("room");
  const [ann, bob] = [await s.member(room, "ann"), await s.member(room, "bob")];
  for (const n of [1, 2, 3, 4]) await say(ann, room, "ann", `message ${n}`, { clientMessageId: `c-${n}`, attachments: [{ url: "u", name: "n", size: 1, type: "t" }] });
  const live = await bob.take(4, "new-message");
  await killAfter(s, Promise.resolve());

  const back = await s.connect();
  const joined = await join(back, room, "bob", { epoch: bob.joined.epoch, lastSeq: 2 });
  assertShape(joined, { resumed: true, epoch: bob.joined.epoch, seq: 4 });
  assert.deepEqual(await back.take(2, "new-message"), live.slice(2));
  await back.fence(room);
  back.expectNone("message-history");
});

scenario("a message repeated after kill -9 is known", async (s) => {
  const room = s.unique("room");
  const first = await killAfter(s, say(await s.connect(), room, "ann", "pay", { clientMessageId: "c-1" }));
  const again = await say(await s.connect(), room, "ann", "pay", { clientMessageId: "c-1" });
  assertShape(again, { duplicate: true, id: first.id, seq: first.seq, timestamp: first.timestamp });
  assert.equal((await say(await s.connect(), room, "ann", "next", { clientMessageId: "c-2" })).seq, 2);
});

for (const awaited of [1, 10, 120, 400]) {
  scenario(`killed in the middle of a burst, after ${awaited} of 500: each acknowledged message is there and none twice`, async (s) => {
    const room = s.unique("room");
    const ann = await s.member(room, "ann");
    for (let n = 1; n <= 500; n += 1) {
      ann.send({ type: "send-message", roomId: room, message: `m${n}`, userId: "ann", userName: "Ann", role: "user", clientMessageId: `c-${n}` });
    }
    await killAfter(s, ann.take(awaited, "message-sent"));
    const shown = ann.frames.filter((f) => ["message-sent", "new-message"].includes(f.type));

    const bob = await s.member(room, "bob", { epoch: ann.joined.epoch, lastSeq: 0 });
    const stored = await bob.take(bob.joined.seq, "new-message");
    assert.deepEqual(stored.map((f) => [f.seq, f.message]), stored.map((_, n) => [n + 1, `m${n + 1}`]));
    const idAt = new Map(stored.map((f) => [f.seq, f.id]));
    for (const frame of shown) assert.equal(idAt.get(frame.seq), frame.id, `seq ${frame.seq} was shown, so it is stored`);
  });
}

scenario("the AI remembers what was said before kill -9", async (s) => {
  const ids = { domainId: s.unique("domain"), userId: "ann" };
  const first = await killAfter(s, (await s.connect()).ask({ type: "ai-chat", message: "my name is Zora", systemPrompt: "Be kind.", ...ids }, "ai-response"));
  const second = await (await s.connect()).ask({ type: "ai-chat", message: "what is my name?", systemPrompt: "Be kind.", ...ids }, "ai-response");
  assert.equal(second.conversationId, first.conversationId);
  const [asked] = models.requestsAbout("what is my name?");
  assert.deepEqual(asked.messages, [
    { role: "system", content: "Be kind." },
    { role: "user", content: "my name is Zora" },
    { role: "assistant", content: first.message },
    { role: "user", content: "what is my name?" },
  ]);
});

scenario("visitor totals survive kill -9", async (s) => {
  const domainId = s.unique("domain");
  const visitor = await s.connect();
  for (const visitorId of ["v1", "v2", "v2"]) visitor.send({ type: "visitor-joined-domain", domainId, visitorId, visitorData: { url: "https://shop.example/" } });
  await visitor.take(3, "visitor-joined-domain");
  const added = await killAfter(s, post(s.url("/visitors/add"), { domainId, visitorId: "v3" }));
  assert.equal(added.json.domainStats.totalVisitors, 3);

  const dashboard = await s.connect();
  assertShape(await dashboard.ask({ type: "get-domain-stats", domainId }, "domain-stats"), { totalVisitors: 3 });
  const returning = await s.connect();
  returning.send({ type: "visitor-joined-domain", domainId, visitorId: "v1" });
  await returning.next("visitor-joined-domain");
  assertShape(await dashboard.ask({ type: "get-domain-stats", domainId }, "domain-stats"), { totalVisitors: 3 });
});

scenario("an orderly stop keeps everything too", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  await say(ann, room, "ann", "one");
  await s.host.stop();
  await s.host.restart();
  const bob = await s.member(room, "bob");
  assertShape(bob.joined, { epoch: ann.joined.epoch, seq: 1 });
  assert.equal((await bob.next("message-history")).messages[0].message, "one");
});

scenario("killed in the middle of an answer, the conversation goes on", async (s) => {
  const provider = await faulty.startFaultyProvider();
  try {
    await s.host.stop();
    await s.host.restart({ ...models.env, ...provider.env, EVENTS_PER_SEC: "0" });
    provider.play(faulty.held());
    const ask = { domainId: s.unique("domain"), userId: "ann", systemPrompt: "Be kind." };
    const ann = await s.connect();
    ann.send({ type: "ai-stream", message: "tell me a story", ...ask });
    (await provider.request(0)).token("Once upon a half");
    await killAfter(s, ann.next("ai-stream-chunk"));

    provider.play(faulty.answers("Yes, ", "again."));
    const answer = await (await s.connect()).ask({ type: "ai-chat", message: "go on", ...ask }, "ai-response");
    assertShape(answer, { message: "Yes, again.", finishReason: "stop" });
    const roles = (await provider.request(0)).messages.map((m) => m.role);
    assert.deepEqual([roles[0], roles.at(-1)], ["system", "user"]);
  } finally {
    await provider.stop();
  }
});

scenario("visitors whose connections died with the host stop counting by themselves", async (s) => {
  const domainId = s.unique("domain");
  for (const query of ["", `?roomId=${s.unique("room")}`]) {
    const client = await s.connect({ query });
    await client.ask({ type: "visitor-joined-domain", domainId, visitorId: s.unique("visitor") }, "visitor-joined-domain");
  }
  await s.host.kill9();
  await s.host.restart();
  // It asks for nothing, so that nothing but the host itself brings this about.
  const dashboard = await s.connect();
  const left = await dashboard.take(2, { type: "visitor-left-domain", domainId }, GONE_GUARD_MS);
  assert.deepEqual(left.map((f) => f.activeCount), [1, 0]);
}, { timeout: 2 * GONE_GUARD_MS });
