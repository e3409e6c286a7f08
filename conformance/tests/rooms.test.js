/** Rooms: joining, leaving, talking. */
import assert from "node:assert/strict";
import { join, nameOf, say, suite } from "../scenario.js";
import { absent, assertError, assertShape, count, text, timestamp } from "../shape.js";

const { scenario } = suite();

/**
 * The list that a client sees now. A host may gather several joins and leaves into one list sent a little later, so a
 * witness comes in, whose name in the list says that it is new enough.
 */
async function assertListed(s, room, client, userIds) {
  const witness = s.unique("witness");
  const other = await s.member(room, witness);
  const listed = await client.next((f) => f.type === "room-users" && f.users.some((u) => u.userId === witness));
  assert.deepEqual(listed.users.map((u) => u.userId).filter((id) => id !== witness).sort(), userIds);
  await other.ask({ type: "leave-room", roomId: room }, "left-room");
  await client.next({ type: "user-left", userId: witness });
}

scenario("a visitor joins and everyone in the room is told", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  assertShape(ann.joined, { type: "joined-room", roomId: room, success: true, epoch: text, seq: 0, liveAgent: false, resumed: false, timestamp });

  const bob = await s.connect();
  bob.send({ type: "join-room", roomId: room, userId: "bob", userName: "Bob", role: "agent", domainId: "shop.example" });
  assertShape(await ann.next("user-joined"), { roomId: room, userId: "bob", userName: "Bob", role: "agent", socketId: text, timestamp });
  for (const client of [ann, bob]) {
    const listed = await client.next((f) => f.type === "room-users" && f.users.length === 2);
    assert.equal(listed.roomId, room);
    assert.deepEqual(listed.users.map((u) => [u.userId, u.userName, u.role]).sort(), [["ann", "Ann", "user"], ["bob", "Bob", "agent"]]);
    for (const user of listed.users) assertShape(user, { status: text });
  }
  await bob.fence(room);
  bob.expectNone("user-joined");
});

scenario("joining again changes nothing for the others", async (s) => {
  const room = s.unique("room");
  const [ann, bob] = [await s.member(room, "ann"), await s.member(room, "bob")];
  await ann.next("user-joined");
  const again = await join(bob, room, "bob");
  assertShape(again, { success: true, epoch: bob.joined.epoch, seq: bob.joined.seq });
  await bob.fence(room);
  await ann.fence(room);
  ann.expectNone("user-joined");
  ann.expectNone("user-left");
  await assertListed(s, room, ann, ["ann", "bob"]);
});

scenario("a user with two connections is listed once, until the last one is gone", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  const first = await s.member(room, "bob");
  const second = await s.member(room, "bob");
  const [one, two] = await ann.take(2, { type: "user-joined", userId: "bob" });
  assert.notEqual(one.socketId, two.socketId, "each connection has its own socketId");

  await assertListed(s, room, ann, ["ann", "bob"]);
  await first.ask({ type: "leave-room", roomId: room }, "left-room");
  assertShape(await ann.next("user-left"), { userId: "bob", socketId: one.socketId });
  await assertListed(s, room, ann, ["ann", "bob"]);
  await second.ask({ type: "leave-room", roomId: room }, "left-room");
  assertShape(await ann.next("user-left"), { userId: "bob", socketId: two.socketId });
  await assertListed(s, room, ann, ["ann"]);
});

scenario("a member leaves: it gets a reply, the others are told, and it hears no more", async (s) => {
  const room = s.unique("room");
  const [ann, bob] = [await s.member(room, "ann"), await s.member(room, "bob")];
  const left = await bob.ask({ type: "leave-room", roomId: room }, "left-room");
  assertShape(left, { roomId: room, success: true });
  assertShape(await ann.next("user-left"), { roomId: room, userId: "bob", userName: "Bob", socketId: text, timestamp });
  assertShape(await ann.next((f) => f.type === "room-users" && f.users.length === 1), { roomId: room });
  await say(ann, room, "ann", "is he gone?");
  await bob.fence(room);
  bob.expectNone("new-message");
});

scenario("a message reaches every member, the sender included, and is acknowledged", async (s) => {
  const room = s.unique("room");
  const members = [await s.member(room, "ann"), await s.member(room, "bob"), await s.member(room, "cid", { role: "agent" })];
  const ack = await say(members[0], room, "ann", "hello", { clientMessageId: "c-1", domainId: "shop.example" });
  assertShape(ack, { success: true, id: text, roomId: room, seq: 1, clientMessageId: "c-1", duplicate: absent, timestamp });
  const expected = { id: ack.id, roomId: room, seq: 1, message: "hello", userId: "ann", userName: "Ann", role: "user", socketId: text, clientMessageId: "c-1", timestamp };
  const seen = [];
  for (const member of members) {
    const frame = await member.next("new-message");
    assertShape(frame, expected);
    seen.push(frame);
  }
  assert.deepEqual(seen[1], seen[0]);
  assert.deepEqual(seen[2], seen[0]);
  assert.equal((await say(members[1], room, "bob", "hi")).seq, 2);
});

