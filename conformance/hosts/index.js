/**
 * Chooses the host under test. A host is where the same wire is served from; the tests know it only by this interface.
 *
 * @typedef {object} Host
 * @property {(env?: Record<string, string>) => Promise<void>} start  a fresh instance with empty storage; resolves once
 *   it is ready to serve
 * @property {() => Promise<{code: number | null, signal: string | null}>} stop  the orderly way; keeps the storage
 * @property {() => Promise<void>} kill9  death without notice; keeps the storage
 * @property {(env?: Record<string, string>) => Promise<void>} restart  starts again on the same storage (after stop or
 *   kill9); without `env`, with the settings of the last start. The URLs may change.
 * @property {() => Promise<void>} dispose  ends whatever runs and erases the storage
 * @property {string} baseUrl  `http://…` without a trailing slash
 * @property {string} wsUrl  `ws://…/ws`
 * @property {() => string} logs  everything the host wrote so far, over all restarts
 * @property {Capabilities} capabilities
 *
 * @typedef {object} Capabilities  what a host may leave out; a test that needs one says so
 * @property {boolean} process  has exit codes, a data directory, a listening port and signals of its own
 * @property {boolean} heartbeats  pings by itself every 25 s and drops a peer that is silent for 60 s
 */

const name = process.env.HOST_UNDER_TEST ?? "native";

/** @type {{create: () => Host}} */
const host = await import(new URL(`./${name}.js`, import.meta.url).href).catch((cause) => {
  throw new Error(`HOST_UNDER_TEST=${name}: no such host (hosts/${name}.js)`, { cause });
});

export const createHost = host.create;
export const hostName = name;
