/**
 * How often the passage with the answer is found, and what the model is given with a site's documents and without them: the
 * release binary, asked over HTTP, and a model that keeps what it was sent. Prints a table; see docs/knowledge.md.
 *
 *     node bench/retrieval/recall.mjs [--sample 300 [--seed 1]] [--json FILE] [--docs FILE] [--misses]
 *
 * All of BoolQ's questions are asked, in some 40 s, unless a sample is drawn: of 300, another seed makes up to five
 * points of difference.
 * It needs `npm ci` in conformance/, `cargo build --release -p weeziq-server`, and, the first time, `pip` to fetch BoolQ.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { dice } from "../../conformance/dice.js";
import { create } from "../../conformance/hosts/native.js";
import { post, request } from "../../conformance/http.js";
import { answers, startFaultyProvider } from "../../conformance/mocks/faulty.js";
import { index } from "./bm25.mjs";
import { boolq, questions } from "./boolq.mjs";
import { shop } from "./shop.mjs";

/**
 * @typedef {{source?: string, title: string, text: string}} Passage
 * @typedef {{name: string, documents: {name: string, text: string}[], sections: Passage[],
 *   questions: {ask: string, isAnswer: (passage: Passage) => boolean}[]}} Set `sections` is what the comparison searches
 */

const root = fileURLToPath(new URL("../..", import.meta.url));
const string = (value) => ({ type: /** @type {const} */ ("string"), default: value });
const { values: options } = parseArgs({
  options: { sample: { type: "string" }, seed: string("1"), json: { type: "string" }, docs: { type: "string" }, misses: { type: "boolean" } },
});

/** What of an answer's sources counts, and how many a model is shown at most. */
const FIRST = 3;
const SHOWN = 4;
const LIMITS_OFF = { EVENTS_PER_SEC: "0", AI_PER_USER_PER_MIN: "0", AI_PER_IP_PER_MIN: "0" };
const MARKS = ["<!-- recall: from here on written by `cargo xtask bench recall` -->\n", "<!-- recall: up to here -->"];

/** The same questions at each run of a seed. */
function draw(list) {
  if (!options.sample) return list;
  const { below } = dice(Number(options.seed));
  const left = [...list];
  return Array.from({ length: Math.min(Number(options.sample), left.length) }, () => left.splice(below(left.length), 1)[0]);
}

/** One site of the host, asked about by a visitor of its own each time: no question is told in another's conversation. */
class Site {
  #host;
  #provider;
  #id;
  #visitors = 0;

