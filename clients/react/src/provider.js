/** The connection of a part of the page, and how it fares. */
import { createContext, createElement, useContext, useEffect, useState, useSyncExternalStore } from "react";
import { openSession } from "./session.js";
import { store } from "./store.js";

/** @import { Options, Status, Weeziq, WeeziqError } from "@weeziq/client" */
/** @import { ReactNode } from "react" */
/** @import { Session } from "./session.js" */
/** @import { Store } from "./store.js" */

/**
 * `url` is `wss://…/ws`; another one is another connection. `options` are those of `connect`, as they are when the connection is opened.
 * `onError` hears what no caller waits for; without it that is on the console.
 * @typedef {{url: string, options?: Options, onError?: (error: WeeziqError) => void, children?: ReactNode}} ProviderProps
 */

const Context = createContext(/** @type {Session | null} */ (null));

/** The connection is opened by the first hook that needs one, and closed after this is gone. @param {ProviderProps} props */
export function WeeziqProvider({ url, options, onError, children }) {
  const [session, setSession] = useState(() => openSession(url, options));
  if (session.url !== url) setSession(openSession(url, options));
  useEffect(() => session.hold(), [session]);
  useEffect(() => {
    session.listener = { onError };
  }, [session, onError]);
  return createElement(Context.Provider, { value: session }, children);
}

/** @returns {Session} */
export function useSession() {
  const session = useContext(Context);
  if (!session) throw new Error("@weeziq/react: this hook needs a <WeeziqProvider> above it");
  return session;
}

/**
 * @template State
 * @param {Store<State>} looked @returns {State}
 */
export const useStore = ({ subscribe, current, initial }) => useSyncExternalStore(subscribe, current, () => initial);

/** How the connection fares. @returns {Status} */
export const useConnection = () => useStore(connectionOf(useSession())).status;

/** The client itself, for what has no hook, e.g. `files.upload`. Null on a server and until the page is alive. @returns {Weeziq | null} */
export const useWeeziq = () => useStore(connectionOf(useSession())).client;

/** @typedef {{status: Status, client: Weeziq | null}} ConnectionState */

/** @param {Session} session @returns {Store<ConnectionState>} */
const connectionOf = (session) =>
  session.shared("connection", () =>
    store(/** @type {ConnectionState} */ ({ status: { state: "connecting" }, client: null }), (change) => {
      const release = session.hold();
      const client = session.open();
      change({ client });
      const unsubscribe = client.on("status", (status) => change({ status }));
      if (client.state === "open") change({ status: { state: "open" } });
      return {
        stop() {
          unsubscribe();
          release();
          change({ status: { state: "connecting" }, client: null });
        },
      };
    }),
  );
