/** What a site's visitors came to: hours and days, pages and referrers, and who was not counted. */
import assert from "node:assert/strict";
import { eventually } from "../eventually.js";
import { get, post } from "../http.js";
import { say, suite } from "../scenario.js";
import { assertHttpError, assertShape, count, timestamp } from "../shape.js";

const { scenario } = suite();

const HOUR_MS = 3_600_000;
const CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
const IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1";
const encode = encodeURIComponent;

const arrive = (client, domainId, visitorId, visitorData) => {
  client.send({ type: "visitor-joined-domain", domainId, visitorId, visitorData });
  return client.next({ type: "visitor-joined-domain", domainId, visitorId });
};

const report = async (s, path) => {
  const reply = await get(s.url(path));
  assert.equal(reply.status, 200, reply.text);
  return reply.json;
};

/** Sums over the whole answer, so that an hour that ends in the middle of a test does not matter. */
const sum = ({ buckets }) =>
  buckets.reduce((all, b) => Object.fromEntries(["sessions", "views", "messages", "aiReplies"].map((k) => [k, (all[k] ?? 0) + b[k]])), {});

const reportWhen = (s, path, holds) => eventually(() => report(s, path), holds);

scenario("hours count visits, page views and what was said", async (s) => {
  const [domainId, room] = [s.unique("shop"), s.unique("room")];
  const [one, two] = [await s.connect(), await s.connect()];
  await arrive(one, domainId, "v1", { userAgent: CHROME, url: "https://shop.example/?utm_source=news" });
  await arrive(two, domainId, "v2", { userAgent: IPHONE, url: "https://shop.example/hats", title: "Hats" });
  await arrive(two, domainId, "v2", { userAgent: IPHONE, url: "https://shop.example/hats" });
  one.send({ type: "visitor-activity", domainId, visitorId: "v1", url: "https://shop.example/hats?size=4#top", title: "Hats" });
  one.send({ type: "visitor-activity", domainId, visitorId: "v1" });
  const cleo = await s.member(room, "cleo", { role: "customer", domainId });
  await say(cleo, room, "cleo", "hello", { role: "customer" });
  await post(s.url(`/rooms/${encode(room)}/messages`), { userId: "bot", userName: "Bot", role: "assistant", message: "Hello!" });
  const wanted = { sessions: 2, views: 3, messages: 2, aiReplies: 1 };
  const path = `/stats/domain/${encode(domainId)}/series`;
  const series = await reportWhen(s, path, (it) => JSON.stringify(sum(it)) === JSON.stringify(wanted));
  assertShape(series, { domainId, bucket: "hour", from: timestamp, to: timestamp, unique: { method: "exact", anonymous: "daily-salt", window: "hour" } });
  assert.equal(series.buckets.length, 24);
  for (const bucket of series.buckets) assertShape(bucket, { start: timestamp, visitors: count, sessions: count });
  const days = await report(s, `${path}?bucket=day`);
  assert.equal(days.buckets.length, 30);
  assert.deepEqual(days.unique, { method: "exact", anonymous: "daily-salt", window: "day" });
  assert.equal(days.buckets.at(-1).visitors + days.buckets.at(-2).visitors, 2);
});

scenario("a visitor who comes again counts once in the hour and in the day, and begins another visit", async (s) => {
  const domainId = s.unique("shop");
  const client = await s.connect();
  for (let n = 0; n < 3; n += 1) {
    await arrive(client, domainId, "v1", { url: "https://shop.example/" });
    client.send({ type: "visitor-left-domain", domainId, visitorId: "v1" });
    await client.next({ type: "visitor-left-domain", domainId, visitorId: "v1" });
  }
  const path = `/stats/domain/${encode(domainId)}/series?bucket=day`;
  const { buckets } = await reportWhen(s, path, (it) => sum(it).sessions === 3);
  assert.ok([1, 2].includes(buckets.at(-1).visitors + buckets.at(-2).visitors), "once a day");
});

