/** What there is to show of a room, and how each of its events changes that. */

/** @import { Message, Outgoing, Room, User, Weeziq, WeeziqError } from "@weeziq/client" */
/** @import { Store } from "./store.js" */

/**
 * @typedef {{conversationId: string, text: string}} Writing an answer of the AI that is being written. `text` is empty if its beginning
 *   was not heard
 *
 * @typedef {object} RoomState
 * @property {"joining" | "joined" | "refused"} status `joining` also after a lost connection: what is shown stays
 * @property {WeeziqError | undefined} error why this user is refused
 * @property {Message[]} messages oldest first, edits applied, deleted ones gone
 * @property {boolean} hasMore there are earlier ones
 * @property {Outgoing[]} pending said here and not heard back yet, oldest first
 * @property {User[]} users who is there; above 200 people empty
 * @property {Person[]} typing who types, but for this user
 * @property {Writing | undefined} writing
 * @property {boolean} liveAgent people have taken over from the AI
 * @property {Readonly<Record<string, number>>} reads up to which `seq` each of the others has read, by userId
 *
 * @typedef {{userId: string, userName: string}} Person
 */

/** @type {RoomState} */
export const UNSEEN = {
  status: "joining",
  error: undefined,
  messages: [],
  hasMore: false,
  pending: [],
  users: [],
  typing: [],
  writing: undefined,
  liveAgent: false,
  reads: {},
};

const PAGE_MAX = 200;

/** @param {Weeziq} client @param {Room} room @param {Store<RoomState>} looked @returns {() => void} stops it */
export function follow(client, room, { current, change }) {
  /** The index of the next chunk of the answer that is being written, if it was heard from its beginning. */
  let nextChunk = 0;

  /** @param {string | undefined} id */
  const pendingBut = (id) => {
    const { pending } = current();
    return pending.some(({ clientMessageId }) => clientMessageId === id) ? pending.filter(({ clientMessageId }) => clientMessageId !== id) : pending;
  };
  const typingBut = (/** @type {string} */ userId) => {
    const { typing } = current();
    return typing.some((one) => one.userId === userId) ? typing.filter((one) => one.userId !== userId) : typing;
  };

  /** Edits and deletions have gone by: what is shown of that time is fetched again. @param {number} after */
  const refresh = (after) =>
    void room.history({ beforeSeq: after + 1, limit: PAGE_MAX }).then(
      ({ messages, hasMore }) => change({ messages: [...messages, ...current().messages.filter(({ seq }) => seq > after)], hasMore }),
      // Cut off again; the next join goes on from where this one is.
      (error) => client.failed(error),
    );

  const stops = [
    room.on("joined", ({ liveAgent }) => change({ status: "joined", error: undefined, liveAgent })),
    room.on("history", ({ messages, hasMore }) => {
      const heard = new Set(messages.map(({ clientMessageId }) => clientMessageId));
      change({ messages, hasMore, pending: current().pending.filter(({ clientMessageId }) => !heard.has(clientMessageId)) });
    }),
    room.on("message", (message) => {
      const { clientMessageId, role, userId } = message;
      change({
        messages: [...current().messages, message],
        pending: pendingBut(clientMessageId),
        typing: typingBut(userId),
        ...(role === "assistant" ? { writing: undefined } : {}),
      });
    }),
    room.on("updated", ({ id, message }) => change({ messages: current().messages.map((one) => (one.id === id ? { ...one, message } : one)) })),
    room.on("deleted", ({ id }) => change({ messages: current().messages.filter((one) => one.id !== id) })),
    room.on("agent", ({ enabled }) => change({ liveAgent: enabled, ...(enabled ? { writing: undefined } : {}) })),
    room.on("reset", ({ reason, after }) => reason === "missed" && refresh(after)),
    room.on("room-users", ({ users }) => change({ users })),
    room.on("user-typing", ({ userId, userName, isTyping }) => {
      // Of this user's other windows.
      if (userId === room.userId) return;
      const others = typingBut(userId);
      change({ typing: isTyping ? [...others, { userId, userName }] : others });
    }),
    room.on("user-left", ({ userId }) => change({ typing: typingBut(userId) })),
    room.on("message-read", ({ userId, seq }) => change({ reads: { ...current().reads, [userId]: seq } })),
    room.on("ai-stream-chunk", ({ conversationId, index, chunk }) => {
      const { writing } = current();
      const isNext = index === 0 || (index === nextChunk && writing?.conversationId === conversationId);
      nextChunk = isNext ? index + 1 : -1;
      const before = index === 0 ? "" : writing?.text;
      change({ writing: { conversationId, text: isNext ? `${before}${chunk}` : "" } });
    }),
    // What was written follows as a message, unless people have taken over.
    room.on("ai-stream-complete", ({ fullResponse }) => fullResponse || change({ writing: undefined })),
    room.on("queued", (message) => {
      const { pending } = current();
      if (!pending.some(({ clientMessageId }) => clientMessageId === message.clientMessageId)) change({ pending: [...pending, message] });
    }),
    // It stays until it is heard in its place, unless that was before.
    room.on("sent", ({ clientMessageId, ack }) => (room.position?.seq ?? 0) >= ack.seq && change({ pending: pendingBut(clientMessageId) })),
    room.on("failed", ({ clientMessageId }) => change({ pending: pendingBut(clientMessageId) })),
    room.on("error", (error) => {
      if (room.error) change({ status: "refused", error, pending: [], typing: [], writing: undefined });
      else client.failed(error);
    }),
    client.on("status", ({ state }) => {
      if (state !== "open" && current().status === "joined") change({ status: "joining", typing: [], writing: undefined });
    }),
  ];
  return () => {
    for (const stop of stops) stop();
  };
}
