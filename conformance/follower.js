/**
 * Someone who always comes back: each new connection resumes where the last one ended. What it has heard over all of them
 * must be the room's log, each place once and in order.
 */
import assert from "node:assert/strict";

/** What has a place in a room's log. */
export const LOGGED = ["new-message", "message-updated", "message-deleted", "live-agent-toggled"];

export class Follower {
  /** the log as it was heard, the frames as the bytes they were @type {string[]} */
  heard = [];
  /** @type {import("./client.js").Client | null} */
  client = null;
  /** frames of `client` that are in `heard` already, or do not belong there */
  #looked = 0;
  #connections = 0;

  /**
   * @param {import("./scenario.js").Scenario} s
   * @param {string} room
   * @param {string} userId
   * @param {{epoch?: string, how?: object, guardMs?: number}} [options] `how` it connects
   */
  constructor(s, room, userId, { epoch, how = {}, guardMs } = {}) {
    this.s = s;
    this.room = room;
    this.userId = userId;
    this.epoch = epoch;
    this.guardMs = guardMs;
    this.how = guardMs ? { handshakeTimeout: guardMs, ...how } : how;
  }

  get lastSeq() {
    return this.heard.length;
  }

  /** Connects and joins: the room as it is at first, from then on where it stopped. */
  async return() {
    this.#absorb();
    const { s, room, userId, how } = this;
    const client = await s.connect(how);
    [this.client, this.#looked] = [client, 0];
    this.#connections += 1;
    const from = this.epoch ? { epoch: this.epoch, lastSeq: this.lastSeq } : {};
    client.send({ type: "join-room", roomId: room, userId, userName: userId, ...from });
    const joined = await client.next({ type: "joined-room", roomId: room }, this.guardMs);
    if (this.epoch) assert.deepEqual([joined.resumed, joined.epoch], [true, this.epoch], `${userId} resumes after ${this.lastSeq}: ${JSON.stringify(joined)}`);
    else assert.equal(joined.seq, 0, "whoever follows from the start begins with an empty room");
    this.epoch = joined.epoch;
    return joined;
  }

  /** Waits until it has heard so many in all. @param {number} seq */
  async hear(seq) {
    if (seq > this.lastSeq) await this.client.next((f) => LOGGED.includes(f.type) && f.roomId === this.room && f.seq >= seq, this.guardMs);
    this.#absorb();
    assert.ok(this.lastSeq >= seq, `${this.userId} has heard up to ${this.lastSeq}, expected ${seq}`);
  }

  /** Loses its connection, with whatever is under way. */
  async die() {
    await this.client.die();
    this.#absorb();
  }

  #absorb() {
    if (!this.client) return;
    for (; this.#looked < this.client.frames.length; this.#looked += 1) {
      const frame = this.client.frames[this.#looked];
      if (!LOGGED.includes(frame.type) || frame.roomId !== this.room) continue;
      const raw = this.client.raw[this.#looked];
      assert.equal(frame.seq, this.lastSeq + 1, `${this.userId}, connection ${this.#connections}: after ${this.heard.at(-1)} came ${raw}`);
      this.heard.push(raw);
    }
  }
}

/** The log as it is stored: a stranger who resumes from nothing. @returns {Promise<{raw: string[], frames: import("./client.js").Frame[]}>} */
export async function storedLog(s, room, epoch) {
  const reader = new Follower(s, room, s.unique("reader"), { epoch });
  const { seq } = await reader.return();
  await reader.hear(seq);
  return { raw: reader.heard, frames: reader.heard.map((raw) => JSON.parse(raw)) };
}
