/** Keys for what an agent does all day, and the sheet that lists them. */
import { keep, kept } from "./browser.js";
import { h, part, refill } from "./ui.js";

/** @typedef {{keys: string, does: string, act: () => void}} Shortcut `keys`: one, or two one after the other */

const OFF = "weeziq-keys-off";
/** The second of two keys comes within this. */
const SECOND_MS = 1_200;

export class Shortcuts {
  #all;
  #first = "";
  #timer = 0;
  #dialog = part("keys", HTMLDialogElement);

  /** @param {Shortcut[]} all */
  constructor(all) {
    this.#all = all;
    document.addEventListener("keydown", (event) => this.#key(event));
    const off = part("keys-off", HTMLInputElement);
    off.checked = kept(OFF) !== null;
    off.addEventListener("change", () => keep(OFF, off.checked ? "off" : null, true));
    part("keys-close", HTMLElement).addEventListener("click", () => this.#dialog.close());
  }

  sheet() {
    const rows = this.#all.map(({ keys, does }) => h("div", {}, h("dt", {}, keys.split(" ").map((key) => h("kbd", {}, key))), h("dd", {}, does)));
    refill(part("keys-list", HTMLElement), rows);
    this.#dialog.showModal();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const { key, ctrlKey, metaKey, altKey, isComposing } = event;
    if (ctrlKey || metaKey || altKey || isComposing || document.querySelector("dialog[open]")) return;
    const target = /** @type {HTMLElement} */ (event.target);
    const isWriting = target.matches("input, textarea, select, [contenteditable]");
    if (isWriting && key === "Escape") return target.blur();
    // Speech input types letters: whoever uses it switches them off.
    if (isWriting || kept(OFF) !== null) return;
    const typed = this.#first ? `${this.#first} ${key}` : key;
    clearTimeout(this.#timer);
    this.#first = "";
    const found = this.#all.find(({ keys }) => keys === typed) ?? this.#all.find(({ keys }) => keys === key);
    if (found) {
      event.preventDefault();
      found.act();
    } else if (this.#all.some(({ keys }) => keys.startsWith(`${key} `))) {
      this.#first = key;
      this.#timer = setTimeout(() => (this.#first = ""), SECOND_MS);
    }
  }
}
