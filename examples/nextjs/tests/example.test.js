/**
 * The built application in Chromium: against the server at `WEEZIQ_URL`, which must let the origin http://127.0.0.1:`PORT` in, or against a
 * host of its own, the one that `HOST_UNDER_TEST` names. `SCREENSHOTS` names a folder for pictures.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { eventually } from "../../../conformance/eventually.js";
import { exitOf, killGroup, spawnGroup, untilReady } from "../../../conformance/hosts/child.js";
import { createHost } from "../../../conformance/hosts/index.js";

const GUARD_MS = 60_000;
const SCENARIO_MS_MAX = 300_000;
const READY_MS_MAX = 60_000;
const DESKTOP = { width: 1200, height: 760 };
const SMALLEST_PHONE = { width: 320, height: 640 };
/** As in lib/site.ts. */
const DOMAIN = "bakery.example";
const QUESTION = "Is my data safe in a crash?";
const ANSWER = /a crash or a restart loses nothing that was acknowledged/;
/** Its answer takes five seconds to be written. */
const LONG_QUESTION = "How long was the odyssey?";
const LONG_STORY = `# Odyssey\n\n${"The odyssey went on and on. ".repeat(30)}`;

const host = process.env.WEEZIQ_URL ? undefined : createHost();
/** @type {import("playwright-core").Browser} */
let browser;
/** @type {ReturnType<typeof spawnGroup>} */
let next;
let site = "";

before(async () => {
  site = `http://127.0.0.1:${process.env.PORT ?? (await freePort())}`;
  await host?.start({ ALLOWED_ORIGINS: site, AI_PER_USER_PER_MIN: "0" });
  next = await serve(process.env.WEEZIQ_URL ?? host?.baseUrl ?? "");
  const quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"];
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", ...quiet] });
});
after(async () => {
  await browser?.close();
  if (next) killGroup(next);
  await host?.dispose();
});

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  server.close();
  await once(server, "close");
  return port;
}

/** @param {string} server */
async function serve(server) {
  let log = "";
  const script = fileURLToPath(new URL("../scripts/next.js", import.meta.url));
  const child = spawnGroup(process.execPath, [script, "start", "--hostname", "127.0.0.1", "--port", new URL(site).port], {
    cwd: fileURLToPath(new URL("..", import.meta.url)),
    env: { ...process.env, NODE_ENV: "production", WEEZIQ_URL: server },
    onOutput: (text) => (log += text),
  });
  const isServed = () => fetch(site).then(({ ok }) => ok || undefined, () => undefined);
  await untilReady({ exited: exitOf(child), log: () => log, msMax: READY_MS_MAX }, isServed);
  return child;
}

/** @param {string} name @param {(scene: {open: (path: string, size?: {width: number, height: number}) => Promise<import("playwright-core").Page>}) => Promise<void>} play */
function scenario(name, play) {
  test(name, { timeout: SCENARIO_MS_MAX }, async () => {
    /** @type {import("playwright-core").BrowserContext[]} */
    const people = [];
    const complaints = [];
    /** Each page is another person's browser. */
    const open = async (path, viewport = DESKTOP) => {
      const context = await browser.newContext({ viewport });
      people.push(context);
      context.setDefaultTimeout(GUARD_MS);
      context.on("weberror", (error) => complaints.push(String(error.error())));
      context.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
      const page = await context.newPage();
      await page.goto(`${site}${path}`);
      return page;
    };
    try {
      await play({ open });
      assert.deepEqual(complaints, [], "the browsers' consoles");
    } finally {
      for (const context of people) await context.close();
    }
  });
}

/** What is written into a page before React has taken it over is lost. @param {import("playwright-core").Locator} field */
const alive = (field) => eventually(() => field.evaluate((element) => Object.keys(element).some((key) => key.startsWith("__react"))));

/** @param {import("playwright-core").Page} page @param {string} label @param {string} text */
async function say(page, label, text) {
  await alive(page.getByLabel(label));
  await page.getByLabel(label).fill(text);
  await page.getByRole("button", { name: "Send" }).click();
}

/** @param {import("playwright-core").Page} page @param {string | RegExp} text */
const hears = (page, text) => page.getByRole("log").getByText(text).waitFor();

/** Goes at once, so that the next scenario does not meet who went. @param {import("playwright-core").Page} visitor @param {import("playwright-core").Page} agent */
async function leave(visitor, agent) {
  await visitor.getByRole("link", { name: "Assistant" }).click();
  await agent.getByRole("heading", { name: /^0 here now/ }).waitFor();
}

/** @param {import("playwright-core").Page} page @param {string} name */
async function picture(page, name) {
  if (process.env.SCREENSHOTS) await page.screenshot({ path: `${process.env.SCREENSHOTS}/${name}.png` });
}

