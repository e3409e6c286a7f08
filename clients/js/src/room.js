/** A room as one of its members sees it: its log in order and exactly once, who is there, and what this member does. */
import { emitter } from "./emitter.js";
import { WeeziqError, againInMs, deferred, isPassing } from "./errors.js";
import { outbox } from "./outbox.js";

/** @import { Connection } from "./connection.js" */
/** @import { On } from "./emitter.js" */
/** @import { Outgoing } from "./outbox.js" */
/** @import { Settle } from "./requests.js" */
/** @import { Ack, Chunk, Frame, History, Joined, LiveAgentToggled, Message, MessageDeleted, MessageRead, MessageUpdated, StreamAnswer, User, UserJoined, UserLeft, UserPresence, UserTyping, Users } from "./wire.js" */

/**
 * @typedef {object} Who
 * @property {string} userId
 * @property {string} userName
 * @property {string} [role] `user` if not given
 * @property {string} [domainId]
 * @property {Record<string, any>} [customerData]
 * @property {Position} [position] where an earlier life of this page stopped, if it has kept what it heard
 *
 * @typedef {{epoch: string, seq: number}} Position
 *
 * @typedef {object} RoomEvents
 * @property {Joined} joined each time anew, also after a lost connection
 * @property {History & Position} history what to begin with: replaces everything that is shown of this room
 * @property {Message} message
 * @property {MessageUpdated} updated
 * @property {MessageDeleted} deleted
 * @property {LiveAgentToggled} agent people take over, or hand back to the AI
 * @property {{reason: "missed" | "replaced", after: number, seq: number}} reset `missed`: over 1,000 events were missed; the messages
 *   among them follow as `message`, but edits and deletions of what came up to `after` may have gone by. `replaced`: this is another
 *   log than before; a `history` follows
 * @property {Users} room-users
 * @property {UserJoined} user-joined
 * @property {UserLeft} user-left
 * @property {UserTyping} user-typing
 * @property {UserPresence} user-presence
 * @property {MessageRead} message-read
 * @property {Chunk} ai-stream-chunk of an answer that is being published here
 * @property {StreamAnswer} ai-stream-complete
 * @property {Outgoing} queued waits to be sent, and is in the storage if there is one; after a reload each that was left over
 * @property {Outgoing & {ack: Ack}} sent
 * @property {Outgoing & {error: WeeziqError}} failed the server will not have it
 * @property {WeeziqError} error on the connection's `error` if nobody listens here
 */

/**
 * @typedef {object} Room
 * @property {string} id
 * @property {string} userId
 * @property {On<RoomEvents>} on
 * @property {User[]} users who is there; above 200 people empty
 * @property {Position | undefined} position up to where its log was heard
 * @property {WeeziqError | undefined} error why this user is not let in, or not in any more
 * @property {Outgoing[]} pending what waits to be sent, oldest first
 * @property {Promise<Joined>} ready settles with the first join
 * @property {(message: string | Partial<Outgoing>) => Promise<Ack>} send resolves once the server has stored it, however many connections that takes
 * @property {(messageId: string, message: string) => Promise<Ack>} edit
 * @property {(messageId: string) => Promise<Ack>} delete
 * @property {(which?: {beforeSeq?: number, afterSeq?: number, limit?: number}) => Promise<History>} history both bounds exclusive; 50
 *   unless told, 200 at most
 * @property {(enabled: boolean) => void} liveAgent for agents: people take over, and no AI is heard here; or they hand back
 * @property {(isTyping?: boolean) => void} typing to be called at each keystroke; one in five seconds is told. Sending ends it
 * @property {(status: string) => void} setStatus e.g. `away`; told again after each return
 * @property {(seq?: number) => void} markRead everything up to there; without an argument, all that was heard. Told again after each return
 * @property {() => void} leave what was not sent yet is refused with `closed`; what is stored stays so
 */

/** What has a place in the log, and what it is called here. All else keeps its name. @type {Record<string, keyof RoomEvents>} */
const LOGGED = {
  "new-message": "message",
  "message-updated": "updated",
  "message-deleted": "deleted",
  "live-agent-toggled": "agent",
};

/** The server replays so many events; what is further behind is fetched a page at a time until it is not. */
const REPLAYED_MAX = 1_000;
const PAGE = 200;
/** The server forgets after 10 s that somebody types. */
const TYPING_REPEAT_MS = 5_000;

