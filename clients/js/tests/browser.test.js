/** The bundle in Chromium against the real host, through a network that can be cut: what only a browser has and does. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { after, before } from "node:test";
import { chromium } from "playwright-core";
import { eventually } from "../../../conformance/eventually.js";
import { createHost } from "../../../conformance/hosts/index.js";
import { cutter, hosted, unique } from "./support/host.js";
import { refused, scenario as played } from "./support/play.js";
import { heard } from "./support/seen.js";

const GUARD_MS = 60_000;
const SCENARIO_MS = 300_000;
const host = hosted();

/** @type {import("playwright-core").Browser} */
let browser;
/** where the pages are: another origin than the host's */
let site;
const pages = createServer(async ({ url }, response) => {
  if (url === "/weeziq.min.js") response.setHeader("content-type", "text/javascript").end(await readFile(new URL("../dist/weeziq.min.js", import.meta.url)));
  else response.setHeader("content-type", "text/html").end(PAGE);
});
const PAGE = `<!doctype html><title>Shop</title><script type="module">
import * as weeziq from "/weeziq.min.js";
globalThis.heard = [];
globalThis.open = (url, options = {}) => {
  globalThis.client = weeziq.connect(url, { backoff: { minMs: 5, maxMs: 50 }, ...options });
  client.on("status", ({ state, error }) => heard.push({ event: "status", state, code: error?.code }));
  client.on("error", ({ code }) => heard.push({ event: "error", code }));
  return client;
};
globalThis.enter = (roomId, userId = "ann") => {
  globalThis.room = client.join(roomId, { userId, userName: userId });
  for (const event of ["message", "queued", "sent", "history"]) room.on(event, ({ seq, message }) => heard.push({ event, seq, message }));
  return room;
};
globalThis.storage = () => weeziq.indexedDbStorage();
globalThis.isLoaded = true;
</script>`;

before(async () => {
  const quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"];
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", ...quiet] });
  pages.listen(0, "127.0.0.1");
  await once(pages, "listening");
  site = `http://127.0.0.1:${pages.address().port}`;
});
after(async () => {
  await browser?.close();
  pages.closeAllConnections();
  pages.close();
});

/** @param {string} name @param {(s: import("./support/play.js").Scene & {tab: () => Promise<any>, context: any}) => Promise<void>} play */
function scenario(name, play) {
  const playInTab = async (s) => {
    const context = await browser.newContext();
    context.setDefaultTimeout(GUARD_MS);
    const thrown = [];
    context.on("weberror", (error) => thrown.push(String(error.error())));
    s.after(() => context.close());
    const tab = async () => {
      const page = await context.newPage();
      await load(page);
      return page;
    };
    await play(Object.assign(s, { context, tab }));
    assert.deepEqual(thrown, [], "errors that nobody caught");
  };
  played(name, playInTab, { timeout: SCENARIO_MS });
}

async function load(page) {
  await page.goto(`${site}/start`);
  await page.waitForFunction("globalThis.isLoaded");
}

/** Waits until the page has heard something like it. @param {any} page @param {Record<string, unknown>} fields */
const hears = (page, fields) =>
  page.waitForFunction((wanted) => globalThis.heard.some((one) => Object.entries(wanted).every(([key, value]) => one[key] === value)), fields, { polling: 20 });

/** @param {any} page @param {string} event */
const allHeard = (page, event) => page.evaluate((name) => globalThis.heard.filter((one) => one.event === name), event);

const open = (page, url, options) => page.evaluate(([to, how, stored]) => void globalThis.open(to, { ...how, ...(stored ? { storage: globalThis.storage() } : {}) }), [url, { ...options, storage: undefined }, Boolean(options?.storage)]);
const enter = (page, room, userId) => page.evaluate(([name, user]) => globalThis.enter(name, user).ready.then(() => {}), [room, userId]);
const say = (page, ...texts) => page.evaluate((all) => void all.forEach((text) => globalThis.room.send(text)), texts);

/** What is sent is taken out of the storage, but nobody is told when. */
const kept = (page) => page.evaluate(() => globalThis.storage().all());
const keepsNothing = (page) => eventually(() => kept(page), ({ length }) => length === 0);

/** The room's log as the host has stored it. */
async function stored(s, room) {
  const reader = s.connect(host.wsUrl).join(room, { userId: "reader", userName: "Reader" });
  const { messages } = await heard(reader, "history").next();
  return messages.map(({ message }) => message);
}

