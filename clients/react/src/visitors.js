/** Who is on a site: seen by an agent, and told by a visitor's page. */
import { useMemo } from "react";
import { useSession, useStore } from "./provider.js";
import { store } from "./store.js";

/** @import { AllDomainStats, Tracking, Visit, Visitor, Weeziq, WeeziqError } from "@weeziq/client" */
/** @import { Session } from "./session.js" */
/** @import { Change, Store, Work } from "./store.js" */

/**
 * @typedef {object} VisitorsState
 * @property {"loading" | "live" | "failed"} status `loading` also after a lost connection: what is shown stays
 * @property {WeeziqError | undefined} error
 * @property {Visitor[]} visitors who is here now, oldest first; the 1,000 newest
 * @property {number} activeVisitors
 * @property {number} totalVisitors ever
 *
 * @typedef {object} DomainStatsState
 * @property {"loading" | "live" | "failed"} status
 * @property {WeeziqError | undefined} error
 * @property {AllDomainStats["stats"]} stats by domainId
 *
 * @typedef {object} OpenVisit
 * @property {string | undefined} visitorId undefined on a server and until the page is alive
 * @property {Visit["activity"]} activity what the visitor looks at now; navigations are noticed without it
 */

/** @type {VisitorsState} */
const NOBODY = { status: "loading", error: undefined, visitors: [], activeVisitors: 0, totalVisitors: 0 };
/** @type {DomainStatsState} */
const NOTHING = { status: "loading", error: undefined, stats: {} };

/** An arrival says neither browser nor country, and not how many there ever were: those are asked for, once for all who come so soon. */
const REFRESH_AFTER_MS = 1_000;

/**
 * The visitors of a site, live. A connection that tracks a visitor itself (`useVisit`) hears of no others: pages of agents need
 * a provider of their own.
 * @param {string} domainId @returns {VisitorsState}
 */
export function useVisitors(domainId) {
  const session = useSession();
  return useStore(session.shared(`visitors ${domainId}`, () => visitorsStore(session, domainId)));
}

/** The numbers of all sites, live. @returns {DomainStatsState} */
export function useDomainStats() {
  const session = useSession();
  return useStore(session.shared("domains", () => domainsStore(session)));
}

/**
 * Tells that a visitor is on the site, as long as a component is there to say so.
 * @param {string} domainId
 * @param {Tracking} [tracking] read when the visit begins; another `visitorId` is another visit
 * @returns {OpenVisit}
 */
export function useVisit(domainId, tracking) {
  const session = useSession();
  const key = `visit ${JSON.stringify([domainId, tracking?.visitorId])}`;
  const visit = session.shared(key, () => visitStore(session, domainId, tracking));
  const { visitorId } = useStore(visit);
  return useMemo(() => ({ visitorId, activity: visit.activity }), [visitorId, visit]);
}

/** @param {Session} session @param {string} domainId */
const visitorsStore = (session, domainId) => {
  /** @type {Store<VisitorsState>} */
  const looked = store(NOBODY, (change) =>
    watch(session, change, ask(domainId, change), (client, refresh) => [
      client.on("visitor-joined-domain", ({ domainId: where, visitorId: id, visitorData, activeCount, timestamp }) => {
        if (where !== domainId) return;
        const others = looked.current().visitors.filter((one) => one.id !== id);
        change({ visitors: [...others, { ...visitorData, id, timestamp, lastActivity: timestamp }], activeVisitors: activeCount });
        refresh();
      }),
      client.on("visitor-left-domain", ({ domainId: where, visitorId, activeCount }) => {
        if (where === domainId) change({ visitors: looked.current().visitors.filter(({ id }) => id !== visitorId), activeVisitors: activeCount });
      }),
      client.on("visitor-activity", ({ domainId: where, visitorId, url, title, timestamp: lastActivity }) => {
        if (where !== domainId) return;
        const seen = { lastActivity, ...(url === undefined ? {} : { url }), ...(title === undefined ? {} : { title }) };
        change({ visitors: looked.current().visitors.map((one) => (one.id === visitorId ? { ...one, ...seen } : one)) });
      }),
    ]),
  );
  return looked;
};

/** @param {string} domainId @param {Change<VisitorsState>} change @returns {(client: Weeziq) => Promise<void>} */
const ask = (domainId, change) => async (client) => {
  const { visitors, activeVisitors, totalVisitors } = await client.visitors.stats(domainId);
  change({ visitors, activeVisitors, totalVisitors });
};

/** @param {Session} session */
const domainsStore = (session) => {
  /** @type {Store<DomainStatsState>} */
  const looked = store(NOTHING, (change) => {
    const learn = async (/** @type {Weeziq} */ client) => change({ stats: (await client.visitors.allStats()).stats });
    return watch(session, change, learn, (client, refresh) => {
      /** @param {{domainId: string, activeCount: number, timestamp: string}} event */
      const count = ({ domainId, activeCount: activeVisitors, timestamp: lastUpdated }) => {
        const { stats } = looked.current();
        const known = stats[domainId] ?? { totalVisitors: activeVisitors };
        change({ stats: { ...stats, [domainId]: { ...known, activeVisitors, lastUpdated } } });
      };
      return [
        client.on("visitor-left-domain", count),
        client.on("visitor-joined-domain", (event) => {
          count(event);
          refresh();
        }),
      ];
    });
  });
  return looked;
};

/**
 * Asks at each connection, and again soon after `refresh`; whoever has asked hears what changes.
 * @param {Session} session
 * @param {Change<any>} change
 * @param {(client: Weeziq) => Promise<void>} learn
 * @param {(client: Weeziq, refresh: () => void) => (() => void)[]} listen
 * @returns {Work}
 */
function watch(session, change, learn, listen) {
  const release = session.hold();
  const client = session.open();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  const refresh = async () => {
    clearTimeout(timer);
    timer = undefined;
    try {
      await learn(client);
      change({ status: "live", error: undefined });
    } catch (thrown) {
      const error = /** @type {WeeziqError} */ (thrown);
      // The next connection asks again.
      if (!/^(interrupted|closed)$/.test(error.code)) change({ status: "failed", error });
    }
  };
  const refreshSoon = () => {
    timer ??= setTimeout(refresh, REFRESH_AFTER_MS);
  };

  const stops = [
    ...listen(client, refreshSoon),
    client.on("status", ({ state }) => {
      if (state === "open") refresh();
      else change({ status: "loading" });
    }),
  ];
  if (client.state === "open") refresh();
  return {
    stop() {
      clearTimeout(timer);
      for (const stop of stops) stop();
      change({ status: "loading" });
      release();
    },
  };
}

/** @param {Session} session @param {string} domainId @param {Tracking} [tracking] */
function visitStore(session, domainId, tracking) {
  /** @type {Visit | undefined} */
  let visit;
  const looked = store(/** @type {{visitorId: string | undefined}} */ ({ visitorId: undefined }), (change) => {
    const release = session.hold();
    visit = session.open().visitors.track(domainId, tracking);
    change({ visitorId: visit.visitorId });
    return {
      stop() {
        visit?.stop();
        visit = undefined;
        release();
      },
    };
  });
  /** @type {Visit["activity"]} */
  const activity = (page) => visit?.activity(page);
  return { ...looked, activity };
}
