/** Presence: typing, status, and the difference between leaving and dying. */
import assert from "node:assert/strict";
import { join, say, suite } from "../scenario.js";
import { assertShape, text, timestamp } from "../shape.js";

const { scenario } = suite();

/** Longer than any grace or expiry of this file (10 s), so that only a missing event fails. */
const EXPIRY_GUARD_MS = 90_000;

async function pair(s) {
  const room = s.unique("room");
  return { room, ann: await s.member(room, "ann"), bob: await s.member(room, "bob") };
}

/** Dies, and the room knows: who typed does so no more. A join that overtakes the death would be another device's. */
async function dies(client, room, userId, witness) {
  client.send({ type: "typing-start", roomId: room, userId });
  await witness.next({ type: "user-typing", userId, isTyping: true });
  await client.die();
  await witness.next({ type: "user-typing", userId, isTyping: false });
}

scenario("typing is shown to the others, not to the one who types", async (s) => {
  const { room, ann, bob } = await pair(s);
  bob.send({ type: "typing-start", roomId: room, userId: "bob", userName: "Bob" });
  assertShape(await ann.next("user-typing"), { roomId: room, userId: "bob", userName: "Bob", isTyping: true });
  bob.send({ type: "typing-stop", roomId: room, userId: "bob", userName: "Bob" });
  assertShape(await ann.next("user-typing"), { roomId: room, userId: "bob", userName: "Bob", isTyping: false });
  await bob.fence(room);
  bob.expectNone("user-typing");
});

scenario("typing may also be one event with a flag, and without the name", async (s) => {
  const { room, ann, bob } = await pair(s);
  for (const isTyping of [true, false]) {
    bob.send({ type: "typing", roomId: room, userId: "bob", isTyping });
    assertShape(await ann.next("user-typing"), { roomId: room, userId: "bob", userName: "Bob", isTyping });
  }
});

scenario("a typing that nobody stops expires by itself", async (s) => {
  const { room, ann, bob } = await pair(s);
  bob.send({ type: "typing-start", roomId: room, userId: "bob", userName: "Bob" });
  assertShape(await ann.next("user-typing"), { isTyping: true });
  assertShape(await ann.next("user-typing", EXPIRY_GUARD_MS), { roomId: room, userId: "bob", userName: "Bob", isTyping: false });
});

scenario("a status is told to the others", async (s) => {
  const { room, ann, bob } = await pair(s);
  bob.send({ type: "user-online", roomId: room, userId: "bob", userName: "Bob", status: "away" });
  assertShape(await ann.next("user-presence"), { roomId: room, userId: "bob", userName: "Bob", status: "away", timestamp });
  bob.send({ type: "user-online", roomId: room, userId: "bob", userName: "Bob" });
  assertShape(await ann.next("user-presence"), { userId: "bob", status: text });
  await bob.fence(room);
  bob.expectNone("user-presence");
});

scenario("a status shows in the list of users", async (s) => {
  const { room, ann, bob } = await pair(s);
  bob.send({ type: "user-online", roomId: room, userId: "bob", userName: "Bob", status: "away" });
  await ann.next("user-presence");
  const cid = await s.member(room, "cid");
  const listed = cid.frames.find((f) => f.type === "room-users");
  assert.equal(listed.users.find((u) => u.userId === "bob").status, "away");
});

scenario("who closes leaves at once, who dies leaves after a grace", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  const dying = await s.member(room, "dora");
  const closing = await s.member(room, "carl");
  await dying.die();
  await closing.close();
  const left = await ann.take(2, "user-left", EXPIRY_GUARD_MS);
  assert.deepEqual(left.map((f) => f.userId), ["carl", "dora"], "the later, clean goodbye is told first");
  assertShape(left[1], { roomId: room, userId: "dora", userName: "Dora", socketId: text, timestamp });
  const listed = await ann.next((f) => f.type === "room-users" && f.users.length === 1);
  assert.deepEqual(listed.users.map((u) => u.userId), ["ann"]);
});

scenario("who dies and is back within the grace was never away", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  const [returning, clock] = [await s.member(room, "bob"), await s.member(room, "dora")];
  // Connected before, so that nothing but the join falls into the grace.
  const back = await s.connect();
  await dies(returning, room, "bob", ann);
  await join(back, room, "bob");
  // The second death is the clock: when its grace is over, so is the first one's.
  await clock.die();
  assertShape(await ann.next("user-left", EXPIRY_GUARD_MS), { userId: "dora" });
  await ann.fence(room);
  ann.expectNone({ type: "user-left", userId: "bob" });
  const listed = await ann.next((f) => f.type === "room-users" && f.users.length === 2 && !f.users.some((u) => u.userId === "dora"));
  assert.deepEqual(listed.users.map((u) => u.userId).sort(), ["ann", "bob"]);
  await say(ann, room, "ann", "welcome back");
  assertShape(await back.next("new-message"), { message: "welcome back" });
});