scenario("2,000 messages through 25 cuts, said and heard in pages: once and in order", async (s) => {
  const COUNT = 2_000;
  const room = unique("room");
  const ways = [await cutter(s, host, { seed: 3, cutsMax: 15, bytesMean: 12_000 }), await cutter(s, host, { seed: 4, cutsMax: 10, bytesMean: 8_000 })];
  const [sender, reader] = [await s.tab(), await s.tab()];
  for (const [n, page] of [sender, reader].entries()) {
    await open(page, ways[n].url, { queueMax: COUNT });
    await enter(page, room, `user-${n}`);
  }
  const texts = Array.from({ length: COUNT }, (_, n) => `message ${n + 1}`);
  await say(sender, ...texts);
  for (const page of [sender, reader]) {
    await page.waitForFunction((end) => globalThis.room.position?.seq === end, COUNT, { polling: 50, timeout: SCENARIO_MS });
    const messages = await allHeard(page, "message");
    assert.deepEqual(messages.map(({ seq, message }) => [seq, message]), texts.map((text, n) => [n + 1, text]));
  }
  assert.deepEqual(ways.map(({ cuts }) => cuts), [15, 10]);
});

scenario("a reload while the network is gone loses nothing of what was said", async (s) => {
  const room = unique("room");
  const way = await cutter(s, host);
  const page = await s.tab();
  await open(page, way.url, { storage: true });
  await enter(page, room);
  await say(page, "one");
  await hears(page, { event: "sent", message: "one" });
  way.down();
  await hears(page, { event: "status", state: "waiting" });
  await say(page, "two", "three");
  await hears(page, { event: "queued", message: "three" });
  await load(page);
  await open(page, way.url, { storage: true });
  way.up();
  await enter(page, room);
  await say(page, "four");
  await hears(page, { event: "sent", message: "four" });
  // "four" was queued too, unless the server was quicker than the storage.
  const queued = (await allHeard(page, "queued")).map(({ message }) => message);
  assert.deepEqual(queued.slice(0, 2), ["two", "three"]);
  assert.deepEqual(await stored(s, room), ["one", "two", "three", "four"]);
  await keepsNothing(page);
  await load(page);
  assert.deepEqual(await kept(page), []);
});

scenario("two tabs of one user share what is left over: each message is stored once, and both hear all", async (s) => {
  const room = unique("room");
  const way = await cutter(s, host);
  const [first, second] = [await s.tab(), await s.tab()];
  await open(first, way.url, { storage: true });
  await enter(first, room);
  way.down();
  await hears(first, { event: "status", state: "waiting" });
  await say(first, "one", "two");
  await hears(first, { event: "queued", message: "two" });
  // The second finds what the first still has to send.
  await open(second, way.url, { storage: true });
  await second.evaluate((name) => void globalThis.enter(name), room);
  await hears(second, { event: "queued", message: "two" });
  way.up();
  for (const page of [first, second]) await hears(page, { event: "sent", message: "two" });
  await say(second, "three");
  for (const page of [first, second]) await page.waitForFunction(() => globalThis.room.position?.seq === 3, undefined, { polling: 20 });
  assert.deepEqual(await stored(s, room), ["one", "two", "three"]);
  await keepsNothing(first);
});

scenario("a full disk is reported, and messages go out all the same", async (s) => {
  const room = unique("room");
  const page = await s.tab();
  const devtools = await s.context.newCDPSession(page);
  await page.evaluate(() => globalThis.storage().all());
  await devtools.send("Storage.overrideQuotaForOrigin", { origin: site, quotaSize: 1 });
  await open(page, host.wsUrl, { storage: true });
  await enter(page, room);
  await say(page, "x".repeat(10_000), "end");
  await hears(page, { event: "sent", message: "end" });
  await hears(page, { event: "error", code: "storage" });
  assert.equal((await stored(s, room)).length, 2);
});

scenario("back online, or looked at again: it does not wait any longer", async (s) => {
  const way = await cutter(s, host);
  const page = await s.tab();
  await open(page, way.url, { backoff: { minMs: 3_600_000, maxMs: 3_600_000 } });
  const signals = [
    async () => {
      await s.context.setOffline(true);
      await s.context.setOffline(false);
    },
    () => page.evaluate(() => void document.dispatchEvent(new Event("visibilitychange"))),
  ];
  await hears(page, { event: "status", state: "open" });
  for (const signal of signals) {
    way.down();
    await hears(page, { event: "status", state: "waiting" });
    await page.evaluate(() => void (globalThis.heard = []));
    way.up();
    await signal();
    await hears(page, { event: "status", state: "open" });
  }
});

