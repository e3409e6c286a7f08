/** Chance that can be played again: whatever a scenario leaves to chance, its seed decides. */

/** `WEEZIQ_SEED=17` plays that one instead, e.g. one that failed, or any other. */
export const SEEDS = process.env.WEEZIQ_SEED ? process.env.WEEZIQ_SEED.split(",").map(Number) : [1, 2, 3];

/** Mulberry32: small, and good enough to spread choices. @param {number} seed */
export function dice(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  /** @param {number} count @returns {number} 0 … count - 1 */
  const below = (count) => Math.floor(next() * count);
  return {
    below,
    /** @template T @param {T[]} list @returns {T} */
    one: (list) => list[below(list.length)],
    /** @param {number} percent */
    chance: (percent) => below(100) < percent,
  };
}
