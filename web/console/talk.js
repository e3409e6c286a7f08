/** One conversation as an agent in it sees it: what was said, what is being said, who is there. */
import { Changes } from "./changes.js";
import { serverSaid } from "./time.js";

/** @import { Message, Outgoing, Room, User } from "/client/index.js" */
/** @import { Session } from "./session.js" */

/**
 * @typedef {{name: string, title?: string, text?: string}} Source
 * @typedef {{key?: string, name: string, size?: number, contentType?: string, url?: string, width?: number, height?: number}} Attachment
 *
 * @typedef {Message & {sources?: Source[], isEdited?: boolean}} Said
 * @typedef {{kind: "message", key: string, seq: number, timestamp: string, version: number, message: Said}} MessageEntry
 * @typedef {{kind: "notice", key: string, seq: number, timestamp: string, version: number, text: string}} NoticeEntry
 * @typedef {MessageEntry | NoticeEntry} Entry
 *
 * @typedef {{text: string, next: number, isCut: boolean}} Answer what the AI is writing; `isCut`: its beginning was before us
 */

/** Older ones can be had again. A room that says 500 a second fills this in ten seconds. */
const ENTRIES_MAX = 5_000;
const OLDER_PAGE = 100;
const STAFF = /^(agent|admin)$/;

export class Talk extends Changes {
  #session;
  #room;
  id;
  /** @type {Entry[]} */
  entries = [];
  /** how many of the oldest were let go or put before since the beginning, so that a place in the list can be kept */
  shift = 0;
  hasOlder = false;
  isLoadingOlder = false;
  isKnown = false;
  /** people have taken over: no AI is heard */
  isLive = false;
  /** by conversation @type {Map<string, Answer>} */
  answers = new Map();
  /** the server would not take these @type {(Outgoing & {why: string})[]} */
  refused = [];
  /** who types, by user @type {Map<string, string>} */
  typing = new Map();
  /** how far others have read, by user @type {Map<string, number>} */
  reads = new Map();
  /** @type {User[]} */
  users = [];
  /** why we are not let in */
  error = "";
  /** @type {(() => void)[]} */
  #stops = [];
  /** when a person was asked for, the last time */
  #askedAt = "";

  /** @param {Session} session @param {string} domainId @param {string} roomId @param {boolean} isLive as the list has it */
  constructor(session, domainId, roomId, isLive) {
    super();
    this.id = roomId;
    this.isLive = isLive;
    this.#session = session;
    const { userId, userName, role } = session.agent;
    this.#room = session.weeziq.join(roomId, { userId, userName, role: STAFF.test(role) ? role : "agent", domainId });
    this.#listen(this.#room);
    if (this.#room.position) this.#begin();
  }

  /** In it already, for what was still to be sent when it was left: nobody tells of its past again. */
  async #begin() {
    const { messages, hasMore } = await this.#room.history().catch(() => ({ messages: [], hasMore: true }));
    const known = new Set(messages.map(({ id }) => id));
    this.entries = [...messages.map(entryOf), ...this.entries.filter(({ key }) => !known.has(key))];
    this.hasOlder = hasMore;
    this.isKnown = true;
    this.tell();
  }

