/**
 * Every route of the HTTP interface, held against every kind of caller: who is let in, who is refused and how, and that a
 * refusal tells nothing, not even that there is something. The routes are those of `web/openapi.json`; one that has no rule
 * here fails, so that none is added without somebody having thought of who may use it.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { request } from "../http.js";
import { say, suite } from "../scenario.js";
import { inSeconds, SECRET, token, unsigned } from "../tokens.js";

const { paths } = JSON.parse(readFileSync(new URL("../../web/openapi.json", import.meta.url), "utf8"));
const OPERATIONS = Object.entries(paths).flatMap(([path, methods]) => Object.keys(methods).map((method) => `${method} ${path}`));
const { scenario } = suite({ AUTH_SECRET: SECRET, METRICS: "on" });
const bearer = (value) => ({ authorization: `Bearer ${value}` });
const json = (body) => ({ body: JSON.stringify(body), headers: { "content-type": "application/json" } });

/** What must not be in any refusal: the words, names and settings of the site that was asked about. */
const PLANTED = ["xylophone", "Cleopatra", "be a pirate", "zanzibar.txt", "handbook"];
/** Names that no fixture uses. */
const NOBODYS = { room: "room-that-never-was", key: "a".repeat(26) };

/** Tokens that do not hold, whoever they say they are of. */
const invalid = (site) => {
  const admin = { sub: "root", role: "admin", domains: [site.domain] };
  return {
    "an expired token": token({ ...admin, exp: inSeconds(-1) }),
    "a token of another key": token(admin, { secret: "another secret, which is long enough too" }),
    "a token without a signature": unsigned(admin),
    "a token of another algorithm": token(admin, { header: { alg: "HS512" } }),
    "a token that does not hold yet": token({ ...admin, nbf: inSeconds(600) }),
    "no token but a word": "nonsense",
  };
};

/** Tokens that hold, by what they are for. */
const callers = ({ domain, room, visitor }) => ({
  nobody: undefined,
  "a visitor of the site": token({ sub: visitor, domains: [domain] }),
  "another visitor of the site": token({ sub: "eve", domains: [domain] }),
  "a visitor with this room": token({ sub: "eve", domains: [domain], rooms: [room] }),
  "a visitor with another room": token({ sub: "eve", domains: [domain], rooms: ["elsewhere"] }),
  "a visitor of another site": token({ sub: "eve", domains: ["other.example"] }),
  "an agent of the site": token({ sub: "gus", role: "agent", domains: [domain] }),
  "an agent of this room": token({ sub: "gus", role: "agent", domains: [domain], rooms: [room] }),
  "an agent of another room": token({ sub: "gus", role: "agent", domains: [domain], rooms: ["elsewhere"] }),
  "an agent of another site": token({ sub: "gus", role: "agent", domains: ["other.example"] }),
  "an admin of the site": token({ sub: "root", role: "admin", domains: [domain] }),
  "an admin of another site": token({ sub: "root", role: "admin", domains: ["other.example"] }),
  "an admin of all sites": token({ sub: "root", role: "admin", domains: ["*"] }),
});

const EVERYBODY = Object.keys(callers({}));
const STAFF = ["an agent of the site", "an admin of the site", "an admin of all sites"];
const ADMINS = ["an admin of the site", "an admin of all sites"];
const ROOM_STAFF = [...STAFF, "an agent of this room"];
/** To these what belongs to the site is not there at all. */
const STRANGERS = ["a visitor of another site", "an agent of another site", "an admin of another site"];
const strangers = (...names) => Object.fromEntries(names.map((name) => [name, 404]));
const FOREIGN_STAFF = strangers("an agent of another site", "an admin of another site");
const ofSite = (names) => names.filter((name) => !STRANGERS.includes(name));

/**
 * `may`: who is let in. Everybody else is refused with 403, save for those in `else`. `open`: no token is looked at, so that
 * one that does not hold is no reason to refuse. `about`: what a stranger must not learn the existence of, and so gets the
 * same refusal for as for a name that nobody has; `knownTo`: save for those, who may see it. `fresh`: done once, it cannot be
 * done again.
 */
