/** Presence: typing, status, and the difference between leaving and dying. */
import assert from "node:assert/strict";
import { join, say, suite } from "../scenario.js";
import { assertShape, text, timestamp } from "../shape.js";

const { scenario } = suite();

/** Longer than any grace or expiry of this file (10 s), so that only a missing event fails. */
const EXPIRY_GUARD_MS = 30_000;

async function pair(s) {
  const room = s.unique("room");
  return { room, ann: await s.member(room, "ann"), bob: await s.member(room, "bob") };
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
  await returning.die();
  const back = await s.connect();
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
