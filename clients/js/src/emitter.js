/** Listeners by name. One that throws harms no other, and no connection. */
import { wrapped } from "./errors.js";

/** @import { WeeziqError } from "./errors.js" */

/**
 * @template {Record<string, any>} Events
 * @typedef {<Name extends keyof Events>(name: Name, listener: (value: Events[Name]) => void) => () => void} On returns what stops it
 */

/**
 * @template {Record<string, any>} Events
 * @typedef {object} Emitter
 * @property {On<Events>} on
 * @property {<Name extends keyof Events>(name: Name, value: Events[Name]) => boolean} emit whether anybody listens
 * @property {(error: WeeziqError) => void} failed for what no caller waits for
 */

/** @param {(error: WeeziqError) => void} unheard what to do with an error that nobody listens to @returns {Emitter<any>} */
export function emitter(unheard) {
  /** @type {Map<PropertyKey, Set<(value: any) => void>>} */
  const listeners = new Map();

  /** @type {Emitter<any>["emit"]} */
  const emit = (name, value) => {
    const all = [...(listeners.get(name) ?? [])];
    for (const listener of all) {
      try {
        listener(value);
      } catch (cause) {
        const error = wrapped("callback", cause);
        // What an error's listener throws has nowhere else to go.
        if (name === "error") console.error(error);
        else failed(error);
      }
    }
    return all.length > 0;
  };

  const failed = (/** @type {WeeziqError} */ error) => void (emit("error", error) || unheard(error));

  return {
    emit,
    failed,
    on(name, listener) {
      const set = listeners.get(name) ?? new Set();
      listeners.set(name, set.add(listener));
      return () => void set.delete(listener);
    },
  };
}

/** Not `crypto.randomUUID`: that one is missing where a page came over plain HTTP from another machine. */
export const randomId = () => crypto.getRandomValues(new BigUint64Array(2)).join("-");
