/** The part of docs/cloudflare.md that is measured: written by `node conformance/costs.js --write`, read by the test. */
import { readFile, writeFile } from "node:fs/promises";
import { priceOf } from "./bill.js";

const PAGE = new URL("../../docs/cloudflare.md", import.meta.url);
const BEGIN = "<!-- costs: from here on written by `node conformance/costs.js --write` -->";
const END = "<!-- costs: up to here -->";

/** What is documented of a bill, by its column. @type {Record<string, (bill: import("./bill.js").Bill) => number>} */
const COLUMNS = {
  "Worker requests": (bill) => bill.workerRequests,
  "object requests": (bill) => bill.requests,
  "rows written": (bill) => bill.written,
  "rows read": (bill) => bill.read,
  "KV": (bill) => bill.kvReads + bill.kvWrites,
  "R2": (bill) => bill.r2Reads + bill.r2Writes,
};
/** Alarms and wakings that fall into a deed read some; a thousand that are read cost what one does that is written. */
const READS = "rows read";
const WRITES = "rows written";
const mostRead = (documented) => 2 * documented + 100;
const PRICE = "$ per 1,000";

/** @param {[string, import("./bill.js").Bill][]} bills @returns {string} */
export function tableOf(bills) {
  const heads = ["one …", ...Object.keys(COLUMNS), PRICE];
  const rows = bills.map(([name, bill]) => [name, ...Object.entries(COLUMNS).map(([column, of]) => figure(column, of(bill))), (1000 * priceOf(bill)).toFixed(4)]);
  return [heads, heads.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

const hundredths = (amount) => Math.ceil(Number((amount * 100).toFixed(6))) / 100;

/** Hundredths, rounded up: a budget must hold what it was made from. */
function figure(column, amount) {
  const places = column === READS ? 0 : 2;
  return String(Math.ceil(Number((amount * 10 ** places).toFixed(6))) / 10 ** places);
}

/** @param {[string, import("./bill.js").Bill][]} bills */
export async function write(bills) {
  const page = await readFile(PAGE, "utf8");
  const [before, , after] = parts(page);
  await writeFile(PAGE, `${before}${BEGIN}\n${tableOf(bills)}\n${END}${after}`);
}

/** @returns {Promise<Map<string, Record<string, number>>>} what one of each deed may be billed, by its name */
export async function documented() {
  const [, table] = parts(await readFile(PAGE, "utf8"));
  const [heads, , ...rows] = table.trim().split("\n").map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
  return new Map(rows.map(([name, ...cells]) => [name, Object.fromEntries(cells.map((cell, n) => [heads[n + 1], Number(cell)]))]));
}

/**
 * Where a bill is dearer than its page says; far dearer, for rows that are only read.
 * @param {import("./bill.js").Bill} bill @param {Record<string, number>} budget @returns {string[]}
 */
export function excesses(bill, budget) {
  const later = bill.later ?? 0;
  const most = (column) => (column === READS ? mostRead(budget[column]) : column === WRITES ? hundredths(budget[column] + later) : budget[column]);
  const over = Object.entries(COLUMNS).filter(([column, of]) => !(Number(figure(column, of(bill))) <= most(column)));
  return over.map(([column, of]) => `${figure(column, of(bill))} ${column}, documented are ${budget[column]}`);
}

function parts(page) {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error("docs/cloudflare.md has no place for the measured costs");
  return [page.slice(0, begin), page.slice(begin + BEGIN.length, end), page.slice(end + END.length)];
}
