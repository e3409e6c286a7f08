/** History: what a newcomer is shown, and paging through the rest. */
import assert from "node:assert/strict";
import { say, sayMany, suite } from "../scenario.js";
import { assertError, assertShape } from "../shape.js";

const { scenario } = suite();

/** Fills a room and returns the live frames as its member saw them, without `type`. */
async function filled(s, room, size) {
  const ann = await s.member(room, "ann");
  await sayMany(ann, room, "ann", size);
  const live = await ann.take(size, "new-message");
  return { ann, live };
}

const seqs = (history) => history.messages.map((m) => m.seq);
const range = (first, last) => Array.from({ length: last - first + 1 }, (_, n) => first + n);

function assertSameAsLive(messages, live) {
  const plain = ({ type: _, ...fields }) => fields;
  assert.deepEqual(messages.map(plain), live.map(plain));
}

scenario("an empty room greets with no history", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  await ann.fence(room);
  ann.expectNone("message-history");
});

scenario("a newcomer is shown the last 50, oldest first, as they were sent live", async (s) => {
  const room = s.unique("room");
  const { live } = await filled(s, room, 60);
  const bob = await s.connect();
  bob.send({ type: "join-room", roomId: room, userId: "bob", userName: "Bob" });
  const history = await bob.next("message-history");
  assertShape(history, { roomId: room, hasMore: true });
  assertSameAsLive(history.messages, live.slice(10));
  const types = bob.frames.map((f) => f.type);
  assert.ok(types.indexOf("joined-room") < types.indexOf("message-history"), `the reply of the join comes first: ${types}`);
});

scenario("a short room is shown whole", async (s) => {
  const room = s.unique("room");
  const { live } = await filled(s, room, 3);
  const bob = await s.member(room, "bob");
  assert.equal(bob.joined.seq, 3);
  const history = await bob.next("message-history");
  assertShape(history, { roomId: room, hasMore: false });
  assertSameAsLive(history.messages, live);
});

scenario("history is read in pages, both bounds exclusive", async (s) => {
  const room = s.unique("room");
  const { ann } = await filled(s, room, 20);
  const page = (bounds) => ann.ask({ type: "fetch-history", roomId: room, ...bounds }, "message-history");

  const last = await page({ limit: 5 });
  assert.deepEqual([seqs(last), last.hasMore], [range(16, 20), true]);
  const before = await page({ beforeSeq: 16, limit: 5 });
  assert.deepEqual([seqs(before), before.hasMore], [range(11, 15), true]);
  const first = await page({ beforeSeq: 4, limit: 5 });
  assert.deepEqual([seqs(first), first.hasMore], [range(1, 3), false]);
  const after = await page({ afterSeq: 4, limit: 5 });
  assert.deepEqual([seqs(after), after.hasMore], [range(5, 9), true]);
  const tail = await page({ afterSeq: 17, limit: 5 });
  assert.deepEqual([seqs(tail), tail.hasMore], [range(18, 20), false]);
  const between = await page({ afterSeq: 4, beforeSeq: 8 });
  assert.deepEqual(seqs(between), range(5, 7));
  const none = await page({ afterSeq: 20 });
  assert.deepEqual([seqs(none), none.hasMore], [[], false]);
});

scenario("a limit over 200 gives 200", async (s) => {
  const room = s.unique("room");
  const { ann } = await filled(s, room, 230);
  const history = await ann.ask({ type: "fetch-history", roomId: room, limit: 1000 }, "message-history");
  assert.deepEqual([seqs(history), history.hasMore], [range(31, 230), true]);
});

scenario("a room nobody spoke in has an empty history", async (s) => {
  const client = await s.connect();
  const history = await client.ask({ type: "fetch-history", roomId: s.unique("room") }, "message-history");
  assertShape(history, { messages: [], hasMore: false });
});

scenario("bounds and limits that are no counts are refused by name", async (s) => {
  const room = s.unique("room");
  const { ann } = await filled(s, room, 1);
  for (const [field, values] of Object.entries({ limit: [-1, 1.5, "ten"], beforeSeq: [-1, "x", {}], afterSeq: [-1, 0.5, true] })) {
    for (const value of values) {
      assertError(await ann.ask({ type: "fetch-history", roomId: room, [field]: value }), "invalid_request", field);
    }
  }
  await say(ann, room, "ann", "still here");
});
