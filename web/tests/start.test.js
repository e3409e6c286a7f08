/** The start page as its visitors meet it: the real host, a real browser. Each scenario has a server of its own. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { createHost } from "../../conformance/hosts/index.js";

const GUARD_MS = 15_000;
const SCENARIO_MS_MAX = 90_000;
const LOG_TAIL_LINES = 20;
const DESKTOP = { width: 1280, height: 800 };
const SMALLEST_PHONE = { width: 320, height: 640 };

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => {
  const quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"];
  const args = ["--no-sandbox", "--disable-gpu", ...quiet];
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args });
});
after(() => browser?.close());

/** A server and the browser of one visitor; every window of a browser is another person. */
class Scene {
  host = createHost();
  /** when the server was not there @type {{from: number, to: number}[]} */
  #deaths = [];
  /** @type {{at: number, text: string}[]} */
  #errors = [];
  /** @type {import("playwright-core").BrowserContext} */
  #context;

  /** @param {import("playwright-core").ViewportSize} viewport */
  async start(viewport) {
    await this.host.start();
    this.#context = await browser.newContext({ viewport });
    this.#context.setDefaultTimeout(GUARD_MS);
    this.#context.on("console", (message) => {
      if (message.type() !== "error" && message.type() !== "warning") return;
      this.#errors.push({ at: message.timestamp(), text: message.text() });
    });
    this.#context.on("weberror", (error) => this.#errors.push({ at: Date.now(), text: String(error.error()) }));
  }

  /** @param {"ai" | "room"} tab */
  async open(tab) {
    const page = await this.#context.newPage();
    await page.goto(`${this.host.baseUrl}/#${tab}`);
    await sees(page, "#link-text", "Connected");
    return page;
  }

  /** Opened from the page, as its visitor would. @param {import("playwright-core").Page} page */
  async openSecond(page) {
    const [second] = await Promise.all([this.#context.waitForEvent("page"), page.click("#second-window")]);
    await sees(second, "#link-text", "Connected");
    return second;
  }

  /** kill -9, and back on the same port and data. @param {() => Promise<void>} meanwhile */
  async whileDead(meanwhile) {
    const { port } = new URL(this.host.baseUrl);
    const death = { from: Date.now(), to: Infinity };
    this.#deaths.push(death);
    await this.host.kill9();
    await meanwhile();
    await this.host.restart({ PORT: port });
    death.to = Date.now();
  }

  assertNoErrors() {
    const isOfDeath = ({ at, text }) =>
      /ERR_(CONNECTION|EMPTY|INCOMPLETE)|WebSocket connection to/.test(text) &&
      this.#deaths.some(({ from, to }) => from <= at && at <= to);
    assert.deepEqual(this.#errors.filter((error) => !isOfDeath(error)), [], "the browser's console");
  }

  async end() {
    await this.#context?.close();
    await this.host.dispose();
  }
}

/**
 * @param {string} name
 * @param {(scene: Scene) => Promise<void>} play
 * @param {import("playwright-core").ViewportSize} [viewport]
 */
function scenario(name, play, viewport = DESKTOP) {
  test(name, { timeout: SCENARIO_MS_MAX }, async (t) => {
    const scene = new Scene();
    try {
      await scene.start(viewport);
      await play(scene);
      scene.assertNoErrors();
    } catch (error) {
      for (const line of scene.host.logs().trimEnd().split("\n").slice(-LOG_TAIL_LINES)) t.diagnostic(line);
      throw error;
    } finally {
      await scene.end();
    }
  });
}

/** @param {import("playwright-core").Page} page @param {string} selector @param {string | RegExp} text */
async function sees(page, selector, text) {
  await page.locator(selector, { hasText: text }).first().waitFor();
}

/** @param {import("playwright-core").Page} page @param {"ai" | "room"} where @param {string} text */
async function say(page, where, text) {
  await page.fill(`#${where}-input`, text);
  await page.press(`#${where}-input`, "Enter");
}

/**
 * Said, and seen by its author with its place in the log.
 * @param {import("playwright-core").Page} page
 * @param {string} text
 */
async function sayInRoom(page, text) {
  await say(page, "room", text);
  await sees(page, "#room-log .message.mine[data-id] .bubble", text);
}

/** @param {import("playwright-core").Page} page */
async function answered(page) {
  await sees(page, "#ai-log .message:not(.mine):not(.writing) .meta", "built-in demo");
}

/** @param {import("playwright-core").Page} page @param {"ai" | "room"} where */
function bubbles(page, where) {
  return page.locator(`#${where}-log .bubble`).allInnerTexts();
}

/** From now on, each text that the last answer had on its way. @param {import("playwright-core").Page} page */
async function recordAnswer(page) {
  await page.locator("#ai-log").evaluate((log) => {
    globalThis.stages = new Set();
    const note = () => globalThis.stages.add(log.querySelector(".message:last-child .bubble").textContent);
    new MutationObserver(note).observe(log, { subtree: true, childList: true });
  });
}

/** @param {import("playwright-core").Page} page @param {string} when */
async function assertNoSidewaysScroll(page, when) {
  const [content, view, cut] = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    // What sticks out to the left, as one's own messages would, cannot be scrolled to and has no scroll width.
    const boxes = [...document.querySelectorAll(".bubble, .frames li")].map((box) => box.getBoundingClientRect());
    return [scrollWidth, clientWidth, boxes.filter(({ left, right }) => left < 0 || right > clientWidth).length];
  });
  assert.ok(content <= view, `${when}: ${content} px of content in a window of ${view} px`);
  assert.equal(cut, 0, `${when}: boxes cut off`);
}

