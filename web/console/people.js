/** Who is on the site: everybody, moving as they navigate; and one of them in full, with a chat to begin. */
import { cameFrom, machine, nickname } from "./crowd.js";
import { nameOf } from "./desk.js";
import { VirtualList } from "./list.js";
import { pageLink, visitorFacts } from "./profile.js";
import { reason } from "./session.js";
import { at, clock, count, country, duration, flag, now } from "./time.js";
import { avatar, drawnOncePerFrame, h, icon, refill, say, shortAddress, write } from "./ui.js";

/** @import { Visitor } from "./crowd.js" */
/** @import { Site } from "./site.js" */

const ROW_PX = 64;
const TICK_MS = 1_000;
/** A row that moved shows it for so long. */
const MOVED_MS = 2_000;
/** What all of a crowd look at is counted no more often. */
const PAGES_EVERY_MS = 1_000;

export class People {
  #site;
  #go;
  #title = h("h1", {}, "Visitors");
  #total = h("p", { class: "soft small" });
  #search = h("input", { type: "search", id: "people-search", placeholder: "Search by page, country, browser", autocomplete: "off", oninput: () => this.#draw() });
  #empty = h("p", { class: "empty" });
  #pages = h("section", { class: "pages", "aria-label": "Pages that are being looked at" });
  #detail = h("section", { class: "visitor-detail", "aria-label": "Visitor", hidden: true });
  #since = h("dd", {});
  #detailShown = "";
  /** @type {string | undefined} */
  #open;
  /** @type {VirtualList<Visitor>} */
  #list;
  element;
  #pagesAt = 0;
  #draw = drawnOncePerFrame(() => this.#drawAll());
  /** @type {(() => void)[]} */
  #stops;

