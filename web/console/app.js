/** The operator console: who is signed in, which site, which view. The address says all of it, so that it can be sent and gone back to. */
import { Notifier } from "./browser.js";
import { nameOf } from "./desk.js";
import { Inbox } from "./inbox.js";
import { Install } from "./install.js";
import { Overview } from "./overview.js";
import { People } from "./people.js";
import { Refusal, Session, reason } from "./session.js";
import { Settings } from "./settings.js";
import { Shortcuts } from "./shortcuts.js";
import { SignIn } from "./signin.js";
import { Site, hrefOf } from "./site.js";
import { count } from "./time.js";
import { h, icon, part, refill, say, write } from "./ui.js";

/** @import { Summary } from "./desk.js" */

/**
 * @typedef {object} View
 * @property {HTMLElement} element
 * @property {(id: string | undefined) => void} show
 * @property {() => void} hide
 * @property {() => void} stop
 * @property {() => void} [focusSearch]
 */

/** @typedef {"inbox" | "visitors" | "overview" | "settings" | "install"} ViewName */

/** @type {[ViewName, string, string][]} name, title, the second of two keys */
const VIEWS = [["inbox", "Inbox", "i"], ["visitors", "Visitors", "v"], ["overview", "Overview", "o"], ["settings", "Settings", "s"], ["install", "Install", "n"]];
const SITES_EVERY_MS = 30_000;
const COUNTS_EVERY_MS = 200;

class App {
  #session;
  /** @type {Site | undefined} */
  #site;
  /** @type {Map<ViewName, View>} */
  #views = new Map();
  /** @type {ViewName} */
  #view = "inbox";
  #main = part("main", HTMLElement);
  #nav = part("nav", HTMLElement);
  #sites = part("sites", HTMLSelectElement);
  /** active visitors by site @type {Map<string, number>} */
  #known = new Map();
  /** Not by frames: the title of a window that is not looked at counts too. */
  #counting = 0;
  #notifier = new Notifier((href) => this.#go(href));

  /** @param {Session} session */
  constructor(session) {
    this.#session = session;
  }

