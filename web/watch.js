/** The visitors of this site: how many, who, and what they do. */
import { DOMAIN } from "./connection.js";
import { NAMES_SHOWN_MAX, clock, element, part, write } from "./dom.js";

/** @import { Connection, Frame, Guest, Hears } from "./connection.js" */

const TICKER_LINES_MAX = 6;

/** Who is on the site, as the second connection sees it: it never says who it is, and so it is told of all who do. */
export class Watch {
  /** @type {Connection} */
  #watcher;
  /** @type {Guest} */
  #me;
  /** newest first @type {Frame[]} */
  #visitors = [];
  #asking = 0;

  /** @param {Connection} watcher @param {Guest} me */
  constructor(watcher, me) {
    this.#watcher = watcher;
    this.#me = me;
  }

  opened() {
    this.#watcher.send({ type: "get-domain-stats", domainId: DOMAIN });
  }

  /** @type {Hears} */
  hears = {
    "domain-stats": ({ activeVisitors, totalVisitors, visitors }) => {
      write("visitors-total", `now, ${totalVisitors} ever`);
      this.#show(activeVisitors, visitors);
    },
    "visitor-joined-domain": (frame) => {
      this.#tell(frame, "came to the site");
      // The stats know browser and system. Many may come at once; one question serves them all.
      clearTimeout(this.#asking);
      this.#asking = setTimeout(() => this.opened(), 150);
    },
    "visitor-left-domain": (frame) => {
      this.#tell(frame, "left the site");
      this.#show(frame.activeCount, this.#visitors.filter(({ id }) => id !== frame.visitorId));
    },
    "visitor-activity": (frame) => {
      this.#tell(frame, `went to “${frame.title ?? frame.url}”`);
      const { visitorId, url, title } = frame;
      const moved = this.#visitors.map((visitor) => (visitor.id === visitorId ? { ...visitor, url, title } : visitor));
      this.#show(moved.length, moved);
    },
  };

  /** @param {number} active @param {Frame[]} visitors */
  #show(active, visitors) {
    this.#visitors = visitors;
    write("visitors-now", String(active));
    const meFirst = [...visitors].sort((a, b) => Number(b.id === this.#me.id) - Number(a.id === this.#me.id));
    const rows = meFirst.slice(0, NAMES_SHOWN_MAX).map((visitor) => visitorRow(visitor, visitor.id === this.#me.id));
    if (active > rows.length) rows.push(element("li", "visitor visitor-where", `and ${active - rows.length} more`));
    part("visitors-list", HTMLElement).replaceChildren(...rows);
  }

  /** @param {Frame} frame @param {string} what */
  #tell({ visitorId, timestamp }, what) {
    const ticker = part("visitors-ticker", HTMLElement);
    const time = element("time", "", clock(timestamp, "2-digit"));
    ticker.prepend(element("li", "", time, element("span", "", `${visitorId === this.#me.id ? "You" : "A visitor"} ${what}`)));
    while (ticker.childElementCount > TICKER_LINES_MAX) ticker.lastElementChild?.remove();
  }
}

/** @param {Frame} visitor @param {boolean} isMe */
function visitorRow({ browser, os, title, url, country, timestamp }, isMe) {
  const names = [browser, os].filter((name) => name && name !== "Unknown");
  const what = element("p", "visitor-what", names.join(" on ") || "A browser");
  if (isMe) what.append(element("span", "badge", "you"));
  const where = [title ?? url, country, `since ${clock(timestamp)}`].filter(Boolean).join(" · ");
  return element("li", "visitor", what, element("p", "visitor-where", where));
}
