/** Who is on a site: telling so as a visitor, and asking as an agent. */
import { randomId } from "./emitter.js";

/** @import { Connection } from "./connection.js" */
/** @import { AllDomainStats, DomainStats } from "./wire.js" */

/**
 * @typedef {object} Tracking
 * @property {string} [visitorId] without one, a random one that this browser keeps
 * @property {Record<string, any>} [data] more than what the page itself says
 *
 * @typedef {object} Visit one visitor on one site, told again after each return
 * @property {string} visitorId
 * @property {(page?: {url?: string, title?: string}) => void} activity what the visitor looks at now; without an argument, the page.
 *   The last of a second is told. Where the browser has the Navigation API, this is called at each navigation without a load
 * @property {() => void} stop the visitor leaves
 *
 * @typedef {object} Visitors
 * @property {(domainId: string, tracking?: Tracking) => Visit} track
 * @property {(domainId: string) => Promise<DomainStats>} stats whoever asks hears of the domain's visitors from then on, unless
 *   it tracks one itself
 * @property {() => Promise<AllDomainStats>} allStats
 */

const KEPT_AS = "weeziq-visitor";
/** The server tells one in a second. A page's title often follows its address by a moment. */
const ACTIVITY_EVERY_MS = 1_000;

/** @param {Connection} connection @returns {Visitors} */
export const visitors = (connection) => ({
  track: (domainId, tracking) => visit(connection, domainId, tracking),
  stats: (domainId) => connection.request({ type: "get-domain-stats", domainId }),
  allStats: () => connection.request({ type: "get-all-domain-stats" }),
});

/** @param {Connection} connection @param {string} domainId @param {Tracking} [tracking] @returns {Visit} */
function visit(connection, domainId, { visitorId = keptId(), data } = {}) {
  const { document, navigator, navigation } = /** @type {any} */ (globalThis);
  /** @type {any} */
  let timer;
  /** @type {{url?: string, title?: string} | undefined} */
  let page;
  const stopped = new AbortController();
  const how = { signal: stopped.signal };

  const tell = (/** @type {string} */ type, /** @type {object} */ fields = {}) => connection.send({ type, domainId, visitorId, ...fields });

  const activity = (/** @type {typeof page} */ at) => {
    page = at;
    timer ??= setTimeout(() => {
      timer = undefined;
      tell("visitor-activity", page ?? pageNow());
    }, ACTIVITY_EVERY_MS);
  };

  const announce = () => {
    const { userAgent, language } = navigator ?? {};
    const seen = document && { ...pageNow(), userAgent, language, referrer: document.referrer, screen: `${screen.width}x${screen.height}` };
    tell("visitor-joined-domain", { visitorData: { ...seen, ...data } });
  };

  if (document) {
    const moved = () => activity(undefined);
    // Pages that load without loading.
    navigation?.addEventListener("currententrychange", moved, how);
    document.addEventListener("visibilitychange", () => document.hidden || moved(), how);
  }
  const unsubscribe = connection.on("status", ({ state }) => state === "open" && announce());
  if (connection.state === "open") announce();

  return {
    visitorId,
    activity,
    stop() {
      clearTimeout(timer);
      unsubscribe();
      stopped.abort();
      tell("visitor-left-domain");
    },
  };
}

/** Over what the server takes it would refuse the whole. @returns {{url?: string, title?: string}} */
const pageNow = () => (globalThis.document ? { url: location.href.slice(0, 2_048), title: document.title.slice(0, 256) } : {});

function keptId() {
  try {
    return (localStorage[KEPT_AS] ??= randomId());
  } catch {
    // No storage, or not allowed: a visitor of this page alone.
    return randomId();
  }
}
