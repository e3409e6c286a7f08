/** Who the other one is: on which page, from where, with what, since when. */
import { link as outwards } from "/markdown.js";
import { cameFrom, machine, personName } from "./crowd.js";
import { ago, at, clock, country, duration, flag, full, now } from "./time.js";
import { avatar, h, iconButton, refill, shortAddress, webAddress, write } from "./ui.js";

/** @import { Summary } from "./desk.js" */
/** @import { Site } from "./site.js" */
/** @import { Talk } from "./talk.js" */
/** @import { Visitor } from "./crowd.js" */

export class Profile {
  #site;
  #body = h("div", { class: "profile-body" });
  /** @type {() => void} */
  onClose = () => {};
  #close = iconButton("Back to the conversation", "close", () => this.onClose(), { class: "icon-button only-tight" });
  element = h("aside", { class: "profile", "aria-label": "About the visitor" }, this.#close, this.#body);
  #shown = "";
  #read = h("p", { class: "small soft" });
  #since = h("dd", {});
  /** @type {Visitor | undefined} */
  #visitor;

  /** @param {Site} site */
  constructor(site) {
    this.#site = site;
  }

  focus() {
    this.#close.focus();
  }

  /** @param {Talk} talk @param {Summary | undefined} room */
  draw(talk, room) {
    const { crowd, desk } = this.#site;
    const customer = room?.customer ?? talk.customer;
    this.#visitor = crowd.visitor(customer?.userId) ?? crowd.visitor(talk.id);
    write(this.#read, readMark(talk));
    if (this.#visitor) write(this.#since, duration(now() - at(this.#visitor.timestamp)));
    const others = customer ? desk.rooms.filter((other) => other.customer?.userId === customer.userId && other.roomId !== talk.id) : [];
    // Rebuilt only when it says something else: a link that is being clicked on stays.
    const shown = JSON.stringify([talk.id, customer, this.#visitor, room?.rating, room?.page, room?.createdAt, others.map(({ roomId }) => roomId)]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    const name = personName(customer, talk.id);
    const face = h("div", { class: "profile-face" }, avatar(customer?.userId ?? talk.id, name), h("h2", { dir: "auto" }, name));
    const presence = h("p", { class: "state", "data-state": this.#visitor ? "good" : "" }, this.#visitor ? "On the site now" : "Not on the site");
    const rating = room?.rating && [h("h3", {}, "Rating"), ratingElement(room.rating)];
    const facts = this.#visitor ? visitorFacts(this.#visitor, this.#since) : pageFacts(room);
    const begun = room?.createdAt && h("p", { class: "small soft", title: full(room.createdAt) }, `Conversation began ${clock(room.createdAt)}`);
    const before = others.length > 0 && [h("h3", {}, "Other conversations"), h("ul", { class: "plain" }, others.slice(0, 8).map((other) => h("li", {}, this.#otherLink(other))))];
    refill(this.#body, face, presence, ...(rating || []), facts, begun, this.#read, ...(before || []));
  }

  /** @param {Summary} other */
  #otherLink(other) {
    return h("a", { href: this.#site.href("inbox", other.roomId) }, `${ago(other.updatedAt)} · ${other.lastMessage?.message.slice(0, 60) || other.roomId}`);
  }
}

/** @param {Talk} talk */
function readMark({ reads, me, seq, entries, customer }) {
  const mine = entries.findLast((entry) => entry.kind === "message" && entry.message.userId === me);
  const upTo = customer ? (reads.get(customer.userId) ?? 0) : Math.max(0, ...reads.values());
  if (!mine || upTo === 0) return "";
  return upTo >= Math.min(mine.seq, seq) ? "Has read your last message" : "Has not read your last message yet";
}

/** @param {{score: number, comment?: string}} rating */
export function ratingElement({ score, comment }) {
  const stars = Math.max(0, Math.min(5, Math.round(score)));
  const shown = h("p", { class: "stars", role: "img", "aria-label": `${stars} of 5` }, "★".repeat(stars), h("span", {}, "★".repeat(5 - stars)));
  return h("div", { class: "rating" }, shown, comment && h("blockquote", { dir: "auto" }, comment));
}

/** @param {Visitor} visitor @param {HTMLElement} since filled by whoever has a clock */
export function visitorFacts(visitor, since) {
  const { url, title, referrer, language, screen, device, lastActivity } = visitor;
  const place = [flag(visitor.country), country(visitor.country)].filter(Boolean).join(" ");
  const from = cameFrom(visitor);
  const referrerAddress = from && webAddress(referrer);
  /** @type {[string, Node | string | undefined | false][]} */
  const facts = [
    ["Page", pageLink(url, title)],
    ["Came from", referrerAddress ? outwards(referrerAddress, from) : from || "directly"],
    ["Country", place || "not known"],
    ["Browser", machine(visitor)],
    ["Device", device && device !== "Unknown" ? device : ""],
    ["Language", language],
    ["Screen", screen],
  ];
  const rows = facts.filter(([, fact]) => fact).map(([label, fact]) => h("div", {}, h("dt", {}, label), h("dd", { dir: "auto" }, fact)));
  rows.push(h("div", {}, h("dt", {}, "On the site"), since));
  rows.push(h("div", {}, h("dt", {}, "Last active"), h("dd", {}, clock(lastActivity))));
  return h("dl", { class: "facts" }, rows);
}

/** @param {Summary | undefined} room */
function pageFacts(room) {
  if (!room?.page?.url && !room?.page?.title) return null;
  return h("dl", { class: "facts" }, h("div", {}, h("dt", {}, "Last page"), h("dd", { dir: "auto" }, pageLink(room.page.url, room.page.title))));
}

/** @param {string | undefined} url @param {string | undefined} title */
export function pageLink(url, title) {
  const address = webAddress(url);
  const words = title || shortAddress(url) || "unknown";
  return address ? outwards(address, words) : h("span", {}, words);
}
