/**
 * A send that is repeated, whenever, from wherever and in whatever words: one message, and every acknowledgement of it tells of
 * that one. What a retry means at all is in resume.test.js.
 */
import assert from "node:assert/strict";
import { dice, SEEDS } from "../dice.js";
import { storedLog } from "../follower.js";
import { nameOf, say, suite } from "../scenario.js";
import { absent, assertShape } from "../shape.js";

const { scenario } = suite();

/** What a repeated acknowledgement has to say. */
const asFirst = ({ id, seq, timestamp, roomId, clientMessageId }) => ({ success: true, duplicate: true, id, seq, timestamp, roomId, clientMessageId });

const event = (roomId, userId, clientMessageId, message) => ({ type: "send-message", roomId, userId, userName: nameOf(userId), role: "user", clientMessageId, message });

async function epochOf(s, room) {
  return (await s.member(room, s.unique("asker"))).joined.epoch;
}

/** What is stored under each clientMessageId, each of them once. */
async function rowsOf(s, room) {
  const { frames } = await storedLog(s, room, await epochOf(s, room));
  const rows = frames.filter((f) => f.type === "new-message" && f.clientMessageId);
  const byId = new Map(rows.map((row) => [`${row.userId} ${row.clientMessageId}`, row]));
  assert.equal(byId.size, rows.length, `stored twice: ${JSON.stringify(rows)}`);
  return byId;
}

scenario("two connections of one user say the same at the same time, among other words: the first one counts", async (s) => {
  const room = s.unique("room");
  const [listener, direct, other] = [await s.member(room, "bob"), await s.connect({ query: `?roomId=${room}` }), await s.connect()];
  const total = 60;
  for (let n = 1; n <= total; n += 1) {
    for (const [client, words] of n % 2 ? [[direct, "one"], [other, "two"]] : [[other, "two"], [direct, "one"]]) {
      client.send(event(room, "ann", `c-${n}`, `${words} says ${n}`));
      client.send(event(room, "ann", undefined, "by the way"));
    }
  }
  const acks = [];
  for (const client of [direct, other]) acks.push(...(await client.take(total, (f) => f.type === "message-sent" && f.clientMessageId)));
  // Each by-the-way is a message of its own.
  const heard = await listener.take(total * 3, "new-message");
  await listener.fence(room);
  listener.expectNone("new-message");
  const rows = new Map(heard.filter((f) => f.clientMessageId).map((f) => [f.clientMessageId, f]));
  for (let n = 1; n <= total; n += 1) {
    const both = acks.filter((ack) => ack.clientMessageId === `c-${n}`);
    const { id, seq, timestamp } = rows.get(`c-${n}`);
    for (const ack of both) assertShape(ack, { id, seq, timestamp });
    assert.equal(both.filter((ack) => ack.duplicate).length, 1, `one is the first, the other the second: ${JSON.stringify(both)}`);
  }
});

scenario("the first words stand, whatever a retry says", async (s) => {
  const room = s.unique("room");
  const [ann, bob] = [await s.member(room, "ann"), await s.member(room, "bob")];
  const first = await say(ann, room, "ann", "the price is 10", { clientMessageId: "c-1" });
  const others = [{ message: "the price is 20" }, { userName: "Somebody" }, { role: "agent" }, { attachments: [{ url: "u", name: "n", size: 1, type: "t" }] }, { domainId: "shop.example" }];
  for (const more of others) assertShape(await say(ann, room, "ann", "the price is 10", { clientMessageId: "c-1", ...more }), asFirst(first));
  const told = await bob.next("new-message");
  assertShape(told, { message: "the price is 10", userName: "Ann", role: "user", attachments: absent });
  await bob.fence(room);
  bob.expectNone("new-message");
  assert.deepEqual((await bob.ask({ type: "fetch-history", roomId: room }, "message-history")).messages.map((m) => m.message), ["the price is 10"]);
});

scenario("a retry of what was edited or deleted since brings nothing back", async (s) => {
  const room = s.unique("room");
  const [ann, bob] = [await s.member(room, "ann"), await s.member(room, "bob")];
  const [edited, deleted] = [await say(ann, room, "ann", "one", { clientMessageId: "c-1" }), await say(ann, room, "ann", "two", { clientMessageId: "c-2" })];
  await ann.ask({ type: "edit-message", roomId: room, messageId: edited.id, message: "uno" }, "message-sent");
  await ann.ask({ type: "delete-message", roomId: room, messageId: deleted.id }, "message-sent");
  const retry = async () => {
    assertShape(await say(ann, room, "ann", "one", { clientMessageId: "c-1" }), asFirst(edited));
    assertShape(await say(await s.connect(), room, "ann", "two", { clientMessageId: "c-2" }), asFirst(deleted));
  };
  await retry();
  await bob.take(4, (f) => f.seq && f.type !== "joined-room");
  await bob.fence(room);
  bob.expectNone((f) => f.seq && f.type !== "joined-room");
  await s.host.kill9();
  await s.host.restart();
  const back = await s.member(room, "cid");
  assert.deepEqual((await back.next("message-history")).messages.map((m) => [m.seq, m.message]), [[1, "uno"]]);
  assertShape(await say(back, room, "ann", "two", { clientMessageId: "c-2" }), asFirst(deleted));
  assertShape(await say(back, room, "ann", "one", { clientMessageId: "c-1" }), asFirst(edited));
  assertShape(await say(back, room, "cid", "three"), { seq: 5 });
});

