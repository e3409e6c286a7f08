/** The host dies under hundreds of clients, and all of them come back in the same moment. */
import assert from "node:assert/strict";
import { Follower, storedLog } from "../follower.js";
import { say, sayMany, suite } from "../scenario.js";

const { scenario } = suite();

const CLIENTS = 500;
const ROOMS = 10;
const EACH_SAYS = 20;
/** All at once on a busy machine: a guard that only a hang should meet. */
const CROWD_GUARD_MS = 120_000;

scenario(`${CLIENTS} clients at once after kill -9: all are back, resumed, with every message once`, async (s) => {
  const rooms = Array.from({ length: ROOMS }, () => s.unique("room"));
  const speakers = [];
  const followers = [];
  for (const room of rooms) speakers.push(await s.member(room, "speaker"));
  for (let n = 0; n < CLIENTS; n += 1) {
    const room = rooms[n % ROOMS];
    followers.push(new Follower(s, room, `client-${n}`, { epoch: speakers[n % ROOMS].joined.epoch, guardMs: CROWD_GUARD_MS, how: n % 2 ? { query: `?roomId=${room}` } : {} }));
  }
  await Promise.all(followers.map((follower) => follower.return()));
  // One in five is gone before the others, and so has more to catch up on.
  await Promise.all(followers.filter((_, n) => n % 5 === 0).map((follower) => follower.die()));
  await Promise.all(speakers.map((speaker, n) => sayMany(speaker, rooms[n], "speaker", EACH_SAYS)));
  // Some of what is under way now is stored and some is not, and nobody knows.
  for (const [n, speaker] of speakers.entries()) {
    for (let word = 0; word < EACH_SAYS; word += 1) speaker.send({ type: "send-message", roomId: rooms[n], userId: "speaker", userName: "Speaker", role: "user", message: "under way", clientMessageId: `c-${word}` });
  }
  await s.host.kill9();
  await s.host.restart();

  const back = await Promise.all(followers.map((follower) => follower.return()));
  for (const joined of back) assert.equal(joined.resumed, true);
  for (const room of rooms) await say(await s.connect(), room, "speaker", "everybody back?");
  for (const [n, room] of rooms.entries()) {
    const log = await storedLog(s, room, speakers[n].joined.epoch);
    const acked = speakers[n].frames.filter((f) => f.type === "message-sent");
    for (const ack of acked) assert.equal(log.frames[ack.seq - 1]?.id, ack.id, `acknowledged: ${JSON.stringify(ack)}`);
    for (const follower of followers.filter((_, m) => m % ROOMS === n)) {
      await follower.hear(log.raw.length);
      assert.deepEqual(follower.heard, log.raw);
    }
  }
}, { timeout: 3 * CROWD_GUARD_MS });
