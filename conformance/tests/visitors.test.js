/** Visitors of a domain: who is here, who was ever here, what they do. */
import assert from "node:assert/strict";
import { suite } from "../scenario.js";
import { assertShape, count, optional, string, text, timestamp } from "../shape.js";

const { scenario } = suite();

const CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
const IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";

const DATA = {
  userAgent: CHROME,
  timestamp: "2026-01-02T03:04:05.678Z",
  url: "https://shop.example/shoes?size=42",
  title: "Shoes",
  referrer: "https://search.example/",
  language: "de-DE",
  screen: "1920x1080",
};

/** Joins and takes the reply; on a connection that observes as well, the observer's copy is this same frame. */
async function arrive(client, domainId, visitorId, visitorData) {
  client.send({ type: "visitor-joined-domain", domainId, visitorId, visitorData });
  return client.next({ type: "visitor-joined-domain", domainId, visitorId });
}

const stats = (client, domainId) => client.ask({ type: "get-domain-stats", domainId }, "domain-stats");

scenario("a visitor arrives and an observer is told", async (s) => {
  const domainId = s.unique("domain");
  const [visitor, dashboard] = [await s.connect(), await s.connect()];
  assertShape(await stats(dashboard, domainId), { domainId, activeVisitors: 0, totalVisitors: 0, visitors: [], timestamp });
  const expected = { domainId, visitorId: "v1", activeCount: 1, timestamp };
  const reply = await arrive(visitor, domainId, "v1", DATA);
  const told = await dashboard.next({ type: "visitor-joined-domain", domainId });
  for (const frame of [reply, told]) {
    assertShape(frame, expected);
    assertShape(frame.visitorData, DATA);
  }
});

scenario("a visitor counts once however often it joins", async (s) => {
  const domainId = s.unique("domain");
  const [first, second] = [await s.connect(), await s.connect()];
  for (const client of [first, first, second]) assertShape(await arrive(client, domainId, "v1", DATA), { activeCount: 1 });
  assertShape(await arrive(second, domainId, "v2"), { activeCount: 2 });
  const seen = await stats(await s.connect(), domainId);
  assertShape(seen, { activeVisitors: 2, totalVisitors: 2 });
  assert.deepEqual(seen.visitors.map((v) => v.id).sort(), ["v1", "v2"]);
});

scenario("a visitor leaves: no longer active, still counted", async (s) => {
  const domainId = s.unique("domain");
  const [one, two, dashboard] = [await s.connect(), await s.connect(), await s.connect()];
  await stats(dashboard, domainId);
  await arrive(one, domainId, "v1");
  await arrive(two, domainId, "v2");
  one.send({ type: "visitor-left-domain", domainId, visitorId: "v1" });
  const expected = { domainId, visitorId: "v1", activeCount: 1, timestamp };
  assertShape(await one.next({ type: "visitor-left-domain", domainId }), expected);
  assertShape(await dashboard.next({ type: "visitor-left-domain", domainId }), expected);
  assertShape(await stats(dashboard, domainId), { activeVisitors: 1, totalVisitors: 2 });
  await arrive(one, domainId, "v1");
  assertShape(await stats(dashboard, domainId), { activeVisitors: 2, totalVisitors: 2 });
});

scenario("activity moves a visitor to another page", async (s) => {
  const domainId = s.unique("domain");
  const [visitor, dashboard] = [await s.connect(), await s.connect()];
  await stats(dashboard, domainId);
  await arrive(visitor, domainId, "v1", DATA);
  visitor.send({ type: "visitor-activity", domainId, visitorId: "v1", url: "https://shop.example/cart", title: "Cart" });
  assertShape(await dashboard.next({ type: "visitor-activity", domainId }), { visitorId: "v1", url: "https://shop.example/cart", title: "Cart" });
  const { visitors } = await stats(dashboard, domainId);
  assertShape(visitors[0], { id: "v1", url: "https://shop.example/cart", title: "Cart" });
});

