/** One order for all, whoever speaks; and one slow reader harms no one. */
import assert from "node:assert/strict";
import { join, say, sayMany, suite } from "../scenario.js";
import { assertShape } from "../shape.js";

const { scenario } = suite();

/** A guard for what takes the server eight seconds and a tick or two. */
const PATIENCE_MS = 60_000;

const gapless = (length) => Array.from({ length }, (_, n) => n + 1);

scenario("several speak at once: every member sees one order, counted without a gap", async (s) => {
  const [speakers, each] = [6, 40];
  const total = speakers * each;
  const room = s.unique("room");
  const members = await Promise.all(Array.from({ length: speakers + 2 }, (_, n) => s.member(room, `user${n}`)));
  for (let n = 0; n < each; n += 1) {
    for (const [speaker, member] of members.slice(0, speakers).entries()) {
      member.send({ type: "send-message", roomId: room, message: `${speaker}:${n}`, userId: `user${speaker}`, userName: "U", role: "user", clientMessageId: `${speaker}:${n}` });
    }
  }
  const views = await Promise.all(members.map((m) => m.take(total, "new-message")));
  assert.deepEqual(views[0].map((f) => f.seq), gapless(total));
  for (const view of views.slice(1)) assert.deepEqual(view, views[0]);
  for (let speaker = 0; speaker < speakers; speaker += 1) {
    const own = views[0].filter((f) => f.userId === `user${speaker}`).map((f) => f.message);
    assert.deepEqual(own, gapless(each).map((n) => `${speaker}:${n - 1}`), "each speaker's own order is kept");
    const acks = await members[speaker].take(each, "message-sent");
    const seqOf = new Map(views[0].map((f) => [f.clientMessageId, f.seq]));
    for (const ack of acks) assert.equal(ack.seq, seqOf.get(ack.clientMessageId));
  }
});

scenario("a connection in many rooms keeps each room's order", async (s) => {
  const rooms = Array.from({ length: 12 }, () => s.unique("room"));
  const [listener, speaker] = [await s.connect(), await s.connect()];
  for (const room of rooms) await join(listener, room, "ann");
  const each = 10;
  for (let n = 1; n <= each; n += 1) {
    for (const room of rooms) speaker.send({ type: "send-message", roomId: room, message: String(n), userId: "bob", userName: "Bob", role: "user" });
  }
  await listener.take(rooms.length * each, "new-message");
  for (const room of rooms) {
    const seen = listener.frames.filter((f) => f.type === "new-message" && f.roomId === room);
    assert.deepEqual(seen.map((f) => [f.seq, f.message]), gapless(each).map((n) => [n, String(n)]));
  }
});

/** Far more than the server's queue (1 MiB) and what two kernels buffer for a loopback connection. */
const FLOOD = { messages: 2_000, message: "x".repeat(15_000) };

scenario("nobody waits for a member that does not read, and it can come back", async (s) => {
  const room = s.unique("room");
  const [ann, bob, slow] = [await s.member(room, "ann"), await s.member(room, "bob"), await s.member(room, "slow")];
  slow.socket.pause();
  await sayMany(ann, room, "ann", FLOOD.messages, () => FLOOD.message);
  for (const reader of [ann, bob]) {
    const seqs = (await reader.take(FLOOD.messages, "new-message")).map((f) => f.seq);
    assert.deepEqual(seqs, gapless(FLOOD.messages));
  }
  const back = await s.connect();
  const joined = await back.ask({ type: "join-room", roomId: room, userId: "slow", userName: "Slow", epoch: slow.joined.epoch, lastSeq: FLOOD.messages - 5 }, "joined-room");
  assertShape(joined, { resumed: true });
  assert.equal((await back.take(5, "new-message")).at(-1).seq, FLOOD.messages);
  assertShape(await say(back, room, "slow", "back"), { seq: FLOOD.messages + 1 });
});

scenario(
  "a member that does not read is closed",
  async (s) => {
    const room = s.unique("room");
    const [ann, slow] = [await s.member(room, "ann"), await s.member(room, "slow")];
    slow.socket.pause();
    await sayMany(ann, room, "ann", FLOOD.messages, () => FLOOD.message);
    slow.socket.resume();
    const { code } = await slow.untilClosed();
    // 4008 if the close frame could still be written, 1006 if the connection had to be cut.
    assert.ok([4008, 1006].includes(code), `closed with ${code}`);
    const seqs = slow.frames.filter((f) => f.type === "new-message").map((f) => f.seq);
    assert.deepEqual(seqs, gapless(seqs.length), "what it did get is without a gap");
  },
  { needs: "backpressure" },
);

scenario(
  "a member that never reads again is cut, and is gone from the room",
  async (s) => {
    const room = s.unique("room");
    const [ann, stuck] = [await s.member(room, "ann"), await s.member(room, "stuck")];
    stuck.socket.pause();
    await sayMany(ann, room, "ann", FLOOD.messages, () => FLOOD.message);
    // Five seconds to read the close frame, then the three of a connection that died.
    assertShape(await ann.next({ type: "user-left", userId: "stuck" }, PATIENCE_MS), { roomId: room });
    await ann.next((f) => f.type === "room-users" && f.users.length === 1, PATIENCE_MS);
  },
  { needs: "backpressure" },
);
