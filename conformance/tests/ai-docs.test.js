/** Each row of the table in docs/ai.md names a test, and there is one by that name. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const read = (path) => readFileSync(new URL(path, import.meta.url), "utf8");
const rows = [...read("../../docs/ai.md").matchAll(/^\|(.*)\| (ai[\w-]*): \*(.+)\* \|$/gm)];

test("the table has its rows", () => assert.ok(rows.length >= 20, `${rows.length} rows`));

for (const [, , file, name] of rows) {
  test(`${file}: ${name}`, () => assert.ok(read(`./${file}.test.js`).includes(name), `no test of ${file} is called so`));
}
