/** What a host knows of where a visitor comes from, whatever the visitor says: the country, and a name for who brings none. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { eventually } from "../eventually.js";
import { hostName } from "../hosts/index.js";
import { get, post } from "../http.js";
import { mmdb } from "../mmdb.js";
import { lacks, suite } from "../scenario.js";
import { assertHttpError } from "../shape.js";
import { assertRefusesToStart } from "../starts.js";

const FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";

const dir = await mkdtemp(join(tmpdir(), "weeziq-conformance-"));
after(() => rm(dir, { recursive: true, force: true }));

/** @param {Record<string, unknown>} networks */
async function database(name, networks, type) {
  const path = join(dir, name);
  await writeFile(path, mmdb(networks, type));
  return path;
}

const inCountry = (code) => ({ country: { iso_code: code, names: { en: code } } });
const COUNTRIES = await database("countries.mmdb", {
  "203.0.113.0/24": inCountry("DE"),
  "2001:db8:1::/48": inCountry("FR"),
  "127.0.0.0/8": inCountry("NL"),
  "198.51.100.0/24": { registered_country: { iso_code: "US" } },
});

/** Announces a visitor over a connection of its own. @param {Record<string, string>} headers of its handshake */
async function arrive(s, domainId, { headers = {}, ...more } = {}) {
  const client = await s.connect({ headers: { "user-agent": FIREFOX, ...headers } });
  return client.ask({ type: "visitor-joined-domain", domainId, ...more }, "visitor-joined-domain");
}

const nameless = (s, domainId, headers) => arrive(s, domainId, { anonymous: true, headers });

const report = async (s, path) => {
  const reply = await get(s.url(path));
  assert.equal(reply.status, 200, reply.text);
  return reply.json;
};

const countryOf = async (s, domainId, visitorId) =>
  (await report(s, `/stats/domain/${domainId}`)).visitors.find(({ id }) => id === visitorId).country;

/** As the stats tell it, of somebody who comes like that. */
async function seen(s, headers, visitorData) {
  const [domainId, visitorId] = [s.unique("shop"), s.unique("v")];
  await arrive(s, domainId, { visitorId, headers, visitorData });
  return countryOf(s, domainId, visitorId);
}

describe("a visitor who brings no id", () => {
  const { scenario } = suite();

  scenario("is one on a day, on each site, with each browser, over connections, requests and a restart", async (s) => {
    const [shop, other] = [s.unique("shop"), s.unique("other")];
    const { visitorId } = await nameless(s, shop);
    assert.match(visitorId, /^anonymous-[0-9a-f]{16}$/);
    assert.equal((await nameless(s, shop)).visitorId, visitorId);
    const chrome = (await nameless(s, shop, { "user-agent": CHROME })).visitorId;
    assert.notEqual(chrome, visitorId);
    assert.notEqual((await nameless(s, other)).visitorId, visitorId, "sites cannot be joined up");
    const added = await post(s.url("/visitors/add"), { domainId: shop, anonymous: true }, { "user-agent": FIREFOX });
    assert.deepEqual([added.status, added.json.visitor?.id], [200, visitorId], added.text);
    const counts = ({ buckets }) => buckets.reduce(([all, nameless], b) => [all + b.visitors, nameless + b.anonymous], [0, 0]);
    // A crash may take what was counted in the last second; a report stores what it tells.
    await eventually(() => report(s, `/stats/domain/${shop}/series?bucket=day`), (it) => counts(it)[0] === 2);
    await s.host.kill9();
    await s.host.restart();
    const again = await nameless(s, shop);
    assert.equal(again.visitorId, visitorId);
    await arrive(s, shop, { visitorId: "ann" });
    const { totalVisitors } = await report(s, `/stats/domain/${shop}`);
    assert.equal(totalVisitors, 3);
    const days = await eventually(() => report(s, `/stats/domain/${shop}/series?bucket=day`), (it) => counts(it)[0] === 3);
    assert.deepEqual(counts(days), [3, 2]);
    assert.deepEqual(days.unique, { method: "exact", anonymous: "daily-salt", window: "day" });
  });

  scenario("goes on under the name that the service gave them", async (s) => {
    const domainId = s.unique("shop");
    const client = await s.connect({ headers: { "user-agent": FIREFOX } });
    const { visitorId } = await client.ask({ type: "visitor-joined-domain", domainId, anonymous: true }, "visitor-joined-domain");
    client.send({ type: "visitor-activity", domainId, anonymous: true, url: "https://shop.example/cart" });
    const visitors = async () => (await report(s, `/stats/domain/${domainId}`)).visitors;
    await eventually(visitors, ([row]) => row.id === visitorId && row.url === "https://shop.example/cart");
    const left = await client.ask({ type: "visitor-left-domain", domainId, anonymous: true }, "visitor-left-domain");
    assert.deepEqual([left.visitorId, left.activeCount], [visitorId, 0]);
  });

  scenario("is no excuse for an id that is none", async (s) => {
    const domainId = s.unique("shop");
    for (const visitorId of ["", 7, "x".repeat(200)]) {
      assertHttpError(await post(s.url("/visitors/add"), { domainId, visitorId, anonymous: true }), 400, "invalid_request", "visitorId");
    }
    for (const anonymous of [undefined, false]) {
      assertHttpError(await post(s.url("/visitors/add"), { domainId, anonymous }), 400, "invalid_request", "visitorId");
    }
    assertHttpError(await post(s.url("/visitors/add"), { domainId, anonymous: "yes" }), 400, "invalid_request", "anonymous");
    assert.equal((await post(s.url("/visitors/add"), { domainId, visitorId: "ann", anonymous: true })).json.visitor.id, "ann");
  });
});

