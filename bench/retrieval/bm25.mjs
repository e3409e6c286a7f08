/**
 * What the search is compared with: BM25 as a textbook has it, with the constants of SQLite's. Words are runs of letters and
 * digits; none is left out, none is cut to its stem, and a heading is text like other text.
 */
const K1 = 1.2;
const B = 0.75;

const wordsOf = (text) => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];

/**
 * @template {{title: string, text: string}} Section @param {Section[]} sections
 * @returns {(question: string, limit: number, every?: boolean) => Section[]} the best first; with `every` only those that have
 *   every word of the question, which is what SQLite makes of a question that it is given as it stands
 */
export function index(sections) {
  const lengths = [];
  /** which sections have a word, and how often @type {Map<string, Map<number, number>>} */
  const places = new Map();
  for (const [at, { title, text }] of sections.entries()) {
    const words = wordsOf(`${title} ${text}`);
    lengths.push(words.length);
    for (const word of words) {
      const counts = places.get(word) ?? new Map();
      places.set(word, counts.set(at, (counts.get(at) ?? 0) + 1));
    }
  }
  const mean = lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
  return (question, limit, every = false) => {
    const asked = [...new Set(wordsOf(question))];
    const scores = new Map();
    for (const word of asked) {
      const counts = places.get(word) ?? new Map();
      const rarity = Math.max(Math.log((sections.length - counts.size + 0.5) / (counts.size + 0.5)), 1e-6);
      for (const [at, count] of counts) {
        const score = (rarity * count * (K1 + 1)) / (count + K1 * (1 - B + (B * lengths[at]) / mean));
        scores.set(at, (scores.get(at) ?? 0) + score);
      }
    }
    const found = [...scores].filter(([at]) => !every || asked.every((word) => places.get(word)?.has(at)));
    return found.sort(([a, high], [b, low]) => low - high || a - b).slice(0, limit).map(([at]) => sections[at]);
  };
}
