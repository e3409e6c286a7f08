/**
 * The Worker as it is built, with a meter around its classes: what the platform bills, counted where it happens. Only the
 * suite runs it; nothing of it is in what is deployed. wrangler bundles this file in the Worker's place.
 *
 * `GET /costs` answers with the counts of every object since the last time it was asked, once nothing is under way any more.
 */
import { DurableObject } from "cloudflare:workers";
import Worker, * as built from "../../crates/worker/build/index.js";

/**
 * @typedef {object} Count of one object, or of the Worker itself
 * @property {number} woken  times that it was created anew in memory
 * @property {number} requests  fetches that reached it
 * @property {number} messages  WebSocket messages that it was woken or called for
 * @property {number} closes  the same for closes and errors
 * @property {number} alarms
 * @property {number} rowsRead  as the cursors say
 * @property {number} rowsWritten  likewise
 * @property {number} alarmsSet  each is billed as a row written
 * @property {number} activeMs  with something under way: wall-clock time, which is what duration is billed by
 */
const NOTHING = { woken: 0, requests: 0, messages: 0, closes: 0, alarms: 0, rowsRead: 0, rowsWritten: 0, alarmsSet: 0, activeMs: 0 };

/** In one module all objects of a machine share one memory, which outlives each of them. @type {Map<string, Count>} */
const objects = new Map();
/** Operations of the Worker and of all objects on what is bound, and timers that have fired anywhere. */
const shared = { workerRequests: 0, kvReads: 0, kvWrites: 0, r2Reads: 0, r2Writes: 0, assets: 0, timers: 0 };
let underWay = 0;

/** What wrangler keeps in every object here, and the platform does not. */
const NOT_OURS = "__miniflare";

/** The object's counts, under a name that does not change with its life. */
function countOf(kind, ctx) {
  const name = `${kind} ${ctx.id.name ?? ctx.id}`;
  if (!objects.has(name)) objects.set(name, { ...NOTHING });
  return objects.get(name);
}

/** @typedef {typeof shared & {objects: Record<string, Count>}} Costs */

/** @returns {Costs} */
function taken() {
  const answer = { ...shared, objects: Object.fromEntries([...objects].map(([name, count]) => [name, { ...count }])) };
  for (const count of objects.values()) Object.assign(count, NOTHING);
  for (const key of Object.keys(shared)) shared[key] = 0;
  return answer;
}

/** Time with work under way, however many pieces of it overlap. */
class Activity {
  #pieces = 0;
  #since = 0;

  constructor(count) {
    this.count = count;
  }

  /** @template T @param {() => T} work */
  async during(work) {
    underWay += 1;
    if (this.#pieces++ === 0) this.#since = performance.now();
    try {
      return await work();
    } finally {
      underWay -= 1;
      if (--this.#pieces === 0) this.count.activeMs += performance.now() - this.#since;
    }
  }
}

/** Rows are counted when a statement is run, and again as its rows are taken. */
function meterSql(sql, count) {
  const exec = sql.exec;
  sql.exec = (...statement) => {
    const cursor = exec.apply(sql, statement);
    if (statement[0].includes(NOT_OURS)) return cursor;
    let [read, written] = [0, 0];
    const note = () => {
      count.rowsRead += cursor.rowsRead - read;
      count.rowsWritten += cursor.rowsWritten - written;
      [read, written] = [cursor.rowsRead, cursor.rowsWritten];
    };
    note();
    const raw = cursor.raw;
    cursor.raw = () => {
      const rows = raw.call(cursor);
      const next = () => {
        const row = rows.next();
        note();
        return row;
      };
      return { next, [Symbol.iterator]: () => ({ next }) };
    };
    return cursor;
  };
}

function meterStorage(storage, count) {
  meterSql(storage.sql, count);
  const setAlarm = storage.setAlarm;
  storage.setAlarm = (...at) => {
    count.alarmsSet += 1;
    return setAlarm.apply(storage, at);
  };
  // Of one key each; an object with SQLite keeps them in a table of its own, and they are billed as its rows.
  for (const [method, rows] of [["get", "rowsRead"], ["put", "rowsWritten"], ["delete", "rowsWritten"]]) {
    const call = storage[method];
    storage[method] = (...args) => {
      count[rows] += 1;
      return call.apply(storage, args);
    };
  }
  // Not used by us.
  storage.list = () => {
    throw new Error("storage.list is not metered");
  };
}

function meterCalls(bound, counts) {
  for (const [method, key] of Object.entries(counts)) {
    const call = bound[method];
    bound[method] = (...args) => {
      shared[key] += 1;
      return call.apply(bound, args);
    };
  }
}

/** @type {WeakSet<object>} */
const metered = new WeakSet();

/** Objects and the Worker may be given the same one. */
function meterBindings({ CHAT_STORAGE, FILE_STORAGE, ASSETS }) {
  if (metered.has(CHAT_STORAGE)) return;
  metered.add(CHAT_STORAGE);
  meterCalls(CHAT_STORAGE, { get: "kvReads", getWithMetadata: "kvReads", put: "kvWrites", delete: "kvWrites", list: "kvWrites" });
  meterCalls(FILE_STORAGE, { get: "r2Reads", head: "r2Reads", put: "r2Writes", list: "r2Writes" });
  meterCalls(ASSETS, { fetch: "assets" });
}

function meterTimers() {
  const { setTimeout } = globalThis;
  globalThis.setTimeout = (act, ms, ...args) =>
    setTimeout(() => {
      shared.timers += 1;
      act(...args);
    }, ms);
}

function meteredClass(kind, Real) {
  return class extends DurableObject {
    constructor(ctx, env) {
      super(ctx, env);
      this.count = countOf(kind, ctx);
      this.count.woken += 1;
      this.activity = new Activity(this.count);
      meterStorage(ctx.storage, this.count);
      meterBindings(env);
      const waitUntil = ctx.waitUntil;
      ctx.waitUntil = (work) => waitUntil.call(ctx, this.activity.during(() => work));
      this.real = new Real(ctx, env);
    }

    fetch(request) {
      this.count.requests += 1;
      return this.activity.during(() => this.real.fetch(request));
    }

    webSocketMessage(socket, message) {
      this.count.messages += 1;
      return this.activity.during(() => this.real.webSocketMessage(socket, message));
    }

    webSocketClose(...close) {
      this.count.closes += 1;
      return this.activity.during(() => this.real.webSocketClose(...close));
    }

    webSocketError(...error) {
      this.count.closes += 1;
      return this.activity.during(() => this.real.webSocketError(...error));
    }

    alarm() {
      this.count.alarms += 1;
      return this.activity.during(() => this.real.alarm());
    }
  };
}

meterTimers();
export const ChatRoom = meteredClass("room", built.ChatRoom);
export const VisitorTracker = meteredClass("tracker", built.VisitorTracker);

export default class extends Worker {
  async fetch(request) {
    meterBindings(this.env);
    if (new URL(request.url).pathname === "/costs") {
      while (underWay > 0) await scheduler.wait(5);
      return Response.json(taken());
    }
    shared.workerRequests += 1;
    return super.fetch(request);
  }
}
