/** Coming back: what was missed follows in order, or a fresh history where that is impossible. Nothing is stored twice. */
import assert from "node:assert/strict";
import { Follower, LOGGED } from "../follower.js";
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

scenario("from any place, all that may be missed is replayed as the same bytes, before and after kill -9", async (s) => {
  const room = s.unique("room");
  const [ann, bob] = [await s.member(room, "ann", { role: "agent" }), await s.member(room, "bob")];
  const attachments = [{ url: "https://cdn.shop.example/ä b.png", name: "\"b\"\u2028.png", size: 1e15, type: "image/png" }];
  const one = await say(ann, room, "ann", "ünïcode \u0007 \"quoted\" \\ 日本 \u2028 😀", { clientMessageId: "c-1", attachments });
  await ann.ask({ type: "edit-message", roomId: room, messageId: one.id, message: "</script>\n\t" }, "message-sent");
  for (const enabled of [true, false]) {
    ann.send({ type: "toggle-live-agent", roomId: room, enabled });
    await ann.next({ type: "live-agent-toggled", enabled });
  }
  await ann.ask({ type: "delete-message", roomId: room, messageId: one.id }, "message-sent");
  const last = await say(bob, room, "bob", "bye");
  await bob.next({ type: "new-message", seq: last.seq });
  const live = bob.raw.filter((_, n) => LOGGED.includes(bob.frames[n].type));
  assert.deepEqual(live.map((raw) => JSON.parse(raw).seq), [1, 2, 3, 4, 5, 6]);

  const fromEach = async () => {
    for (const how of [{}, { query: `?roomId=${room}` }]) {
      for (let lastSeq = 0; lastSeq <= live.length; lastSeq += 1) {
        const back = new Follower(s, room, "cid", { epoch: ann.joined.epoch, how });
        back.heard = live.slice(0, lastSeq);
        assertShape(await back.return(), { seq: 6, liveAgent: false });
        await back.client.fence(room);
        await back.hear(6);
        assert.deepEqual(back.heard, live, `resumed after ${lastSeq}`);
        back.client.expectNone("message-history");
      }
    }
  };
  await fromEach();
  await s.host.kill9();
  await s.host.restart();
  await fromEach();
});

scenario("what can't be resumed can't be resumed after kill -9 either", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  for (const message of ["one", "two"]) await say(ann, room, "ann", message);
  await s.host.kill9();
  await s.host.restart();
  const { epoch } = ann.joined;
  for (const from of [{ epoch, lastSeq: 3 }, { epoch, lastSeq: 2 ** 53 - 1 }, { epoch: `${epoch}x`, lastSeq: 1 }, { epoch: epoch.slice(1), lastSeq: 2 }, { lastSeq: 1 }, { epoch }]) {
    const back = await rejoin(s, room, "bob", from);
    assertShape(back.joined, { resumed: false, epoch, seq: 2 });
    assert.deepEqual((await back.next("message-history")).messages.map((m) => m.message), ["one", "two"], JSON.stringify(from));
    await back.fence(room);
    back.expectNone("new-message");
  }
});

scenario("changes count among the thousand, and whoever is too late goes on from a history without a gap", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann", { role: "agent" });
  const [first] = await sayMany(ann, room, "ann", 600);
  for (let n = 0; n < REPLAY_EVENTS_MAX - 600; n += 1) ann.send({ type: "edit-message", roomId: room, messageId: first.id, message: `edit ${n}`, id: "edit" });
  await ann.take(REPLAY_EVENTS_MAX - 600, { type: "message-sent", replyTo: "edit" });
  const { epoch } = ann.joined;
  const inTime = new Follower(s, room, "bob", { epoch });
  await inTime.return();
  await inTime.hear(REPLAY_EVENTS_MAX);
  assert.deepEqual(inTime.heard, ann.raw.filter((_, n) => LOGGED.includes(ann.frames[n].type)));

  const speaking = sayMany(ann, room, "ann", 300);
  const late = await Promise.all(Array.from({ length: 5 }, async (_, n) => {
    await ann.next({ type: "new-message", seq: REPLAY_EVENTS_MAX + 1 + n * 40 });
    return rejoin(s, room, `late${n}`, { epoch, lastSeq: n });
  }));
  const end = (await speaking).at(-1).seq;
  for (const client of late) {
    assertShape(client.joined, { resumed: false });
    const { messages } = await client.next("message-history");
    assert.equal(messages.at(-1).seq, client.joined.seq, "the history goes up to where the join says");
    const then = await client.take(end - client.joined.seq, "new-message");
    assert.deepEqual(then.map((f) => f.seq), then.map((_, n) => client.joined.seq + 1 + n));
  }
});

scenario("an empty room is resumed too, and a member that joins again on its connection gets only what it says it lacks", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  const { epoch } = ann.joined;
  const bob = await rejoin(s, room, "bob", { epoch, lastSeq: 0 });
  assertShape(bob.joined, { resumed: true, epoch, seq: 0 });
  for (const message of ["one", "two"]) await say(ann, room, "ann", message);
  await bob.take(2, "new-message");
  for (const lastSeq of [2, 1, 0]) {
    assertShape(await bob.ask({ type: "join-room", roomId: room, userId: "bob", userName: "Bob", epoch, lastSeq }, "joined-room"), { resumed: true, seq: 2 });
    assert.deepEqual((await bob.take(2 - lastSeq, "new-message")).map((f) => f.seq), [1, 2].slice(lastSeq));
    await bob.fence(room);
    bob.expectNone("new-message");
  }
  bob.expectNone("message-history");
});