const staffOnly = (ask) => ({ may: STAFF, ask });
const adminsOnly = (ask) => ({ may: ADMINS, ask });
const inRoom = (ask) => ({ may: ROOM_STAFF, else: FOREIGN_STAFF, about: "room", ask });
const reader = (ask) => ({ may: [...ROOM_STAFF, "a visitor with this room"], else: FOREIGN_STAFF, about: "room", ask });
const open = (ask) => ({ may: EVERYBODY, open: true, ask });
/** Whoever could join the room. */
const ROOM_GUESTS = ofSite(EVERYBODY).filter((name) => !name.includes("another room"));
const visitors = (ask) => ({ may: ofSite(EVERYBODY), ask });

const RULES = {
  "get /": open(() => ["/"]),
  "get /healthz": open(() => ["/healthz"]),
  "get /readyz": open(() => ["/readyz"]),
  "get /domains/{domain}/widget": open(({ domain }) => [`/domains/${domain}/widget`]),
  "get /metrics": { may: ["an admin of all sites"], ask: () => ["/metrics"] },

  "post /ai/chat": visitors(({ domain }) => ["/ai/chat", json({ message: "hi", domainId: domain })]),
  "post /ai/stream": visitors(({ domain }) => ["/ai/stream", json({ message: "hi", domainId: domain })]),
  // Nothing is being written, to whoever may not hear it too (`access.test.js` has one that is).
  "delete /ai/stream/{conversation}/stream": { may: EVERYBODY, ask: ({ room }) => [`/ai/stream/${room}/stream`, { method: "DELETE" }] },
  "get /ai/stream/{conversation}/stream": { may: EVERYBODY, ask: ({ room }) => [`/ai/stream/${room}/stream`] },

  "post /visitors/add": visitors(({ domain }) => ["/visitors/add", json({ domainId: domain, visitorId: "v" })]),
  "post /visitors/activity": visitors(({ domain, visitor }) => ["/visitors/activity", json({ domainId: domain, visitorId: visitor })]),
  "post /visitors/remove": { ...visitors(({ domain, visitor }) => ["/visitors/remove", json({ domainId: domain, visitorId: visitor })]), fresh: true },
  "delete /visitors/{visitor}": { ...staffOnly(({ domain, visitor }) => [`/visitors/${visitor}?domainId=${domain}`]), fresh: true },
  "get /visitors/{visitor}/export": staffOnly(({ domain, visitor }) => [`/visitors/${visitor}/export?domainId=${domain}`]),

  "get /stats/domain/{domain}": staffOnly(({ domain }) => [`/stats/domain/${domain}`]),
  "get /stats/domain/{domain}/series": staffOnly(({ domain }) => [`/stats/domain/${domain}/series`]),
  "get /stats/domain/{domain}/pages": staffOnly(({ domain }) => [`/stats/domain/${domain}/pages`]),
  "get /stats/domain/{domain}/ai": staffOnly(({ domain }) => [`/stats/domain/${domain}/ai`]),
  "get /stats/dropped": staffOnly(({ domain }) => [`/stats/dropped?domainId=${domain}`]),
  // Staff of any site; each sees its own (`access.test.js`).
  "get /stats/domains": { may: EVERYBODY.filter((name) => /(agent|admin) of (the|another|all) sites?/.test(name)), shows: STAFF, ask: () => ["/stats/domains"] },

  "get /search": staffOnly(({ domain }) => [`/search?domainId=${domain}&q=xylophone`]),
  "get /rooms": staffOnly(({ domain }) => [`/rooms?domainId=${domain}`]),
  "get /rooms/{room}": inRoom(({ room }) => [`/rooms/${room}`]),
  "get /rooms/{room}/messages": reader(({ room }) => [`/rooms/${room}/messages`]),
  "get /rooms/{room}/transcript": reader(({ room }) => [`/rooms/${room}/transcript?format=text`]),
  // A name that nobody has is anybody's to write to, so that it is taken cannot be hidden; whose it is can.
  "post /rooms/{room}/messages": {
    may: [...ROOM_STAFF, "a visitor with this room"],
    ask: ({ room }) => [`/rooms/${room}/messages`, json({ message: "hi", userId: "u", userName: "U", role: "user" })],
  },
  "post /rooms/{room}/assign": inRoom(({ room }) => [`/rooms/${room}/assign`, json({ userId: "u", userName: "U" })]),
  "post /rooms/{room}/close": inRoom(({ room }) => [`/rooms/${room}/close`, json({})]),
  "post /rooms/{room}/reopen": inRoom(({ room }) => [`/rooms/${room}/reopen`, json({})]),
  // By whoever could join it.
  "post /rooms/{room}/rate": {
    may: ROOM_GUESTS,
    else: strangers(...STRANGERS),
    about: "room",
    ask: ({ room }) => [`/rooms/${room}/rate`, json({ score: 4 })],
  },
  "delete /rooms/{room}": { ...inRoom(({ room }) => [`/rooms/${room}`]), fresh: true },

  "get /domains/{domain}": staffOnly(({ domain }) => [`/domains/${domain}`]),
  "put /domains/{domain}": adminsOnly(({ domain }) => [`/domains/${domain}`, json({ systemPrompt: "be a pirate" })]),
  "get /domains/{domain}/knowledge": adminsOnly(({ domain }) => [`/domains/${domain}/knowledge`]),
  "get /domains/{domain}/knowledge/search": staffOnly(({ domain }) => [`/domains/${domain}/knowledge/search?q=parcels`]),
  "get /domains/{domain}/knowledge/{name}": adminsOnly(({ domain }) => [`/domains/${domain}/knowledge/handbook`]),
  "put /domains/{domain}/knowledge/{name}": adminsOnly(({ domain }) => [`/domains/${domain}/knowledge/handbook`, { body: "parcels", headers: { "content-type": "text/plain" } }]),
  "delete /domains/{domain}/knowledge/{name}": { ...adminsOnly(({ domain }) => [`/domains/${domain}/knowledge/handbook`]), fresh: true },

  // Into a room, by whoever could join it.
  "post /files": {
    may: ROOM_GUESTS,
    ask: ({ room }) => [`/files?name=b.txt&roomId=${room}`, { body: "bytes", headers: { "content-type": "text/plain" } }],
  },
  // Who knows a key was told it.
  "get /files/{key}": {
    may: ROOM_GUESTS,
    otherwise: 404,
    about: "key",
    ask: ({ key }) => [`/files/${key}`],
  },
  "delete /files/{key}": {
    may: ["a visitor of the site", ...ROOM_STAFF],
    else: strangers(...STRANGERS, "a visitor with another room", "an agent of another room"),
    about: "key",
    knownTo: ROOM_GUESTS,
    fresh: true,
    ask: ({ key }) => [`/files/${key}`],
  },
};

