/** The conversations of one site: who waits, who is served, what is unread. */
import { Changes } from "./changes.js";
import { personName } from "./crowd.js";
import { Refusal } from "./session.js";
import { at, serverSaid } from "./time.js";

/** @import { Session } from "./session.js" */

/**
 * @typedef {{userId: string, userName: string}} Person
 *
 * @typedef {object} Summary
 * @property {string} roomId
 * @property {string} [domainId]
 * @property {"open" | "waiting" | "live" | "closed"} state
 * @property {Person | null} [assignee]
 * @property {Person} [customer]
 * @property {{id: string, seq: number, message: string, userId: string, userName: string, role: string, timestamp: string}} [lastMessage]
 * @property {number} seq
 * @property {number} [unread]
 * @property {{url?: string, title?: string}} [page]
 * @property {{score: number, comment?: string}} [rating]
 * @property {string} [waitingSince]
 * @property {string} createdAt
 * @property {string} updatedAt
 *
 * @typedef {"waiting" | "mine" | "open" | "closed"} Box
 */

const PAGE = 200;
/** So many of the newest are had; those before them are found by searching. */
const ROOMS_MAX = 2_000;

export class Desk extends Changes {
  #session;
  #domainId;
  /** @type {Map<string, Summary>} */
  #rooms = new Map();
  /** how far this agent has read @type {Map<string, number>} */
  #read = new Map();
  /** @type {readonly Summary[] | undefined} */
  #sorted;
  /** @type {string | undefined} */
  #cursor;
  isKnown = false;
  #isLoading = false;
  /** the one that is being looked at: nothing in it is unread */
  openRoom = "";
  /** @type {(room: Summary, before: Summary | undefined) => void} */
  onNews = () => {};
  /** @type {(() => void)[]} */
  #stops;

  /** @param {Session} session @param {string} domainId */
  constructor(session, domainId) {
    super();
    this.#session = session;
    this.#domainId = domainId;
    const { weeziq } = session;
    this.#stops = [
      weeziq.on("status", ({ state }) => state === "open" && this.load()),
      weeziq.on("frame", (frame) => this.#hear(frame)),
    ];
    if (weeziq.state === "open") this.load();
  }

