/**
 * A defect of ours in one request costs that request and nothing else. Shown with a build that has routes which panic: one in
 * front, one in the object of a room.
 */
import assert from "node:assert/strict";
import { after } from "node:test";
import { openStream, post } from "../http.js";
import * as faulty from "../mocks/faulty.js";
import { say, suite } from "../scenario.js";
import { assertShape } from "../shape.js";

const provider = await faulty.startFaultyProvider();
after(() => provider.stop());
const { scenario } = suite(provider.env, { needs: "panics" });

scenario("neighbours of a request that panics are served to their end", async (s) => {
  const room = s.unique("room");
  const [ann, bob] = [await s.member(room, "ann"), await s.member(room, "bob", {}, { query: `?roomId=${room}` })];
  provider.play(faulty.held());
  const answering = openStream(s.url("/ai/stream"), { message: "hello", conversationId: s.unique("talk") });
  const upstream = await provider.request(0);
  upstream.token("One ");
  const answer = await answering;
  assert.equal(await answer.read(), "One ");

  for (let n = 1; n <= 3; n += 1) {
    const failed = await post(s.url("/panic"), "");
    assert.equal(failed.status, 500);
    assertShape(await say(ann, room, "ann", `message ${n}`), { seq: n });
  }
  upstream.token("two");
  upstream.finish();
  assert.equal(await answer.rest(), "two");
  assert.deepEqual((await bob.take(3, "new-message")).map((f) => f.seq), [1, 2, 3]);
});

scenario("a panic in a room's own object is answered, and leaves its members where they are", async (s) => {
  const room = s.unique("room");
  const [ann, bob] = [await s.member(room, "ann"), await s.member(room, "bob", {}, { query: `?roomId=${room}` })];
  await say(ann, room, "ann", "before");
  const failed = await post(s.url(`/panic/${room}`), "");
  assert.equal(failed.status, 500);
  assertShape(await say(ann, room, "ann", "after"), { seq: 2 });
  assert.deepEqual((await bob.take(2, "new-message")).map((f) => f.message), ["before", "after"]);
});

scenario("a panic in the middle of a turn takes the turn back and is told as internal", async (s) => {
  const room = s.unique("room");
  const [ann, bob] = [await s.member(room, "ann"), await s.member(room, "bob", {}, { query: `?roomId=${room}` })];
  await say(ann, room, "ann", "before");
  const refused = await ann.ask({ type: "send-message", roomId: room, userId: "ann", userName: "Ann", role: "user", message: "panic, please" }, "error");
  assert.equal(refused.code, "internal");
  assertShape(await say(bob, room, "bob", "after"), { seq: 2 });
  assert.deepEqual((await ann.take(2, "new-message")).map((f) => [f.seq, f.message]), [[1, "before"], [2, "after"]]);
});