scenario("pages and referrers are counted without their queries, and the rest together", async (s) => {
  const domainId = s.unique("shop");
  const client = await s.connect();
  const data = { userAgent: CHROME, url: "https://shop.example/a?x=1", title: "A", referrer: "https://Search.example/?q=secret" };
  await arrive(client, domainId, "v1", data);
  await arrive(client, domainId, "v2", { ...data, url: "https://shop.example/b?utm_source=mail&utm_campaign=may", referrer: "https://shop.example/a" });
  for (let n = 0; n < 60; n += 1) client.send({ type: "visitor-activity", domainId, visitorId: "v1", url: `https://shop.example/${n}` });
  const seen = await reportWhen(s, `/stats/domain/${encode(domainId)}/pages`, (it) => it.pages.length + it.pagesOther >= 62);
  assertShape(seen.pages.find((p) => p.url === "https://shop.example/a"), { title: "A", views: 1 });
  assert.ok(seen.pagesOther > 0 && seen.pages.length <= 50, "the list is bounded");
  assert.deepEqual(seen.referrers, [{ referrer: "search.example", visits: 1 }]);
  assert.deepEqual(seen.campaigns, [{ campaign: "mail / may", visits: 1 }]);
  assertShape(seen, { browsers: { Chrome: 2 }, systems: { Windows: 2 }, devices: { desktop: 2 } });
  assert.ok(!JSON.stringify(seen).includes("secret"));
});

scenario("what is no person is not counted, and it is said why", async (s) => {
  const domainId = s.unique("shop");
  const client = await s.connect();
  const agents = { b1: "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", b2: "curl/8.5.0", b3: `${CHROME} HeadlessChrome/140`, v1: CHROME };
  for (const [id, userAgent] of Object.entries(agents)) await arrive(client, domainId, id, { userAgent, url: "https://shop.example/" });
  client.send({ type: "visitor-activity", domainId, visitorId: "b2", url: "https://shop.example/2" });
  const { dropped } = await reportWhen(s, `/stats/dropped?domainId=${encode(domainId)}`, (it) => Object.keys(it.dropped).length === 3);
  assert.deepEqual(dropped, { crawler: 1, headless: 1, tool: 1 });
  assertShape(sum(await report(s, `/stats/domain/${encode(domainId)}/series`)), { sessions: 1, views: 1 });
  assert.equal((await report(s, `/stats/domain/${encode(domainId)}`)).activeVisitors, 4, "who is here is another question");
});

scenario("what was counted is there after kill -9", async (s) => {
  const domainId = s.unique("shop");
  const path = `/stats/domain/${encode(domainId)}/series`;
  await arrive(await s.connect(), domainId, "v1", { url: "https://shop.example/" });
  // A report stores what it tells.
  await reportWhen(s, path, (it) => sum(it).views === 1);
  await s.host.kill9();
  await s.host.restart();
  assertShape(sum(await report(s, path)), { sessions: 1, views: 1 });
});

scenario("spans that cannot be are refused", async (s) => {
  const domainId = s.unique("shop");
  const bad = async (rest, field) => assertHttpError(await get(s.url(`/stats/domain/${encode(domainId)}/${rest}`)), 400, "invalid_request", field);
  await bad("series?bucket=minute", "bucket");
  for (const at of ["yesterday", "1", "2026-13-01T00:00:00Z", "'; DROP TABLE traffic"]) {
    await bad(`series?from=${encode(at)}`, "from");
    await bad(`pages?to=${encode(at)}`, "to");
  }
  await bad("series?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "to");
  await bad("series?from=2020-01-01T00:00:00Z", "from");
  await bad("series?from=-009998-01-01T00:00:00Z&to=9999-12-30T00:00:00Z", "from");
  assertHttpError(await get(s.url("/stats/dropped")), 400, "invalid_request", "domainId");
  const { buckets } = await report(s, `/stats/domain/${encode(domainId)}/series?from=2026-01-01T00:30:00Z&to=2026-01-01T02:00:00%2B01:00`);
  assert.deepEqual(buckets.map((b) => Date.parse(b.start)), [0, 1].map((n) => Date.parse("2026-01-01T00:00:00Z") + n * HOUR_MS));
});