scenario("who drops out again and again, and is back each time, is announced once", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  let bob = await s.member(room, "bob");
  for (let n = 0; n < 5; n += 1) {
    const next = await s.connect(n % 2 ? {} : { query: `?roomId=${room}` });
    await dies(bob, room, "bob", ann);
    next.joined = await join(next, room, "bob", n % 2 ? {} : { epoch: bob.joined.epoch, lastSeq: 0 });
    bob = next;
  }
  const clock = await s.member(room, "dora");
  await clock.die();
  await ann.next({ type: "user-left", userId: "dora" }, EXPIRY_GUARD_MS);
  await ann.fence(room);
  const told = ann.frames.filter((f) => f.userId === "bob" && f.type !== "user-typing").map((f) => f.type);
  assert.deepEqual(told, ["user-joined"]);
  for (const list of ann.frames.filter((f) => f.type === "room-users").slice(1)) {
    assert.ok(list.users.some((u) => u.userId === "bob"), `bob was never away: ${JSON.stringify(list)}`);
  }
});

scenario("of two devices of one user each comes and goes by itself, and the user is listed until the last is gone", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  const [phone, laptop] = [await s.member(room, "bob"), await s.member(room, "bob")];
  const [ofPhone, ofLaptop] = (await ann.take(2, { type: "user-joined", userId: "bob" })).map((f) => f.socketId);
  assert.notEqual(ofPhone, ofLaptop);
  await phone.die();
  assertShape(await ann.next("user-left", EXPIRY_GUARD_MS), { userId: "bob", socketId: ofPhone });
  await ann.fence(room);
  assert.deepEqual((await lastList(s, room)).sort(), ["ann", "bob"]);
  await say(ann, room, "ann", "still there?");
  assertShape(await laptop.next("new-message"), { message: "still there?" });

  // Both are dropped, one comes back: it takes the place of one of them, and the other is gone.
  const again = await s.member(room, "bob");
  await ann.next({ type: "user-joined", userId: "bob" });
  const back = await s.connect();
  await laptop.die();
  await dies(again, room, "bob", ann);
  await join(back, room, "bob");
  await ann.next({ type: "user-left", userId: "bob" }, EXPIRY_GUARD_MS);
  const clock = await s.member(room, "dora");
  await clock.die();
  await ann.next({ type: "user-left", userId: "dora" }, EXPIRY_GUARD_MS);
  ann.expectNone({ type: "user-left", userId: "bob" });
  ann.expectNone({ type: "user-joined", userId: "bob" });
  assert.deepEqual((await lastList(s, room)).sort(), ["ann", "bob"]);
});

/** Who is there, as somebody is told who just came (and is not counted). */
async function lastList(s, room) {
  const reader = await s.member(room, s.unique("reader"));
  const { users } = reader.frames.findLast((f) => f.type === "room-users");
  await reader.close();
  return users.map((u) => u.userId).filter((userId) => !userId.startsWith("reader"));
}

scenario("over kill -9 nobody becomes a ghost, and nobody is announced twice", async (s) => {
  const room = s.unique("room");
  const [ann] = [await s.member(room, "ann"), await s.member(room, "bob")];
  // Two are on their way out already: one of them will be back, one never.
  const [dropped, lost] = [await s.member(room, "cid"), await s.member(room, "lost")];
  for (const client of [dropped, lost]) await client.die();
  await ann.fence(room);
  await s.host.kill9();
  await s.host.restart();

  const back = await s.connect();
  await join(back, room, "ann", { epoch: ann.joined.epoch, lastSeq: 0 });
  for (const userId of ["bob", "cid"]) await s.member(room, userId);
  await s.member(room, "never").then((client) => client.die());
  // Whose grace began last is the clock.
  assertShape(await back.next({ type: "user-left", userId: "never" }, EXPIRY_GUARD_MS), { roomId: room });
  await back.next((f) => f.type === "room-users" && !f.users.some((u) => ["never", "lost"].includes(u.userId)), EXPIRY_GUARD_MS);
  await back.fence(room);
  assert.deepEqual((await lastList(s, room)).sort(), ["ann", "bob", "cid"]);
  for (const userId of ["bob", "cid"]) {
    const told = back.frames.filter((f) => f.userId === userId).map((f) => f.type);
    assert.ok(["", "user-joined", "user-left,user-joined"].includes(told.join()), `of ${userId} was told ${told}`);
  }
  assert.ok(back.frames.filter((f) => f.type === "user-left" && f.userId === "lost").length <= 1);
});