scenario("names that are nearly the same are different messages", async (s) => {
  const room = s.unique("room");
  const client = await s.connect();
  const names = ["c-1", "C-1", "c-1 ", " c-1", "c-1\u0301", "ç", "c\u0327", "1", "01", "1.0", "x".repeat(128), `${"x".repeat(127)}y`];
  const acks = [];
  for (const clientMessageId of names) acks.push(await say(client, room, "ann", "hello", { clientMessageId }));
  assert.deepEqual(acks.map((ack) => ack.seq), names.map((_, n) => n + 1));
  for (const [n, clientMessageId] of names.entries()) assertShape(await say(client, room, "ann", "hello", { clientMessageId }), asFirst({ ...acks[n], clientMessageId }));
});

scenario("a connection that dies with its message under way: the retry is the message or its duplicate", async (s) => {
  const room = s.unique("room");
  const listener = await s.member(room, "bob");
  for (let n = 1; n <= 20; n += 1) {
    const dying = await s.connect(n % 2 ? {} : { query: `?roomId=${room}` });
    dying.send(event(room, "ann", `c-${n}`, "did you get this?"));
    if (n % 3 === 0) await listener.next({ type: "new-message", clientMessageId: `c-${n}` });
    await dying.die();
    const retry = await say(await s.connect(), room, "ann", "and now?", { clientMessageId: `c-${n}` });
    assert.equal(retry.seq, n, `one place for each message: ${JSON.stringify(retry)}`);
    assertShape(await say(await s.connect(), room, "ann", "hello?", { clientMessageId: `c-${n}` }), asFirst(retry));
  }
  assert.equal((await rowsOf(s, room)).size, 20);
});

scenario("the same name in two rooms, of two users: four messages, over kill -9 and an orderly stop", async (s) => {
  const rooms = [s.unique("room"), s.unique("room")];
  const acks = new Map();
  for (const end of [() => s.host.kill9(), () => s.host.stop()]) {
    const client = await s.connect();
    for (const room of rooms) {
      for (const userId of ["ann", "bob"]) {
        const ack = await say(client, room, userId, `said by ${userId}`, { clientMessageId: "c-1" });
        const first = acks.get(room + userId);
        if (first) assertShape(ack, asFirst(first));
        else assertShape(ack, { duplicate: absent, seq: userId === "ann" ? 1 : 2 });
        acks.set(room + userId, ack);
      }
    }
    await end();
    await s.host.restart();
  }
  for (const room of rooms) {
    const rows = await rowsOf(s, room);
    assert.deepEqual([...rows.values()].map((row) => [row.userId, row.message]), [["ann", "said by ann"], ["bob", "said by bob"]]);
  }
});

const OPS = 120;
/** Of one user in one room: so few that they are met again and again. */
const NAMES = 8;

for (const seed of SEEDS) {
  scenario(`seed ${seed}: any schedule of sends, retries, edits, deletions and a restart stores each message once`, async (s) => {
    const [pick, rooms] = [dice(seed), [s.unique("room"), s.unique("room")]];
    const everyone = [];
    const arrive = async () => {
      const arrived = [];
      for (const userId of ["ann", "bob"]) {
        for (const room of rooms) {
          for (const how of [{}, { query: `?roomId=${room}` }]) arrived.push({ userId, room, client: await s.member(room, userId, {}, how) });
        }
      }
      everyone.push(...arrived);
      return arrived;
    };
    const acks = () => everyone.flatMap(({ userId, client }) => client.frames.filter((f) => f.type === "message-sent" && f.clientMessageId).map((ack) => ({ userId, ack })));

    let present = await arrive();
    const end = pick.below(OPS);
    for (let op = 0; op < OPS; op += 1) {
      const { userId, room, client } = pick.one(present);
      const send = event(room, userId, pick.chance(20) ? undefined : `c-${pick.below(NAMES)}`, `words ${op}`);
      const known = pick.chance(10) && pick.one(acks().filter(({ ack }) => ack.roomId === room));
      if (op === end) {
        await (pick.chance(70) ? s.host.kill9() : s.host.stop());
        await s.host.restart();
        present = await arrive();
      } else if (known) client.send({ type: pick.one(["edit-message", "delete-message"]), roomId: room, messageId: known.ack.id, message: "changed" });
      else if (pick.chance(50)) client.send(send);
      else await client.ask(send, "message-sent");
    }
    for (const { room, client } of present) await client.fence(room);
    for (const room of rooms) assertSame(await rowsOf(s, room), acks().filter(({ ack }) => ack.roomId === room));
  });
}

/** Every acknowledgement tells of the one row, and one of them at most tells of it as new. */
function assertSame(rows, acks) {
  const firsts = new Set();
  for (const { userId, ack } of acks) {
    const name = `${userId} ${ack.clientMessageId}`;
    const row = rows.get(name);
    assert.ok(row, `acknowledged, yet not stored: ${JSON.stringify(ack)}`);
    assertShape(ack, { id: row.id, seq: row.seq, timestamp: row.timestamp });
    assert.ok(ack.duplicate || !firsts.has(name), `a second first acknowledgement: ${JSON.stringify(ack)}`);
    if (!ack.duplicate) firsts.add(name);
  }
}