  /** @param {Site} site @param {(href: string) => void} go */
  constructor(site, go) {
    this.#site = site;
    this.#go = go;
    this.#list = new VirtualList({
      label: "Visitors, the newest first",
      rowHeight: ROW_PX,
      key: ({ id }) => id,
      make: ({ id }) => h("a", { class: "visitor", href: site.href("visitors", id) }),
      update: (row, visitor) => this.#drawVisitor(row, visitor),
    });
    const head = h("div", { class: "pane-head" }, this.#title, this.#total, h("label", { class: "unseen", for: "people-search" }, "Search visitors"), this.#search);
    const columns = h("div", { class: "visitor columns", "aria-hidden": "true" }, h("span", {}, ""), h("span", {}, "Visitor"), h("span", {}, "Looks at"), h("span", {}, "Came from"), h("span", {}, "On the site"));
    const main = h("section", { class: "people-main", "aria-label": "Visitors" }, head, columns, this.#empty, this.#list.element);
    this.element = h("div", { class: "view people" }, main, h("div", { class: "people-side" }, this.#detail, this.#pages));
    const ticking = setInterval(() => this.#tick(), TICK_MS);
    this.#stops = [site.crowd.listen(this.#draw), site.desk.listen(this.#draw), () => clearInterval(ticking)];
  }

  /** @param {string | undefined} id */
  show(id) {
    const isNew = id !== this.#open;
    this.#open = id;
    this.element.classList.toggle("has-open", id !== undefined);
    this.#draw();
    if (isNew && id !== undefined) requestAnimationFrame(() => this.#detail.querySelector("h1")?.focus());
  }

  hide() {}

  stop() {
    for (const stop of this.#stops) stop();
  }

  focusSearch() {
    this.#search.focus();
  }

  #tick() {
    if (!this.element.isConnected || document.hidden) return;
    this.#list.draw();
    this.#drawPages();
    const visitor = this.#site.crowd.visitor(this.#open);
    if (visitor) write(this.#since, duration(now() - at(visitor.timestamp)));
  }

  #drawAll() {
    if (!this.element.isConnected) return;
    const { crowd } = this.#site;
    const found = this.#found();
    write(this.#title, crowd.isKnown ? `${count(crowd.active)} on the site` : "Visitors");
    const listed = crowd.visitors.length < crowd.active ? `the ${count(crowd.visitors.length)} newest are listed · ` : "";
    write(this.#total, crowd.isKnown ? `${listed}${count(crowd.total)} ${crowd.total === 1 ? "visitor" : "different visitors"} ever` : "Counting …");
    this.#list.show(found);
    this.#empty.hidden = found.length > 0;
    write(this.#empty, this.#search.value ? "Nobody who is here fits these words." : crowd.isKnown ? "Nobody is on the site now. Open it in another window, and you are the first." : "Loading …");
    this.#drawDetail();
    this.#drawPages();
  }

  #found() {
    const words = this.#search.value.trim().toLowerCase();
    const { visitors } = this.#site.crowd;
    if (!words) return visitors;
    return visitors.filter((visitor) => [visitor.id, visitor.url, visitor.title, machine(visitor), country(visitor.country), visitor.country, visitor.referrer].join("\n").toLowerCase().includes(words));
  }

  /** @param {HTMLAnchorElement} row @param {Visitor} visitor */
  #drawVisitor(row, visitor) {
    const { id, url, title, timestamp } = visitor;
    const since = duration(now() - at(timestamp));
    const room = this.#site.desk.roomOf(id);
    const page = `${title ?? ""}\n${url ?? ""}`;
    const shown = [page, visitor.browser, visitor.country, room?.state, room?.customer?.userName, id === this.#open].join("\n");
    if (row.dataset.shown === shown) {
      const time = row.querySelector("time");
      if (time) write(time, since);
      return;
    }
    const hasMoved = row.dataset.page !== undefined && row.dataset.page !== page;
    row.dataset.shown = shown;
    row.dataset.page = page;
    if (id === this.#open) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
    const name = room ? nameOf(room, id) : nickname(id);
    const from = cameFrom(visitor);
    refill(
      row,
      avatar(id, name.replace(/^Visitor /, "")),
      h("span", { class: "visitor-who" }, h("strong", { dir: "auto" }, name), room && h("span", { class: "badge", "data-kind": room.state }, room.state === "waiting" ? "waiting" : "in chat"), h("span", { class: "visitor-what" }, [flag(visitor.country), machine(visitor)].filter(Boolean).join(" "))),
      h("span", { class: "visitor-page" }, h("span", { dir: "auto" }, title || shortAddress(url)), h("span", { class: "visitor-what" }, title ? shortAddress(url) : "")),
      h("span", { class: "visitor-from" }, from || "direct"),
      h("time", { class: "visitor-time" }, since),
    );
    if (!hasMoved) return;
    row.classList.add("moved");
    setTimeout(() => row.classList.remove("moved"), MOVED_MS);
  }

  #drawDetail() {
    const id = this.#open;
    const visitor = this.#site.crowd.visitor(id);
    this.#detail.hidden = id === undefined;
    const room = id === undefined ? undefined : this.#site.desk.roomOf(id);
    const steps = id === undefined ? [] : this.#site.crowd.steps(id);
    const shown = JSON.stringify([id, visitor, room?.roomId, steps]);
    if (id === undefined || shown === this.#detailShown) return;
    const isOther = this.#detail.dataset.id !== id;
    this.#detailShown = shown;
    this.#detail.dataset.id = id;
    // Somebody may be writing in it while its visitor moves on.
    const form = (!isOther && this.#detail.querySelector("form")) || this.#startForm(id);
    const name = room ? nameOf(room, id) : nickname(id);
    const back = h("a", { class: "button quiet", href: this.#site.href("visitors") }, icon("back"), "All visitors");
    if (!visitor) return refill(this.#detail, back, h("h1", { tabindex: "-1" }, name), h("p", { class: "soft" }, "Is not on the site any more."), room && this.#toRoom(room.roomId));
    write(this.#since, duration(now() - at(visitor.timestamp)));
    const hadFocus = document.activeElement && form.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement) : null;
    const trail = steps.map(({ url, title, timestamp }) => h("li", {}, h("time", {}, clock(timestamp)), h("span", { dir: "auto" }, pageLink(url, title))));
    refill(
      this.#detail,
      back,
      h("div", { class: "profile-face" }, avatar(id, name.replace(/^Visitor /, "")), h("h1", { dir: "auto", tabindex: "-1" }, name)),
      room ? this.#toRoom(room.roomId) : form,
      visitorFacts(visitor, this.#since),
      h("h2", {}, "Pages seen while you watch"),
      h("ol", { class: "trail" }, trail),
    );
    hadFocus?.focus();
  }

  /** @param {string} roomId */
  #toRoom(roomId) {
    return h("a", { class: "button primary", href: this.#site.href("inbox", roomId) }, icon("inbox"), "Open the conversation");
  }

  /** @param {string} visitorId */
  #startForm(visitorId) {
    const text = h("textarea", { id: "start-text", rows: "2", maxlength: "4000", dir: "auto" }, "Hello! Is there anything I can help you with?");
    const start = async (/** @type {Event} */ event) => {
      event.preventDefault();
      const message = text.value.trim();
      if (!message) return text.focus();
      try {
        this.#go(this.#site.href("inbox", await this.#site.startChat(visitorId, message)));
      } catch (error) {
        say(reason(error), "bad");
      }
    };
    return h("form", { class: "start-chat stack", onsubmit: start }, h("label", { class: "field", for: "start-text" }, "First message", text), h("button", { type: "submit", class: "button primary" }, icon("send"), "Start chat"));
  }

  #drawPages() {
    if (Date.now() - this.#pagesAt < PAGES_EVERY_MS) return;
    this.#pagesAt = Date.now();
    /** @type {Map<string, {title: string, count: number}>} */
    const pages = new Map();
    for (const { url, title } of this.#site.crowd.visitors) {
      const page = pages.get(url ?? "") ?? { title: title ?? "", count: 0 };
      page.count += 1;
      pages.set(url ?? "", page);
    }
    const busiest = [...pages].sort(([, a], [, b]) => b.count - a.count).slice(0, 8);
    const top = busiest.map(([url, page]) => /** @type {const} */ ([shortAddress(url) || "unknown", page]));
    const shown = JSON.stringify(top);
    if (this.#pages.dataset.shown === shown) return;
    this.#pages.dataset.shown = shown;
    const most = top[0]?.[1].count ?? 1;
    const rows = top.map(([address, page]) => {
      const bar = h("span", { class: "bar-fill" });
      bar.style.inlineSize = `${(page.count / most) * 100}%`;
      return h("li", { class: "page-bar" }, bar, h("span", { class: "page-words", dir: "auto" }, page.title || address, page.title && h("span", { class: "visitor-what" }, address)), h("strong", {}, count(page.count)));
    });
    refill(this.#pages, h("h2", {}, "Pages now"), rows.length > 0 ? h("ol", { class: "plain" }, rows) : h("p", { class: "soft small" }, "None."));
  }
}
