/** What was asked and is not answered yet. */
import { WeeziqError, deferred } from "./errors.js";

/** @import { Frame } from "./wire.js" */

/**
 * Hears how a request ends: exactly one of the two is given. Returning true says that more is to come.
 * @typedef {(error: WeeziqError | null, reply: Frame) => boolean | void} Settle
 *
 * @typedef {object} How
 * @property {() => Frame} [again] what to send after a lost connection. Without it the request then fails with `interrupted`
 * @property {number} [ms] how long it may take
 *
 * @typedef {{frame: Frame, settle: Settle, isSent: boolean, timer?: any} & How} Pending
 */

const FRAME_BYTES_MAX = 64 * 1024;

/**
 * @param {(text: string) => boolean} write false: not connected
 * @param {number} deadlineMs
 */
export function requests(write, deadlineMs) {
  /** @type {Map<unknown, Pending>} */
  const all = new Map();
  let ids = 0;
  /** @type {WeeziqError | undefined} */
  let refusal;

  /** @param {Frame} frame @returns {boolean} false: not connected, nothing was sent */
  const send = (frame) => {
    const text = JSON.stringify(frame);
    // The server would close the connection, and the next one, and the next one.
    if (new TextEncoder().encode(text).length > FRAME_BYTES_MAX) throw new WeeziqError("too_large");
    return write(text);
  };

  const forget = (/** @type {unknown} */ id) => {
    clearTimeout(all.get(id)?.timer);
    all.delete(id);
  };

  /** @param {unknown} id @param {Pending} pending */
  const keep = (id, pending) => {
    all.set(id, pending);
    pending.timer = setTimeout(settle, pending.ms ?? deadlineMs, id, new WeeziqError("timeout", pending.frame.type));
    // This one alone: on a new connection rooms are joined before what waits for it is sent.
    push(pending, id);
  };

  /** @param {unknown} id @param {WeeziqError | null} error @param {Frame} [reply] @returns {boolean} whether anybody waited for it */
  const settle = (id, error, reply) => {
    const pending = all.get(id);
    if (!pending) return false;
    forget(id);
    if (pending.settle(error, /** @type {Frame} */ (reply))) keep(id, pending);
    return true;
  };

  /** @param {Pending} pending @param {unknown} id */
  const push = (pending, id) => {
    try {
      pending.isSent ||= send({ ...pending.frame, id });
    } catch (error) {
      settle(id, /** @type {WeeziqError} */ (error));
    }
  };

  /** Sends whatever can be sent now. */
  const flush = () => all.forEach(push);

  /**
   * Sends as soon as there is a connection, and hears the end of it at once, before any later frame is heard.
   * @param {Frame} frame @param {Settle} hear @param {How} [how]
   * @returns {() => void} forgets it
   */
  const ask = (frame, hear, how) => {
    const id = `${(ids += 1)}`;
    keep(id, { frame, settle: hear, isSent: false, ...how });
    if (refusal) settle(id, refusal);
    return () => forget(id);
  };

  /** @param {Frame} frame @param {How} [how] @returns {Promise<any>} */
  const request = (frame, how) => {
    const { promise, resolve, reject } = deferred();
    ask(frame, (error, reply) => (error ? reject(error) : resolve(reply)), how);
    return promise;
  };

  /** The connection is gone: what can be asked again will be. @param {WeeziqError} error */
  const interrupt = (error) => {
    all.forEach((pending, id) => {
      if (!pending.isSent) return;
      if (pending.again) Object.assign(pending, { frame: pending.again(), isSent: false });
      else settle(id, new WeeziqError("interrupted", error.message, { cause: error }));
    });
  };

  /** From now on. @param {WeeziqError} error */
  const refuse = (error) => {
    refusal = error;
    for (const id of all.keys()) settle(id, error);
  };

  return { send, ask, request, settle, flush, interrupt, refuse };
}
