/** One deed after the other against a metered host, and what the platform bills for each. */
import { startFaultyProvider } from "../mocks/faulty.js";
import { Scenario, UNLIMITED } from "../scenario.js";
import { DEEDS, warmUp } from "./deeds.js";

/**
 * @typedef {object} Bill of one deed
 * @property {number} workerRequests
 * @property {number} requests  of objects: fetches, alarms, and a twentieth of each message that comes in (a close is taken for
 *   one). An alarm is counted when it is set, as it rings once at most
 * @property {number} written  rows, and alarms set
 * @property {number} read  rows
 * @property {number} kvReads @property {number} kvWrites @property {number} r2Reads @property {number} r2Writes
 * @property {number} activeMs  of objects: wall-clock time with something under way, on this machine
 * @property {number} [later]  of the rows written, those that are there because it took so long, at most
 */

/** @typedef {import("../hosts/index.js").Host} Host */

/**
 * Dollars, as listed on the pages named in docs/cloudflare.md. They are Cloudflare's, and may change.
 * @type {Bill}
 */
export const PRICES = {
  workerRequests: 0.3e-6,
  requests: 0.15e-6,
  written: 1e-6,
  read: 0.001e-6,
  kvReads: 0.5e-6,
  kvWrites: 5e-6,
  r2Reads: 0.36e-6,
  r2Writes: 4.5e-6,
  // A million GB-s is 12.50; an object is billed as 128 MB.
  activeMs: (12.5e-6 * 0.128) / 1000,
};

const MESSAGES_A_REQUEST = 20;
const TIMES = 5;

/** Limits on events are kept in memory, and would only slow the deeds; those on the AI cost rows, and are as deployed. */
const SETTINGS = { EVENTS_PER_SEC: UNLIMITED.EVENTS_PER_SEC };

/** Whose names are not of one deed. */
const SHARED = /^tracker \u0001/;

/** @param {Host} host not yet started @param {(name: string, bill: Bill) => void} tell */
export async function billAll(host, tell) {
  const provider = await startFaultyProvider();
  const world = { host, provider };
  // Nobody leaves before the end: what an end costs would be on the bill of the next.
  const scenarios = [];
  try {
    await host.start({ ...SETTINGS, ...provider.env }, { evictable: true, metered: true });
    scenarios.push(new Named(host, "warm"));
    await warmUp(scenarios[0], world);
    for (const [at, deed] of DEEDS.entries()) {
      const s = new Named(host, `deed${at}`);
      scenarios.push(s);
      tell(deed.name, await billOf(deed, s, world));
    }
  } finally {
    for (const s of scenarios) await s.leave();
    await host.dispose();
    await provider.stop();
  }
}

class Named extends Scenario {
  constructor(host, name) {
    super(host);
    this.name = `.${name}.`;
  }

  unique(kind) {
    return super.unique(`${kind}${this.name}`);
  }
}

/** @returns {Promise<Bill>} */
async function billOf({ times = TIMES, prepare, later = () => 0 }, s, world) {
  const act = await prepare(s, world);
  await world.host.costs();
  const begun = performance.now();
  for (let n = 0; n < times; n += 1) await act(n);
  const tookMs = performance.now() - begun;
  const { objects, workerRequests, kvReads, kvWrites, r2Reads, r2Writes } = await world.host.costs();
  const own = Object.entries(objects).filter(([name]) => name.includes(s.name) || SHARED.test(name));
  const sum = (field) => own.reduce((sum, [, count]) => sum + count[field], 0);
  const total = {
    workerRequests,
    requests: sum("requests") + sum("alarmsSet") + (sum("messages") + sum("closes")) / MESSAGES_A_REQUEST,
    written: sum("rowsWritten") + sum("alarmsSet"),
    read: sum("rowsRead"),
    kvReads,
    kvWrites,
    r2Reads,
    r2Writes,
    activeMs: sum("activeMs"),
    later: later(tookMs),
  };
  return Object.fromEntries(Object.entries(total).map(([item, amount]) => [item, amount / times]));
}

/** @param {Bill} bill dollars for it */
export function priceOf(bill) {
  return Object.entries(PRICES).reduce((sum, [item, price]) => sum + price * bill[item], 0);
}
