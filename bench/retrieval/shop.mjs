/** The shop that does not exist, of `documents/`, and what its customers ask (`questions.json`). */
import { readFile, readdir } from "node:fs/promises";

const here = new URL(".", import.meta.url);

/** @returns {Promise<import("./recall.mjs").Set>} */
export async function shop() {
  const read = (path) => readFile(new URL(path, here), "utf8");
  const names = (await readdir(new URL("documents", here))).sort();
  const documents = await Promise.all(names.map(async (name) => ({ name, text: await read(`documents/${name}`) })));
  const { questions } = JSON.parse(await read("questions.json"));
  return {
    name: "bench/retrieval",
    documents,
    sections: documents.flatMap(sections),
    questions: questions.map(({ ask, document, heading }) => ({
      ask,
      isAnswer: ({ source, title }) => source === document && title.includes(heading),
    })),
  };
}

/** What stands below each heading, as plain as it can be told: the comparison must not profit from what it is compared with. */
function sections({ name, text }) {
  const [first, ...rest] = text.split(/^#+ +/m).slice(1).map((part) => {
    const [heading, ...lines] = part.split("\n");
    return { source: name, title: heading, text: lines.join("\n").trim() };
  });
  return [first, ...rest.map((section) => ({ ...section, title: `${first.title} › ${section.title}` }))].filter(({ text }) => text);
}