  constructor(host, provider, id) {
    [this.#host, this.#provider, this.#id] = [host, provider, id];
  }

  async put(path, body, type) {
    const url = `${this.#host.baseUrl}/domains/${this.#id}${path}`;
    const { status, text } = await request(url, { method: "PUT", headers: { "content-type": type }, body });
    if (status >= 300) throw new Error(`PUT ${url}: ${status} ${text}`);
  }

  /** The passages that the model was sent, whole, the best first. @returns {Promise<Passage[]>} */
  async shown(message) {
    this.#visitors += 1;
    const before = this.#provider.requests.length;
    const { status, json, text } = await post(`${this.#host.baseUrl}/ai/chat`, { message, domainId: this.#id, userId: `visitor-${this.#visitors}` });
    if (status !== 200 || json.error || this.#provider.requests.length !== before + 1) throw new Error(`"${message}": ${status} ${text}`);
    const [system, asked] = this.#provider.requests[before].messages;
    if (asked.content !== message) throw new Error(`"${message}" was asked as "${asked.content}"`);
    const passages = system.content.split("\n").filter((line) => line.startsWith('{"source":')).map((line) => JSON.parse(line));
    const named = (json.sources ?? []).map(({ name, title }) => ({ name, title }));
    const same = JSON.stringify(named) === JSON.stringify(passages.map(({ source, title }) => ({ name: source, title })));
    if (!same) throw new Error(`"${message}": the answer's sources are not what the model was shown`);
    return passages;
  }
}

/** In which place the answer stands, from 1; 0 if it is not there. */
const placeOf = (passages, { isAnswer }) => passages.findIndex(isAnswer) + 1;

function figures(places) {
  const first = (count) => places.filter((place) => place > 0 && place <= count).length / places.length;
  const mrr = places.reduce((sum, place) => sum + (place && 1 / place), 0) / places.length;
  return { recallAt1: first(1), recallAt3: first(FIRST), mrr, amongShown: first(SHOWN) };
}

/** @param {Set} set */
async function measure(set, site) {
  await site.put("", JSON.stringify({ name: "Site", systemPrompt: "Answer." }), "application/json");
  const ask = async () => {
    const places = [];
    for (const question of set.questions) places.push(placeOf(await site.shown(question.ask), question));
    return places;
  };
  const without = await ask();
  for (const { name, text } of set.documents) await site.put(`/knowledge/${name}`, text, "text/markdown");
  const places = await ask();
  const search = index(set.sections);
  const compared = (every) => figures(set.questions.map((question) => placeOf(search(question.ask, SHOWN, every), question)));
  if (options.misses) set.questions.forEach(({ ask }, n) => (places[n] > FIRST || !places[n]) && console.error(`${set.name}: ${ask}`));
  return {
    set: set.name,
    questions: set.questions.length,
    passages: set.sections.length,
    withDocuments: figures(places),
    withoutDocuments: figures(without),
    plainBm25: compared(false),
    everyWord: compared(true),
  };
}

const percent = (share) => `${(share * 100).toFixed(1)} %`;

function table(results) {
  const rows = results.flatMap(({ set, questions, passages, ...ways }) => {
    const row = (way, { recallAt1, recallAt3, mrr, amongShown }, isInPrompt) =>
      `| ${set} | ${questions.toLocaleString("en")} | ${passages.toLocaleString("en")} | ${way} | ${percent(recallAt1)} | ${percent(recallAt3)} | ${mrr.toFixed(2)} | ${isInPrompt ? percent(amongShown) : "–"} |`;
    return [
      row("by us, documents uploaded", ways.withDocuments, true),
      row("by us, nothing uploaded", ways.withoutDocuments, true),
      row("plain BM25", ways.plainBm25, false),
      row("plain BM25, every word there", ways.everyWord, false),
    ];
  });
  return ["| set | questions | passages | searched | recall@1 | recall@3 | MRR | in the prompt |", "|---|---|---|---|---|---|---|---|", ...rows, ""].join("\n");
}

async function record(results) {
  if (options.json) await writeFile(options.json, `${JSON.stringify({ ...(options.sample && { sample: Number(options.sample), seed: Number(options.seed) }), results }, null, 2)}\n`);
  if (!options.docs) return;
  const page = await readFile(options.docs, "utf8");
  const [start, end] = MARKS.map((mark) => page.indexOf(mark));
  if (start < 0 || end < start) throw new Error(`${options.docs} has no place for the table, between ${MARKS.join("and ")}`);
  await writeFile(options.docs, page.slice(0, start + MARKS[0].length) + table(results) + page.slice(end));
}

process.env.WEEZIQ_BIN ??= join(root, "target/release/weeziq");
const rows = await questions(join(root, "target/retrieval"));
const sets = [boolq(rows, { titled: true, draw }), boolq(rows, { titled: false, draw }), await shop()];
const provider = await startFaultyProvider();
const host = create();
try {
  const results = [];
  for (const set of sets) {
    // A host of its own for each: how rare a word is, is counted over all sites of a store.
    await host.start({ ...LIMITS_OFF, ...provider.env });
    provider.play(answers("Yes."));
    results.push(await measure(set, new Site(host, provider, "site.example")));
  }
  console.log(table(results));
  await record(results);
} finally {
  await host.dispose();
  await provider.stop();
}
