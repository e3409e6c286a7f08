/** The inbox: conversations on one side, the one that is open on the other. */
import { Conversation, STATES } from "./conversation.js";
import { nameOf } from "./desk.js";
import { VirtualList } from "./list.js";
import { ago, at, duration, now } from "./time.js";
import { avatar, drawnOncePerFrame, h, icon, refill, write } from "./ui.js";

/** @import { Box, Summary } from "./desk.js" */
/** @import { Site } from "./site.js" */

const ROW_PX = 76;
/** @type {[Box, string][]} */
const BOXES = [["open", "All open"], ["waiting", "Waiting"], ["mine", "Mine"], ["closed", "Closed"]];
const SEARCH_AFTER_MS = 250;
const TICK_MS = 15_000;

export class Inbox {
  #site;
  /** @type {Box} */
  #box = "open";
  #found = h("div", { class: "found", "aria-live": "polite" });
  #search = h("input", { type: "search", id: "inbox-search", placeholder: "Search conversations", autocomplete: "off", oninput: () => this.#searched() });
  #boxes = h("div", { class: "boxes", role: "group", "aria-label": "Which conversations" });
  #empty = h("p", { class: "empty" });
  /** @type {VirtualList<Summary>} */
  #list;
  conversation;
  element;
  #nothing;
  #timer = 0;
  #draw = drawnOncePerFrame(() => this.#drawAll());
  /** @type {(() => void)[]} */
  #stops;