/** @param {Connection} connection @param {string} roomId @param {Who} who @returns {Room} */
export function joinRoom(connection, roomId, { position: known, customerData, ...who }) {
  const { ask, drop, request } = connection;
  const events = emitter(connection.failed);
  const { emit, on } = events;
  // Stated even if nobody did: a connection without a role watches the visitors of the site.
  const identity = { role: "user", ...who, roomId };

  /** `history`: is told of the past in the next moment. `behind`: fetches what it missed. */
  let phase = /** @type {"out" | "joining" | "history" | "behind" | "live"} */ ("out");
  /** @type {Joined} */
  let joined;
  let status = "";
  let typedAt = 0;
  let readUpTo = 0;
  /** @type {any} */
  let timer;
  /** @type {ReturnType<typeof deferred<Joined>>} */
  const first = deferred();

  const isJoined = () => !/out|joining/.test(phase);
  const tell = (/** @type {string} */ type, /** @type {object} */ fields = {}) => isJoined() && connection.send({ type, ...identity, ...fields });
  const queue = outbox(connection, { type: "send-message", ...identity }, events, isJoined);

  const join = () => {
    if (connection.state !== "open" || phase !== "out" || room.error) return;
    phase = "joining";
    const { epoch, seq: lastSeq } = room.position ?? {};
    ask({ type: "join-room", ...identity, customerData, token: connection.token, epoch, lastSeq }, (error) => {
      // The reply itself was heard already, as a frame of this room.
      if (!error) return;
      phase = "out";
      if (isPassing(error)) timer = setTimeout(join, againInMs(error));
      else end(error);
    });
  };

  /** @param {any} frame */
  const entered = (frame) => {
    if (phase !== "joining") return;
    joined = frame;
    const { position } = room;
    const { epoch, seq, resumed } = joined;
    const isBehind = !resumed && position?.epoch === epoch && seq > position.seq;
    phase = resumed ? "live" : isBehind ? "behind" : "history";
    first.resolve(joined);
    emit("joined", joined);
    if (position && !resumed) emit("reset", { reason: isBehind ? "missed" : "replaced", after: position.seq, seq });
    if (isBehind) catchUp(position);
    // In an empty room there is nothing to be told, and nothing is.
    else if (!position && !seq) begin();
    if (status) tell("user-online", { status });
    tellRead();
    queue.pump();
  };

  const begin = (/** @type {any} */ history = { roomId, messages: [], hasMore: false }) => {
    const { epoch, seq } = joined;
    phase = "live";
    room.position = { epoch, seq };
    emit("history", { ...history, epoch, seq });
  };

  /** Nothing of what was heard is there any more, and the log begins anew. @param {any} frame */
  const erased = (frame) => {
    // Whoever is about to join hears of the new log with that.
    if (!isJoined()) return;
    joined = frame;
    if (room.position) emit("reset", { reason: "replaced", after: room.position.seq, seq: joined.seq });
    begin();
  };

  /** The next of the log, one that was heard already, or one beyond a gap. @param {Frame} frame */
  const place = (frame) => {
    const { position } = room;
    // Before it is live all of this comes again, in its place.
    if (phase !== "live" || !position || !(frame.seq > position.seq)) return;
    // Resuming tells what is missing. A server that leaves it out again is met less and less often.
    if (frame.seq > position.seq + 1) return drop(new WeeziqError("bad_frame", "a gap in seq"));
    position.seq = frame.seq;
    emit(/** @type {string} */ (LOGGED[frame.type]), frame);
  };

  /** Fetches until so little is missing that the server replays it. @param {Position} position */
  const catchUp = (position) => {
    const { seq: goal } = joined;
    const from = position.seq;
    /** @type {Settle} */
    const settle = (error, reply) => {
      if (phase !== "behind") return;
      if (error) return drop(error);
      for (const message of reply.messages ?? []) {
        // Or a listener has had enough.
        if (message.seq <= position.seq || phase !== "behind") continue;
        position.seq = message.seq;
        emit("message", message);
      }
      if (phase !== "behind") return;
      // Whatever else has a place before the goal was an edit or a deletion, or is gone.
      if (!reply.hasMore || position.seq === from) position.seq = Math.max(position.seq, goal);
      if (goal - position.seq > REPLAYED_MAX) return catchUp(position);
      phase = "out";
      join();
    };
    ask({ type: "fetch-history", roomId, afterSeq: from, limit: PAGE }, settle);
  };

  const tellRead = () => readUpTo && tell("mark-read", { seq: readUpTo });

  const end = (/** @type {WeeziqError} */ error) => {
    if (room.error) return;
    phase = "out";
    room.error = error;
    clearTimeout(timer);
    for (const stop of stops) stop();
    first.reject(error);
    if (error.code !== "closed") events.failed(error);
    queue.refuse(error);
  };

  const stops = [
    connection.on("status", ({ state, error }) => {
      clearTimeout(timer);
      phase = "out";
      typedAt = 0;
      join();
      if (state === "closed") end(/** @type {WeeziqError} */ (error));
    }),
    connection.on("frame", (frame) => {
      const { type } = frame;
      if (frame.roomId !== roomId) return;
      if (type === "joined-room") entered(frame);
      // A reply to `history` is for who asked.
      else if (type === "message-history") phase === "history" && !frame.replyTo && begin(frame);
      else if (type === "room-erased") erased(frame);
      else if (LOGGED[type]) place(frame);
      else {
        if (type === "room-users") room.users = frame.users;
        emit(type, frame);
      }
    }),
  ];

  /** @type {Room} */
  const room = {
    id: roomId,
    userId: who.userId,
    on,
    users: [],
    position: known && { ...known },
    error: undefined,
    ready: first.promise,
    get pending() {
      return queue.messages();
    },
    send(message) {
      room.typing(false);
      return queue.add(typeof message === "string" ? { message } : message);
    },
    edit: (messageId, message) => request({ type: "edit-message", roomId, messageId, message }),
    delete: (messageId) => request({ type: "delete-message", roomId, messageId }),
    history: (which) => request({ type: "fetch-history", roomId, ...which }),
    liveAgent: (enabled) => void tell("toggle-live-agent", { enabled }),
    typing(isTyping = true) {
      const now = Date.now();
      if (isTyping ? now - typedAt < TYPING_REPEAT_MS : !typedAt) return;
      typedAt = isTyping && tell("typing-start") ? now : 0;
      if (!isTyping) tell("typing-stop");
    },
    setStatus(is) {
      status = is;
      tell("user-online", { status });
    },
    markRead(seq = room.position?.seq ?? 0) {
      if (seq <= readUpTo) return;
      readUpTo = seq;
      tellRead();
    },
    leave() {
      // Also if the join is still under way.
      connection.send({ type: "leave-room", roomId });
      end(new WeeziqError("closed"));
    },
  };
  // Its listeners come first.
  queueMicrotask(join);
  return room;
}