  /** Messages that wait to be sent keep the room until they are. */
  stop() {
    for (const stop of this.#stops) stop();
    const room = this.#room;
    const leaveIfSaid = () => void (room.pending.length === 0 && room.leave());
    room.on("sent", leaveIfSaid);
    room.on("failed", leaveIfSaid);
    leaveIfSaid();
  }

  get me() {
    return this.#session.agent.userId;
  }

  /** @returns {Outgoing[]} */
  get pending() {
    return this.#room.pending;
  }

  get seq() {
    return this.#room.position?.seq ?? 0;
  }

  /** Other agents in this room. */
  get colleagues() {
    return this.users.filter(({ userId, role }) => userId !== this.me && STAFF.test(role));
  }

  /** The first who is neither of us nor a machine. */
  get customer() {
    return this.users.find(({ role }) => role === "user" || role === "customer");
  }

  /** @param {Room} room */
  #listen(room) {
    const on = (/** @type {any} */ name, /** @type {(value: any) => void} */ hear) => {
      const heard = (/** @type {any} */ value) => {
        hear(value);
        this.tell();
      };
      this.#stops.push(/** @type {any} */ (room).on(name, heard));
    };
    on("joined", ({ liveAgent, timestamp }) => {
      serverSaid(timestamp);
      this.isLive = liveAgent;
      // What was being written may have ended while we were away; whoever still writes is heard again.
      this.answers.clear();
      this.typing.clear();
    });
    on("history", ({ messages, hasMore }) => {
      this.entries = messages.map(entryOf);
      this.hasOlder = hasMore;
      this.isKnown = true;
    });
    on("message", (message) => this.#said(message));
    on("updated", ({ id, message }) => this.#edit(id, (said) => ({ ...said, message, isEdited: true })));
    on("deleted", ({ id }) => {
      this.entries = this.entries.filter(({ key }) => key !== id);
    });
    on("agent", ({ enabled, userId, seq, timestamp }) => {
      this.isLive = enabled;
      this.answers.clear();
      const name = this.#nameOf(userId);
      this.#put({ kind: "notice", key: `seq-${seq}`, seq, timestamp, version: 0, text: enabled ? `${name} took over. The AI is silent.` : `${name} handed back to the AI.` });
    });
    on("human-requested", ({ userName, reason, timestamp }) => {
      // Told to us twice: as a member, and as one who watches the site.
      if (timestamp === this.#askedAt) return;
      this.#askedAt = timestamp;
      const text = `${userName || "The visitor"} asks for a person${reason ? `: ${reason}` : "."}`;
      this.#put({ kind: "notice", key: `asked-${timestamp}`, seq: this.seq, timestamp, version: 0, text });
    });
    on("ai-stream-chunk", (chunk) => this.#chunk(chunk));
    on("ai-stream-complete", ({ conversationId }) => this.answers.delete(conversationId));
    on("room-users", ({ users }) => (this.users = users));
    on("user-left", ({ userId }) => this.typing.delete(userId));
    on("user-typing", ({ userId, userName, isTyping }) => {
      if (isTyping) this.typing.set(userId, userName);
      else this.typing.delete(userId);
    });
    on("message-read", ({ userId, seq }) => this.reads.set(userId, Math.max(seq, this.reads.get(userId) ?? 0)));
    on("queued", () => {});
    on("sent", () => {});
    on("failed", ({ clientMessageId, message, attachments, error }) => {
      if (error.code !== "closed") this.refused.push({ clientMessageId, message, attachments, why: error.message });
    });
    on("error", (error) => {
      if (room.error) this.error = error.message;
    });
  }

  /** @param {Said} message */
  #said(message) {
    this.typing.delete(message.userId);
    if (message.role === "assistant") this.answers.clear();
    this.#put(entryOf(message));
  }

  /** @param {Entry} entry */
  #put(entry) {
    this.entries.push(entry);
    // In one go, as each removal at the front moves all that follow.
    if (this.entries.length < ENTRIES_MAX * 1.2) return;
    this.shift -= this.entries.splice(0, this.entries.length - ENTRIES_MAX).length;
    this.hasOlder = true;
  }

  /** @param {string} id @param {(said: Said) => Said} change */
  #edit(id, change) {
    const entry = this.entries.find(({ key }) => key === id);
    if (entry?.kind !== "message") return;
    entry.message = change(entry.message);
    entry.version += 1;
  }

  /** @param {{conversationId: string, index: number, chunk: string}} chunk */
  #chunk({ conversationId, index, chunk }) {
    if (this.isLive) return;
    const answer = this.answers.get(conversationId) ?? { text: "", next: index, isCut: index > 0 };
    if (index < answer.next) return;
    answer.text += chunk;
    answer.next = index + 1;
    this.answers.set(conversationId, answer);
    this.typing.delete("assistant");
  }

  /** @param {string} userId */
  #nameOf(userId) {
    if (userId === this.me) return "You";
    const spoke = this.entries.findLast((entry) => entry.kind === "message" && entry.message.userId === userId);
    if (spoke?.kind === "message") return spoke.message.userName;
    return this.users.find((user) => user.userId === userId)?.userName ?? "An agent";
  }

  async older() {
    const [first] = this.entries;
    if (!this.hasOlder || this.isLoadingOlder || !first) return;
    this.isLoadingOlder = true;
    this.tell();
    try {
      const { messages, hasMore } = await this.#room.history({ beforeSeq: first.seq, limit: OLDER_PAGE });
      // Replaced meanwhile by another log.
      if (this.entries[0] !== first) return;
      this.entries.unshift(...messages.map(entryOf));
      this.shift += messages.length;
      this.hasOlder = hasMore;
    } catch {
      // Asked again at the next scroll.
    } finally {
      this.isLoadingOlder = false;
      this.tell();
    }
  }

  /** @param {string} message @param {Attachment[]} attachments */
  send(message, attachments) {
    // How it ends is told by `sent` and `failed`.
    this.#room.send({ message, ...(attachments.length > 0 && { attachments }) }).catch(() => {});
    this.tell();
  }

  /** @param {Outgoing} refused */
  again({ clientMessageId, message, attachments = [] }) {
    this.refused = this.refused.filter((one) => one.clientMessageId !== clientMessageId);
    this.send(message, attachments);
  }

  /** @param {boolean} isLive */
  takeOver(isLive) {
    this.#room.liveAgent(isLive);
  }

  /** @param {boolean} isTyping */
  type(isTyping) {
    this.#room.typing(isTyping);
  }

  markRead() {
    if (this.isKnown) this.#room.markRead();
  }
}

/** @param {Said} message @returns {MessageEntry} */
function entryOf(message) {
  return { kind: "message", key: message.id, seq: message.seq, timestamp: message.timestamp, version: 0, message };
}

/** @param {string} role */
export const isStaff = (role) => STAFF.test(role);
