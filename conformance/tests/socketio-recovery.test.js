/**
 * Connection state recovery as the stock Socket.IO client asks for it: by `pid` and the offset of the last event. Whoever comes
 * back is who they were, in the same rooms, and hears what they missed, once and in order; also from a host that was killed.
 */
import assert from "node:assert/strict";
import { describe } from "node:test";
import { SEEDS, dice } from "../dice.js";
import { join, say, sayMany, suite } from "../scenario.js";
import { assertShape } from "../shape.js";
import { TRANSPORTS } from "../socketio.js";

const PATIENCE_MS = 60_000;
/** Who is back later was away for the others. */
const GRACE_MS = 3_000;
const gapless = (length, from = 1) => Array.from({ length }, (_, n) => from + n);
const seqs = (client, roomId) => client.frames.filter((f) => f.type === "new-message" && (!roomId || f.roomId === roomId)).map((f) => f.seq);

/** Lets the client connect again, to wherever the host is now, and says whether it was recovered. */
async function back(s, client) {
  client.socket.io.uri = s.host.baseUrl;
  const { hostname, port } = new URL(s.host.baseUrl);
  Object.assign(client.socket.io.opts, { hostname, port });
  client.socket.connect();
  const frame = await client.next((f) => f.type === "(connect)" || f.type === "(connect_error)", PATIENCE_MS);
  assert.equal(frame.type, "(connect)");
  return frame.recovered;
}

/** Loses its connection without a word. */
async function lose(client) {
  await client.lose(PATIENCE_MS);
}

