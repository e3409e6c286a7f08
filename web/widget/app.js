/** The open widget: its head, what has to be said about the connection, the conversation, and where to write. */
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { button, h, icon } from "./element.js";

/** @import { Options } from "./options.js" */
/** @import { Session, Site } from "./session.js" */
/** @import { Words } from "./words.js" */

/** A blink is no news. */
const OFFLINE_AFTER_MS = 3_000;

export class App {
  #options;
  #words;
  #session;
  #conversation;
  #composer;
  #title = h("h2", { class: "title", dir: "auto" });
  #state = h("p", { class: "state", role: "status" });
  #away = h("div", { class: "away" });
  #typing = h("p", { class: "typing", role: "status" });
  #email = h("input", { type: "email", autocomplete: "email", dir: "ltr" });
  #menu;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #offline;

  /** @param {Options} options @param {Words} words @param {Session} session @param {() => void} onClose */
  constructor(options, words, session, onClose) {
    this.#options = options;
    this.#words = words;
    this.#session = session;
    this.#conversation = new Conversation(options, words, session, (names) => this.#showTyping(names));
    this.#composer = new Composer(words, session, options.domain, (text, attachments) => this.#say(text, attachments));
    this.#title.textContent = options.title ?? words.title;
    this.#menu = this.#makeMenu();
    this.#away.hidden = this.#state.hidden = true;
    const more = button("icon-button", words.menu, () => this.#toggleMenu(more), icon("more"));
    more.setAttribute("aria-expanded", "false");
    const head = h("header", {}, this.#title, button("icon-button", words.person, () => this.#askForPerson(), icon("person")), more);
    if (!options.into) head.append(button("icon-button close", words.close, onClose, icon("close")));
    const isDialog = options.into ? {} : { role: "dialog", "aria-label": options.title ?? words.title };
    const below = h("footer", {}, this.#typing, this.#away, this.#composer.element);
    this.element = h("div", { class: "panel", ...isDialog }, head, this.#menu, this.#state, this.#conversation.log.element, below, h("p", { class: "drop", "aria-hidden": "true" }, words.drop));
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      if (this.#menu.hidden) onClose();
      else this.#toggleMenu(more);
    });
    this.#takeDrops();
    this.#watch();
    session.site.then((site) => this.#showSite(site));
  }

  show() {
    this.element.hidden = false;
    this.#session.isSeen = true;
    this.#session.read();
    this.#conversation.log.toEnd();
    if (!this.#options.into) this.#composer.focus();
  }

  /** @param {string} text */
  say(text) {
    this.#conversation.say(text, []);
  }

  hide() {
    this.element.hidden = true;
    this.#session.isSeen = false;
  }

  #makeMenu() {
    const { memory } = this.#session;
    const sound = h("input", { type: "checkbox" });
    sound.checked = memory.kept.sound === true;
    sound.addEventListener("change", () => memory.keep({ sound: sound.checked }));
    const rate = button("quiet", "", () => this.#rate(), this.#words.rate);
    const person = button("quiet", "", () => this.#askForPerson(), this.#words.person);
    const menu = h("div", { class: "menu" }, person, rate, h("label", { class: "check" }, sound, this.#words.sound));
    menu.hidden = true;
    return menu;
  }

  /** @param {HTMLElement} more */
  #toggleMenu(more) {
    this.#menu.hidden = !this.#menu.hidden;
    more.setAttribute("aria-expanded", String(!this.#menu.hidden));
  }

  async #rate() {
    this.#menu.hidden = true;
    const { ratingForm } = await import("./rating.js");
    if (this.element.querySelector(".rating")) return;
    const form = ratingForm(this.#words, this.#session, (thanks) => {
      form.remove();
      if (thanks) this.#conversation.log.note(thanks);
      this.#composer.focus();
    });
    this.#conversation.log.keepEnd(() => this.#composer.element.before(form));
    form.querySelector("input")?.focus();
  }

  async #askForPerson() {
    this.#menu.hidden = true;
    try {
      await this.#conversation.askForPerson();
    } catch (error) {
      this.#conversation.log.note(this.#words.refused(/** @type {Error} */ (error).message));
    }
  }

  /** @param {string} text @param {object[]} attachments */
  #say(text, attachments) {
    const email = this.#away.hidden || !this.#email.validity.valid ? "" : this.#email.value.trim();
    this.#conversation.say(email ? `${text}\n\n${this.#words.answerTo(email)}` : text, attachments);
    this.#email.value = "";
  }

  /** @param {string[]} names */
  #showTyping(names) {
    this.#typing.replaceChildren(...(names.length ? [this.#words.writing(names), h("span", { class: "dots", "aria-hidden": "true" })] : []));
  }

  /** @param {Site} site */
  #showSite({ name, isOpen, opensAt, autoReply }) {
    if (name && !this.#options.title) this.#title.textContent = name;
    if (isOpen === false) this.#showAway(this.#words.away(opensAt ? moment(opensAt, this.#options.lang) : ""), !autoReply);
  }

  /** @param {string} why @param {boolean} isForm */
  #showAway(why, isForm) {
    const label = h("label", {}, this.#words.email, this.#email);
    this.#away.replaceChildren(h("p", { dir: "auto" }, why, isForm ? ` ${this.#words.leaveMessage}` : ""), isForm ? label : "");
    this.#away.hidden = false;
  }

  #watch() {
    const { weeziq, room } = this.#session;
    const say = (/** @type {string} */ text, isBad = false) => {
      this.#state.textContent = text;
      this.#state.hidden = !text;
      this.#state.classList.toggle("bad", isBad);
    };
    const changed = (/** @type {import("/client/index.js").Status} */ { state, error }) => {
      if (state === "open") {
        clearTimeout(this.#offline);
        this.#offline = undefined;
        return say("");
      }
      if (state === "waiting" && weeziq.token && /refused|unauthorized/.test(error?.code ?? "")) return say(this.#words.expired, true);
      // Since the connection was lost, however often it has been tried anew.
      this.#offline ??= setTimeout(() => this.#state.textContent === "" && say(this.#words.offline), OFFLINE_AFTER_MS);
    };
    weeziq.on("status", changed);
    changed({ state: weeziq.state });
    room.on("error", (error) => say(this.#words.refused(error.message), true));
    document.addEventListener("visibilitychange", () => this.#session.isSeen && document.visibilityState === "visible" && this.#session.read());
  }

  #takeDrops() {
    const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
    const mark = (/** @type {boolean} */ isOver) => this.element.classList.toggle("dropping", isOver);
    this.element.addEventListener("dragover", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      mark(true);
    });
    this.element.addEventListener("dragleave", (event) => !this.element.contains(/** @type {Node | null} */ (event.relatedTarget)) && mark(false));
    this.element.addEventListener("drop", (event) => {
      mark(false);
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.#composer.attach(event.dataTransfer?.files ?? []);
    });
  }
}

/** @param {string} rfc3339 @param {string} lang */
function moment(rfc3339, lang) {
  const at = new Date(rfc3339);
  return Number.isNaN(at.valueOf()) ? "" : at.toLocaleString(lang, { weekday: "long", hour: "2-digit", minute: "2-digit" });
}
