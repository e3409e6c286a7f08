/** An answer while it is written: its chunks in their order, each once, by whichever way they come. */
import { h } from "./element.js";
import { bubble } from "./message.js";

/** @import { Words } from "./words.js" */

export class Answer {
  /** @type {string[]} */
  #chunks = [];
  /** up to where there is no gap */
  #next = 0;
  #text = "";
  #frame = 0;
  #isKnownCut = false;
  #bubble = h("div", { class: "bubble" });
  #onDraw;

  /** @param {string} name @param {Words} words @param {(change: () => void) => void} onDraw */
  constructor(name, words, onDraw) {
    this.words = words;
    this.#onDraw = onDraw;
    // Read aloud when it is whole, not word by word: that is the message which follows it.
    this.element = h("li", { class: "message assistant pending writing", "aria-live": "off", "data-who": "assistant" }, h("p", { class: "who" }, name), this.#bubble);
  }

  /** There is a gap, and nobody has been asked for it yet. */
  isCut() {
    const isNew = !this.#isKnownCut && this.#chunks.length > this.#next;
    this.#isKnownCut ||= isNew;
    return isNew;
  }

  /** @param {number} index @param {string} chunk */
  add(index, chunk) {
    if (index < this.#next) return;
    this.#chunks[index] = chunk;
    while (this.#chunks[this.#next] !== undefined) {
      this.#text += this.#chunks[this.#next];
      this.#next += 1;
    }
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#frame = 0;
    this.#onDraw(() => {
      const drawn = bubble(this.#text, false);
      this.#bubble.replaceWith(drawn);
      this.#bubble = drawn;
    });
  }

  /** It ends like this; what is whole comes as a message of the room. @param {string} text */
  end(text) {
    if (text.length > this.#text.length) this.#text = text;
    this.#draw();
    this.element.classList.remove("writing");
    this.element.setAttribute("aria-live", "polite");
    if (!this.element.querySelector(".meta")) this.element.append(h("p", { class: "meta" }, this.words.interrupted));
  }

  remove() {
    cancelAnimationFrame(this.#frame);
    this.element.remove();
  }
}