  stop() {
    for (const stop of this.#stops) stop();
  }

  /** Those who wait first, the longest wait before all; then by what happened last. @returns {readonly Summary[]} */
  get rooms() {
    this.#sorted ??= [...this.#rooms.values()].sort(before);
    return this.#sorted;
  }

  /** @param {string} roomId */
  room(roomId) {
    return this.#rooms.get(roomId);
  }

  /** @param {string} userId or the visitor's name, which is the room's @returns {Summary | undefined} the newest conversation of a customer */
  roomOf(userId) {
    return this.rooms.find((room) => room.customer?.userId === userId) ?? this.#rooms.get(userId);
  }

  /** @param {Box} box @param {string} [search] */
  list(box, search = "") {
    const me = this.#session.agent.userId;
    const isIn = {
      waiting: (/** @type {Summary} */ { state }) => state === "waiting",
      mine: (/** @type {Summary} */ { state, assignee }) => state !== "closed" && assignee?.userId === me,
      open: (/** @type {Summary} */ { state }) => state !== "closed",
      closed: (/** @type {Summary} */ { state }) => state === "closed",
    }[box];
    const words = search.trim().toLowerCase();
    return this.rooms.filter((room) => isIn(room) && (!words || textOf(room).includes(words)));
  }

  /** @param {Summary} room */
  unread({ roomId, seq, unread = 0, lastMessage }) {
    if (roomId === this.openRoom && document.visibilityState === "visible") return 0;
    if (lastMessage?.userId === this.#session.agent.userId) return 0;
    const read = this.#read.get(roomId);
    return read === undefined ? unread : Math.max(0, seq - read);
  }

  get waiting() {
    return this.list("waiting").length;
  }

  get unreadRooms() {
    return this.rooms.filter((room) => room.state !== "closed" && this.unread(room) > 0).length;
  }

  /** @param {string} roomId @param {number} seq */
  markRead(roomId, seq) {
    if ((this.#read.get(roomId) ?? 0) >= seq) return;
    this.#read.set(roomId, seq);
    this.tell();
  }

  /** All of the newest, a page at a time: the first is shown before the last is here. */
  async load() {
    if (this.#isLoading) return;
    this.#isLoading = true;
    const asked = new URLSearchParams({ domainId: this.#domainId, userId: this.#session.agent.userId, limit: String(PAGE) });
    try {
      // However long they have waited, they are not to be found on the last page.
      const { rooms: waiting } = await this.#session.api(`/rooms?${asked}&state=waiting`);
      for (const room of waiting) this.#put(room);
      do {
        const { rooms, cursor } = await this.#session.api(`/rooms?${asked}`);
        for (const room of rooms) this.#put(room);
        this.isKnown = true;
        this.#changed();
        this.#cursor = cursor;
        if (cursor) asked.set("cursor", cursor);
      } while (this.#cursor && this.#rooms.size < ROOMS_MAX);
    } catch (error) {
      // The connection tells of a server that is down, and coming back loads again.
      if (error instanceof Refusal) this.isKnown = true;
      this.tell();
    } finally {
      this.#isLoading = false;
    }
  }

  /** What was read by address, or answered to a deed. @param {Summary} room */
  put(room) {
    this.#put(room);
    this.#changed();
  }

  /** @param {string} roomId */
  remove(roomId) {
    this.#rooms.delete(roomId);
    this.#changed();
  }

  /**
   * @param {string} roomId @param {"assign" | "close" | "reopen"} deed @param {object} [body]
   * @returns {Promise<void>}
   */
  async act(roomId, deed, body = {}) {
    const room = await this.#session.api(`/rooms/${encodeURIComponent(roomId)}/${deed}`, { method: "POST", json: body });
    if (room?.roomId) this.put(room);
  }

  /** @param {any} frame */
  #hear(frame) {
    if (frame.type !== "room-updated" || !frame.room?.roomId) return;
    if (frame.room.domainId !== undefined && frame.room.domainId !== this.#domainId) return;
    serverSaid(frame.timestamp);
    const known = this.#rooms.get(frame.room.roomId);
    // Told to all alike, so without what this agent has not read.
    if (known && this.#read.get(known.roomId) === undefined) this.#read.set(known.roomId, known.seq - (known.unread ?? 0));
    if (!known) this.#read.set(frame.room.roomId, 0);
    this.#put(frame.room);
    this.#changed();
    this.onNews(frame.room, known);
  }

  /** @param {Summary} room */
  #put(room) {
    const known = this.#rooms.get(room.roomId);
    // A page of the list may be older than what was pushed meanwhile.
    if (known && at(known.updatedAt) > at(room.updatedAt)) return;
    this.#rooms.set(room.roomId, room);
  }

  #changed() {
    this.#sorted = undefined;
    this.tell();
  }
}

/** @param {Summary} a @param {Summary} b */
function before(a, b) {
  const [aWaits, bWaits] = [a.state === "waiting", b.state === "waiting"];
  if (aWaits !== bWaits) return aWaits ? -1 : 1;
  if (aWaits) return at(a.waitingSince) - at(b.waitingSince);
  return at(b.updatedAt) - at(a.updatedAt);
}

/** @param {Summary} room */
function textOf({ roomId, customer, lastMessage, page, assignee }) {
  return [roomId, customer?.userName, customer?.userId, lastMessage?.message, page?.title, page?.url, assignee?.userName].join("\n").toLowerCase();
}

/** @param {Summary | undefined} room @param {string} roomId */
export function nameOf(room, roomId) {
  return room?.customer ? personName(room.customer, roomId) : roomId;
}
