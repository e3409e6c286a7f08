/**
 * What is done costs no more than docs/cloudflare.md says: rows, requests, operations, as the platform counts them. The same
 * deeds and the same table as `node costs.js`.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { billAll } from "../costs/bill.js";
import { DEEDS } from "../costs/deeds.js";
import { documented, excesses } from "../costs/page.js";
import { createHost } from "../hosts/index.js";
import { lacks } from "../scenario.js";

const MS_MAX = 300_000;

test("each deed is billed what its page says at most", { skip: lacks("costs"), timeout: MS_MAX }, async () => {
  const budgets = await documented();
  assert.deepEqual([...budgets.keys()], DEEDS.map(({ name }) => name), "the page lists the deeds: node costs.js --write");
  const over = [];
  await billAll(createHost(), (name, bill) => over.push(...excesses(bill, budgets.get(name)).map((excess) => `${name}: ${excess}`)));
  assert.deepEqual(over, []);
});

test("a bill over its budget is told, column by column", () => {
  const bill = { workerRequests: 1, requests: 1.05, written: 3, read: 7, kvReads: 0, kvWrites: 0, r2Reads: 0, r2Writes: 0, activeMs: 9 };
  const budget = { "Worker requests": 1, "object requests": 1.05, "rows written": 3, "rows read": 7, "KV": 0, "R2": 0 };
  assert.deepEqual(excesses(bill, budget), []);
  assert.deepEqual(excesses({ ...bill, written: 3.5, kvReads: 1, read: 12 }, budget), ["3.5 rows written, documented are 3", "1 KV, documented are 0"]);
  assert.deepEqual(excesses({ ...bill, read: 700 }, budget), ["700 rows read, documented are 7"]);
  assert.deepEqual(excesses(bill, {}).length, 6, "what is not documented is no budget");
});