test("every route has a rule, and every rule a route", () => {
  assert.deepEqual(Object.keys(RULES).sort(), OPERATIONS.toSorted());
});

/** A site with something of everything. */
async function site(s) {
  const [domain, room, visitor] = [s.unique("shop"), s.unique("room"), s.unique("cleo")];
  const own = token({ sub: visitor, name: "Cleopatra", domains: [domain] });
  const admin = bearer(token({ sub: "root", role: "admin", domains: [domain] }));
  const done = async (path, method, init, headers) => {
    const reply = await request(s.url(path), { method, ...init, headers: { ...init.headers, ...headers } });
    assert.ok(reply.status < 300, `${method} ${path}: ${reply.text}`);
    return reply.json;
  };
  const [text, plain] = [{ body: "bytes", headers: { "content-type": "text/plain" } }, { body: "# Parcels\n\nparcels come on Monday", headers: { "content-type": "text/markdown" } }];
  await done(`/domains/${domain}`, "PUT", json({ systemPrompt: "be a pirate" }), admin);
  await done(`/domains/${domain}/knowledge/handbook`, "PUT", plain, admin);
  const member = await s.member(room, visitor, { domainId: domain, role: "customer" }, { query: `?token=${own}` });
  const file = await done(`/files?name=zanzibar.txt&roomId=${room}`, "POST", text, bearer(own));
  await say(member, room, visitor, "a xylophone", { role: "customer", attachments: [file] });
  await member.ask({ type: "ai-chat", message: "hi", conversationId: room, domainId: domain }, "ai-response");
  await member.ask({ type: "visitor-joined-domain", domainId: domain, visitorId: visitor, visitorData: { title: "zanzibar.txt" } }, "visitor-joined-domain");
  return { domain, room, visitor, key: file.key, admin };
}