  async start() {
    this.#drawMe();
    this.#wire();
    this.#session.weeziq.on("status", (status) => this.#drawLink(status));
    // What nobody waits for, such as a takeover that is refused. For a token there is a dialog.
    this.#session.weeziq.on("error", ({ code, message }) => code !== "unauthorized" && say(message, "bad"));
    await this.#loadSites();
    setInterval(() => !document.hidden && this.#loadSites(), SITES_EVERY_MS);
    addEventListener("hashchange", () => this.#route());
    this.#route();
  }

  #wire() {
    this.#sites.addEventListener("change", () => this.#chooseSite());
    part("skip", HTMLElement).addEventListener("click", (event) => {
      event.preventDefault();
      this.#main.focus();
    });
    const shortcuts = new Shortcuts([
      ...VIEWS.map(([name, title, key]) => ({ keys: `g ${key}`, does: `Go to ${title.toLowerCase()}`, act: () => this.#go(this.#href(name)) })),
      { keys: "j", does: "Next conversation", act: () => this.#step(1) },
      { keys: "k", does: "Conversation before", act: () => this.#step(-1) },
      { keys: "r", does: "Write a reply", act: () => this.#conversation?.focusReply() },
      { keys: "t", does: "Take over, or hand back to the AI", act: () => this.#conversation?.toggleLive() },
      { keys: "e", does: "Close the conversation, or reopen it", act: () => this.#conversation?.toggleClosed() },
      { keys: "/", does: "Search", act: () => this.#views.get(this.#view)?.focusSearch?.() },
      { keys: "Escape", does: "Back to the list", act: () => this.#go(this.#href(this.#view)) },
      { keys: "?", does: "This list", act: () => shortcuts.sheet() },
    ]);
    part("show-keys", HTMLElement).addEventListener("click", () => shortcuts.sheet());
    const bell = part("notify", HTMLElement);
    bell.hidden = !this.#notifier.canAsk;
    bell.addEventListener("click", async () => {
      if (await this.#notifier.ask()) say("You are told of new messages while you look elsewhere.");
      bell.hidden = !this.#notifier.canAsk;
    });
  }

  get #conversation() {
    const inbox = /** @type {Inbox | undefined} */ (this.#views.get("inbox"));
    return this.#view === "inbox" && inbox?.conversation.talk ? inbox.conversation : undefined;
  }

  /** @param {1 | -1} by */
  #step(by) {
    if (this.#view !== "inbox") return this.#go(this.#href("inbox"));
    const href = /** @type {Inbox | undefined} */ (this.#views.get("inbox"))?.neighbour(by);
    if (href) this.#go(href);
  }

  /** @param {string} href */
  #go(href) {
    location.hash = href;
  }

  /** @param {ViewName} view */
  #href(view) {
    return hrefOf(this.#site?.domainId ?? location.host, view);
  }

  #route() {
    const [domainId = "", name, id] = location.hash.replace(/^#\/?/, "").split("/").map(decoded);
    const view = VIEWS.find(([known]) => known === name)?.[0] ?? "inbox";
    const wanted = domainId || this.#firstSite();
    if (!domainId || !name) return location.replace(hrefOf(wanted, view));
    if (wanted !== this.#site?.domainId) this.#open(wanted);
    this.#show(view, id || undefined);
  }

  #firstSite() {
    const { domains } = this.#session.agent;
    const busiest = [...this.#known].sort(([, a], [, b]) => b - a)[0]?.[0];
    return domains?.[0] ?? busiest ?? location.host;
  }

  /** @param {string} domainId */
  #open(domainId) {
    for (const view of this.#views.values()) view.stop();
    this.#views.clear();
    this.#main.replaceChildren();
    this.#site?.stop();
    const site = new Site(this.#session, domainId);
    this.#site = site;
    const counted = () => (this.#counting ||= setTimeout(() => this.#drawCounts(), COUNTS_EVERY_MS));
    site.desk.listen(counted);
    site.crowd.listen(counted);
    site.desk.onNews = (room, before) => this.#tell(room, before);
    this.#drawSites();
    this.#drawNav();
  }

  /** @param {ViewName} name @param {string | undefined} id */
  #show(name, id) {
    const site = /** @type {Site} */ (this.#site);
    const go = (/** @type {string} */ href) => this.#go(href);
    const make = { inbox: () => new Inbox(site, go), visitors: () => new People(site, go), overview: () => new Overview(site), settings: () => new Settings(site), install: () => new Install(site) };
    let view = this.#views.get(name);
    if (!view) this.#views.set(name, (view = make[name]()));
    const isOther = this.#main.firstElementChild !== view.element;
    if (isOther) {
      this.#views.get(this.#view)?.hide();
      this.#main.replaceChildren(view.element);
    }
    this.#view = name;
    view.show(id);
    this.#drawNav();
    this.#drawCounts();
    // Whoever came by keyboard goes on from the view, not from the top.
    if (isOther && document.activeElement === document.body) this.#main.focus();
  }

  #drawNav() {
    const links = VIEWS.map(([name, title]) => h("li", {}, h("a", { href: this.#href(name), "data-view": name, "aria-current": name === this.#view && "page" }, icon(name), h("span", { class: "nav-title" }, title), h("span", { class: "nav-count", hidden: true }))));
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.view;
    refill(this.#nav, links);
    if (focused) /** @type {HTMLElement | null} */ (this.#nav.querySelector(`[data-view="${focused}"]`))?.focus();
    this.#drawCounts();
  }

  #drawCounts() {
    this.#counting = 0;
    const site = this.#site;
    if (!site) return;
    const { waiting, unreadRooms } = site.desk;
    const counts = /** @type {Record<string, string>} */ ({ inbox: waiting + unreadRooms > 0 ? count(Math.max(waiting, unreadRooms)) : "", visitors: site.crowd.active > 0 ? count(site.crowd.active) : "" });
    for (const [name, text] of Object.entries(counts)) {
      const badge = /** @type {HTMLElement | null} */ (this.#nav.querySelector(`[data-view="${name}"] .nav-count`));
      if (!badge) continue;
      write(badge, text);
      badge.hidden = text === "";
      badge.classList.toggle("waits", name === "inbox" && waiting > 0);
    }
    const title = VIEWS.find(([name]) => name === this.#view)?.[1] ?? "";
    const wanted = `${unreadRooms > 0 ? `(${unreadRooms}) ` : ""}${title} · ${site.domainId} · WeeziQ`;
    if (document.title !== wanted) document.title = wanted;
  }

  /** @param {Summary} room @param {Summary | undefined} before */
  #tell(room, before) {
    const site = /** @type {Site} */ (this.#site);
    const href = site.href("inbox", room.roomId);
    const name = nameOf(room, room.roomId);
    const { lastMessage } = room;
    if (room.state === "waiting" && before?.state !== "waiting") {
      this.#notifier.tell(`${name} asks for a person`, lastMessage?.message ?? "", href);
      if (site.desk.openRoom !== room.roomId) say(`${name} asks for a person.`);
      return;
    }
    const isCustomers = lastMessage?.role === "user" || lastMessage?.role === "customer";
    // While the AI answers it is no news for a person.
    if (isCustomers && room.state === "live" && lastMessage.id !== before?.lastMessage?.id) this.#notifier.tell(name, lastMessage.message, href);
  }

  /** @param {{state: string, retryInMs?: number, error?: {code: string}}} status */
  #drawLink({ state, retryInMs = 0, error }) {
    const link = part("link", HTMLElement);
    const sentence = state === "open" ? "Connected" : state === "connecting" ? "Connecting …" : error?.code === "refused" ? "Refused" : `Connection lost, next try in ${Math.ceil(retryInMs / 1_000)} s`;
    link.dataset.state = state === "open" ? "good" : state === "connecting" ? "waiting" : "bad";
    write(link, sentence);
    document.body.classList.toggle("is-offline", state !== "open" && state !== "connecting");
  }

  #drawMe() {
    const { agent } = this.#session;
    const me = part("me", HTMLElement);
    part("open-note", HTMLElement).hidden = !agent.isOpen;
    if (!agent.isOpen) {
      return refill(me, h("span", { class: "me-name", dir: "auto" }, agent.userName), h("span", { class: "badge" }, agent.role), h("button", { type: "button", class: "icon-button", "aria-label": "Sign out", title: "Sign out", onclick: () => this.#session.signOut() }, icon("out")));
    }
    const name = h("input", { id: "my-name", value: agent.userName, maxlength: "60", autocomplete: "off", onchange: () => this.#session.rename(name.value.trim() || agent.userName) });
    refill(me, h("label", { class: "unseen", for: "my-name" }, "Your name, as visitors see it"), name);
  }

  async #loadSites() {
    try {
      const { stats } = await this.#session.weeziq.visitors.allStats();
      this.#known = new Map(Object.entries(stats).map(([domainId, one]) => [domainId, one.activeVisitors]));
    } catch {
      // Not for this token, or not now: the sites that it names are known all the same.
    }
    this.#drawSites();
  }

  #drawSites() {
    const open = this.#site?.domainId;
    const names = new Set([...(this.#session.agent.domains ?? []), ...this.#known.keys(), ...(open ? [open] : [])]);
    if (names.size === 0) names.add(location.host);
    const shown = [...names].sort().map((name) => `${name}\t${this.#known.get(name) ?? 0}`);
    const other = !this.#session.agent.domains;
    if (this.#sites.dataset.shown === shown.join() && this.#sites.value === open) return;
    this.#sites.dataset.shown = shown.join();
    const options = shown.map((line) => {
      const [name = "", active] = line.split("\t");
      return h("option", { value: name }, active === "0" ? name : `${name} (${active})`);
    });
    refill(this.#sites, options, other && h("option", { value: "" }, "Another site …"));
    if (open) this.#sites.value = open;
  }

  #chooseSite() {
    const { value } = this.#sites;
    if (value) return this.#go(hrefOf(value, this.#view));
    this.#sites.value = this.#site?.domainId ?? "";
    const dialog = part("other-site", HTMLDialogElement);
    const form = part("other-site-form", HTMLFormElement);
    const input = part("other-site-name", HTMLInputElement);
    form.onsubmit = (event) => {
      event.preventDefault();
      dialog.close();
      if (input.value.trim()) this.#go(hrefOf(input.value.trim(), this.#view));
    };
    dialog.showModal();
  }
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const signIn = new SignIn();
const session = new Session((why) => signIn.ask(why));
try {
  await session.begin();
  part("console", HTMLElement).hidden = false;
  await new App(session).start();
} catch (error) {
  signIn.refuse(error instanceof Refusal ? `This token may not use the console: ${reason(error)}` : reason(error), () => session.signOut());
}
