/** What was said, of which only a part is in the page: 500 messages a second and 100,000 in all cost the same. */
import { answerElement, answerText, entryElement } from "./message.js";
import { calendarDay, day } from "./time.js";
import { drawnOncePerFrame, h, icon, refill, write } from "./ui.js";

/** @import { Answer, Entry, Talk } from "./talk.js" */

const SHOWN_MAX = 120;
const STEP = 40;
/** Nearer to an edge than this, and the next are put there. */
const NEAR_PX = 600;
const AT_END_PX = 80;

export class Log {
  /** @type {Talk | undefined} */
  #talk;
  #list = h("div", { class: "said", role: "log", "aria-live": "polite", "aria-relevant": "additions", "aria-label": "Conversation" });
  /** The AI's words as they come, and ours until the server has them: read aloud once they are said. */
  #tail = h("div", { class: "said tail" });
  #typing = h("p", { class: "typing" });
  #older = h("p", { class: "older" });
  #news = h("button", { type: "button", class: "to-end", hidden: true, onclick: () => this.toEnd() });
  #scroller = h("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": "What was said" }, this.#older, this.#list, this.#tail, this.#typing);
  element = h("div", { class: "log" }, this.#scroller, this.#news);
  /** the first and the one behind the last that are in the page, counted from where the list began */
  #from = 0;
  #to = 0;
  #shift = 0;
  isAtEnd = true;
  #seenTo = 0;
  /** @type {Map<string, {element: HTMLElement, version: number, previous: string}>} */
  #shown = new Map();
  /** @type {Map<string, {element: HTMLElement, text: string}>} */
  #answers = new Map();
  #pendingShown = "";
  draw = drawnOncePerFrame(() => this.#draw());
  /** @type {() => void} */
  onSeen = () => {};

  constructor() {
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    // A picture of which nobody has said how large it is.
    this.#list.addEventListener("load", () => this.isAtEnd && this.#stickToEnd(), true);
    new ResizeObserver(() => this.isAtEnd && this.#stickToEnd()).observe(this.#scroller);
  }

  /** @param {Talk | undefined} talk */
  show(talk) {
    this.#talk = talk;
    for (const { element } of this.#shown.values()) element.remove();
    this.#shown.clear();
    this.#answers.clear();
    this.#pendingShown = "";
    refill(this.#list);
    refill(this.#tail);
    write(this.#typing, "");
    [this.#from, this.#to, this.#shift, this.#seenTo, this.isAtEnd] = [0, 0, talk?.shift ?? 0, 0, true];
    this.draw();
  }

  toEnd() {
    this.isAtEnd = true;
    this.draw();
  }

  #draw() {
    const talk = this.#talk;
    if (!talk) return;
    const { entries } = talk;
    this.#keepPlace(talk);
    if (this.isAtEnd) {
      this.#to = entries.length;
      this.#from = Math.max(0, this.#to - SHOWN_MAX);
    }
    const anchor = this.isAtEnd ? null : this.#anchor();
    this.#drawEntries(entries.slice(this.#from, this.#to), entries[this.#from - 1], talk.me);
    this.#drawTail(talk);
    this.#drawEdges(talk);
    if (this.isAtEnd) this.#stickToEnd();
    else if (anchor?.element.isConnected) this.#scroller.scrollTop += anchor.element.getBoundingClientRect().top - anchor.top;
    if (this.isAtEnd) this.#seen(entries);
    // Older ones have come, and their reader is still at the edge.
    else if (this.#from > 0 && this.#scroller.scrollTop < NEAR_PX) this.#scrolled();
  }

  /** Older ones were put before, or let go. @param {Talk} talk */
  #keepPlace({ shift, entries }) {
    const by = shift - this.#shift;
    this.#shift = shift;
    const bounded = (/** @type {number} */ place) => Math.max(0, Math.min(entries.length, place));
    this.#from = bounded(this.#from + by);
    this.#to = bounded(Math.max(this.#to + by, this.#from + SHOWN_MAX));
  }

  /** @param {readonly Entry[]} entries @param {Entry | undefined} before @param {string} me */
  #drawEntries(entries, before, me) {
    const wanted = new Set(entries.map(({ key }) => key));
    for (const [key, { element }] of this.#shown) {
      if (wanted.has(key)) continue;
      element.remove();
      this.#shown.delete(key);
    }
    /** @type {Node | null} */
    let next = this.#list.firstChild;
    let previous = before;
    for (const entry of entries) {
      const element = this.#elementOf(entry, previous, me);
      if (element === next) next = next.nextSibling;
      else this.#list.insertBefore(element, next);
      previous = entry;
    }
  }

  /** @param {Entry} entry @param {Entry | undefined} previous @param {string} me */
  #elementOf(entry, previous, me) {
    const shown = this.#shown.get(entry.key);
    const previousKey = previous?.key ?? "";
    if (shown && shown.version === entry.version && shown.previous === previousKey) return shown.element;
    const element = entryElement(entry, previous, me);
    if (!previous || calendarDay(previous.timestamp) !== calendarDay(entry.timestamp)) element.dataset.day = day(entry.timestamp);
    if (shown) shown.element.replaceWith(element);
    this.#shown.set(entry.key, { element, version: entry.version, previous: previousKey });
    return element;
  }

  /** @param {Talk} talk */
  #drawTail(talk) {
    for (const [id, { element }] of this.#answers) {
      if (talk.answers.has(id)) continue;
      element.remove();
      this.#answers.delete(id);
    }
    for (const [id, answer] of talk.answers) this.#drawAnswer(id, answer);
    const waiting = [...talk.pending.map((one) => ({ ...one, why: "" })), ...talk.refused];
    const now = waiting.map(({ clientMessageId, why }) => clientMessageId + why).join();
    if (now !== this.#pendingShown) {
      this.#pendingShown = now;
      for (const old of [...this.#tail.querySelectorAll(".mine")]) old.remove();
      this.#tail.append(...waiting.map((one) => pendingElement(talk, one)));
    }
    const names = [...talk.typing.values()].slice(0, 3);
    write(this.#typing, names.length === 0 ? "" : `${names.join(", ")} ${names.length === 1 ? "is" : "are"} writing …`);
  }

  /** @param {string} id @param {Answer} answer */
  #drawAnswer(id, answer) {
    let shown = this.#answers.get(id);
    if (!shown) {
      shown = { element: answerElement(answer), text: answerText(answer) };
      this.#answers.set(id, shown);
      this.#tail.prepend(shown.element);
    }
    const text = answerText(answer);
    if (text === shown.text) return;
    // Only what is new: a long answer is not laid out from its beginning with each word.
    shown.element.querySelector(".bubble")?.append(text.slice(shown.text.length));
    shown.text = text;
  }

  /** @param {Talk} talk */
  #drawEdges({ entries, hasOlder, isLoadingOlder, isKnown, error }) {
    const isTop = this.#from === 0;
    const empty = isKnown && entries.length === 0 ? "Nothing has been said here yet." : "";
    write(this.#older, error || (isLoadingOlder ? "Loading what was said before …" : isTop && !hasOlder ? empty || (isKnown ? "The conversation begins here." : "Loading …") : ""));
    const fresh = entries.length - this.#seenTo - this.#shift;
    this.#news.hidden = this.isAtEnd;
    if (!this.isAtEnd) refill(this.#news, icon("download"), fresh > 0 ? `${fresh} new` : "To the end");
  }

  /** @param {readonly Entry[]} entries */
  #seen(entries) {
    this.#seenTo = entries.length - this.#shift;
    this.onSeen();
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const talk = this.#talk;
    if (!talk) return;
    const below = scrollHeight - scrollTop - clientHeight;
    const isLast = this.#to === talk.entries.length;
    // What has come since the last frame is not in the page yet, and no reason to stop following.
    this.isAtEnd = (isLast || this.isAtEnd) && below < AT_END_PX;
    if (scrollTop < NEAR_PX && this.#from > 0) this.#slide(-STEP);
    else if (scrollTop < NEAR_PX && talk.hasOlder) talk.older();
    else if (below < NEAR_PX && !isLast) this.#slide(STEP);
    this.draw();
  }

  /** @param {number} by */
  #slide(by) {
    const last = this.#talk?.entries.length ?? 0;
    this.#from = Math.max(0, Math.min(this.#from + by, last - SHOWN_MAX));
    this.#to = Math.min(last, this.#from + SHOWN_MAX);
  }

  /** What stays where it is while others come before it: the first in sight. */
  #anchor() {
    const { top } = this.#scroller.getBoundingClientRect();
    for (const element of this.#list.children) {
      const box = element.getBoundingClientRect();
      if (box.bottom > top) return { element, top: box.top };
    }
    return null;
  }

  #stickToEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }
}

/** @param {Talk} talk @param {import("/client/index.js").Outgoing & {why: string}} one */
function pendingElement(talk, one) {
  const files = one.attachments?.length ? `${one.attachments.length} file${one.attachments.length > 1 ? "s" : ""}` : "";
  const again = one.why !== "" && h("button", { type: "button", class: "link-button", onclick: () => talk.again(one) }, "Send again");
  const state = one.why ? `Not sent: ${one.why} ` : "on its way";
  return h("div", { class: `message mine ${one.why ? "refused" : "pending"}` }, h("div", { class: "bubble", dir: "auto" }, one.message || files), h("footer", { class: "meta" }, state, again));
}