for (const SHARDS of ["1", "3"]) {
  for (const [name, transports] of Object.entries(TRANSPORTS)) {
    describe(`${name}, ${SHARDS} shards`, () => {
      const { scenario } = suite({ SHARDS }, { needs: "socketIo" });
      const options = { transports };

      scenario("who lost the connection is back as who they were, and hears what was missed", async (s) => {
        const room = s.unique("room");
        const ann = await s.member(room, "ann");
        const bob = await s.socketIoMember(room, "bob", options);
        const id = bob.socket.id;
        await say(ann, room, "ann", "one");
        await bob.next("new-message");
        const lostAt = performance.now();
        await lose(bob);
        await sayMany(ann, room, "ann", 20);
        const messageId = (await say(ann, room, "ann", "edited")).id;
        await ann.ask({ type: "edit-message", roomId: room, messageId, message: "better" }, "message-sent");
        assert.equal(await back(s, bob), true);
        const isInTime = performance.now() - lostAt < GRACE_MS;
        assert.equal(bob.socket.id, id);
        await say(ann, room, "ann", "live");
        await bob.next({ type: "new-message", message: "live" });
        assert.deepEqual(seqs(bob), [...gapless(22), 24]);
        assertShape(await bob.next("message-updated"), { seq: 23, message: "better" });
        // A member as before: typing needs a join.
        assert.deepEqual(await bob.ack({ type: "typing-start", roomId: room, userId: "bob" }), { success: true });
        assertShape(await ann.next("user-typing"), { userId: "bob" });
        assert.equal(bob.frames.filter((f) => f.type === "joined-room").length, 1);
        if (isInTime) ann.expectNone("user-left");
      });

      scenario("who never heard an event is back all the same", async (s) => {
        const [empty, full] = [s.unique("room"), s.unique("room")];
        const ann = await s.member(empty, "ann");
        await join(ann, full, "ann");
        await sayMany(ann, full, "ann", 3);
        for (const [room, from] of [[empty, 0], [full, 3]]) {
          const bob = await s.socketIo(options);
          bob.send({ type: "join-room", roomId: room, userId: "bob", userName: "Bob" });
          await bob.next(from ? "message-history" : "joined-room");
          await lose(bob);
          await sayMany(ann, room, "ann", 2);
          assert.equal(await back(s, bob), true);
          await bob.take(2, "new-message");
          assert.deepEqual(seqs(bob), gapless(2, from + 1));
        }
      });

      scenario("again and again, also with nothing to hear in between: never twice", async (s) => {
        const room = s.unique("room");
        const ann = await s.member(room, "ann");
        const bob = await s.socketIoMember(room, "bob", options);
        for (let n = 1; n <= 5; n += 1) {
          await lose(bob);
          if (n % 2) await say(ann, room, "ann", `m${n}`);
          assert.equal(await back(s, bob), true);
          await bob.fence(room);
        }
        await say(ann, room, "ann", "last");
        await bob.next({ type: "new-message", message: "last" });
        assert.deepEqual(seqs(bob), gapless(4));
      });

      scenario("in several rooms, each from where it was", async (s) => {
        const rooms = Array.from({ length: 5 }, () => s.unique("room"));
        const ann = await s.connect();
        const bob = await s.socketIo(options);
        for (const room of rooms) {
          await join(ann, room, "ann");
          await say(ann, room, "ann", "before");
          await join(bob, room, "bob");
          await bob.next({ type: "message-history", roomId: room });
        }
        for (let n = 0; n < 40; n += 1) await say(ann, rooms[(n * 7) % 5], "ann", `m${n}`);
        await bob.take(40, "new-message");
        await lose(bob);
        for (let n = 0; n < 40; n += 1) await say(ann, rooms[(n * 3) % 5], "ann", `n${n}`);
        assert.equal(await back(s, bob), true);
        await bob.take(40, "new-message");
        for (const room of rooms) {
          await bob.fence(room);
          assert.deepEqual(seqs(bob, room), gapless(16, 2));
        }
      });

      scenario("a room that was left is not come back to", async (s) => {
        const [stay, leave] = [s.unique("room"), s.unique("room")];
        const ann = await s.member(stay, "ann");
        await join(ann, leave, "ann");
        const bob = await s.socketIoMember(stay, "bob", options);
        await join(bob, leave, "bob");
        await bob.ask({ type: "leave-room", roomId: leave }, "left-room");
        await lose(bob);
        await say(ann, leave, "ann", "not for bob");
        await say(ann, stay, "ann", "for bob");
        assert.equal(await back(s, bob), true);
        await bob.next({ type: "new-message", message: "for bob" });
        assert.deepEqual(seqs(bob, leave), []);
      });

      scenario("who left the namespace by themselves begins afresh", async (s) => {
        const room = s.unique("room");
        const bob = await s.socketIoMember(room, "bob", options);
        const id = bob.socket.id;
        bob.socket.disconnect();
        await bob.next("(disconnect)");
        assert.equal(await back(s, bob), false);
        assert.notEqual(bob.socket.id, id);
      });

      scenario("who missed more than a thousand begins afresh, and not with a part", async (s) => {
        const room = s.unique("room");
        const ann = await s.member(room, "ann");
        const bob = await s.socketIoMember(room, "bob", options);
        await lose(bob);
        await sayMany(ann, room, "ann", 1_000);
        assert.equal(await back(s, bob), true);
        await bob.take(1_000, "new-message", PATIENCE_MS);
        await lose(bob);
        await sayMany(ann, room, "ann", 1_001);
        assert.equal(await back(s, bob), false);
        assert.deepEqual(seqs(bob), gapless(1_000));
      });

      scenario("what is not known, or not ours, is a fresh session and no error", async (s) => {
        const room = s.unique("room");
        const bob = await s.socketIoMember(room, "bob", options);
        const { _pid: pid } = bob.socket;
        await bob.ask({ type: "send-message", roomId: room, message: "m", userId: "bob", userName: "Bob" }, "message-sent");
        const { _lastOffset: offset } = bob.socket;
        await lose(bob);
        const strangers = [{ pid: "x", offset }, { pid: "a".repeat(20), offset }, { pid, offset: "nonsense" }, { pid: 7, offset: [] }, { offset }, { pid, offset: `${offset.split("-")[0]}-99` }];
        for (const auth of strangers) {
          const stranger = await s.socketIo({ ...options, auth });
          assert.notEqual(stranger.socket._pid, pid, JSON.stringify(auth));
          await stranger.ack({ type: "ping" });
        }
      });

      for (const how of ["stop", "kill9"]) {
        scenario(`from a host that was ${how === "stop" ? "stopped" : "killed"} and started again`, async (s) => {
          const room = s.unique("room");
          const bob = await s.socketIoMember(room, "bob", options);
          const id = bob.socket.id;
          const ann = await s.member(room, "ann");
          await sayMany(ann, room, "ann", 10);
          await bob.take(10, "new-message");
          if (how === "kill9") {
            await lose(bob);
            await sayMany(ann, room, "ann", 10);
          }
          await s.host[how]();
          if (how === "stop") await bob.next("(disconnect)", PATIENCE_MS);
          await s.host.restart();
          const cid = await s.member(room, "cid");
          await sayMany(cid, room, "cid", 10);
          assert.equal(await back(s, bob), true);
          assert.equal(bob.socket.id, id);
          const total = how === "kill9" ? 30 : 20;
          await say(cid, room, "cid", "live");
          await bob.next({ type: "new-message", message: "live" });
          assert.deepEqual(seqs(bob), gapless(total + 1));
        });
      }

      scenario("a client that is back before the host knows that it was gone takes its session over", async (s) => {
        const room = s.unique("room");
        const ann = await s.member(room, "ann");
        const bob = await s.socketIoMember(room, "bob", options);
        if (name === "default") await bob.upgraded();
        await say(ann, room, "ann", "one");
        await bob.next("new-message");
        const auth = { pid: bob.socket._pid, offset: bob.socket._lastOffset };
        bob.stall();
        await say(ann, room, "ann", "two");
        const again = await s.socketIo({ ...options, auth });
        assert.equal(again.socket._pid, auth.pid);
        assert.equal(again.socket.id, bob.socket.id);
        await say(ann, room, "ann", "three");
        await again.next({ type: "new-message", message: "three" });
        assert.deepEqual(seqs(again), [2, 3]);
        await ann.fence(room);
        ann.expectNone("user-left");
      });
    });
  }
}

