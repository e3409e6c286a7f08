/** Who the visitor is, the connection, the room; and what is unread in it. No element of the page is touched here. */
import { randomId } from "/client/emitter.js";
import { connect, indexedDbStorage } from "/client/index.js";
import { Memory } from "./memory.js";

/** @import { Message, Room, Visit, Weeziq } from "/client/index.js" */
/** @import { Options, Token } from "./options.js" */
/** @import { Words } from "./words.js" */

/**
 * @typedef {{token?: Token, userName?: string}} Who
 *
 * @typedef {object} Site what a visitor's page may know of its domain
 * @property {string} [name]
 * @property {string} [welcomeMessage]
 * @property {boolean} [isOpen]
 * @property {string} [opensAt]
 * @property {boolean} [autoReply]
 *
 * @typedef {object} Ears
 * @property {(count: number) => void} unread
 * @property {(name: string, detail?: object) => void} tell
 */

const SITE_WITHIN_MS = 8_000;
const UNREAD_MAX = 100;

export class Session {
  /** @type {Weeziq} */
  weeziq;
  roomId;
  userId;
  userName;
  /** What the server says of the domain; nothing if it says nothing. @type {Promise<Site>} */
  site;
  memory;
  /** while it is seen, what comes is read @type {boolean} */
  isSeen = false;
  /** people answer, not the AI */
  isLive = false;
  #ears;
  #options;
  /** @type {Room | undefined} */
  #room;
  #unread = 0;
  /** @type {Visit | undefined} */
  #visit;

  /** @param {Options} options @param {Words} words @param {Ears} ears */
  constructor(options, words, ears) {
    const { server, domain, token } = options;
    this.#ears = ears;
    this.#options = options;
    this.memory = new Memory(domain);
    // A visitor without a token is who this browser says it is.
    const claims = typeof token === "string" ? claimsOf(token) : {};
    if (!this.memory.kept.userId) this.memory.keep({ userId: randomId() });
    this.userId = claims.sub ?? this.memory.kept.userId ?? "";
    this.userName = options.userName ?? claims.name ?? `${words.visitor} ${this.userId.slice(-4)}`;

    this.weeziq = connect(new URL("ws", server), { token, storage: indexedDbStorage() });
    // The same on each device of who has a token. A visitor's room bears the visitor's name: operators speak first there.
    this.roomId = claims.rooms?.[0] ?? (claims.sub ? `${domain}-${claims.sub}` : this.userId);
    this.site = this.#ask();
    if (options.isTracking) this.#visit = this.weeziq.visitors.track(domain, { visitorId: this.roomId });
    this.#listen();
    if (this.memory.kept.room === this.roomId) this.enter();
  }

  /**
   * Joined when it is first needed: opened, written in, or somebody has spoken there. A page that is only looked at has none,
   * since a room is made by whoever joins it.
   */
  enter() {
    return (this.#room ??= this.#join());
  }

  get room() {
    return this.enter();
  }

  #join() {
    const { userId, userName, roomId, weeziq } = this;
    const room = weeziq.join(roomId, { userId, userName, role: "customer", domainId: this.#options.domain });
    this.memory.keep({ room: roomId });
    this.#hear(room);
    return room;
  }

  /** @returns {Promise<Site>} */
  async #ask() {
    const { server, domain } = this.#options;
    try {
      const reply = await fetch(new URL(`domains/${encodeURIComponent(domain)}/widget`, server), { signal: AbortSignal.timeout(SITE_WITHIN_MS) });
      return reply.ok ? await reply.json() : {};
    } catch {
      return {};
    }
  }

  /** @param {Room} room */
  #hear(room) {
    const isUnread = (/** @type {Message} */ message) => message.userId !== this.userId && message.seq > (this.memory.kept.read ?? 0);
    room.on("history", ({ messages }) => this.#count(messages.filter(isUnread).length));
    room.on("joined", ({ liveAgent }) => (this.isLive = liveAgent));
    room.on("agent", ({ enabled }) => (this.isLive = enabled));
    room.on("message", (message) => {
      this.#ears.tell("message", { message });
      if (message.userId !== this.userId) this.#count(this.#unread + 1);
    });
    // Shown where it matters, and no line in the console of somebody's page.
    room.on("error", () => {});
  }

  #listen() {
    const { roomId: ours, weeziq } = this;
    weeziq.on("status", ({ state, error }) => {
      if (state !== "waiting" || !weeziq.token) return;
      if (error?.code === "refused" || error?.code === "unauthorized") this.#ears.tell("unauthorized");
    });
    weeziq.on("frame", ({ type, roomId, conversationId, model, provider }) => {
      const isOurs = roomId === ours || conversationId === ours;
      if (type === "message-waiting" && isOurs) this.enter();
      if (type === "ai-stream-complete" && isOurs) this.#ears.tell("answer", { model, provider });
    });
    // A storage that is full.
    weeziq.on("error", () => {});
  }

  /** @param {number} count */
  #count(count) {
    if (this.isSeen && document.visibilityState === "visible") return this.read();
    this.#unread = Math.min(count, UNREAD_MAX);
    this.#ears.unread(this.#unread);
  }

  /** All that came was seen. */
  read() {
    const seq = this.room.position?.seq ?? 0;
    this.room.markRead();
    if (seq > (this.memory.kept.read ?? 0)) this.memory.keep({ read: seq });
    if (!this.#unread) return;
    this.#unread = 0;
    this.#ears.unread(0);
  }

  /** @param {string} path @param {object} body */
  async post(path, body) {
    const headers = { "content-type": "application/json", ...(this.weeziq.token && { authorization: `Bearer ${this.weeziq.token}` }) };
    const reply = await fetch(new URL(path, this.#options.server), { method: "POST", headers, body: JSON.stringify(body) });
    if (!reply.ok) throw new Error((await reply.json().catch(() => ({}))).error ?? `${reply.status}`);
  }

  close() {
    this.#visit?.stop();
    this.weeziq.close();
  }
}

/** What a token says of its bearer. Only the server can say whether that is true. @param {string} token @returns {{sub?: string, name?: string, rooms?: string[]}} */
function claimsOf(token) {
  try {
    const bytes = Uint8Array.from(atob((token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
    const { sub, name, rooms } = JSON.parse(new TextDecoder().decode(bytes));
    return { sub, name, rooms };
  } catch {
    return {};
  }
}