scenario("a newcomer asks the AI and sees the demo's answer being written", async (scene) => {
  const page = await scene.open("ai");
  await sees(page, "#health-text", "Running and well, version");
  await recordAnswer(page);
  await say(page, "ai", "Does a crash lose messages?");
  await answered(page);

  const [question, answer] = await bubbles(page, "ai");
  assert.equal(question, "Does a crash lose messages?");
  assert.ok(answer.length > 0);
  const stages = await page.evaluate(() => [...globalThis.stages]);
  assert.ok(stages.length > 3, `it came as ${JSON.stringify(stages)}`);
  assert.ok(stages.every((stage) => answer.startsWith(stage.trim())), `it came as ${JSON.stringify(stages)}`);

  await page.getByRole("button", { name: "Can a person take over?" }).click();
  await page.locator("#ai-log .message:not(.mine):not(.writing)").nth(1).waitFor();
});

scenario("two windows talk as two people, and HTML is only text", async (scene) => {
  const ann = await scene.open("room");
  const bob = await scene.openSecond(ann);
  const [annName, bobName] = await Promise.all([ann.innerText("#me"), bob.innerText("#me")]);
  await sees(ann, "#room-people", bobName);
  await sees(bob, "#room-people", annName);

  const html = `<img src="/none" onerror="document.title = 'run'"><script>document.title = 'run'</script> <b>bold</b>`;
  await bob.locator("#room-input").pressSequentially("<");
  await sees(ann, "#room-typing", `${bobName} is writing`);
  await sayInRoom(bob, html);
  await sees(ann, "#room-log .message:not(.mine) .bubble", html);
  await sayInRoom(ann, "Seen.");
  await sees(bob, "#room-log .message:not(.mine) .bubble", "Seen.");

  for (const page of [ann, bob]) {
    assert.deepEqual(await bubbles(page, "room"), [html, "Seen."]);
    assert.equal(await page.locator("#room-log :is(img, script, b), #wire-frames :is(img, script, b)").count(), 0);
    assert.equal(await page.title(), "WeeziQ is running");
  }
  assert.deepEqual(await ann.locator("#room-log .who").allInnerTexts(), [bobName, "You"]);
});

scenario("the room's history is there after a reload, and so is who said what", async (scene) => {
  const page = await scene.open("room");
  const name = await page.innerText("#me");
  await sayInRoom(page, "first");
  await sayInRoom(page, "second");
  await page.reload();
  await sees(page, "#room-log .message.mine .bubble", "second");
  assert.deepEqual(await bubbles(page, "room"), ["first", "second"]);
  assert.equal(await page.innerText("#me"), name);

  const other = await scene.openSecond(page);
  await sees(other, "#room-log .message:not(.mine) .bubble", "second");
  assert.deepEqual(await bubbles(other, "room"), ["first", "second"]);
});

scenario("the visitors are counted: a second window comes and goes", async (scene) => {
  const page = await scene.open("room");
  await sees(page, "#visitors-now", /^1$/);
  const second = await scene.openSecond(page);
  await sees(page, "#visitors-now", /^2$/);
  await sees(second, "#visitors-now", /^2$/);
  await second.close();
  await sees(page, "#visitors-now", /^1$/);
  await sees(page, "#visitors-total", "2 ever");
  await sees(page, "#visitors-ticker", "A visitor left the site");
});

scenario("the server is killed and comes back: the page reconnects, and what was typed arrives once", async (scene) => {
  const ann = await scene.open("room");
  const bob = await scene.openSecond(ann);
  await sayInRoom(ann, "before");
  await sees(bob, "#room-log .bubble", "before");

  await scene.whileDead(async () => {
    await sees(ann, "#link-text", "Connection lost");
    await sees(ann, "#health-text", "does not answer");
    await say(ann, "room", "meanwhile");
    await sees(ann, "#room-log .message.pending .bubble", "meanwhile");
  });
  await sees(ann, "#link-text", "Connected");
  await sees(ann, "#health-text", "Running and well");
  await sees(ann, "#room-log .message.mine[data-id] .bubble", "meanwhile");
  await sees(bob, "#room-log .bubble", "meanwhile");

  // Goes the same way in the same order: with it, any repetition of what was said before would have come too.
  await sayInRoom(ann, "after");
  await sees(bob, "#room-log .bubble", "after");
  for (const page of [ann, bob]) assert.deepEqual(await bubbles(page, "room"), ["before", "meanwhile", "after"]);
  await bob.reload();
  await sees(bob, "#room-log .bubble", "after");
  assert.deepEqual(await bubbles(bob, "room"), ["before", "meanwhile", "after"], "as the server has kept it");
});

scenario("nothing scrolls sideways on a phone 320 px wide", async (scene) => {
  const page = await scene.open("ai");
  await say(page, "ai", "x".repeat(200));
  await answered(page);
  await assertNoSidewaysScroll(page, "the AI's answer");
  await page.click("#tab-room");
  await sayInRoom(page, "https://example.com/".padEnd(200, "x"));
  await assertNoSidewaysScroll(page, "a long word in the room");
  await page.click("#wire summary");
  await page.locator("#wire-frames li").last().waitFor();
  await assertNoSidewaysScroll(page, "the frames");
}, SMALLEST_PHONE);

scenario("the page may run only what comes as a file from its own server", async ({ host }) => {
  const reply = await fetch(`${host.baseUrl}/`, { headers: { accept: "text/html" } });
  const policy = reply.headers.get("content-security-policy") ?? "";
  assert.match(policy, /(default|script)-src 'self'/);
  assert.doesNotMatch(policy, /unsafe-|\*/);
  assert.doesNotMatch(await reply.text(), /<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc="\/)/);
});