describe("cut at random, while many speak", () => {
  const { scenario } = suite({ SHARDS: "2" }, { needs: "socketIo" });

  for (const seed of SEEDS) {
    scenario(
      `seed ${seed}: each hears all of it once and in order`,
      async (s) => {
        const { chance } = dice(seed);
        const rooms = [s.unique("room"), s.unique("room")];
        const total = 300;
        const ann = await s.connect();
        for (const room of rooms) await join(ann, room, "ann");
        const readers = [];
        for (const [k, transports] of Object.values(TRANSPORTS).entries()) {
          const reader = await s.socketIo({ transports });
          for (const room of rooms.slice(0, 1 + (k % 2))) await join(reader, room, `r${k}`);
          readers.push(reader);
        }
        let isOver = false;
        const speaking = (async () => {
          for (const room of rooms) await sayMany(ann, room, "ann", total / 2);
          for (const room of rooms) await sayMany(ann, room, "ann", total / 2);
          isOver = true;
        })();
        await Promise.all(
          readers.map(async (reader) => {
            while (!isOver) {
              await reader.next("new-message", 2_000).catch(() => {});
              if (isOver || !chance(25)) continue;
              await lose(reader);
              assert.equal(await back(s, reader), true);
            }
          }),
        );
        await speaking;
        for (const [k, reader] of readers.entries()) {
          for (const room of rooms.slice(0, 1 + (k % 2))) {
            await reader.fence(room);
            await reader.fence(room);
            assert.deepEqual(seqs(reader, room), gapless(total), `reader ${k}`);
          }
        }
      },
      { timeout: 300_000 },
    );
  }
});
