/** A list of any length of which only what is in sight is in the page. */
import { drawnOncePerFrame, h } from "./ui.js";

/** Rows beyond both edges, so that a quick finger sees no gap. */
const SPARE_ROWS = 6;

/**
 * @template Item
 * @typedef {object} Listed
 * @property {string} label for who cannot see the list
 * @property {number} rowHeight in pixels, of each row
 * @property {(item: Item) => string} key
 * @property {(item: Item) => HTMLAnchorElement} make one focusable element a row
 * @property {(row: HTMLAnchorElement, item: Item) => void} update
 * @property {() => void} [onEnd] the end of the list came into sight
 */

/** @template Item */
export class VirtualList {
  /** @type {Listed<Item>} */
  #how;
  #list;
  element;
  /** @type {readonly Item[]} */
  #items = [];
  /** what is in the page @type {Map<string, {row: HTMLLIElement, link: HTMLAnchorElement}>} */
  #shown = new Map();
  draw = drawnOncePerFrame(() => this.#draw());

  /** @param {Listed<Item>} how */
  constructor(how) {
    this.#how = how;
    this.#list = h("ul", { class: "lines", role: "list", "aria-label": how.label });
    this.element = h("div", { class: "scroller" }, this.#list);
    this.element.addEventListener("scroll", this.draw, { passive: true });
    this.element.addEventListener("keydown", (event) => this.#move(event));
    // Also when it comes into sight for the first time.
    new ResizeObserver(this.draw).observe(this.element);
  }

  /** @param {readonly Item[]} items in their order */
  show(items) {
    this.#items = items;
    this.draw();
  }

  get items() {
    return this.#items;
  }

  #draw() {
    const { rowHeight, key } = this.#how;
    const { scrollTop, clientHeight } = this.element;
    const from = Math.max(0, Math.floor(scrollTop / rowHeight) - SPARE_ROWS);
    const to = Math.min(this.#items.length, Math.ceil((scrollTop + clientHeight) / rowHeight) + SPARE_ROWS);
    this.#list.style.height = `${this.#items.length * rowHeight}px`;

    const wanted = new Set();
    for (let place = from; place < to; place += 1) wanted.add(key(/** @type {Item} */ (this.#items[place])));
    for (const [id, { row }] of this.#shown) {
      // Whoever is on a row by keyboard stays on it while it scrolls away.
      if (wanted.has(id) || row.contains(document.activeElement)) continue;
      row.remove();
      this.#shown.delete(id);
    }
    let next = this.#list.firstChild;
    for (let place = from; place < to; place += 1) {
      const row = this.#place(/** @type {Item} */ (this.#items[place]), place);
      // In the page's order too, which is the one that is read aloud and tabbed through.
      if (row === next) next = next.nextSibling;
      else if (!row.contains(document.activeElement)) this.#list.insertBefore(row, next);
    }
    if (to === this.#items.length) this.#how.onEnd?.();
  }

  /** @param {Item} item @param {number} place @returns {HTMLLIElement} */
  #place(item, place) {
    const { rowHeight, key, make, update } = this.#how;
    const id = key(item);
    let shown = this.#shown.get(id);
    if (!shown) {
      const link = make(item);
      shown = { link, row: h("li", { class: "line" }, link) };
      this.#shown.set(id, shown);
    }
    update(shown.link, item);
    const { row } = shown;
    const [setSize, placed] = [String(this.#items.length), String(place)];
    if (row.getAttribute("aria-setsize") !== setSize) row.setAttribute("aria-setsize", setSize);
    if (row.dataset.place === placed) return row;
    row.dataset.place = placed;
    row.style.transform = `translateY(${place * rowHeight}px)`;
    row.setAttribute("aria-posinset", String(place + 1));
    return row;
  }

  /** @param {KeyboardEvent} event */
  #move(event) {
    const row = /** @type {HTMLElement} */ (event.target).closest("li");
    const steps = /** @type {Record<string, number>} */ ({ ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity });
    const step = steps[event.key];
    if (!row || step === undefined) return;
    event.preventDefault();
    this.focus(Number(row.dataset.place) + step);
  }

  /** @param {number} place the nearest one that there is */
  focus(place) {
    const last = this.#items.length - 1;
    const item = this.#items[Math.max(0, Math.min(last, place))];
    if (!item) return;
    this.reveal(item);
    this.#draw();
    this.#shown.get(this.#how.key(item))?.link.focus({ preventScroll: true });
  }

  /** @param {Item} item */
  reveal(item) {
    const { rowHeight } = this.#how;
    const top = this.#items.indexOf(item) * rowHeight;
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + rowHeight > scrollTop + clientHeight) this.element.scrollTop = top + rowHeight - clientHeight;
  }
}
