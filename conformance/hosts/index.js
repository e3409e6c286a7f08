/**
 * Chooses the host under test. A host is where the same wire is served from; the tests know it only by this interface.
 *
 * @typedef {object} Host
 * @property {(env?: Record<string, string | undefined>, options?: StartOptions) => Promise<void>} start  a fresh
 *   instance with empty storage; resolves once it is ready to serve
 * @property {() => Promise<import("./child.js").Exit>} stop  the orderly way; keeps the storage
 * @property {() => Promise<void>} kill9  death without notice; keeps the storage
 * @property {(env?: Record<string, string | undefined>) => Promise<void>} restart  starts again on the same storage (after
 *   stop or kill9); without `env`, with the settings of the last start. The URLs may change.
 * @property {() => Promise<void>} dispose  ends whatever runs and erases the storage
 * @property {string} baseUrl  `http://…` without a trailing slash
 * @property {string} wsUrl  `ws://…/ws`
 * @property {string | null} dataDir  the folder that holds the storage
 * @property {() => string} logs  everything the host wrote so far, over all restarts
 * @property {Capabilities} capabilities
 *
 * @property {(signal: NodeJS.Signals) => Promise<import("./child.js").Exit>} [signal]  with `process`
 * @property {(env: Record<string, string>, entering?: string[]) => Promise<import("./child.js").Exit & {output: string}>} [runToExit]  with
 *   `process`: a start that must fail, run by the command `entering` if that is given; rejects if it still runs after a guard
 *   time (and kills it)
 * @property {(args: string[], env?: Record<string, string>, entering?: string[]) => Promise<import("./child.js").Exit & {output: string}>} [run]  with
 *   `process`: another process of the host's program, with these words on its command line, on the same storage; waits for its end
 * @property {(kind: "room" | "domain", name: string) => Promise<void>} [evict]  with `eviction`: takes what serves that room or
 *   domain out of memory, its sockets kept open. Waits until it has nothing under way; rejects if it was not in memory
 * @property {() => number} [memoryBytesPeak]  with `memory`: the most that its process has held since its start
 * @property {() => Promise<void>} [fillStorage]  with `smallStorage`, started with `storageBytes`: leaves no room for another byte
 * @property {() => Promise<void>} [freeStorage]  the same, undone
 * @property {() => Promise<import("./cloudflare-metered.js").Costs>} [costs]  with `costs`, started with `metered`: what has been
 *   billed since the last call, once nothing is under way any more
 * @property {() => Promise<void>} [evictAll]  with `eviction`: the same with all that are in memory, for what the wire gives
 *   no address (a conversation, a counter)
 *
 * @typedef {object} StartOptions
 * @property {boolean} [evictable]  `evict` will be called
 * @property {boolean} [panics]  with the routes that panic
 * @property {boolean} [lacking]  it lacks something that it needs, so it serves without ever being ready
 * @property {boolean} [metered]  `costs` will be called
 * @property {number} [storageBytes]  its storage has so many bytes and can be filled
 *
 * @typedef {object} Capabilities  what a host may leave out; a test that needs one says so. A sentence instead of `false` says
 *   why it is missing here
 * @property {boolean} process  has exit codes, signals and a port of its own, closes its clients when stopped, and refuses to
 *   start with a bad setting
 * @property {boolean} heartbeats  pings by itself every 25 s and drops a peer that is silent for 60 s
 * @property {boolean} backpressure  sees that a member does not read, and parts with it
 * @property {boolean} deadlines  parts by itself with who begins a request and does not end it
 * @property {boolean} memory  is one process whose memory can be read
 * @property {boolean | string} smallStorage  can be had with little storage, which is then filled
 * @property {boolean} framing  reads the frames itself, and so can close who breaks the protocol (1002, 1007)
 * @property {boolean} ownLog  nobody else writes into its log: one JSON object a line in production
 * @property {boolean} shards  spreads its rooms over as many parts as `SHARDS` says
 * @property {boolean} socketIo  speaks Socket.IO at `/socket.io/`
 * @property {boolean} panics  can be had with routes that panic, to show what that does to others
 * @property {boolean} costs  is billed by what it does, and can be had with a meter
 * @property {boolean} archive  tells and takes everything over HTTP, since nobody else reads its storage
 * @property {boolean} metrics  is one process, of which `/metrics` tells
 * @property {boolean} eviction  lets an idle room or domain fall out of memory while its sockets stay open
 */

const name = process.env.HOST_UNDER_TEST ?? "native";

/** @type {{create: () => Host}} */
const host = await import(new URL(`./${name}.js`, import.meta.url).href).catch((cause) => {
  throw new Error(`HOST_UNDER_TEST=${name}: no such host (hosts/${name}.js)`, { cause });
});

export const createHost = host.create;
export const hostName = name;
