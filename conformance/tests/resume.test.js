/** Coming back: what was missed follows in order, or a fresh history where that is impossible. Nothing is stored twice. */
import assert from "node:assert/strict";
import { say, sayMany, suite } from "../scenario.js";
import { absent, assertShape } from "../shape.js";

const { scenario } = suite();

/** More missed events than this are not replayed. */
const REPLAY_EVENTS_MAX = 1_000;

async function rejoin(s, room, userId, from) {
  const client = await s.connect();
  client.joined = await client.ask({ type: "join-room", roomId: room, userId, userName: "Bob", ...from }, "joined-room");
  return client;
}

scenario("a returning member gets exactly what it missed, as it was sent live, then what is new", async (s) => {
  const room = s.unique("room");
  const [ann, bob] = [await s.member(room, "ann"), await s.member(room, "bob")];
  await say(ann, room, "ann", "before");
  const { seq: lastSeq } = await bob.next("new-message");
  await bob.die();
  for (const n of [1, 2, 3]) await say(ann, room, "ann", `missed ${n}`, { clientMessageId: `m-${n}` });

  const back = await rejoin(s, room, "bob", { epoch: bob.joined.epoch, lastSeq });
  assertShape(back.joined, { resumed: true, epoch: bob.joined.epoch, seq: 4 });
  await say(ann, room, "ann", "new");
  await back.take(4, "new-message");
  await back.fence(room);
  back.expectNone("message-history");
  back.expectNone("new-message");
  const messages = (client) => client.frames.filter((f) => f.type === "new-message");
  assert.deepEqual(messages(back), messages(ann).slice(1));
  const types = back.frames.map((f) => f.type);
  assert.ok(types.indexOf("joined-room") < types.indexOf("new-message"), `the reply of the join comes first: ${types}`);
});

scenario("a member that missed nothing gets nothing", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  const { seq } = await say(ann, room, "ann", "one");
  const back = await rejoin(s, room, "bob", { epoch: ann.joined.epoch, lastSeq: seq });
  assertShape(back.joined, { resumed: true, seq });
  await back.fence(room);
  back.expectNone("new-message");
  back.expectNone("message-history");
});

scenario("messages sent while a member resumes come once, in order", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  const speaking = sayMany(ann, room, "ann", 600);
  const returning = Array.from({ length: 5 }, () => rejoin(s, room, "bob", { epoch: ann.joined.epoch, lastSeq: 0 }));
  await speaking;
  for (const back of await Promise.all(returning)) {
    const seqs = (await back.take(600, "new-message")).map((f) => f.seq);
    assert.deepEqual(seqs, Array.from({ length: 600 }, (_, n) => n + 1));
  }
});

const impossible = [
  ["another epoch", { epoch: "another-epoch", lastSeq: 1 }],
  ["a lastSeq beyond the log", { lastSeq: 99 }],
];
for (const [what, from] of impossible) {
  scenario(`${what} is answered with a fresh history`, async (s) => {
    const room = s.unique("room");
    const ann = await s.member(room, "ann");
    for (const message of ["one", "two"]) await say(ann, room, "ann", message);
    const back = await rejoin(s, room, "bob", { epoch: ann.joined.epoch, ...from });
    assertShape(back.joined, { resumed: false, epoch: ann.joined.epoch, seq: 2 });
    const history = await back.next("message-history");
    assert.deepEqual(history.messages.map((m) => m.message), ["one", "two"]);
    await back.fence(room);
    back.expectNone("new-message");
  });
}

scenario("a thousand missed events are replayed, more are not", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  const total = REPLAY_EVENTS_MAX + 1;
  await sayMany(ann, room, "ann", total);
  const live = await ann.take(total, "new-message");
  const { epoch } = ann.joined;

  const justInTime = await rejoin(s, room, "bob", { epoch, lastSeq: 1 });
  assertShape(justInTime.joined, { resumed: true });
  assert.deepEqual(await justInTime.take(REPLAY_EVENTS_MAX, "new-message"), live.slice(1));

  const tooLate = await rejoin(s, room, "cid", { epoch, lastSeq: 0 });
  assertShape(tooLate.joined, { resumed: false });
  assert.equal((await tooLate.next("message-history")).messages.length, 50);
  await tooLate.fence(room);
  tooLate.expectNone("new-message");
});

scenario("a repeated clientMessageId is acknowledged again and stored once", async (s) => {
  const room = s.unique("room");
  const [ann, bob] = [await s.member(room, "ann"), await s.member(room, "bob")];
  const first = await say(ann, room, "ann", "pay now", { clientMessageId: "c-1" });
  assertShape(first, { duplicate: absent, clientMessageId: "c-1" });
  const again = await say(ann, room, "ann", "pay now", { clientMessageId: "c-1" });
  assertShape(again, { success: true, duplicate: true, id: first.id, seq: first.seq, roomId: room, clientMessageId: "c-1", timestamp: first.timestamp });
  await bob.fence(room);
  assert.equal(bob.unread("new-message").length, 1);
  const elsewhere = await say(await s.connect(), room, "ann", "pay now", { clientMessageId: "c-1" });
  assertShape(elsewhere, { duplicate: true, id: first.id });
});

scenario("the same message sent several times at once is stored once", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  const [one, two] = [await s.connect(), await s.connect()];
  const event = { type: "send-message", roomId: room, message: "pay", userId: "ann", userName: "Ann", role: "user", clientMessageId: "c-1" };
  for (let n = 0; n < 5; n += 1) for (const client of [one, two]) client.send(event);
  const acks = [...(await one.take(5, "message-sent")), ...(await two.take(5, "message-sent"))];
  assert.equal(new Set(acks.map((ack) => ack.id)).size, 1);
  assert.equal(acks.filter((ack) => ack.duplicate !== true).length, 1);
  await ann.fence(room);
  assert.equal(ann.unread("new-message").length, 1);
});

scenario("a clientMessageId belongs to its user and its room", async (s) => {
  const [room, other] = [s.unique("room"), s.unique("room")];
  const client = await s.connect();
  const first = await say(client, room, "ann", "mine", { clientMessageId: "c-1" });
  const ofBob = await say(client, room, "bob", "mine too", { clientMessageId: "c-1" });
  const ofOther = await say(client, other, "ann", "and here", { clientMessageId: "c-1" });
  assert.deepEqual([first.seq, ofBob.seq, ofOther.seq], [1, 2, 1]);
  assert.ok([ofBob, ofOther].every((ack) => ack.duplicate === undefined));
});
