/** Where the pages are played: the real host, a real browser, a window for each person. Each scenario has a server of its own. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, test } from "node:test";
import { chromium } from "playwright-core";
import { Client } from "../../../conformance/client.js";
import { createHost } from "../../../conformance/hosts/index.js";

/** @typedef {import("playwright-core").Page} Page */
/** @typedef {{width?: number, height?: number, isDark?: boolean, isStill?: boolean, path?: string}} Look `isStill`: whoever wants no motion */

export const GUARD_MS = 60_000;
const SCENARIO_MS_MAX = 300_000;
const LOG_TAIL_LINES = 20;
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
/** WEEZIQ_SCREENSHOTS: a folder for what the tests see. */
export const SCREENSHOTS = process.env.WEEZIQ_SCREENSHOTS;

/** @type {Promise<import("playwright-core").Browser> | undefined} */
let launched;

function browser() {
  const quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"];
  const args = ["--no-sandbox", "--disable-gpu", ...quiet];
  launched ??= chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args });
  return launched;
}

after(async () => (await launched)?.close());

export class Stage {
  host = createHost();
  /** @type {string[]} */
  #errors = [];
  /** what a scenario brings about on purpose @type {RegExp[]} */
  expected = [];
  /** @type {import("playwright-core").BrowserContext[]} */
  #contexts = [];
  /** @type {Client[]} */
  #clients = [];

  /** Somebody's browser, with a storage of its own. @param {Look} [look] */
  async window({ width = 1440, height = 900, isDark = false, isStill = false, path } = {}) {
    const context = await (await browser()).newContext({
      viewport: { width, height },
      colorScheme: isDark ? "dark" : "light",
      reducedMotion: isStill ? "reduce" : "no-preference",
      locale: "en-GB",
      timezoneId: "Europe/Berlin",
    });
    context.setDefaultTimeout(GUARD_MS);
    this.#contexts.push(context);
    context.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") this.#errors.push(`${message.text()} ${message.location().url}`);
    });
    context.on("weberror", (error) => this.#errors.push(String(error.error().stack ?? error.error())));
    const page = await context.newPage();
    if (path !== undefined) await page.goto(`${this.host.baseUrl}${path}`);
    return page;
  }

  /** A plain connection, as a program of a visitor or a colleague. @param {string} [query] */
  async client(query = "") {
    const client = await Client.connect(`${this.host.wsUrl}${query}`);
    this.#clients.push(client);
    return client;
  }

  assertNoErrors() {
    assert.deepEqual(this.#errors.filter((text) => !this.expected.some((pattern) => pattern.test(text))), [], "the browser's console");
  }

  async end() {
    for (const client of this.#clients) client.socket.terminate();
    for (const context of this.#contexts) await context.close();
    await this.host.dispose();
  }
}

/**
 * @param {string} name
 * @param {(stage: Stage) => Promise<void>} play
 * @param {Record<string, string>} [env] of the server
 */
export function scenario(name, play, env = {}) {
  test(name, { timeout: SCENARIO_MS_MAX }, async (t) => {
    const stage = new Stage();
    try {
      await stage.host.start(env);
      await play(stage);
      stage.assertNoErrors();
    } catch (error) {
      for (const line of stage.host.logs().trimEnd().split("\n").slice(-LOG_TAIL_LINES)) t.diagnostic(line);
      throw error;
    } finally {
      await stage.end();
    }
  });
}

/** @param {Page} page @param {string} selector @param {string | RegExp} text */
export async function sees(page, selector, text) {
  await page.locator(selector, { hasText: text }).first().waitFor();
}

/** What the console said last for a moment: a busy machine may look when that is over. @param {Page} page @param {string | RegExp} text */
export async function wasTold(page, text) {
  await page.locator("#toast", { hasText: text }).waitFor({ state: "attached" });
}

/** What WCAG 2.2 AA forbids and a machine can find. @param {Page} page @param {string} when @returns {Promise<string[]>} */
export async function barriers(page, when) {
  // Evaluated, not added as a script element: the page's own policy stays as it is.
  await page.evaluate(AXE);
  const found = await page.evaluate(async (tags) => {
    const { violations } = await globalThis.axe.run(document, { runOnly: { type: "tag", values: tags } });
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => `${target.join(" ")} (${failureSummary?.split("\n").slice(1).join("; ").trim()})`).slice(0, 3).join(" | ")}`);
  }, WCAG);
  return found.map((barrier) => `${when}: ${barrier}`);
}

/** @param {Page} page @param {string} when */
export async function assertNoSidewaysScroll(page, when) {
  const [content, view] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(content <= view, `${when}: ${content} px of content in a window of ${view} px`);
}

/** For the README and for whoever wants to look. @param {Page} page @param {string} name */
export async function picture(page, name) {
  if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/${name}.png` });
}

/** What a browser would run if a text were ever taken for HTML. */
export const HOSTILE = `<img src=x onerror="document.title='run'"><script>document.title='run'</script>"'><b>bold</b>`;

/** @param {Page} page */
export async function assertNothingRan(page) {
  assert.equal(await page.locator('img[src="x"], b, main script').count(), 0, "elements made of a text");
  assert.doesNotMatch(await page.title(), /^run$/);
}