/** How all of it stands, as the one sees it who may see everything. What another reader's question changes is left out. */
async function standing(s, { domain, room, visitor, key, admin }) {
  const told = await Promise.all(
    [`/domains/${domain}`, `/domains/${domain}/knowledge`, `/rooms/${room}`, `/rooms/${room}/messages`, `/visitors/${visitor}/export?domainId=${domain}`, `/files/${key}`].map(async (path) => {
      const { status, text, json } = await request(s.url(path), { headers: admin });
      if (json?.exportedAt) {
        delete json.exportedAt;
        // The list hears of its rooms a moment later.
        delete json.rooms;
      }
      return [path, status, json ?? text];
    }),
  );
  return told;
}

for (const [operation, rule] of Object.entries(RULES)) {
  const [method, path] = operation.split(" ");
  scenario(
    operation,
    async (s) => {
      const ask = ([path, init = {}], value) =>
        request(s.url(path), { method: method.toUpperCase(), ...init, headers: { ...init.headers, ...(value ? bearer(value) : {}) } });
      const here = await site(s);
      const before = await standing(s, here);
      const refused = async (who, value, status) => {
        const reply = await ask(rule.ask(here), value);
        assert.equal(reply.status, status, `${who}: ${reply.text}`);
        assert.deepEqual(Object.keys(reply.json).sort(), ["code", "error"], `${who}: ${reply.text}`);
        assert.equal(reply.json.code, { 401: "unauthorized", 403: "forbidden", 404: "not_found" }[status], who);
        for (const word of PLANTED) assert.ok(!reply.text.includes(word) || rule.ask(here)[0].includes(word), `${who} learns of ${word}: ${reply.text}`);
        const asked = JSON.stringify(rule.ask(here));
        assert.ok(!reply.text.includes(here.domain) || asked.includes(here.domain), `${who} learns whose it is: ${reply.text}`);
        assert.ok(!reply.text.includes(here.room) || asked.includes(here.room), `${who} learns where it is: ${reply.text}`);
        if (!rule.about || rule.knownTo?.includes(who)) return;
        const nothing = await ask(rule.ask({ ...here, [rule.about]: NOBODYS[rule.about] }), value);
        const nameless = ({ status, text }) => [status, text.replaceAll(here[rule.about], "?").replaceAll(NOBODYS[rule.about], "?")];
        assert.deepEqual(nameless(reply), nameless(nothing), `${who} can tell that it is there`);
      };
      if (!rule.open) for (const [who, value] of Object.entries(invalid(here))) await refused(who, value, 401);
      else for (const value of Object.values(invalid(here))) assert.ok((await ask(rule.ask(here), value)).status < 300);
      const known = callers(here);
      for (const who of EVERYBODY.filter((name) => !rule.may.includes(name))) {
        await refused(who, known[who], rule.else?.[who] ?? rule.otherwise ?? 403);
      }
      assert.deepEqual(await standing(s, here), before, "nothing of it was done");
      for (const who of rule.may) {
        const there = rule.fresh ? await site(s) : here;
        const reply = await ask(rule.ask(there), callers(there)[who]);
        assert.ok(reply.status < 300, `${who}: ${reply.status} ${reply.text}`);
        if (rule.shows && !rule.shows.includes(who)) assert.ok(!reply.text.includes(there.domain), `${who} sees ${reply.text}`);
      }
    },
    { timeout: 300_000 },
  );
}
