/** The visitors of one site, as they come, move and go. */
import { Changes } from "./changes.js";
import { at, serverSaid } from "./time.js";

/** @import { Weeziq } from "/client/index.js" */

/**
 * @typedef {object} Visitor
 * @property {string} id
 * @property {string} [userAgent]
 * @property {string} [browser]
 * @property {string} [os]
 * @property {string} [device]
 * @property {string} [country]
 * @property {string} [language]
 * @property {string} [screen]
 * @property {string} [url]
 * @property {string} [title]
 * @property {string} [referrer]
 * @property {string} timestamp when they came
 * @property {number} since the same, as a number
 * @property {string} lastActivity
 *
 * @typedef {{url?: string, title?: string, timestamp: string}} Step
 */

/** Who came is told without browser and country; the stats have them. They are large, so a rush of newcomers shares one. */
const ASK_AFTER_MS = 400;
const ASK_EVERY_MS_MIN = 4_000;
const STEPS_KEPT_MAX = 30;
const UNKNOWN = "Unknown";

export class Crowd extends Changes {
  #weeziq;
  #domainId;
  /** @type {Map<string, Visitor>} */
  #visitors = new Map();
  /** where each was since this page looks @type {Map<string, Step[]>} */
  #steps = new Map();
  /** @type {readonly Visitor[] | undefined} */
  #sorted;
  active = 0;
  total = 0;
  isKnown = false;
  #askedAt = 0;
  #timer = 0;
  /** @type {(() => void)[]} */
  #stops;

  /** @param {Weeziq} weeziq @param {string} domainId */
  constructor(weeziq, domainId) {
    super();
    this.#weeziq = weeziq;
    this.#domainId = domainId;
    const ours = (/** @type {(frame: any) => void} */ hear) => (/** @type {any} */ frame) => frame.domainId === domainId && hear(frame);
    this.#stops = [
      weeziq.on("status", ({ state }) => state === "open" && this.#ask()),
      weeziq.on("visitor-joined-domain", ours((frame) => this.#came(frame))),
      weeziq.on("visitor-left-domain", ours((frame) => this.#left(frame))),
      weeziq.on("visitor-activity", ours((frame) => this.#moved(frame))),
    ];
    if (weeziq.state === "open") this.#ask();
  }

  /** newest first @returns {readonly Visitor[]} */
  get visitors() {
    // Nearly in order as it stands, which sorts in one pass.
    this.#sorted ??= [...this.#visitors.values()].reverse().sort((a, b) => b.since - a.since);
    return this.#sorted;
  }

  /** @param {string | undefined} id */
  visitor(id) {
    return this.#visitors.get(id ?? "");
  }

  /** @param {string} id @returns {readonly Step[]} newest first */
  steps(id) {
    return this.#steps.get(id) ?? [];
  }

  stop() {
    clearTimeout(this.#timer);
    for (const stop of this.#stops) stop();
  }

  async #ask() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#askedAt = Date.now();
    const before = new Set(this.#visitors.keys());
    const stats = await this.#weeziq.visitors.stats(this.#domainId).catch(() => undefined);
    if (!stats) return;
    serverSaid(stats.timestamp);
    ({ activeVisitors: this.active, totalVisitors: this.total } = stats);
    this.isKnown = true;
    // The newest come first, and whoever is put last stands first.
    const listed = stats.visitors.toReversed();
    // The server lists the newest of a crowd; of whom it does not list it says nothing.
    const isWhole = listed.length >= stats.activeVisitors;
    for (const visitor of listed) {
      before.delete(visitor.id);
      this.#put({ ...this.#visitors.get(visitor.id), ...visitor, since: at(visitor.timestamp) });
    }
    if (isWhole) for (const id of before) this.#visitors.delete(id);
    this.#changed();
  }

  #askSoon() {
    if (this.#timer) return;
    const waitMs = Math.max(ASK_AFTER_MS, this.#askedAt + ASK_EVERY_MS_MIN - Date.now());
    this.#timer = setTimeout(() => this.#ask(), waitMs);
  }

  /** @param {any} frame */
  #came({ visitorId: id, visitorData, activeCount, timestamp }) {
    serverSaid(timestamp);
    const { url, title, referrer, userAgent, language, screen } = visitorData ?? {};
    const known = this.#visitors.get(id);
    this.#put({ timestamp, since: at(timestamp), lastActivity: timestamp, ...known, url, title, referrer, userAgent, language, screen, id });
    this.active = activeCount;
    this.total += known ? 0 : 1;
    this.#askSoon();
    this.#changed();
  }

  /** @param {any} frame */
  #left({ visitorId: id, activeCount }) {
    this.#visitors.delete(id);
    this.#steps.delete(id);
    this.active = activeCount;
    this.#changed();
  }

  /** @param {any} frame */
  #moved({ visitorId: id, url, title, timestamp }) {
    serverSaid(timestamp);
    const known = this.#visitors.get(id);
    if (!known) return this.#askSoon();
    this.#put({ ...known, url: url ?? known.url, title: title ?? known.title, lastActivity: timestamp });
    this.#changed();
  }

  /** @param {Visitor} visitor */
  #put(visitor) {
    const { id, url, title, lastActivity } = visitor;
    this.#visitors.set(id, visitor);
    const steps = this.#steps.get(id) ?? [];
    if (steps[0]?.url === url && steps[0]?.title === title) return;
    this.#steps.set(id, [{ url, title, timestamp: lastActivity }, ...steps].slice(0, STEPS_KEPT_MAX));
  }

  #changed() {
    this.#sorted = undefined;
    this.tell();
  }
}

/** @param {Visitor} visitor @returns {string} such as “Firefox on Windows” */
export function machine({ browser, os, device }) {
  const names = [browser, os].filter((name) => name && name !== UNKNOWN);
  return names.join(" on ") || (device && device !== UNKNOWN ? device : "A browser");
}

/** Where they came from, if it was from elsewhere. @param {Visitor} visitor */
export function cameFrom({ referrer, url }) {
  if (!referrer) return "";
  try {
    const { host } = new URL(referrer);
    return host === new URL(String(url)).host ? "" : host.replace(/^www\./, "");
  } catch {
    return referrer;
  }
}

/** A name for who has told none, as the widget has it too. @param {string} id */
export function nickname(id) {
  return `Visitor ${id.slice(-4)}`;
}

/** Where nobody said a name, the server says the id. @param {{userId: string, userName?: string} | undefined} person @param {string} id of who is not known */
export function personName(person, id) {
  if (!person) return nickname(id);
  return person.userName && person.userName !== person.userId ? person.userName : nickname(person.userId);
}
