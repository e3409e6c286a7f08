/** Each example of the README, copied into a file and run by Node as it stands, save the address. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { hosted } from "./support/host.js";

const run = promisify(execFile);
const GUARD_MS = 60_000;
const ADDRESS = "wss://chat.example.com/ws";
/** Inside the package, so that it finds itself by its name. */
const folder = fileURLToPath(new URL(".examples/", import.meta.url));
const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
const examples = [...readme.matchAll(/^## (.+)\n(?:(?!^## )[\s\S])*?```js\n([\s\S]*?)```/gm)].map(([, heading, code]) => ({ heading, code }));
const host = hosted();

before(() => mkdir(folder, { recursive: true }));
after(() => rm(folder, { recursive: true, force: true }));

/** What they say, where that is certain. */
const SAYS = {
  "A chat": [/stored at place \d+/],
  AI: [/\bstop\b/],
  Visitors: [/\d+ now, \d+ ever/],
  "When something goes wrong": [/too_large/, /open/],
  Files: [/not_found|1\n/],
};

test("there is an example of each", () => {
  assert.equal(examples.length, [...readme.matchAll(/^```js$/gm)].length);
  for (const heading of Object.keys(SAYS)) assert.ok(examples.some((example) => example.heading === heading), heading);
});

for (const [n, { heading, code }] of examples.entries()) {
  test(`the example of “${heading}” runs`, { timeout: GUARD_MS }, async () => {
    assert.ok(code.includes(ADDRESS));
    // Node has no IndexedDB, which is then reported; and an example has no reason to end, as its connection lives on.
    const ended = `${code.replaceAll(ADDRESS, host.wsUrl)}\nsetTimeout(() => process.exit(0), 200);\n`;
    const file = `${folder}${n}.mjs`;
    await writeFile(file, ended);
    const { stdout } = await run(process.execPath, [file], { timeout: GUARD_MS });
    for (const said of SAYS[heading] ?? []) assert.match(stdout, said);
  });
}