scenario("text and attachments are carried as they came", async (s) => {
  const room = s.unique("room");
  const [ann, bob] = [await s.member(room, "ann"), await s.member(room, "bob")];
  const message = "<b>\"Zoë\" & 'co'</b>\n\t👩‍👩‍👧 \u202E‮ \\u0041 𝒳 日本";
  const attachments = [{ url: "https://files.example/a.png", name: "a.png", size: 12, type: "image/png" }];
  await say(ann, room, "ann", message, { attachments });
  assertShape(await bob.next("new-message"), { message, attachments });
});

scenario("someone who has not joined may speak, and hears nothing", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  const stranger = await s.connect();
  const ack = await say(stranger, room, "webhook", "order 17 is paid", { role: "assistant" });
  assertShape(await ann.next("new-message"), { id: ack.id, userId: "webhook", userName: "Webhook", role: "assistant" });
  await stranger.fence(room);
  stranger.expectNone("new-message");
});

scenario("rooms do not hear each other", async (s) => {
  const [red, blue] = [s.unique("red"), s.unique("blue")];
  const [ann, bob] = [await s.member(red, "ann"), await s.member(blue, "bob")];
  const both = await s.member(red, "cid");
  await join(both, blue, "cid");
  await say(ann, red, "ann", "for red");
  await say(bob, blue, "bob", "for blue");
  assert.deepEqual((await both.take(2, "new-message")).map((f) => f.message).sort(), ["for blue", "for red"]);
  await bob.fence(blue);
  assert.deepEqual(bob.unread("new-message").map((f) => f.message), ["for blue"]);
});

scenario("the room of the query is meant where an event names none", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  const bob = await s.connect({ query: `?roomId=${room}` });
  assertShape(await bob.ask({ type: "join-room", userId: "bob", userName: "Bob" }, "joined-room"), { roomId: room });
  const ack = await bob.ask({ type: "send-message", message: "here", userId: "bob", userName: "Bob", role: "user" }, "message-sent");
  assertShape(ack, { roomId: room });
  assertShape(await ann.next("new-message"), { message: "here", roomId: room });
});

scenario("applications configured with the bare host open the socket on /", async (s) => {
  const room = s.unique("room");
  const client = await s.connect({ path: "/" });
  assertShape(await join(client, room, "ann"), { success: true, roomId: room });
});

scenario("a ping is answered with the same bytes every time", async (s) => {
  const client = await s.connect();
  for (let n = 0; n < 3; n += 1) {
    client.sendRaw('{"type":"ping"}');
    await client.next("pong");
  }
  // Beside what whoever watches hears of rooms of earlier scenarios.
  const pongs = client.raw.filter((_, n) => client.frames[n].type === "pong");
  assert.deepEqual(pongs, Array(3).fill('{"type":"pong"}'));
});

scenario("a reader marks what it has read and the others are told", async (s) => {
  const room = s.unique("room");
  const [ann, bob] = [await s.member(room, "ann"), await s.member(room, "bob")];
  const { seq } = await say(ann, room, "ann", "read me");
  assertShape(await bob.ask({ type: "mark-read", roomId: room, seq }, "marked-read"), { roomId: room });
  assertShape(await ann.next("message-read"), { roomId: room, userId: "bob", seq, timestamp });
  await bob.fence(room);
  bob.expectNone("message-read");
});

scenario("64 rooms a connection, and the next is refused by name", async (s) => {
  const client = await s.connect();
  const rooms = Array.from({ length: 64 }, () => s.unique("many"));
  for (const room of rooms) await join(client, room, "ann");
  const refused = await client.ask({ type: "join-room", roomId: s.unique("many"), userId: "ann", userName: nameOf("ann") });
  assertError(refused, "invalid_request", "roomId");
  assertShape(await join(client, rooms[0], "ann"), { success: true });
  await client.ask({ type: "leave-room", roomId: rooms[1] }, "left-room");
  assertShape(await join(client, s.unique("many"), "ann"), { success: true, seq: count });
});

scenario("all of one connection's rooms see it leave", async (s) => {
  const [red, blue] = [s.unique("red"), s.unique("blue")];
  const [ann, bob] = [await s.member(red, "ann"), await s.member(blue, "bob")];
  const both = await s.member(red, "cid");
  await join(both, blue, "cid");
  await both.close();
  assertShape(await ann.next("user-left"), { roomId: red, userId: "cid" });
  assertShape(await bob.next("user-left"), { roomId: blue, userId: "cid" });
});
