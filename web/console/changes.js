/** Something that others look at, and want to know when it is another. */
export class Changes {
  /** @type {Set<() => void>} */
  #listeners = new Set();

  /** @param {() => void} listener @returns {() => void} stops it */
  listen(listener) {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  tell() {
    for (const listener of [...this.#listeners]) listener();
  }
}
