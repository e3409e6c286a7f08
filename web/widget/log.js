/**
 * The conversation as a list. What comes is put in once a frame, however much it is, and the list stays as long as a person
 * can read: a room that says 500 things a second costs what the screen shows of it.
 */
import { button, h } from "./element.js";
import { messageItem, setMark } from "./message.js";

/** @import { Around, Shown } from "./message.js" */

/** What is above can be fetched again. */
const ITEMS_MAX = 200;
const AT_END_PX = 80;

export class Log {
  /** @type {Shown[]} */
  #arrived = [];
  #frame = 0;
  #readSeq = 0;
  #around;
  #list;
  #earlier;
  #newest;

  /** @param {Around} around @param {(beforeSeq: number) => void} onEarlier */
  constructor(around, onEarlier) {
    this.#around = around;
    const { words } = around;
    this.#list = h("ol", { class: "log" });
    this.#earlier = button("earlier", "", () => onEarlier(this.#firstSeq()), words.earlier);
    this.#newest = button("newest", "", () => this.toEnd(), words.newest);
    this.#earlier.hidden = this.#newest.hidden = true;
    const log = h("div", { role: "log", "aria-label": words.log }, this.#list);
    this.element = h("div", { class: "scroll", role: "group", "aria-label": words.log, tabindex: 0 }, this.#earlier, log, this.#newest);
    this.element.addEventListener("scroll", () => this.#isAtEnd() && (this.#newest.hidden = true), { passive: true });
  }

  /** All that there was so far. @param {Shown[]} messages @param {boolean} hasMore */
  begin(messages, hasMore) {
    this.#arrived = [];
    for (const item of this.#list.querySelectorAll(".message[data-seq], .note")) item.remove();
    const unsent = [...this.#list.children];
    this.#list.append(...messages.map((message) => messageItem(message, this.#around)), ...unsent);
    this.#group();
    this.#earlier.hidden = !hasMore;
    this.#showMarks();
    this.toEnd();
  }

  /** @param {Shown[]} messages oldest first @param {boolean} hasMore */
  prepend(messages, hasMore) {
    const { scrollHeight } = this.element;
    this.#list.prepend(...messages.map((message) => messageItem(message, this.#around)));
    this.#group();
    this.#earlier.hidden = !hasMore;
    this.#showMarks();
    this.element.scrollTop += this.element.scrollHeight - scrollHeight;
  }

  /** @param {Shown} message */
  add(message) {
    this.#arrived.push(message);
    // Nothing is drawn where nobody looks; when somebody does, only the last are.
    if (this.#arrived.length > ITEMS_MAX) this.#arrived.shift();
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#frame = 0;
    const arrived = this.#arrived.splice(0);
    // Whoever reads further up keeps what is read, within reason.
    const most = this.#isAtEnd() ? ITEMS_MAX : 5 * ITEMS_MAX;
    this.keepEnd(() => {
      for (const message of arrived) {
        const item = messageItem(message, this.#around);
        const sent = message.userId === this.#around.me && this.#sending(message);
        if (sent) sent.replaceWith(item);
        // What is still on its way, or being written, stays below what the room has agreed on.
        else this.#list.insertBefore(item, this.#list.querySelector(".pending"));
      }
      this.#trim(most);
      this.#group();
      this.#showMarks();
    });
  }

  /** @param {Shown} message */
  #sending({ clientMessageId, message }) {
    const pending = [.../** @type {NodeListOf<HTMLElement>} */ (this.#list.querySelectorAll(".pending.mine"))];
    // A question that was asked of the AI comes back as the room's, under another id.
    return pending.find((item) => item.dataset.sending === clientMessageId) ?? pending.find((item) => item.dataset.asked === message);
  }

  /** @param {number} most */
  #trim(most) {
    const over = this.#list.childElementCount - most;
    if (over <= 0) return;
    for (const item of [...this.#list.children].slice(0, over)) item.remove();
    this.#earlier.hidden = false;
  }

  /** Mine, on its way. @param {Shown} message @returns {HTMLElement} */
  addPending(message) {
    const there = message.clientMessageId && this.#list.querySelector(`[data-sending="${CSS.escape(message.clientMessageId)}"]`);
    if (there) return /** @type {HTMLElement} */ (there);
    const item = messageItem(message, this.#around);
    item.classList.add("pending");
    if (message.clientMessageId) item.dataset.sending = message.clientMessageId;
    setMark(item, "sending", this.#around.words);
    this.append(item);
    this.#group();
    this.toEnd();
    return item;
  }

  /** @param {HTMLElement} item */
  append(item) {
    this.keepEnd(() => this.#list.append(item));
  }

  /** The first thing to be read, until somebody says something. @param {string} text @param {string} userName */
  greet(text, userName) {
    const isFirst = !this.#list.querySelector(".message:not(.greeting)");
    this.#list.querySelector(".greeting")?.remove();
    if (!isFirst) return;
    const item = messageItem({ message: text, userId: "", userName, role: "assistant" }, this.#around);
    item.classList.add("greeting");
    this.#list.prepend(item);
  }

  /** A line between messages: who came, what happened. @param {string} text */
  note(text) {
    this.keepEnd(() => this.#list.insertBefore(h("li", { class: "note", dir: "auto" }, text), this.#list.querySelector(".pending")));
  }

  /** @param {string} id @param {Shown | undefined} message nothing: it was taken back */
  change(id, message) {
    const waiting = this.#arrived.find((one) => one.id === id);
    if (waiting && message) waiting.message = message.message;
    else if (waiting) this.#arrived.splice(this.#arrived.indexOf(waiting), 1);
    const item = this.#list.querySelector(`[data-id="${CSS.escape(id)}"]`);
    if (!message) return item?.remove();
    const bubble = item?.querySelector(".bubble");
    if (!item || !bubble) return;
    const changed = messageItem({ ...message, userId: item.classList.contains("mine") ? this.#around.me : "" }, this.#around);
    const text = changed.querySelector(".bubble");
    if (text) bubble.replaceWith(text);
    if (!item.querySelector(".edited")) item.querySelector(".meta")?.append(h("span", { class: "edited" }, this.#around.words.edited));
  }

  /** Somebody has read up to there. @param {number} seq */
  readTo(seq) {
    this.#readSeq = Math.max(this.#readSeq, seq);
    this.#showMarks();
  }

  #showMarks() {
    const mine = /** @type {NodeListOf<HTMLElement>} */ (this.#list.querySelectorAll(".mine[data-seq]"));
    for (const item of mine) setMark(item, Number(item.dataset.seq) <= this.#readSeq ? "read" : "sent", this.#around.words);
  }

  /** A name is said once, not over each message. */
  #group() {
    let before = "";
    for (const item of this.#list.children) {
      const who = /** @type {HTMLElement} */ (item).dataset.who ?? "";
      item.classList.toggle("again", who !== "" && who === before);
      before = who;
    }
  }

  /** Keeps the end in sight, unless its reader has scrolled up. @param {() => void} change */
  keepEnd(change) {
    const wasAtEnd = this.#isAtEnd();
    change();
    if (wasAtEnd) this.toEnd();
    else this.#newest.hidden = false;
  }

  toEnd() {
    this.element.scrollTop = this.element.scrollHeight;
    this.#newest.hidden = true;
  }

  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.element;
    return scrollHeight - scrollTop - clientHeight < AT_END_PX;
  }

  #firstSeq() {
    const first = /** @type {HTMLElement | null} */ (this.#list.querySelector("[data-seq]"));
    return Number(first?.dataset.seq ?? 0);
  }
}