scenario("observers hear of a visitor's activity at most once a second", async (s) => {
  const domainId = s.unique("domain");
  const [visitor, dashboard] = [await s.connect(), await s.connect()];
  await stats(dashboard, domainId);
  await arrive(visitor, domainId, "v1", DATA);
  const startedAt = Date.now();
  for (let page = 1; page <= 20; page += 1) visitor.send({ type: "visitor-activity", domainId, visitorId: "v1", url: `https://shop.example/${page}` });
  assertShape((await stats(visitor, domainId)).visitors[0], { url: "https://shop.example/20" });
  await dashboard.domainFence(domainId);
  const told = dashboard.unread({ type: "visitor-activity", domainId }).length;
  const seconds = Math.floor((Date.now() - startedAt) / 1000);
  assert.ok(told >= 1 && told <= 1 + seconds, `${told} events in ${seconds} s`);
});

scenario("the stats say who is there, with what and where", async (s) => {
  const domainId = s.unique("domain");
  const visitor = await s.connect();
  await arrive(visitor, domainId, "desk", DATA);
  await arrive(visitor, domainId, "phone", { ...DATA, userAgent: IPHONE });
  const seen = await stats(await s.connect(), domainId);
  const row = (id) => seen.visitors.find((v) => v.id === id);
  assertShape(row("desk"), {
    userAgent: CHROME, browser: text, os: text, device: text, country: optional(string),
    url: DATA.url, title: DATA.title, referrer: DATA.referrer, timestamp, lastActivity: timestamp,
  });
  const classes = (id) => ["browser", "os", "device"].map((field) => row(id)[field].toLowerCase());
  for (const [n, pattern] of [/chrome/, /windows/, /desktop/].entries()) assert.match(classes("desk")[n], pattern);
  for (const [n, pattern] of [/safari/, /ios/, /mobile/].entries()) assert.match(classes("phone")[n], pattern);
});

scenario("a visitor that tells nothing about itself is welcome", async (s) => {
  const domainId = s.unique("domain");
  const visitor = await s.connect();
  assertShape(await arrive(visitor, domainId, "v1"), { activeCount: 1 });
  assertShape((await stats(visitor, domainId)).visitors[0], { id: "v1", lastActivity: timestamp });
});

scenario("all domains at a glance, asked with and without a payload", async (s) => {
  const [red, blue] = [s.unique("red"), s.unique("blue")];
  const visitor = await s.connect();
  await arrive(visitor, red, "v1");
  await arrive(visitor, blue, "v1");
  await arrive(visitor, blue, "v2");
  visitor.send({ type: "visitor-left-domain", domainId: blue, visitorId: "v2" });
  await visitor.next("visitor-left-domain");
  const dashboard = await s.connect();
  for (const payload of [{}, { payload: {} }, { domainId: "ignored" }]) {
    dashboard.send({ type: "get-all-domain-stats", ...payload });
    const all = await dashboard.next("all-domain-stats");
    assertShape(all, { timestamp });
    assertShape(all.stats[red], { activeVisitors: 1, totalVisitors: 1, lastUpdated: timestamp });
    assertShape(all.stats[blue], { activeVisitors: 1, totalVisitors: 2, lastUpdated: timestamp });
  }
});

scenario("to be asked about makes no site of a name", async (s) => {
  const dashboard = await s.connect();
  const nobodys = s.unique("nobodys");
  assertShape(await stats(dashboard, nobodys), { activeVisitors: 0, totalVisitors: 0 });
  dashboard.send({ type: "get-all-domain-stats" });
  assert.ok(!(nobodys in (await dashboard.next("all-domain-stats")).stats));
});

scenario("domains do not mix", async (s) => {
  const [red, blue] = [s.unique("red"), s.unique("blue")];
  const visitor = await s.connect();
  await arrive(visitor, red, "v1");
  assertShape(await stats(await s.connect(), blue), { activeVisitors: 0, totalVisitors: count });
  assertShape(await arrive(visitor, blue, "v1"), { activeCount: 1 });
});