  /** @param {Site} site @param {(href: string) => void} go */
  constructor(site, go) {
    this.#site = site;
    this.conversation = new Conversation(site, () => go(site.href("inbox")));
    this.#list = new VirtualList({
      label: "Conversations",
      rowHeight: ROW_PX,
      key: ({ roomId }) => roomId,
      make: ({ roomId }) => h("a", { class: "room", href: site.href("inbox", roomId) }),
      update: (row, room) => this.#drawRoom(row, room),
    });
    this.#nothing = h("div", { class: "nothing" }, icon("inbox"), h("p", {}, "Choose a conversation."), h("p", { class: "small soft" }, "j and k go through them, ? shows all keys."));
    const head = h("div", { class: "pane-head" }, h("h1", {}, "Inbox"), h("label", { class: "unseen", for: "inbox-search" }, "Search conversations"), this.#search, this.#boxes);
    this.element = h("div", { class: "view inbox" }, h("section", { class: "pane", "aria-label": "Inbox" }, head, this.#found, this.#empty, this.#list.element), this.conversation.element, this.#nothing);
    const ticking = setInterval(this.#list.draw, TICK_MS);
    this.#stops = [site.desk.listen(this.#draw), () => clearInterval(ticking)];
  }

  /** @param {string | undefined} roomId */
  show(roomId) {
    const before = this.conversation.talk?.id;
    this.element.classList.toggle("has-open", roomId !== undefined);
    this.#nothing.hidden = roomId !== undefined;
    this.conversation.show(roomId);
    // Where only one of both fits, the keyboard moves with it.
    if (roomId !== before && this.#list.element.offsetParent === null) this.conversation.focusTitle();
    else if (roomId === undefined && before !== undefined) this.#list.focus(this.#listed().findIndex((room) => room.roomId === before));
    const room = roomId !== undefined && this.#site.desk.room(roomId);
    // One that is in another box is shown in its own.
    if (room && before !== roomId && !this.#listed().includes(room)) this.#choose(room.state === "closed" ? "closed" : "open");
    this.#draw();
  }

  hide() {
    this.conversation.show(undefined);
  }

  stop() {
    this.conversation.stop();
    clearTimeout(this.#timer);
    for (const stop of this.#stops) stop();
  }

  focusSearch() {
    this.#search.focus();
  }

  /** The one before or after the open one. @param {1 | -1} by @returns {string | undefined} where it is */
  neighbour(by) {
    const rooms = this.#listed();
    const place = rooms.findIndex(({ roomId }) => roomId === this.conversation.talk?.id);
    const room = rooms[place === -1 ? 0 : place + by];
    if (room) this.#list.reveal(room);
    return room && this.#site.href("inbox", room.roomId);
  }

  #listed() {
    return this.#site.desk.list(this.#box, this.#search.value);
  }

  /** @param {Box} box */
  #choose(box) {
    this.#box = box;
    this.#list.element.scrollTop = 0;
    this.#draw();
  }

  #drawAll() {
    const { desk } = this.#site;
    const rooms = this.#listed();
    this.#list.show(rooms);
    const buttons = BOXES.map(([box, label]) => {
      const amount = box === "closed" ? 0 : desk.list(box).length;
      return h("button", { type: "button", class: "box", "aria-pressed": String(box === this.#box), onclick: () => this.#choose(box) }, label, amount > 0 && h("span", { class: "box-count" }, amount));
    });
    const shown = buttons.map(({ textContent, ariaPressed }) => `${textContent}${ariaPressed}`).join();
    if (this.#boxes.dataset.shown !== shown) {
      const focused = [...this.#boxes.children].indexOf(/** @type {Element} */ (document.activeElement));
      this.#boxes.dataset.shown = shown;
      refill(this.#boxes, buttons);
      /** @type {HTMLElement | undefined} */ (this.#boxes.children[focused])?.focus();
    }
    this.#empty.hidden = rooms.length > 0;
    write(this.#empty, desk.isKnown ? this.#whyEmpty() : "Loading …");
  }

  #whyEmpty() {
    if (this.#search.value) return "No conversation has these words in its last message, name or page.";
    return { open: "Nobody has written yet. As soon as somebody does, it is here.", waiting: "Nobody waits.", mine: "Nothing is assigned to you.", closed: "Nothing was closed yet." }[this.#box];
  }

  /** @param {HTMLAnchorElement} row @param {Summary} room */
  #drawRoom(row, room) {
    const { roomId, state, lastMessage, updatedAt, waitingSince, assignee, rating } = room;
    const unread = this.#site.desk.unread(room);
    const { crowd } = this.#site;
    const isHere = (crowd.visitor(room.customer?.userId) ?? crowd.visitor(roomId)) !== undefined;
    const isOpen = this.conversation.talk?.id === roomId;
    const when = state === "waiting" && waitingSince ? `waits ${duration(now() - at(waitingSince))}` : ago(lastMessage?.timestamp ?? updatedAt);
    const shown = [lastMessage?.id, lastMessage?.message, state, unread, when, assignee?.userName, isHere, isOpen, rating?.score, nameOf(room, roomId)].join("\n");
    if (row.dataset.shown === shown) return;
    row.dataset.shown = shown;
    if (isOpen) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
    row.classList.toggle("unread", unread > 0);
    const name = nameOf(room, roomId);
    const said = lastMessage ? `${whoSaid(lastMessage)}${lastMessage.message || "sent a file"}` : "Nothing said yet";
    refill(
      row,
      h("span", { class: `room-face${isHere ? " here" : ""}` }, avatar(room.customer?.userId ?? roomId, name), isHere && h("span", { class: "unseen" }, "on the site now")),
      h(
        "span",
        { class: "room-words" },
        h("span", { class: "room-line" }, h("span", { class: "room-name", dir: "auto" }, name), h("time", { class: "room-when" }, when)),
        h("span", { class: "room-said", dir: "auto" }, said),
        h("span", { class: "room-line room-foot" }, state !== "open" && h("span", { class: "badge", "data-kind": state }, STATES[state]), assignee && h("span", { class: "room-assignee" }, assignee.userName), rating && h("span", { class: "room-rating" }, `★ ${rating.score}`)),
      ),
      unread > 0 && h("span", { class: "count" }, unread > 99 ? "99+" : unread, h("span", { class: "unseen" }, " unread")),
    );
  }

  #searched() {
    this.#draw();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#searchAll(), SEARCH_AFTER_MS);
  }

  /** In everything that was ever said, beside what the list knows. */
  async #searchAll() {
    const words = this.#search.value.trim();
    refill(this.#found);
    if (words.length < 2) return;
    const query = new URLSearchParams({ domainId: this.#site.domainId, q: words, limit: "20" });
    const reply = await this.#site.session.api(`/search?${query}`).catch(() => undefined);
    // Asked something else meanwhile.
    if (this.#search.value.trim() !== words || !reply?.results?.length) return;
    const results = reply.results.map((/** @type {{roomId: string, message: any, snippet: string}} */ { roomId, message, snippet }) => {
      const name = nameOf(this.#site.desk.room(roomId), message?.userName ?? roomId);
      return h("li", {}, h("a", { class: "result", href: this.#site.href("inbox", roomId) }, h("strong", { dir: "auto" }, name), h("span", { dir: "auto" }, snippet ?? message?.message ?? "")));
    });
    refill(this.#found, h("h2", {}, "In what was said"), h("ul", { class: "plain" }, results));
  }
}

/** @param {{role: string, userName: string}} last */
function whoSaid({ role, userName }) {
  if (role === "assistant") return "AI: ";
  return role === "agent" || role === "admin" ? `${userName}: ` : "";
}
