/** Scenarios against one running host: each file starts its own, each scenario uses rooms and domains of its own. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { randomUUID } from "node:crypto";
import { Client } from "./client.js";
import { createHost } from "./hosts/index.js";
import { SocketIoClient } from "./socketio.js";

/** Three files beside each other on two cores: only a hang should meet this. */
const SCENARIO_MS_MAX = 180_000;
const LOG_TAIL_LINES = 40;
const SAY_BATCH = 30;

/** Limits off, for every test that is not about them: they count per connection, user, address and endpoint, which tests share. */
export const UNLIMITED = { EVENTS_PER_SEC: "0", AI_PER_USER_PER_MIN: "0", AI_PER_IP_PER_MIN: "0", AI_BREAKER_FAILURES: "0" };

/** @typedef {Record<string, string | undefined>} Settings `undefined` leaves a setting at the host's default */
/** @typedef {keyof import("./hosts/index.js").Capabilities} Capability */

/**
 * One host for the scenarios of a file or of a `describe`.
 * @param {Settings | (() => Settings | Promise<Settings>)} [env] settings on top of {@link UNLIMITED}; a function is asked
 *   just before the start, for what is known only then (the port of a mock)
 * @param {{needs?: Capability, evictable?: boolean, storageBytes?: number}} [options] for all of its scenarios; a host that lacks
 *   what they need is not even started. `evictable`: what can be evicted will be, if the host has `eviction` at all
 */
export function suite(env = {}, { needs: allNeed, evictable = allNeed === "eviction", storageBytes } = {}) {
  const host = createHost();
  const lacking = allNeed && lacks(allNeed);
  before(async () => {
    if (lacking) return;
    await host.start({ ...UNLIMITED, ...(typeof env === "function" ? await env() : env) }, { evictable, panics: allNeed === "panics", storageBytes });
  });
  after(() => host.dispose());

  /**
   * @param {string} name what happens, in the words of the field
   * @param {(s: Scenario) => Promise<void>} play
   * @param {{needs?: Capability, timeout?: number}} [options]
   */
  function scenario(name, play, { needs, timeout = SCENARIO_MS_MAX } = {}) {
    const skip = lacking || (needs ? lacks(needs) : false);
    test(name, { timeout, skip }, async (t) => {
      const s = new Scenario(host);
      try {
        await play(s);
      } catch (error) {
        for (const line of ["the host's log ends with:", ...host.logs().trimEnd().split("\n").slice(-LOG_TAIL_LINES)]) t.diagnostic(line);
        throw error;
      } finally {
        await s.leave();
      }
    });
  }
  return { host, scenario };
}

/** Why a test is skipped, or false if the host under test has what it needs. @param {Capability} capability */
export function lacks(capability) {
  const has = createHost().capabilities[capability];
  return typeof has === "string" ? has : has ? false : `this host has no ${capability}`;
}

/** What a scenario is played with. */
export class Scenario {
  /** @type {Client[]} */
  #clients = [];
  /** @type {SocketIoClient[]} */
  #socketIo = [];

  /** @param {import("./hosts/index.js").Host} host */
  constructor(host) {
    this.host = host;
  }

  /** A name that no other scenario uses, valid as any id. @param {string} kind */
  unique(kind) {
    return `${kind}-${randomUUID().slice(0, 8)}`;
  }

  url(path) {
    return `${this.host.baseUrl}${path}`;
  }

  /** @param {import("ws").ClientOptions & {path?: string, query?: string}} [options] */
  async connect({ path = "/ws", query = "", ...options } = {}) {
    const client = await Client.connect(`${this.host.wsUrl.replace(/\/ws$/, path)}${query}`, options);
    this.#clients.push(client);
    return client;
  }

  /**
   * Connects and joins a room; the replies of the join are taken.
   * @param {string} roomId @param {string} userId @param {Record<string, unknown>} [more] fields of the join
   * @param {Parameters<Scenario["connect"]>[0]} [how] of its connection
   * @returns {Promise<Client & {joined: import("./client.js").Frame}>}
   */
  async member(roomId, userId, more = {}, how = {}) {
    const client = await this.connect(how);
    client.joined = await join(client, roomId, userId, more);
    return client;
  }

  /** Connects as the stock Socket.IO client does. @param {ConstructorParameters<typeof SocketIoClient>[1]} [options] */
  async socketIo(options) {
    const client = await SocketIoClient.connect(this.host.baseUrl, options);
    this.#socketIo.push(client);
    return client;
  }

  /** The same, and joins a room; the replies of the join are taken. */
  async socketIoMember(roomId, userId, options, more = {}) {
    const client = await this.socketIo(options);
    client.joined = await join(client, roomId, userId, more);
    return client;
  }

  async leave() {
    for (const client of this.#socketIo) client.close();
    for (const client of this.#clients) client.socket.terminate();
  }
}

/** Joins, and waits until the room has told this connection who is there, so that later news are not of this join. */
export async function join(client, roomId, userId, more = {}) {
  const joined = await client.ask({ type: "join-room", roomId, userId, userName: nameOf(userId), ...more }, "joined-room");
  await client.next((f) => f.type === "room-users" && f.roomId === roomId && f.users.some((u) => u.userId === userId));
  return joined;
}

/** Says something and takes the ack. */
export function say(client, roomId, userId, message, more = {}) {
  return client.ask(
    { type: "send-message", roomId, userId, userName: nameOf(userId), role: "user", message, ...more },
    "message-sent",
  );
}

/**
 * Says `count` things quickly, yet never more at once than a member's bounded queue holds.
 * @returns {Promise<import("./client.js").Frame[]>} the acks, in order
 */
export async function sayMany(client, roomId, userId, count, messageOf = (n) => `message ${n}`) {
  const acks = [];
  for (let from = 1; from <= count; from += SAY_BATCH) {
    const size = Math.min(SAY_BATCH, count - from + 1);
    for (let n = from; n < from + size; n += 1) {
      client.send({ type: "send-message", roomId, message: messageOf(n), userId, userName: nameOf(userId), role: "user" });
    }
    acks.push(...(await client.take(size, { type: "message-sent", roomId })));
  }
  return acks;
}

/** Asks for a stream and takes all of it. */
export async function streamAnswer(client, question) {
  client.send({ type: "ai-stream", ...question });
  const complete = await client.next("ai-stream-complete");
  const chunks = client.unread({ type: "ai-stream-chunk", conversationId: complete.conversationId });
  assert.deepEqual(chunks.map((f) => f.index), chunks.map((_, n) => n), "chunks are counted from 0 without a gap");
  return { chunks, complete, joined: chunks.map((f) => f.chunk).join("") };
}

/** "ann-1a2b" is called "Ann". */
export function nameOf(userId) {
  const name = userId.split("-")[0];
  return name[0].toUpperCase() + name.slice(1);
}