scenario("a visitor asks, the agent sees the answer being written, takes over and replies; afterwards the AI answers again", async ({ open }) => {
  const agent = await open("/agent");
  const visitor = await open("/");
  // The newest is the first.
  const row = agent.getByRole("button", { name: /Chrome/ }).first();
  await row.click();
  await say(visitor, "Your message", QUESTION);
  await hears(visitor, QUESTION);
  await hears(agent, QUESTION);
  await hears(agent, /This is WeeziQ's offline demo/);
  for (const page of [visitor, agent]) await hears(page, ANSWER);
  await picture(visitor, "support-answered");

  await agent.getByRole("button", { name: "Take over" }).click();
  await visitor.getByText("You are talking to a person.").waitFor();
  await row.getByText("with a person").waitFor();
  await agent.getByLabel("Your reply").pressSequentially("Hello");
  await visitor.getByText("Kim is typing").waitFor();
  await say(agent, "Your reply", "Hello, this is Kim. I am here.");
  await hears(visitor, "Hello, this is Kim. I am here.");
  await say(visitor, "Your message", "Thank you!");
  await hears(agent, "Thank you!");
  await picture(visitor, "support-with-agent");
  await picture(agent, "agent");
  assert.equal(await visitor.getByText(ANSWER).count(), 1, "the AI is silent");

  await agent.getByRole("button", { name: "Hand back" }).click();
  await visitor.getByText("The assistant answers.").waitFor();
  await say(visitor, "Your message", QUESTION);
  await visitor.getByText(ANSWER).nth(1).waitFor();
  await leave(visitor, agent);
});

scenario("a takeover in mid-answer silences the AI for both", async ({ open }) => {
  const story = new URL(`/domains/${DOMAIN}/knowledge/odyssey.md`, process.env.WEEZIQ_URL ?? host?.baseUrl);
  const kept = await fetch(story, { method: "PUT", body: LONG_STORY, headers: { "content-type": "text/markdown" } });
  assert.ok(kept.ok, await kept.text());
  const agent = await open("/agent");
  const visitor = await open("/");
  await agent.getByRole("button", { name: /has not written yet/ }).click();
  await agent.getByRole("button", { name: "Take over" }).waitFor();
  await say(visitor, "Your message", LONG_QUESTION);
  await agent.getByRole("log").getByText(/This is/).waitFor();
  await agent.getByRole("button", { name: "Take over" }).click();
  await visitor.getByText("You are talking to a person.").waitFor();
  await say(agent, "Your reply", "A person now.");
  await hears(visitor, "A person now.");
  // What it had written is gone; it would stay if the AI had gone on.
  for (const page of [visitor, agent]) await page.getByRole("log").locator(".ai").waitFor({ state: "detached" });
  await leave(visitor, agent);
});

scenario("after a reload the conversation is there; a visitor who goes is seen to go", async ({ open }) => {
  const agent = await open("/agent");
  const visitor = await open("/");
  await agent.getByRole("heading", { name: /^1 here now/ }).waitFor();
  await say(visitor, "Your message", QUESTION);
  await hears(visitor, ANSWER);
  await visitor.reload();
  for (const text of [QUESTION, ANSWER]) await hears(visitor, text);
  await agent.reload();
  await agent.getByRole("button", { name: ANSWER }).click();
  await hears(agent, QUESTION);
  await leave(visitor, agent);
});

scenario("useChat streams an answer from /ai/stream, and the next question knows the conversation", async ({ open }) => {
  const page = await open("/assistant");
  /** @type {any[]} */
  const bodies = [];
  page.on("request", (request) => request.url().endsWith("/ai/stream") && request.method() === "POST" && bodies.push(request.postDataJSON()));
  await page.evaluate(() => {
    globalThis.lengths = new Set();
    const log = document.querySelector("[role=log]");
    new MutationObserver(() => globalThis.lengths.add(log.querySelector(".ai p")?.textContent.length ?? 0)).observe(log, { subtree: true, childList: true, characterData: true });
    // A busy machine may look for it too late.
    new MutationObserver(() => (globalThis.couldStop ||= [...document.querySelectorAll("button")].some(({ textContent }) => textContent === "Stop"))).observe(document.body, { subtree: true, childList: true });
  });
  const stop = page.getByRole("button", { name: "Stop" });
  await say(page, "Your question", QUESTION);
  await hears(page, ANSWER);
  await stop.waitFor({ state: "hidden" });
  assert.ok(await page.evaluate(() => globalThis.couldStop), "it could be stopped");
  // None of it, a part, and all.
  assert.ok((await page.evaluate(() => globalThis.lengths.size)) > 2, "in pieces");
  await say(page, "Your question", "And who can take over?");
  await page.locator(".ai").nth(1).waitFor();
  await stop.waitFor({ state: "hidden" });
  assert.equal(await page.locator(".ai").count(), 2);
  await picture(page, "assistant");
  assert.deepEqual(bodies.map(({ messages }) => messages.at(-1).parts[0].text), [QUESTION, "And who can take over?"]);
  assert.equal(new Set(bodies.map(({ id }) => id)).size, 1);
});

scenario("on the smallest phone nothing is cut off, and the keyboard suffices", async ({ open }) => {
  const page = await open("/", SMALLEST_PHONE);
  for (const path of ["/", "/assistant", "/agent"]) {
    await page.goto(`${site}${path}`);
    const { scrollWidth, clientWidth } = await page.evaluate(() => ({ scrollWidth: document.documentElement.scrollWidth, clientWidth: document.documentElement.clientWidth }));
    assert.ok(scrollWidth <= clientWidth, `${path}: ${scrollWidth} > ${clientWidth}`);
  }
  await page.goto(site);
  await alive(page.getByLabel("Your message"));
  await page.getByLabel("Your message").focus();
  await page.keyboard.type(QUESTION);
  await page.keyboard.press("Enter");
  await hears(page, ANSWER);
  await picture(page, "support-phone");
});
