/** One conversation in full: what was said, the deeds of an agent, and who the visitor is. */
import { Composer } from "./composer.js";
import { personName } from "./crowd.js";
import { nameOf } from "./desk.js";
import { Log } from "./log.js";
import { Profile } from "./profile.js";
import { reason } from "./session.js";
import { Talk } from "./talk.js";
import { confirmed, drawnOncePerFrame, h, icon, iconButton, refill, say, write } from "./ui.js";

/** @import { Site } from "./site.js" */

/** Each is told to the room and to the list. */
const SEEN_EVERY_MS = 500;

export class Conversation {
  #site;
  #leave;
  /** @type {Talk | undefined} */
  talk;
  #title = h("h1", { class: "talk-title", dir: "auto", tabindex: "-1" });
  #state = h("span", { class: "badge" });
  #who = h("p", { class: "talk-who" });
  #takeOver = h("button", { type: "button", class: "button", onclick: () => this.toggleLive() });
  #assign = h("button", { type: "button", class: "button quiet", onclick: () => this.#assignToMe() });
  #close = h("button", { type: "button", class: "button quiet", onclick: () => this.toggleClosed() });
  #menu = h("div", { class: "menu", popover: true, id: "talk-menu" });
  #log = new Log();
  #composer;
  #profile;
  element;
  #draw = drawnOncePerFrame(() => this.#drawAll());
  #seeing = 0;
  /** @type {(() => void)[]} */
  #stops = [];

