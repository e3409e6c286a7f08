/** The colours of tokens.css, counted: what is read stands out from its ground, in light and in dark. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

/** WCAG 2.2: 1.4.3 for text, 1.4.11 for the edges of controls and for marks. */
const TEXT_MIN = 4.5;
const MARK_MIN = 3;
const GROUNDS = ["paper", "card", "sunk"];
/** @type {[string, string[]][]} text, and all that it is put on */
const TEXTS = [
  ["ink", [...GROUNDS, "accent-soft", "spark-soft", "warn-soft", "bad-soft"]],
  ["ink-soft", [...GROUNDS, "accent-soft"]],
  ["accent", [...GROUNDS, "accent-soft"]],
  ["spark", [...GROUNDS, "spark-soft"]],
  ["bad", [...GROUNDS, "bad-soft"]],
  ["warn", ["card", "warn-soft"]],
  ["on-accent", ["accent", "accent-hover"]],
  ["on-bad", ["bad"]],
  ["on-code", ["code"]],
];
/** @type {[string, string[]][]} */
const MARKS = [
  ["line-control", GROUNDS],
  ["focus", GROUNDS],
  ["good", GROUNDS],
  ["spark-bright", ["paper", "card"]],
  ...["series-1", "series-2", "series-3", "series-4"].map((name) => /** @type {[string, string[]]} */ ([name, ["card"]])),
];

/** @param {string} path in web/ */
const read = (path) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8").replace(/\/\*[^]*?\*\//g, "");

/** @type {Map<string, [light: string, dark: string]>} */
const colours = new Map();
for (const [, name = "", light = "", dark = light] of read("tokens.css").matchAll(/--([\w-]+):\s*(?:light-dark\()?(#[\da-f]{6})(?:,\s*(#[\da-f]{6})\))?;/g)) colours.set(name, [light, dark]);

/** @param {string} hex */
function luminance(hex) {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((start) => {
    const part = parseInt(hex.slice(start, start + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** @param {string} one @param {string} other */
function contrast(one, other) {
  const [low = 0, high = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

/** @param {string} name @param {string} ground @param {number} least @returns {string[]} what is too faint */
function faint(name, ground, least) {
  const [over, under] = [colours.get(name), colours.get(ground)];
  assert.ok(over && under, `--${name} and --${ground} are no colours of tokens.css`);
  return ["light", "dark"].flatMap((theme, place) => {
    const counted = contrast(over[place] ?? "", under[place] ?? "");
    return counted < least ? [`--${name} on --${ground}, ${theme}: ${counted.toFixed(2)} of ${least}`] : [];
  });
}

/** @param {[string, string[]][]} pairs @param {number} least */
const faintOf = (pairs, least) => pairs.flatMap(([name, grounds]) => grounds.flatMap((ground) => faint(name, ground, least)));

test("black on white is 21 to 1, a colour on itself 1 to 1, and a known pair in between", () => {
  assert.equal(contrast("#000000", "#ffffff"), 21);
  assert.equal(contrast("#0b6b53", "#0b6b53"), 1);
  // The faintest grey that WCAG lets be read on white.
  assert.equal(contrast("#767676", "#ffffff").toFixed(2), "4.54");
});

test("text can be read on every ground that it is put on, in light and in dark", () => {
  assert.deepEqual(faintOf(TEXTS, TEXT_MIN), []);
});

test("edges of controls, marks and lines of charts can be told from their ground", () => {
  assert.deepEqual(faintOf(MARKS, MARK_MIN), []);
});

test("so can what a rule of a page puts on a ground of its own", () => {
  const sheets = ["components.css", "docs.css", "parts.css", "start.css", "console/shell.css", "console/talk.css", "console/views.css", "widget/app.css", "widget/launcher.css"];
  const found = sheets.flatMap((sheet) =>
    [...read(sheet).matchAll(/([^{}]+)\{([^{}]*)\}/g)].flatMap(([, selector = "", rule = ""]) => {
      const name = /(?:^|[;\s])color:\s*var\(--([\w-]+)\)/.exec(rule)?.[1] ?? "";
      const ground = /background(?:-color)?:\s*var\(--([\w-]+)\)/.exec(rule)?.[1] ?? "";
      if (!colours.has(name) || !colours.has(ground)) return [];
      return [{ where: `${sheet} ${selector.trim()}`, name, ground }];
    }),
  );
  assert.ok(found.length >= 20, `only ${found.length} rules were found`);
  assert.deepEqual(found.flatMap(({ where, name, ground }) => faint(name, ground, TEXT_MIN).map((why) => `${where}: ${why}`)), []);
});

/** Without a bundler each page repeats them. */
const PAGES = ["index.html", "components.html", "docs.html", "console.html"];

test("the heads of all pages say the same, in the colours of the tokens", () => {
  const shared = /^<meta (charset|name="(viewport|color-scheme|theme-color)")|^<link rel="icon"|^<link [^>]*href="\/(tokens|parts)\.css"/;
  // A phone's keyboard takes its room from a conversation; from a page that is read it does not.
  const heads = PAGES.map((page) => read(page).split("\n").filter((line) => shared.test(line)).map((line) => line.replace(", interactive-widget=resizes-content", "")));
  assert.equal(heads[0]?.length, 8);
  for (const [nth, head] of heads.entries()) assert.deepEqual(head, heads[0], PAGES[nth]);
  const [light, dark] = colours.get("paper") ?? [];
  assert.deepEqual(heads[0]?.flatMap((line) => /theme-color" content="(#\w+)"/.exec(line)?.[1] ?? []), [light, dark]);
});

test("every page begins with a way past its head, and names what it leads to", () => {
  for (const page of PAGES) {
    const text = read(page);
    const target = /<a class="skip"[^>]* href="#([\w-]+)"/.exec(text)?.[1];
    assert.ok(target && text.includes(`id="${target}"`), page);
  }
});
