/**
 * Nothing lost, nothing twice: a room under load whose host is killed again and again. Who writes sends again what was not
 * acknowledged; who reads always resumes. Where the host is cut down, who drops out and who says what is up to a seed;
 * `WEEZIQ_SEED` plays one again.
 */
import assert from "node:assert/strict";
import { dice, SEEDS } from "../dice.js";
import { Follower, LOGGED, storedLog } from "../follower.js";
import { join, nameOf, suite } from "../scenario.js";

const { scenario } = suite();

const KILLS = 2;
/** Events of one writer between two kills: with three of them and three rounds, fewer than a resume replays. */
const BURST = 50;
const ROUNDS_MS_MAX = 300_000;

/** Who keeps what is not acknowledged and sends it again. */
class Writer {
  /** events by their clientMessageId, until acknowledged @type {Map<string, object>} */
  unacked = new Map();
  /** @type {import("../client.js").Frame[]} */
  acks = [];
  /** acknowledgements of edits and deletions @type {import("../client.js").Frame[]} */
  changes = [];
  #count = 0;
  #looked = 0;

  constructor(s, room, userId, pick) {
    this.s = s;
    this.room = room;
    this.userId = userId;
    this.pick = pick;
  }

  async arrive() {
    this.client = await this.s.connect();
    this.#looked = 0;
    await join(this.client, this.room, this.userId, { role: "agent" });
  }

  /** Sends `count` events and waits for none. */
  speak(count) {
    for (let n = 0; n < count; n += 1) {
      const known = this.pick.chance(30) && this.acks.length > 0 ? this.pick.one(this.acks) : null;
      if (known) this.#change(known);
      else this.#say();
    }
  }

  #say() {
    this.#count += 1;
    const clientMessageId = `${this.userId}-${this.#count}`;
    const event = { type: "send-message", roomId: this.room, userId: this.userId, userName: nameOf(this.userId), role: "agent", clientMessageId, message: `${clientMessageId} at first` };
    this.unacked.set(clientMessageId, event);
    this.client.send(event);
    // Needlessly impatient, as clients are.
    if (this.pick.chance(10)) this.client.send({ ...event, message: `${clientMessageId} in haste` });
  }

  #change({ id: messageId }) {
    const roomId = this.room;
    this.client.send(this.pick.one([
      { type: "edit-message", roomId, messageId, message: "edited", id: "change" },
      { type: "edit-message", roomId, messageId, message: "edited again", id: "change" },
      { type: "delete-message", roomId, messageId, id: "change" },
      { type: "toggle-live-agent", roomId, enabled: this.pick.chance(50) },
    ]));
  }

  /** Takes note of all that came, and finds nothing but what may come. */
  look() {
    for (const frame of this.client.frames.slice(this.#looked)) {
      if (frame.type === "message-sent" && frame.clientMessageId) {
        this.acks.push(frame);
        this.unacked.delete(frame.clientMessageId);
      } else if (frame.type === "message-sent") this.changes.push(frame);
      // Two may want to change the same message, and one of them to delete it.
      else if (frame.type === "error") assert.deepEqual([frame.code, frame.replyTo], ["not_found", "change"], JSON.stringify(frame));
    }
    this.#looked = this.client.frames.length;
  }

  /** Comes back and says again, now and then in other words, what it does not know to be heard. */
  async again() {
    this.look();
    await this.arrive();
    for (const event of this.unacked.values()) {
      this.client.send(this.pick.chance(50) ? event : { ...event, message: `${event.clientMessageId} once more` });
    }
  }

  async settle() {
    for (const clientMessageId of [...this.unacked.keys()]) await this.client.next({ type: "message-sent", clientMessageId });
    // Whatever it changed or said twice is answered by then.
    await this.client.fence(this.room);
    this.look();
    assert.deepEqual([...this.unacked.keys()], []);
  }
}

for (const seed of SEEDS) {
  scenario(`seed ${seed}: killed ${KILLS} times under load, everyone has the one log, and every message is in it once`, async (s) => {
    const [room, pick] = [s.unique("room"), dice(seed)];
    const [steady, restless] = [new Follower(s, room, "steady"), new Follower(s, room, "restless", { how: { query: `?roomId=${room}` } })];
    for (const follower of [steady, restless]) await follower.return();
    const writers = ["ann", "bob", "cid"].map((userId) => new Writer(s, room, userId, pick));
    for (const writer of writers) await writer.arrive();
    await oneOfEach(writers[0]);

    for (let kill = 0; kill < KILLS; kill += 1) {
      for (const writer of writers) writer.speak(BURST);
      if (pick.chance(50)) await restless.hear(restless.lastSeq + 1 + pick.below(20));
      await restless.die();
      await restless.return();
      await pick.one(writers).client.take(1 + pick.below(BURST / 2), "message-sent");
      await s.host.kill9();
      await s.host.restart();
      // Readers and writers come in any order.
      if (pick.chance(50)) await steady.return();
      for (const writer of writers) await writer.again();
      if (steady.client.closed) await steady.return();
      await restless.return();
    }
    for (const writer of writers) writer.speak(BURST);
    for (const writer of writers) await writer.settle();

    const log = await storedLog(s, room, steady.epoch);
    for (const follower of [steady, restless]) {
      await follower.hear(log.raw.length);
      assert.deepEqual(follower.heard, log.raw, "what was heard, live or replayed, is to the byte what is stored");
    }
    assert.deepEqual(new Set(log.frames.map((f) => f.type)), new Set(LOGGED));
    for (const writer of writers) assertOnce(writer, log.frames);
  }, { timeout: ROUNDS_MS_MAX });
}

/** So that no seed leaves out a kind of event. */
async function oneOfEach(writer) {
  const { client, room: roomId, userId } = writer;
  const say = (message) => client.ask({ type: "send-message", roomId, userId, userName: nameOf(userId), role: "agent", message }, "message-sent");
  const [{ id: kept }, { id: dropped }] = [await say("to be edited"), await say("to be deleted")];
  await client.ask({ type: "edit-message", roomId, messageId: kept, message: "edited" }, "message-sent");
  await client.ask({ type: "delete-message", roomId, messageId: dropped }, "message-sent");
  client.send({ type: "toggle-live-agent", roomId, enabled: true });
  await client.next("live-agent-toggled");
}

/** Each message of a writer is in the log once, and every acknowledgement tells of that place. */
function assertOnce({ userId, acks, changes }, log) {
  const rows = log.filter((f) => f.type === "new-message" && f.userId === userId && f.clientMessageId);
  const byId = new Map(rows.map((row) => [row.clientMessageId, row]));
  assert.equal(byId.size, rows.length, `${userId}: a clientMessageId is stored twice`);
  const place = ({ id, seq, timestamp }) => ({ id, seq, timestamp });
  for (const ack of acks) {
    const row = byId.get(ack.clientMessageId);
    assert.ok(row, `acknowledged, yet not stored: ${JSON.stringify(ack)}`);
    assert.deepEqual(place(ack), place(row), `acknowledged as ${JSON.stringify(ack)}`);
  }
  const firsts = acks.filter((ack) => ack.duplicate !== true).map((ack) => ack.clientMessageId);
  assert.equal(new Set(firsts).size, firsts.length, `${userId}: one message is acknowledged as the first one time at most`);
  for (const { id, seq, timestamp } of changes) {
    const { type, ...row } = log[seq - 1] ?? {};
    assert.ok(["message-updated", "message-deleted", "new-message"].includes(type), `${seq} is ${type}`);
    assert.deepEqual(place(row), { id, seq, timestamp });
  }
}