describe("a database of countries", () => {
  const { host, scenario } = suite({ GEOIP_FILE: COUNTRIES, TRUST_PROXY: "127.0.0.1" }, { needs: "process" });
  const behind = (address) => ({ "x-forwarded-for": address });

  scenario("says where an address is that a proxy of ours tells", async (s) => {
    assert.equal(await seen(s, behind("203.0.113.7")), "DE");
    assert.equal(await seen(s, behind("2001:db8:1::5")), "FR");
    assert.equal(await seen(s, behind("::ffff:203.0.113.7")), "DE", "the same address in IPv6's clothes");
    assert.equal(await seen(s, behind("192.0.2.1")), null, "nobody knows");
    assert.equal(await seen(s, behind("198.51.100.1")), null, "where an address is registered is not where it is");
    assert.equal(await seen(s, behind("198.51.100.1, 203.0.113.7")), "DE", "what a client put before is its own word");
  });

  scenario("is asked, and neither the visitor nor a header", async (s) => {
    assert.equal(await seen(s, behind("203.0.113.7"), { country: "US" }), "DE");
    assert.equal(await seen(s, { ...behind("192.0.2.1"), "cf-ipcountry": "SE" }), null);
  });

  scenario("fills the list and the counts, over HTTP and over a restart too, and no address is kept", async (s) => {
    const domainId = s.unique("shop");
    for (const [visitorId, address] of [["ann", "203.0.113.7"], ["bob", "203.0.113.99"], ["cem", "2001:db8:1::5"]]) {
      await arrive(s, domainId, { visitorId, headers: behind(address), visitorData: { url: "https://shop.example/" } });
    }
    await nameless(s, domainId, behind("203.0.113.7"));
    const dan = await post(s.url("/visitors/add"), { domainId, visitorId: "dan" }, behind("203.0.113.8"));
    assert.equal(dan.json.visitor.country, "DE");
    const pages = () => report(s, `/stats/domain/${domainId}/pages`);
    const wanted = [{ country: "DE", visits: 4 }, { country: "FR", visits: 1 }];
    const told = await eventually(pages, ({ countries }) => JSON.stringify(countries) === JSON.stringify(wanted));
    assert.equal(told.countriesOther, 0);
    await s.host.stop();
    for (const entry of await readdir(host.dataDir, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const bytes = await readFile(join(entry.parentPath ?? entry.path, entry.name));
      for (const address of ["203.0.113.", "2001:db8:1"]) assert.ok(!bytes.includes(address), `${entry.name} holds ${address}`);
    }
    await s.host.restart();
    assert.equal(await countryOf(s, domainId, "dan"), "DE");
    const { visitor } = await report(s, `/visitors/cem/export?domainId=${domainId}`);
    assert.equal(visitor.country, "FR");
  });

  scenario("is looked at by the doctor", async () => {
    const port = { PORT: new URL(host.baseUrl).port };
    const well = await host.run(["doctor"], { ...port, GEOIP_FILE: COUNTRIES });
    assert.match(well.output, /^(ok  |warn)  countries: GEOIP_FILE is Test-Country, \d+ days old/m);
    const broken = await host.run(["doctor"], { ...port, GEOIP_FILE: join(dir, "nowhere.mmdb") });
    assert.match(broken.output, /^FAIL  settings: GEOIP_FILE .*nowhere\.mmdb cannot be read/m);
    assert.equal(broken.code, 1);
  });
});

describe("an address that no proxy of ours tells", () => {
  const { scenario } = suite({ GEOIP_FILE: COUNTRIES }, { needs: "process" });

  scenario("is the peer's own", async (s) => {
    assert.equal(await seen(s, { "x-forwarded-for": "203.0.113.7" }), "NL");
  });
});

describe("a proxy of ours that knows the country", () => {
  const { scenario } = suite({ TRUST_PROXY: "127.0.0.1" }, { needs: "process" });

  scenario("is believed where there is no database", async (s) => {
    assert.equal(await seen(s, { "cf-ipcountry": "SE" }, { country: "US" }), "SE");
    for (const unknown of ["XX", "T1", "nonsense"]) assert.equal(await seen(s, { "cf-ipcountry": unknown }), null, unknown);
  });
});

describe("nobody who knows the country", () => {
  const { scenario } = suite({}, { needs: "process" });

  scenario("leaves it to the visitor, and a header is nobody's word", async (s) => {
    assert.equal(await seen(s, { "cf-ipcountry": "SE" }), null);
    assert.equal(await seen(s, { "cf-ipcountry": "SE" }, { country: "fr" }), "FR");
    for (const country of ["France", 7, ""]) assert.equal(await seen(s, {}, { country }), null);
  });
});

describe("the platform", { skip: hostName !== "cloudflare" && "this host has no platform that knows it" }, () => {
  const { scenario } = suite();

  scenario("says the country, to the room's own sockets too, and nobody else does", async (s) => {
    const country = await seen(s, {});
    assert.match(country, /^[A-Z]{2}$/);
    const other = country === "SE" ? "DK" : "SE";
    assert.equal(await seen(s, { "cf-ipcountry": other }, { country: other }), country);
    const domainId = s.unique("shop");
    const direct = await s.connect({ query: `?roomId=${s.unique("room")}`, headers: { "user-agent": FIREFOX } });
    const { visitorId } = await direct.ask({ type: "visitor-joined-domain", domainId, anonymous: true }, "visitor-joined-domain");
    assert.match(visitorId, /^anonymous-/);
    assert.equal(await countryOf(s, domainId, visitorId), country);
    assert.equal((await nameless(s, domainId)).visitorId, visitorId, "one visitor, however they are connected");
    const { countries } = await eventually(() => report(s, `/stats/domain/${domainId}/pages`), (it) => it.countries.length > 0);
    assert.deepEqual(countries, [{ country, visits: 1 }]);
  });
});

test("a start with a database that is none", { skip: lacks("process") }, async () => {
  const [text, operators] = [join(dir, "text.mmdb"), await database("operators.mmdb", { "203.0.113.0/24": { autonomous_system_number: "64496" } }, "Test-ASN")];
  await writeFile(text, "this is no database\n");
  for (const [file, why] of [[join(dir, "nowhere.mmdb"), /cannot be read/], [text, /cannot be read as a MaxMind database/], [operators, /Test-ASN.*knows no countries/]]) {
    assert.match(await assertRefusesToStart({ GEOIP_FILE: file, DATA_DIR: join(dir, "data") }, "GEOIP_FILE"), why);
  }
});