  /** @param {Site} site @param {() => void} leave to the list */
  constructor(site, leave) {
    this.#site = site;
    this.#leave = leave;
    this.#composer = new Composer(site);
    this.#profile = new Profile(site);
    this.#log.onSeen = () => (this.#seeing ||= setTimeout(() => this.#seen(), SEEN_EVERY_MS));
    const about = iconButton("About the visitor", "person", () => this.#showProfile(!this.element.classList.contains("has-profile")), { class: "icon-button only-tight" });
    this.#profile.onClose = () => this.#showProfile(false);
    const more = iconButton("More about this conversation", "more", () => {}, { popovertarget: "talk-menu" });
    const head = h(
      "header",
      { class: "talk-head" },
      h("a", { class: "icon-button only-narrow", href: site.href("inbox"), "aria-label": "Back to the inbox" }, icon("back")),
      h("div", { class: "talk-name" }, h("div", { class: "talk-line" }, this.#title, this.#state), this.#who),
      h("div", { class: "talk-deeds" }, this.#assign, this.#close, this.#takeOver, about, more, this.#menu),
    );
    this.element = h(
      "section",
      { class: "talk-view", "aria-label": "Conversation", hidden: true, ondragover: (/** @type {Event} */ event) => event.preventDefault(), ondrop: (/** @type {DragEvent} */ event) => this.#dropped(event) },
      h("div", { class: "talk-main" }, head, this.#log.element, this.#composer.element),
      this.#profile.element,
    );
  }

  /** @param {string | undefined} roomId */
  show(roomId) {
    if (roomId === this.talk?.id) return;
    for (const stop of this.#stops.splice(0)) stop();
    this.talk?.stop();
    this.talk = roomId === undefined ? undefined : new Talk(this.#site.session, this.#site.domainId, roomId, this.#site.desk.room(roomId)?.state === "live");
    this.element.hidden = this.talk === undefined;
    this.#showProfile(false);
    this.#site.desk.openRoom = roomId ?? "";
    this.#log.show(this.talk);
    this.#composer.show(this.talk);
    const { talk } = this;
    if (!talk) return;
    const seen = () => this.#seen();
    document.addEventListener("visibilitychange", seen);
    this.#stops.push(
      talk.listen(this.#draw),
      this.#site.desk.listen(this.#draw),
      this.#site.crowd.listen(this.#draw),
      () => document.removeEventListener("visibilitychange", seen),
    );
    this.#lookUp(talk.id);
    this.#draw();
  }

  stop() {
    this.show(undefined);
  }

  /** One that the list does not have: of an address, or older than its pages. @param {string} roomId */
  async #lookUp(roomId) {
    if (this.#site.desk.room(roomId)) return;
    const room = await this.#site.session.api(`/rooms/${encodeURIComponent(roomId)}`).catch(() => undefined);
    if (room?.roomId === roomId) this.#site.desk.put(room);
  }

  #drawAll() {
    const { talk } = this;
    if (!talk) return;
    const room = this.#site.desk.room(talk.id);
    const customer = talk.customer;
    write(this.#title, room || !customer ? nameOf(room, talk.id) : personName(customer, talk.id));
    const state = room?.state ?? (talk.isLive ? "live" : "open");
    this.#state.dataset.kind = state;
    write(this.#state, STATES[state] ?? state);
    write(this.#who, this.#whoAnswers(talk, room?.assignee?.userName));
    this.#drawDeeds(talk, state, room?.assignee?.userId);
    this.#profile.draw(talk, room);
    this.#composer.update();
    this.#log.draw();
  }

  /** @param {Talk} talk @param {string | undefined} assignee */
  #whoAnswers({ isLive, colleagues }, assignee) {
    const here = colleagues.map(({ userName }) => userName);
    const parts = [isLive ? "People answer" : "The AI answers", assignee && `assigned to ${assignee}`, here.length > 0 && `also here: ${here.slice(0, 3).join(", ")}`];
    return parts.filter(Boolean).join(" · ");
  }

  /** @param {Talk} talk @param {string} state @param {string | undefined} assignee */
  #drawDeeds({ isLive, me }, state, assignee) {
    const label = isLive ? "Hand back" : "Take over";
    if (this.#takeOver.dataset.label !== label) {
      this.#takeOver.dataset.label = label;
      this.#takeOver.classList.toggle("primary", !isLive);
      refill(this.#takeOver, icon(isLive ? "spark" : "person"), h("span", {}, label));
    }
    const isMine = assignee === me;
    write(this.#assign, isMine ? "Unassign" : "Assign to me");
    write(this.#close, state === "closed" ? "Reopen" : "Close");
    if (!this.#menu.matches(":popover-open")) this.#drawMenu();
  }

  /** Where there is no room for it beside the conversation, it lies over it. @param {boolean} isShown */
  #showProfile(isShown) {
    this.element.classList.toggle("has-profile", isShown);
    if (isShown) this.#profile.focus();
  }

  #drawMenu() {
    const { talk } = this;
    if (!talk) return;
    const shown = [talk.id, ...talk.colleagues.map(({ userId }) => userId)].join("\n");
    if (this.#menu.dataset.shown === shown) return;
    this.#menu.dataset.shown = shown;
    const entry = (/** @type {string} */ name, /** @type {string} */ label, /** @type {() => unknown} */ act) => {
      const chosen = () => {
        this.#menu.hidePopover();
        act();
      };
      return h("button", { type: "button", class: "menu-entry", onclick: chosen }, icon(name), label);
    };
    refill(
      this.#menu,
      talk.colleagues.slice(0, 5).map(({ userId, userName }) => entry("person", `Assign to ${userName}`, () => this.#done(this.#site.desk.act(talk.id, "assign", { userId, userName })))),
      entry("download", "Transcript as text", () => this.#transcript("text")),
      entry("download", "Transcript as JSON", () => this.#transcript("json")),
      entry("link", "Copy a link to here", () => navigator.clipboard?.writeText(location.href).then(() => say("Copied."), () => say("The browser does not allow it.", "bad"))),
      entry("trash", "Delete for good …", () => this.#delete()),
    );
  }

  toggleLive() {
    const { talk } = this;
    if (!talk) return;
    const isLive = !talk.isLive;
    talk.takeOver(isLive);
    // Whoever takes over is who others should ask; where that cannot be noted, the takeover holds all the same.
    const { desk } = this.#site;
    if (isLive && !desk.room(talk.id)?.assignee) desk.act(talk.id, "assign", this.#me).catch(() => {});
    if (isLive) this.#composer.focus();
  }

  get #me() {
    const { userId, userName } = this.#site.session.agent;
    return { userId, userName };
  }

  #assignToMe() {
    const { talk } = this;
    if (!talk) return;
    const isMine = this.#site.desk.room(talk.id)?.assignee?.userId === talk.me;
    this.#done(this.#site.desk.act(talk.id, "assign", isMine ? { userId: null } : this.#me));
  }

  toggleClosed() {
    const { talk } = this;
    if (!talk) return;
    const isClosed = this.#site.desk.room(talk.id)?.state === "closed";
    const deed = this.#site.desk.act(talk.id, isClosed ? "reopen" : "close");
    this.#done(deed.then(() => say(isClosed ? "Reopened." : "Closed.")));
  }

  /** @param {Promise<unknown>} deed */
  #done(deed) {
    deed.catch((error) => say(reason(error), "bad"));
  }

  /** @param {"json" | "text"} format */
  async #transcript(format) {
    const { talk } = this;
    if (!talk) return;
    try {
      const file = await this.#site.session.file(`/rooms/${encodeURIComponent(talk.id)}/transcript?format=${format}`);
      const address = URL.createObjectURL(file);
      h("a", { href: address, download: `${talk.id}.${format === "text" ? "txt" : "json"}` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10_000);
    } catch (error) {
      say(reason(error), "bad");
    }
  }

  async #delete() {
    const { talk } = this;
    const isSure = talk && (await confirmed("Delete this conversation?", "Its messages and files are removed for everybody, and nobody can bring them back.", "Delete for good"));
    if (!isSure) return;
    try {
      await this.#site.session.api(`/rooms/${encodeURIComponent(talk.id)}`, { method: "DELETE" });
      this.#site.desk.remove(talk.id);
      say("Deleted.");
      this.#leave();
    } catch (error) {
      say(reason(error), "bad");
    }
  }

  #seen() {
    this.#seeing = 0;
    const { talk } = this;
    if (!talk?.isKnown || document.visibilityState !== "visible" || !this.#log.isAtEnd) return;
    talk.markRead();
    this.#site.desk.markRead(talk.id, talk.seq);
  }

  /** @param {DragEvent} event */
  #dropped(event) {
    event.preventDefault();
    this.#composer.attach([...(event.dataTransfer?.files ?? [])]);
  }

  focusReply() {
    this.#composer.focus();
  }

  focusTitle() {
    this.#title.focus();
  }
}

/** @type {Record<string, string>} */
export const STATES = { open: "Open", waiting: "Waiting", live: "Live", closed: "Closed" };