scenario("looked at again while connected: a connection that died unnoticed is found out", async (s) => {
  const page = await s.tab();
  // A proxy that swallows everything from a moment on.
  const server = await s.serve();
  await open(page, server.url, { deadlineMs: 200 });
  await hears(page, { event: "status", state: "open" });
  server.answers.ping = () => {};
  await page.evaluate(() => void document.dispatchEvent(new Event("visibilitychange")));
  await hears(page, { event: "status", state: "waiting", code: "silent" });
});

scenario("a server that is down, and one that refuses this page", async (s) => {
  const strict = createHost();
  s.after(() => strict.dispose());
  await strict.start({ ALLOWED_ORIGINS: "https://shop.example" });
  const page = await s.tab();
  await open(page, strict.wsUrl);
  await hears(page, { event: "status", state: "waiting", code: "refused" });
  await strict.kill9();
  await hears(page, { event: "status", state: "waiting", code: "unreachable" });
});

scenario("a visitor is followed through a page that never loads again, and is the same after a reload", async (s) => {
  const domain = unique("shop");
  const dashboard = s.connect(host.wsUrl);
  await dashboard.visitors.stats(domain);
  const [joined, activity] = ["visitor-joined-domain", "visitor-activity"].map((name) => heard(dashboard, name));
  const page = await s.tab();
  const track = async () => {
    await open(page, host.wsUrl);
    return page.evaluate((name) => client.visitors.track(name, { data: { plan: "pro" } }).visitorId, domain);
  };
  const visitorId = await track();
  const { visitorData } = await joined.next({ visitorId });
  assert.deepEqual([visitorData.url, visitorData.title, visitorData.plan], [`${site}/start`, "Shop", "pro"]);
  assert.match(visitorData.userAgent, /Chrome/);
  for (const path of ["/cart", "/checkout"]) {
    await page.evaluate((to) => {
      history.pushState({}, "", to);
      document.title = `Shop ${to}`;
    }, path);
    const told = await activity.next({ visitorId, url: site + path });
    assert.equal(told.title, `Shop ${path}`);
  }
  await page.evaluate(() => history.back());
  await activity.next({ visitorId, url: `${site}/cart` });
  await load(page);
  assert.equal(await track(), visitorId);
  const { totalVisitors, visitors } = await eventually(() => dashboard.visitors.stats(domain), ({ activeVisitors }) => activeVisitors > 0);
  assert.deepEqual([totalVisitors, visitors.map(({ id }) => id)], [1, [visitorId]]);
});

scenario("an answer comes piece by piece", async (s) => {
  const page = await s.tab();
  await open(page, host.wsUrl);
  const { pieces, answer } = await page.evaluate(async () => {
    const stream = client.ai.stream("Is my data safe in a crash?", { userId: "ann" });
    const texts = [];
    for await (const text of stream) texts.push(text);
    return { pieces: texts, answer: await stream.answer };
  });
  assert.ok(pieces.length > 1);
  assert.equal(pieces.join(""), answer.fullResponse);
});

scenario("a file goes up step by step, and comes back", async (s) => {
  const BYTES = 5 * 1024 * 1024;
  const page = await s.tab();
  await open(page, host.wsUrl);
  const upload = page.evaluate(async (size) => {
    const steps = [];
    const file = new File([new Uint8Array(size)], "big.pdf", { type: "application/pdf" });
    const put = client.files.upload(file, { onProgress: ({ loaded, total }) => steps.push([loaded, total]) });
    const [uploaded, error] = await put.then((done) => [done, null], ({ name, code }) => [null, { name, code }]);
    const got = uploaded && (await (await fetch(uploaded.url)).arrayBuffer()).byteLength;
    return { steps, uploaded, error, got };
  }, BYTES);
  const { steps, uploaded, error, got } = await upload;
  assert.deepEqual([error, uploaded.name, uploaded.size, got], [null, "big.pdf", BYTES, BYTES]);
  assert.deepEqual(steps.at(-1), [BYTES, BYTES]);
  assert.ok(steps.every(([loaded], n) => n === 0 || loaded >= steps[n - 1][0]));
});
