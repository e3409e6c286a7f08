/** A room as a component sees it. */
import { useMemo } from "react";
import { useSession, useStore } from "./provider.js";
import { UNSEEN, follow } from "./room-state.js";
import { refused } from "./session.js";
import { store } from "./store.js";

/** @import { Ack, Outgoing, Room, WeeziqError, Who } from "@weeziq/client" */
/** @import { RoomState } from "./room-state.js" */
/** @import { Session } from "./session.js" */
/** @import { Store } from "./store.js" */

/**
 * @typedef {object} RoomActions the same functions as long as the room is the same
 * @property {(message: string | Partial<Outgoing>) => Promise<Ack>} send resolves once the server has stored it. Also
 *   where the component is not there yet or any more: what was meant for this room is said in it
 * @property {(messageId: string, message: string) => Promise<Ack>} edit
 * @property {(messageId: string) => Promise<Ack>} remove
 * @property {(isTyping?: boolean) => void} notifyTyping to be called at each keystroke
 * @property {(seq?: number) => void} markRead without an argument, all that was heard
 * @property {(enabled: boolean) => void} setLiveAgent for agents: people take over, or hand back to the AI
 * @property {(status: string) => void} setStatus e.g. `away`
 * @property {(limit?: number) => Promise<void>} loadEarlier 50 unless told, 200 at most
 *
 * @typedef {Store<RoomState> & {actions: RoomActions}} RoomStore
 */

const PAGE = 50;
/** Who leaves a page still says what was said there; but not for ever. */
const DRAIN_MS_MAX = 30_000;

/**
 * In the room as long as a component shows it; all that show it share one membership.
 * @param {string | null | undefined} roomId without one nothing is joined
 * @param {Who} who another `userId` joins anew; everything else is as it was at the join
 * @returns {RoomState & RoomActions}
 */
export function useRoom(roomId, who) {
  const session = useSession();
  const key = roomId == null ? "no room" : `room ${JSON.stringify([roomId, who.userId])}`;
  const room = session.shared(key, () => roomStore(session, roomId, who));
  const state = useStore(room);
  return useMemo(() => ({ ...state, ...room.actions }), [state, room]);
}

/** @param {Session} session @param {string | null | undefined} roomId @param {Who} who @returns {RoomStore} */
function roomStore(session, roomId, who) {
  /** @type {Room | undefined} */
  let room;
  const looked = store(UNSEEN, (change) => {
    if (roomId == null) return { stop() {} };
    const release = session.hold();
    const client = session.open();
    session.members.get(roomId)?.rest();
    try {
      room = client.join(roomId, who);
    } catch (error) {
      // Somebody else is in there over this connection, and another component shows it.
      change({ status: "refused", error: /** @type {WeeziqError} */ (error) });
      return { stop: release };
    }
    session.members.set(roomId, looked);
    const joined = room;
    const unfollow = follow(client, joined, looked);
    return {
      idle: () => drained(joined),
      stop() {
        unfollow();
        joined.leave();
        room = undefined;
        session.members.delete(roomId);
        change(UNSEEN);
        release();
      },
    };
  });
  return { ...looked, actions: actionsOf(() => room, looked) };
}

/** Resolves when nothing waits to be sent any more. @param {Room} room @returns {Promise<void>} */
const drained = (room) =>
  new Promise((resolve) => {
    const check = () => {
      if (room.pending.length > 0 && !room.error) return;
      clearTimeout(timer);
      for (const stop of stops) stop();
      resolve();
    };
    const timer = setTimeout(resolve, DRAIN_MS_MAX);
    const stops = [room.on("sent", check), room.on("failed", check), room.on("error", check)];
    check();
  });

/** @param {() => Room | undefined} room @param {Store<RoomState>} looked @returns {RoomActions} */
function actionsOf(room, { current, change, wake }) {
  /** @type {Promise<void> | undefined} */
  let loading;

  /** @param {Room} from @param {number} limit */
  const load = async (from, limit) => {
    const [first] = current().messages;
    if (!first || !current().hasMore) return;
    const { messages, hasMore } = await from.history({ beforeSeq: first.seq, limit });
    // Meanwhile it may have become another log.
    if (current().messages[0]?.id === first.id) change({ messages: [...messages, ...current().messages], hasMore });
  };

  return {
    send(message) {
      wake();
      const to = room();
      if (!to) return refused(current().error);
      const sent = to.send(message);
      const said = to.pending.at(-1);
      const { pending } = current();
      if (said && !pending.some(({ clientMessageId }) => clientMessageId === said.clientMessageId)) change({ pending: [...pending, said] });
      return sent;
    },
    edit: (messageId, message) => room()?.edit(messageId, message) ?? refused(),
    remove: (messageId) => room()?.delete(messageId) ?? refused(),
    notifyTyping: (isTyping) => room()?.typing(isTyping),
    markRead: (seq) => room()?.markRead(seq),
    setLiveAgent: (enabled) => room()?.liveAgent(enabled),
    setStatus: (status) => room()?.setStatus(status),
    loadEarlier(limit = PAGE) {
      const from = room();
      if (!from) return refused();
      loading ??= load(from, limit).finally(() => (loading = undefined));
      loading.catch(() => {});
      return loading;
    },
  };
}
