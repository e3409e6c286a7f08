/** What this browser keeps of a domain's widget. Where storage is forbidden or full it lasts as long as the page. */

/**
 * @typedef {object} Kept
 * @property {string} [userId]
 * @property {string} [room] that was joined here, and so is there
 * @property {number} [read] the last message that was seen
 * @property {boolean} [sound]
 */

export class Memory {
  #key;
  /** @type {Kept} */
  #kept = {};

  /** @param {string} domain */
  constructor(domain) {
    this.#key = `weeziq ${domain}`;
    try {
      const kept = JSON.parse(localStorage.getItem(this.#key) ?? "{}");
      if (kept && typeof kept === "object") this.#kept = kept;
    } catch {
      // Not ours, or not allowed.
    }
  }

  /** @returns {Readonly<Kept>} */
  get kept() {
    return this.#kept;
  }

  /** @param {Kept} more */
  keep(more) {
    Object.assign(this.#kept, more);
    try {
      localStorage.setItem(this.#key, JSON.stringify(this.#kept));
    } catch {
      // As above.
    }
  }
}
