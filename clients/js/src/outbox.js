/**
 * What a room is to be told: sent in order, one at a time, again and again until the server has it. One at a time, because
 * of two the server could refuse the first for its rate and take the second.
 */
import { randomId } from "./emitter.js";
import { WeeziqError, againInMs, deferred, isPassing, wrapped } from "./errors.js";

/** @import { Connection } from "./connection.js" */
/** @import { Emitter } from "./emitter.js" */
/** @import { Ack, Frame } from "./wire.js" */
/** @import { RoomEvents } from "./room.js" */

/**
 * @typedef {object} Outgoing
 * @property {string} clientMessageId
 * @property {string} message
 * @property {any[]} [attachments] JSON, e.g. what `files.upload` resolves with
 *
 * @typedef {object} Waiting
 * @property {Outgoing} message
 * @property {Promise<any>} key in the storage
 * @property {(ack: Ack) => void} [resolve] absent if it is of an earlier life of this page
 * @property {(error: WeeziqError) => void} [reject]
 */

/**
 * @param {Connection} connection
 * @param {Frame} event that carries them: who says it, and where
 * @param {Emitter<RoomEvents>} room
 * @param {() => boolean} isJoined
 */
export function outbox({ ask, url, options }, event, { emit, failed }, isJoined) {
  const { storage, queueMax = 1_000 } = options;
  const to = `${url} ${event.roomId} ${event.userId}`;
  /** @type {Waiting[]} */
  let queue = [];
  let isBusy = true;
  /** @type {WeeziqError | undefined} */
  let refusal;
  /** @type {any} */
  let timer;

  const lament = (/** @type {unknown} */ cause) => failed(wrapped("storage", cause));

  /** Sends the next one, if the room is there to hear it. */
  const pump = () => {
    const [waiting] = queue;
    if (isBusy || !waiting || !isJoined()) return;
    isBusy = true;
    ask({ ...event, ...waiting.message }, (error, reply) => {
      isBusy = false;
      // Let go meanwhile; or the room has to be entered anew, which is when it goes on.
      if (queue[0] !== waiting || /^(interrupted|unauthorized)$/.test(error?.code ?? "")) return;
      if (error ? isPassing(error) : reply.type !== "message-sent") {
        isBusy = true;
        timer = setTimeout(go, againInMs(error));
      } else {
        end(waiting, error, /** @type {any} */ (reply));
        pump();
      }
    });
  };

  const go = () => {
    isBusy = false;
    pump();
  };

  /** @param {Waiting} waiting @param {WeeziqError | null} error @param {Ack} ack */
  const end = ({ message, key, resolve, reject }, error, ack) => {
    queue.shift();
    const remove = (/** @type {any} */ known) => storage?.remove(known);
    key.then(remove, () => {}).catch(lament);
    if (error) {
      reject?.(error);
      emit("failed", { ...message, error });
    } else {
      resolve?.(ack);
      emit("sent", { ...message, ack });
    }
  };

  /** What an earlier life of this page did not get rid of goes first. */
  const restore = async () => {
    try {
      const kept = (await storage?.all()) ?? [];
      const left = kept.filter((one) => one.to === to).map(({ key, message }) => ({ message, key: Promise.resolve(key) }));
      queue = [...left, ...queue];
      for (const { message } of left) emit("queued", message);
    } catch (cause) {
      lament(cause);
    }
    go();
  };
  const restored = restore();

  /** Not before that was read, or it would be read too. @param {Outgoing} message */
  const keep = async (message) => {
    await restored;
    return storage?.add({ to, message });
  };

  return {
    pump,
    /** @returns {Outgoing[]} */
    messages: () => queue.map(({ message }) => message),

    /** @param {Partial<Outgoing>} given @returns {Promise<Ack>} */
    add(given) {
      const { promise, resolve, reject } = deferred();
      if (!refusal && queue.length < queueMax) {
        const message = { message: "", clientMessageId: randomId(), ...given };
        const key = keep(message);
        const waiting = { message, key, resolve, reject };
        queue.push(waiting);
        // Unless the server was quicker than the storage.
        key.catch(lament).then(() => queue.includes(waiting) && emit("queued", message));
        pump();
      } else reject(refusal ?? new WeeziqError("queue_full"));
      return promise;
    },

    /** Of no use any more. What is stored stays so, for the next life of this page. @param {WeeziqError} error */
    refuse(error) {
      clearTimeout(timer);
      refusal = error;
      for (const { reject } of queue.splice(0)) reject?.(error);
    },
  };
}
