/**
 * How a page looks, against how it looked: small references beside the tests, compared loosely. Pictures are reduced first, so
 * that fonts drawn a little differently, the hour, and a name that is random are no difference, and what has moved, is
 * missing or has another colour is one.
 *
 * `WRITE_LOOKS=1` writes the references anew, and with them the pictures of the README: `npm run looks`.
 */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import pixelmatch from "pixelmatch";
import { PNG } from "pngjs";
import { SCREENSHOTS } from "./stage.js";

/** @typedef {import("playwright-core").Page} Page */

const REFERENCES = fileURLToPath(new URL("../looks/", import.meta.url));
const README_PICTURES = fileURLToPath(new URL("../../../docs/images/", import.meta.url));
const DIFFERENCES = join(tmpdir(), "weeziq-looks");
const IS_WRITING = process.env.WRITE_LOOKS === "1";

/** Pixels of a page in one of the reference, in each direction. */
const REDUCED_BY = 4;
/** How unlike one pixel may be, of 1: pixelmatch's own default is half of it. */
const UNLIKE_MAX = 0.2;
/** Of all pixels. */
const DIFFERENT_MAX = 0.02;
/** What comes from the server is drawn by then, whichever part comes last. */
const DRAWN_WITHIN_MS = 15_000;
const EVERY_MS = 250;

/** Nothing blinks or moves while it is looked at. @param {Page} page */
const shot = (page) => page.screenshot({ animations: "disabled", caret: "hide" });

/** @param {Page} page @param {string} name of the reference */
export async function assertLooks(page, name) {
  let bytes = await shot(page);
  if (SCREENSHOTS) writeFileSync(join(SCREENSHOTS, `${name}.png`), bytes);
  const seen = reduced(PNG.sync.read(bytes));
  const path = join(REFERENCES, `${name}.png`);
  if (IS_WRITING) {
    mkdirSync(REFERENCES, { recursive: true });
    return writeFileSync(path, PNG.sync.write(seen));
  }
  const wanted = reference(path);
  const giveUpAt = Date.now() + DRAWN_WITHIN_MS;
  let found = difference(wanted, seen);
  while (found.share > DIFFERENT_MAX && Date.now() < giveUpAt) {
    await pause(EVERY_MS);
    bytes = await shot(page);
    found = difference(wanted, reduced(PNG.sync.read(bytes)));
  }
  if (found.share <= DIFFERENT_MAX) return;
  mkdirSync(DIFFERENCES, { recursive: true });
  const [actual, marked] = [join(DIFFERENCES, `${name}.png`), join(DIFFERENCES, `${name}.difference.png`)];
  writeFileSync(actual, bytes);
  if (found.marked) writeFileSync(marked, PNG.sync.write(found.marked));
  const how = found.marked ? `${(100 * found.share).toFixed(1)} % of it, marked in ${marked}` : "its size";
  assert.fail(`${name} looks different: ${how}. It looks like ${actual}; if that is meant, \`npm run looks\` makes it the reference`);
}

/** @param {string} path */
function reference(path) {
  try {
    return PNG.sync.read(readFileSync(path));
  } catch (cause) {
    throw new Error(`there is no reference ${path}; \`npm run looks\` writes it`, { cause });
  }
}

/** For the README, when looks are written. @param {Page} page @param {string} name */
export async function readmePicture(page, name) {
  if (IS_WRITING) writeFileSync(join(README_PICTURES, `${name}.png`), await shot(page));
}

/** @param {PNG} one @param {PNG} other @returns {{share: number, marked?: PNG}} of the pixels; with them marked, if the sizes are the same */
export function difference(one, other) {
  const { width, height } = one;
  if (width !== other.width || height !== other.height) return { share: 1 };
  const marked = new PNG({ width, height });
  return { share: pixelmatch(one.data, other.data, marked.data, width, height, { threshold: UNLIKE_MAX, includeAA: true }) / (width * height), marked };
}

/** Each pixel the mean of a square. @param {PNG} whole */
export function reduced({ width, height, data }) {
  const small = new PNG({ width: Math.floor(width / REDUCED_BY), height: Math.floor(height / REDUCED_BY) });
  for (let y = 0; y < small.height; y += 1) {
    for (let x = 0; x < small.width; x += 1) small.data.set(mean(data, width, x * REDUCED_BY, y * REDUCED_BY), (y * small.width + x) * 4);
  }
  return small;
}

/** @param {Buffer} data @param {number} width @param {number} left @param {number} top @returns {number[]} */
function mean(data, width, left, top) {
  const sum = [0, 0, 0, 0];
  for (let y = top; y < top + REDUCED_BY; y += 1) {
    for (let x = left; x < left + REDUCED_BY; x += 1) {
      for (let part = 0; part < 4; part += 1) sum[part] = (sum[part] ?? 0) + (data[(y * width + x) * 4 + part] ?? 0);
    }
  }
  return sum.map((total) => Math.round(total / REDUCED_BY ** 2));
}
