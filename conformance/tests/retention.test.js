/** What a site does not keep any more goes by itself, wherever it stands; what is younger, and other sites', stays. */
import assert from "node:assert/strict";
import { age } from "../aging.js";
import { eventually } from "../eventually.js";
import { get, post, request } from "../http.js";
import { say, suite } from "../scenario.js";

const { scenario } = suite();

const arrive = (client, domainId, visitorId) =>
  client.ask({ type: "visitor-joined-domain", domainId, visitorId, visitorData: { url: "https://shop.example/" } }, "visitor-joined-domain");

const json = async (s, path) => {
  const reply = await get(s.url(path));
  assert.equal(reply.status, 200, reply.text);
  return reply.json;
};

/** A site with something of everything that it may keep. */
async function site(s, domainId, name) {
  const [client, roomId, conversationId] = [await s.connect(), s.unique("room"), s.unique("talk")];
  await arrive(client, domainId, name);
  await client.ask({ type: "visitor-left-domain", domainId, visitorId: name }, "visitor-left-domain");
  await client.ask({ type: "ai-chat", message: "My name is Ann", domainId, userId: name, conversationId }, "ai-response");
  const cleo = await s.member(roomId, name, { domainId, role: "customer" });
  const file = (await post(s.url(`/files?name=a.txt&roomId=${roomId}&domainId=${domainId}&userId=${name}`), "hello", { "content-type": "text/plain" })).json;
  await say(cleo, roomId, name, "where is my parcel?", { role: "customer", attachments: [file] });
  await eventually(() => json(s, `/rooms?domainId=${domainId}`), ({ rooms }) => rooms.length === 1);
  await eventually(() => stored(s, domainId, roomId, name), isWhole);
  return { domainId, roomId, name, file, conversationId };
}

/** What is there of it: without a word about how it is kept. */
async function stored(s, domainId, roomId, name) {
  const day = (back) => new Date(Date.now() - back * 24 * 3_600_000).toISOString();
  const series = await json(s, `/stats/domain/${domainId}/series?bucket=day&from=${day(20)}&to=${day(0)}`);
  const spent = await json(s, `/stats/domain/${domainId}/ai?from=${day(20).slice(0, 10)}&to=${day(0).slice(0, 10)}`);
  const known = await json(s, `/visitors/${name}/export?domainId=${domainId}`);
  const found = await json(s, `/search?domainId=${domainId}&q=parcel`);
  return {
    visitors: known.visitor ? 1 : 0,
    counted: series.buckets.reduce((sum, { sessions }) => sum + sessions, 0),
    spent: spent.days.reduce((sum, { answers }) => sum + answers, 0),
    messages: (await json(s, `/rooms/${roomId}/messages`)).messages.length,
    found: found.results.length,
    turns: known.conversations.reduce((sum, { aiTurns }) => sum + aiTurns.length, 0),
  };
}

const set = (s, domainId, retention) =>
  request(s.url(`/domains/${domainId}`), { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify({ name: "Shop", retention }) });

const ALL = { visitors: 1, counted: 1, spent: 1, messages: 1, found: 1, turns: 2 };

const is = (wanted) => (seen) => JSON.stringify(seen) === JSON.stringify(wanted);
const isWhole = is(ALL);

scenario("what is older than a site keeps is nowhere, and the rest is where it was", async (s) => {
  const [limited, endless] = [s.unique("shop"), s.unique("museum")];
  // An account of its own is a site's that somebody has set up.
  for (const domainId of [limited, endless]) await set(s, domainId, {});
  const [old, kept] = [await site(s, limited, s.unique("ann")), await site(s, endless, s.unique("bob"))];
  const of = ({ domainId, roomId, name }) => stored(s, domainId, roomId, name);
  await s.host.stop();
  age(s.host, 10);
  await s.host.restart();
  const late = s.unique("late");
  await arrive(await s.connect(), limited, late);
  assert.deepEqual([await of(old), await of(kept)], [{ ...ALL, counted: 2 }, ALL], "older now, and all still there");
  assert.equal((await set(s, limited, { messagesDays: 7, statsDays: 7 })).status, 200);
  const gone = { visitors: 0, counted: 1, spent: 0, messages: 0, found: 0, turns: 0 };
  await eventually(() => of(old), is(gone));
  await eventually(async () => (await get(s.url(old.file.url))).status === 404);
  assert.deepEqual(await of(kept), ALL, "a site that keeps everything");
  assert.equal((await get(s.url(kept.file.url))).status, 200);
  const { visitors, totalVisitors } = await json(s, `/stats/domain/${limited}`);
  assert.deepEqual([visitors.map(({ id }) => id), totalVisitors], [[late], 2], "who was there counts as ever having been");
}, { timeout: 300_000 });

scenario("statistics go alone where only they are not kept", async (s) => {
  const domainId = s.unique("shop");
  await set(s, domainId, {});
  const old = await site(s, domainId, s.unique("ann"));
  const now = () => stored(s, domainId, old.roomId, old.name);
  await s.host.stop();
  age(s.host, 3);
  await s.host.restart();
  await set(s, domainId, { statsDays: 2 });
  await eventually(now, is({ ...ALL, visitors: 0, counted: 0, spent: 0 }));
}, { timeout: 300_000 });

scenario("files go sooner than what was said about them, where a site keeps them for less", async (s) => {
  const domainId = s.unique("shop");
  await set(s, domainId, {});
  const old = await site(s, domainId, s.unique("ann"));
  await s.host.stop();
  age(s.host, 3);
  await s.host.restart();
  assert.equal((await get(s.url(old.file.url))).status, 200);
  await set(s, domainId, { messagesDays: 30, filesDays: 2 });
  await eventually(async () => (await get(s.url(old.file.url))).status === 404);
  assert.deepEqual(await stored(s, domainId, old.roomId, old.name), ALL);
}, { timeout: 300_000 });
