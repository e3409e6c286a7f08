/** One connection for all hooks below a provider: opened by the first that needs it, closed when nobody does any more. */
import { WeeziqError, connect } from "@weeziq/client";

/** @import { Options, Weeziq } from "@weeziq/client" */
/** @import { Store } from "./store.js" */

/**
 * @typedef {object} Session
 * @property {string} url
 * @property {{onError?: (error: WeeziqError) => void}} listener told what no caller waits for
 * @property {() => Weeziq | null} client if there is one
 * @property {() => Weeziq} open for effects and events, never while rendering
 * @property {() => () => void} hold keeps the connection until the function that it returns is called
 * @property {Map<string, Store<any>>} members who is in a room for this connection, by roomId: one user at a time
 * @property {<S extends Store<any>>(key: string, make: () => S) => S} shared what components that mean the same look at
 *   together. Without a listener it is but a little state
 */

/** @param {string} url @param {Options} [options] @returns {Session} */
export function openSession(url, options) {
  /** @type {Weeziq | null} */
  let client = null;
  let holders = 0;
  /** @type {Map<string, any>} */
  const stores = new Map();

  const closeUnheld = () => {
    if (holders > 0) return;
    client?.close();
    client = null;
  };

  /** @type {Session} */
  const session = {
    url,
    listener: {},
    members: new Map(),
    client: () => client,
    open() {
      if (client) return client;
      client = connect(url, options);
      client.on("error", (error) => (session.listener.onError ?? console.error)(error));
      return client;
    },
    hold() {
      holders += 1;
      let isHeld = true;
      return () => {
        if (!isHeld) return;
        isHeld = false;
        holders -= 1;
        // StrictMode takes it again in the same turn.
        setTimeout(closeUnheld);
      };
    },
    shared(key, make) {
      if (!stores.has(key)) stores.set(key, make());
      return stores.get(key);
    },
  };
  return session;
}

/** For what is called where there is no room: nobody has to wait for it. @param {WeeziqError} [error] @returns {Promise<never>} */
export function refused(error = new WeeziqError("closed")) {
  const refusal = Promise.reject(error);
  refusal.catch(() => {});
  return refusal;
}
