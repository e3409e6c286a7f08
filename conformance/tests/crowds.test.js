/** A room with hundreds of people: lists that do not multiply with them, and that are right in the end. */
import assert from "node:assert/strict";
import { suite } from "../scenario.js";

const { scenario } = suite();

/** A list of a room is sent this often at most, once there are more than so many, and names this many people. */
const LIST_EVERY_MS = 100;
const AT_ONCE_MAX = 8;
const LISTED_MAX = 200;
const CROWD = 300;
/** Hundreds of connections on a busy machine. */
const GUARD_MS = 120_000;

scenario(`${CROWD} come at once: few lists, the last one is true, and above ${LISTED_MAX} people are counted instead of named`, async (s) => {
  const room = s.unique("room");
  const enter = async (userId) => {
    const client = await s.connect({ query: `?roomId=${room}`, handshakeTimeout: GUARD_MS });
    client.send({ type: "join-room", roomId: room, userId, userName: userId });
    await client.next("joined-room", GUARD_MS);
    return client;
  };
  const told = (client, count) => client.next({ type: "room-users", count }, GUARD_MS);
  const lists = (client) => client.frames.filter((f) => f.type === "room-users");

  const begun = performance.now();
  const ann = await s.member(room, "ann");
  const crowd = await Promise.all(Array.from({ length: CROWD }, (_, n) => enter(`user-${n}`)));
  for (const client of [ann, crowd[0], crowd.at(-1)]) assert.deepEqual((await told(client, CROWD + 1)).users, []);
  await ann.fence(room);
  assert.equal(lists(ann).at(-1).count, CROWD + 1);
  assert.equal(ann.frames.filter((f) => f.type === "user-joined").length, CROWD, "each of them was announced");
  // No deadline: the more time it took, the more lists there may be.
  const allowed = Math.ceil((performance.now() - begun) / LIST_EVERY_MS) + 1 + AT_ONCE_MAX;
  assert.ok(lists(ann).length <= allowed, `${lists(ann).length} lists, ${allowed} would be fine`);

  // A second device of somebody is nobody new.
  const device = await enter("user-0");
  await told(device, CROWD + 1);
  const stay = LISTED_MAX - 1;
  for (const client of crowd.slice(stay)) client.socket.close(1000);
  const stayed = ["ann", ...Array.from({ length: stay }, (_, n) => `user-${n}`)].sort().join();
  // By names: as many may have been there for a moment while they came.
  await ann.next((f) => f.type === "room-users" && f.users.map((u) => u.userId).sort().join() === stayed, GUARD_MS);
  const oneMore = await enter("one-more");
  for (const client of [ann, oneMore]) assert.deepEqual((await told(client, LISTED_MAX + 1)).users, []);
  await ann.fence(room);
  for (const list of [...lists(ann), ...lists(crowd[0])]) {
    assert.equal(list.users.length, list.count > LISTED_MAX ? 0 : list.count, JSON.stringify(list).slice(0, 300));
  }
}, { timeout: 3 * GUARD_MS });
