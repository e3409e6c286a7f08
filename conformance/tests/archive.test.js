/** Everything of a service whose storage nobody else can read: out over HTTP while it goes on, and into another one. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join as joinPath } from "node:path";
import { after } from "node:test";
import { Client } from "../client.js";
import { eventually } from "../eventually.js";
import { createHost } from "../hosts/index.js";
import { binaryPath, create as createNative } from "../hosts/native.js";
import { get, post, request } from "../http.js";
import { join, say, sayMany, Scenario, suite, UNLIMITED } from "../scenario.js";
import { inTempDir } from "../starts.js";
import { SECRET, token } from "../tokens.js";

const ENV = { ...UNLIMITED, AUTH_SECRET: SECRET };
const { host, scenario } = suite(ENV, { needs: "archive" });
const others = [];
after(() => Promise.all(others.map((other) => other.dispose())));

const ADMIN = token({ sub: "backup", role: "admin" });
const bearer = { authorization: `Bearer ${ADMIN}` };
const LONG = "x".repeat(4000);

async function another() {
  const other = createHost();
  others.push(other);
  await other.start(ENV);
  return other;
}

/** Another process: what it wrote, and its exit code. */
function weeziq(args, tokenOf = ADMIN) {
  return new Promise((resolve) => {
    const env = { PATH: process.env.PATH, HOME: process.env.HOME, ...(tokenOf ? { WEEZIQ_TOKEN: tokenOf } : {}) };
    execFile(binaryPath(), args, { env, maxBuffer: 1 << 26 }, (error, stdout, stderr) => resolve({ code: error ? (error.code ?? 1) : 0, output: stdout + stderr }));
  });
}

async function well(args) {
  const { code, output } = await weeziq(args);
  assert.equal(code, 0, `weeziq ${args.join(" ")}:\n${output}`);
  return output;
}

/** The lines of an export by the object that they are of. */
async function objectsOf(folder, file) {
  const objects = new Map();
  let lines = [];
  for (const line of (await readFile(joinPath(folder, file), "utf8")).split("\n").filter(Boolean).map((text) => JSON.parse(text))) {
    if (line.holder) objects.set(line.holder.name, (lines = []));
    else lines.push(line);
  }
  return objects;
}

const rowsOf = (lines, table) => lines.filter((line) => line.table === table).map((line) => line.row);
/** Nobody who was on the site is connected to the other service, which lets them go after a while. */
const still = (rows) => rows.map(({ here, leave_at, ...row }) => row);
const put = (url, body, headers = {}) => request(url, { method: "PUT", headers: { ...bearer, ...headers }, body });
const json = { "content-type": "application/json" };

/** A site with all that one can have. */
async function fill(s) {
  const domainId = s.unique("shop");
  const [roomId, plainRoom, talk] = [s.unique("room"), s.unique("plain"), s.unique("talk")];
  const settings = { name: "Shop", systemPrompt: "Be brief.", allowedOrigins: ["https://shop.example"] };
  assert.equal((await put(s.url(`/domains/${domainId}`), JSON.stringify(settings), json)).status, 200);
  assert.equal((await put(s.url(`/domains/${domainId}/knowledge/returns.md`), "# Returns\n\nA zebra may be returned within 30 days.", { "content-type": "text/markdown" })).status, 201);
  const ann = await s.connect({ query: `?token=${token({ sub: "ann" })}` });
  const file = (await post(s.url(`/files?name=notes.txt&roomId=${roomId}&domainId=${domainId}`), "what ann notes", { "content-type": "text/plain", ...bearer })).json;
  const joined = await join(ann, roomId, "ann", { domainId });
  const first = await say(ann, roomId, "ann", "ünï \"quoted\" \u2028 zebra", { clientMessageId: "c-1", attachments: [file] });
  await say(ann, roomId, "ann", "second");
  await ann.ask({ type: "edit-message", roomId, messageId: first.id, message: "the zebra, edited" }, "message-sent");
  await ann.ask({ type: "visitor-joined-domain", domainId, visitorId: "ann", visitorData: { url: "https://shop.example/" } }, "visitor-joined-domain");
  await ann.ask({ type: "ai-chat", message: "My name is Ann", conversationId: talk, domainId }, "ai-response");
  await join(ann, plainRoom, "ann");
  await say(ann, plainRoom, "ann", "of no site");
  return { domainId, roomId, plainRoom, talk, file, epoch: joined.epoch };
}

/** To a client that comes back, to those who read and search, to pages. */
async function servesAsBefore(other, { domainId, roomId, plainRoom, file, epoch }) {
  const bob = await Client.connect(`${other.wsUrl}?token=${token({ sub: "bob" })}`);
  const eve = await Client.connect(other.wsUrl);
  assert.equal((await eve.ask({ type: "join-room", roomId: plainRoom, userId: "ann", userName: "Ann" }, "error")).code, "forbidden", "ann has proved her name there");
  eve.socket.terminate();
  const joined = await bob.ask({ type: "join-room", roomId, userId: "bob", userName: "Bob", epoch, lastSeq: 2 }, "joined-room");
  assert.deepEqual([joined.resumed, joined.seq], [true, 3], "a client goes on where it was");
  assert.equal((await bob.next("message-updated")).message, "the zebra, edited");
  bob.socket.terminate();
  assert.equal((await get(`${other.baseUrl}${file.url}`, bearer)).text, "what ann notes");
  assert.equal((await get(`${other.baseUrl}/domains/${domainId}`, bearer)).json.systemPrompt, "Be brief.");
  assert.match((await get(`${other.baseUrl}/domains/${domainId}/knowledge/search?q=zebra`, bearer)).text, /30 days/, "its index is made anew");
  // And so is that of what was said.
  await eventually(async () => (await get(`${other.baseUrl}/search?domainId=${domainId}&q=zebra`, bearer)).json.results?.[0]?.roomId === roomId);
  assert.equal((await get(`${other.baseUrl}/rooms?domainId=${domainId}`, bearer)).json.rooms[0].customer.userId, "ann");
  assert.equal((await get(`${other.baseUrl}/stats/domains`, bearer)).json.stats[domainId].totalVisitors, 1);
  assert.equal((await get(`${other.baseUrl}/rooms/${plainRoom}/messages`, bearer)).json.messages[0].message, "of no site");
  const page = await request(`${other.baseUrl}/healthz`, { headers: { origin: "https://shop.example" } });
  assert.equal(page.status, 200, "the site's pages are let in");
}

const holders = async (base) => (await get(`${base}/archive/holders?after=`, bearer)).json.holders.map(({ kind, name }) => `${kind} ${name}`);

scenario("what one service holds another serves as it was: rooms, conversations, sites and files", async (s) => {
  const made = await fill(s);
  const { domainId, roomId, plainRoom, talk } = made;
  const all = [`domain ${domainId}`, `room ${roomId}`, `room ${plainRoom}`, `room ${talk}`];
  await eventually(async () => {
    const known = await holders(host.baseUrl);
    const listed = (await get(s.url(`/rooms?domainId=${domainId}`), bearer)).json.rooms;
    return all.every((one) => known.includes(one)) && listed[0]?.seq === 3;
  });
  const other = await another();
  await inTempDir(async (dir) => {
    const [one, two] = ["one", "two"].map((name) => joinPath(dir, name));
    assert.match(await well(["export", one, "--from", host.baseUrl]), /rows, \d+ files/);
    assert.match((await weeziq(["export", one, "--from", host.baseUrl])).output, /never replaces/);
    assert.match(await well(["import", one, "--to", other.baseUrl]), /rows, \d+ files/);

    await servesAsBefore(other, made);
    await well(["export", two, "--from", other.baseUrl]);
    for (const [kind, name, tables] of [
      ["rooms.jsonl", roomId, ["room", "event", "turn", "run", "read_mark", "file"]],
      ["rooms.jsonl", plainRoom, ["room", "event"]],
      ["rooms.jsonl", talk, ["room", "turn", "run"]],
      ["domains.jsonl", domainId, ["domain", "visitor", "traffic", "document", "passage", "inbox_room", "conversation", "ai_use"]],
    ]) {
      const [before, now] = [(await objectsOf(one, kind)).get(name), (await objectsOf(two, kind)).get(name)];
      for (const table of tables) assert.deepEqual(still(rowsOf(now, table)), still(rowsOf(before, table)), `${table} of ${name}`);
      assert.deepEqual(now.filter((line) => line.schema), before.filter((line) => line.schema), `the tables of ${name}`);
    }
    assert.ok(rowsOf((await objectsOf(one, "domains.jsonl")).get(domainId), "visitor").length === 1 && rowsOf((await objectsOf(one, "rooms.jsonl")).get(roomId), "event").length === 3);

    await say(await s.member(roomId, "carl", { domainId }, { query: `?token=${token({ sub: "carl" })}` }), roomId, "carl", "later");
    assert.match(await well(["import", one, "--to", other.baseUrl]), /rows/, "begun again, it finds what it brought");
    const three = joinPath(dir, "three");
    await well(["export", three, "--from", host.baseUrl]);
    const full = await weeziq(["import", three, "--to", other.baseUrl]);
    assert.notEqual(full.code, 0);
    assert.match(full.output, /holds something already; an import never replaces anything/);
  });
});

scenario("what one machine holds goes on here: its rooms, conversations, sites and files", async () => {
  const native = createNative();
  others.push(native);
  await native.start({ ...ENV, SHARDS: "2" });
  const there = new Scenario(native);
  const [made, second] = [await fill(there), await fill(there)];
  await there.leave();
  await native.stop();
  const other = await another();
  await inTempDir(async (dir) => {
    const out = joinPath(dir, "out");
    const exported = await native.run(["export", out]);
    assert.equal(exported.code, 0, exported.output);
    assert.match(await well(["import", out, "--to", other.baseUrl]), /rows, 2 files/);
    assert.match(await well(["import", out, "--to", other.baseUrl]), /rows, 2 files/);
    assert.deepEqual((await readdir(dir)).sort(), ["out"], "nothing else is left of it");
  });
  for (const one of [made, second]) await servesAsBefore(other, one);
  const { domainId, talk } = made;
  assert.equal((await post(`${other.baseUrl}/ai/chat`, { message: "Who am I?", conversationId: talk, domainId }, { authorization: `Bearer ${token({ sub: "ann" })}` })).status, 200, "her conversation is hers still");
  assert.equal((await post(`${other.baseUrl}/ai/chat`, { message: "Who am I?", conversationId: talk, domainId }, { authorization: `Bearer ${token({ sub: "eve" })}` })).status, 404, "and nobody else's");
  const erased = await request(`${other.baseUrl}/visitors/ann?domainId=${domainId}`, { method: "DELETE", headers: bearer });
  assert.deepEqual([erased.json.rooms.sort(), erased.json.conversations], [[made.plainRoom, second.plainRoom, made.roomId].sort(), [talk]], "what is hers is known, in rooms of no site, too");
});

scenario("what is held here goes on on one machine", async (s) => {
  const [made, second] = [await fill(s), await fill(s)];
  await eventually(async () => (await Promise.all([made, second].map(({ domainId }) => get(s.url(`/rooms?domainId=${domainId}`), bearer)))).every(({ json }) => json.rooms[0]?.seq === 3));
  const loose = (await post(s.url("/files?name=loose.txt"), "of no room", { "content-type": "text/plain", ...bearer })).json;
  await inTempDir(async (dir) => {
    const out = joinPath(dir, "out");
    await well(["export", out, "--from", host.baseUrl]);
    const native = createNative();
    others.push(native);
    const env = { ...ENV, DATA_DIR: joinPath(dir, "data"), SHARDS: "2" };
    const { code, output } = await native.run(["import", out], env);
    assert.equal(code, 0, output);
    await native.restart(env);
    for (const one of [made, second]) await servesAsBefore(native, one);
    assert.equal((await get(`${native.baseUrl}${loose.url}`, bearer)).text, "of no room");
    const asked = (sub) => post(`${native.baseUrl}/ai/chat`, { message: "Who am I?", conversationId: made.talk, domainId: made.domainId }, { authorization: `Bearer ${token({ sub })}` });
    assert.deepEqual([(await asked("ann")).status, (await asked("eve")).status], [200, 404]);
    const erased = (await request(`${native.baseUrl}/visitors/ann?domainId=${made.domainId}`, { method: "DELETE", headers: bearer })).json;
    assert.ok(erased.rooms.includes(made.roomId) && !erased.rooms.includes(second.roomId), JSON.stringify(erased.rooms));
    assert.deepEqual(erased.conversations, [made.talk]);
    await native.stop();
    const full = await native.run(["import", out], env);
    assert.match(full.output, /not empty/);
    assert.equal((await native.run(["check"], env)).code, 0, "its databases are whole");
  });
});

scenario("of a room that is told in several pages all are of one moment", async (s) => {
  const roomId = s.unique("long");
  const ann = await s.connect({ query: `?token=${token({ sub: "ann" })}` });
  await join(ann, roomId, "ann");
  await sayMany(ann, roomId, "ann", 700, (n) => `${n} ${LONG}`);
  const url = s.url(`/archive/room/${roomId}`);
  const first = (await get(url, bearer)).json;
  assert.ok(first.next, "it has more than a page");
  const second = await get(`${url}?after=${encodeURIComponent(first.next)}`, bearer);
  assert.equal(second.status, 200);
  const seqs = rowsOf((first.lines + second.json.lines).split("\n").filter(Boolean).map((line) => JSON.parse(line)), "event").map((row) => row.seq);
  assert.deepEqual(seqs, Array.from({ length: 700 }, (_, n) => n + 1));
  await say(ann, roomId, "ann", "meanwhile");
  const torn = await get(`${url}?after=${encodeURIComponent(first.next)}`, bearer);
  assert.equal(torn.status, 409, torn.text);
  const other = await another();
  await inTempDir(async (dir) => {
    await well(["export", joinPath(dir, "out"), "--from", host.baseUrl]);
    await well(["import", joinPath(dir, "out"), "--to", other.baseUrl]);
    const page = (await get(`${other.baseUrl}/rooms/${roomId}/messages?limit=1`, bearer)).json;
    assert.deepEqual([page.messages[0].message, page.messages[0].seq], ["meanwhile", 701]);
  });
});

scenario("an import that was cut off is begun again; one that is wrong leaves nothing", async (s) => {
  const roomId = s.unique("room");
  const ann = await s.connect({ query: `?token=${token({ sub: "ann" })}` });
  await join(ann, roomId, "ann");
  await say(ann, roomId, "ann", "kept");
  const { lines } = (await get(s.url(`/archive/room/${roomId}`), bearer)).json;
  const target = (name, query) => s.url(`/archive/room/${name}?${query}`);
  const copy = s.unique("copy");
  const renamed = lines.replaceAll(roomId, copy);
  assert.equal((await put(target(copy, "import=i1"), renamed)).status, 409, "a later part without the first");
  assert.equal((await put(target(copy, "first=1"), renamed)).status, 400, "of no import");
  const wrong = await put(target(copy, "import=i1&first=1&last=1"), `${renamed}{"table":"event","row":{"id":1}}\n`);
  assert.equal(wrong.status, 503);
  assert.match(wrong.json.error, /line \d+/);
  const doing = await put(target(copy, "import=i1&first=1&last=1"), `${JSON.stringify({ schema: "DROP TABLE room" })}\n`);
  assert.deepEqual([doing.status, /must begin with/.test(doing.json.error)], [503, true]);
  const halves = [renamed.slice(0, renamed.indexOf("\n") + 1), renamed.slice(renamed.indexOf("\n") + 1)];
  assert.equal((await put(target(copy, "import=i1&first=1"), halves[0])).status, 200);
  // Here it was cut off.
  assert.equal((await put(target(copy, "import=i2&first=1"), halves[0])).status, 200);
  assert.equal((await put(target(copy, "import=i2&last=1"), halves[1])).status, 200);
  assert.equal((await get(s.url(`/rooms/${copy}/messages`), bearer)).json.messages[0].message, "kept");
  assert.equal((await put(target(copy, "import=i2&first=1&last=1"), renamed)).json.wasThere, true);
  assert.equal((await put(target(copy, "import=i3&first=1&last=1"), renamed)).status, 409);
  assert.deepEqual(rowsOf((await get(s.url(`/archive/room/${copy}`), bearer)).json.lines.split("\n").filter(Boolean).map((line) => JSON.parse(line)), "event").length, 1);
});

scenario("a room that was erased is nowhere in it, and is again when somebody writes there", async (s) => {
  const roomId = s.unique("room");
  const ann = await s.connect({ query: `?token=${token({ sub: "ann" })}` });
  await join(ann, roomId, "ann");
  await say(ann, roomId, "ann", "first");
  const isThere = async () => (await holders(host.baseUrl)).includes(`room ${roomId}`);
  await eventually(isThere);
  await ann.ask({ type: "leave-room", roomId, userId: "ann" }, "left-room");
  assert.equal((await request(s.url(`/rooms/${roomId}`), { method: "DELETE", headers: bearer })).status, 200);
  assert.equal(await isThere(), false, "its name may be somebody's");
  await join(ann, roomId, "ann");
  await say(ann, roomId, "ann", "again");
  await eventually(isThere);
});

scenario("everything is told to admins of all domains only", async (s) => {
  const paths = ["/archive/holders", "/archive/users", "/archive/files", "/archive/room/any", "/archive/domain/any", `/archive/files/${"0".repeat(32)}`];
  const callers = { nobody: {}, visitor: { role: "visitor" }, agent: { role: "agent" }, "admin of one site": { role: "admin", domains: ["acme"] }, "admin of one room": { role: "admin", rooms: ["any"] } };
  for (const [who, claims] of Object.entries(callers)) {
    const headers = who === "nobody" ? {} : { authorization: `Bearer ${token(claims)}` };
    for (const path of paths) {
      for (const method of ["GET", "PUT"]) {
        const reply = await request(s.url(path), { method, headers, ...(method === "PUT" ? { body: "" } : {}) });
        assert.ok([401, 403, 405].includes(reply.status), `${who} ${method} ${path}: ${reply.status}`);
      }
    }
  }
  const refused = await weeziq(["export", "/nowhere/out", "--from", host.baseUrl], token({ role: "agent" }));
  assert.notEqual(refused.code, 0);
  await inTempDir(async (dir) => {
    const out = joinPath(dir, "out");
    assert.match((await weeziq(["export", out, "--from", host.baseUrl], token({ role: "agent" }))).output, /403.*admin/s);
    assert.match((await weeziq(["export", out, "--from", host.baseUrl], null)).output, /--token or WEEZIQ_TOKEN/);
    assert.match((await weeziq(["export", out, "--from", "ftp://x"])).output, /must begin with https/);
    assert.match((await weeziq(["export", out, "--from", "http://127.0.0.1:1"])).output, /http:\/\/127\.0\.0\.1:1\/ cannot be reached/);
    assert.deepEqual(await readdir(dir), [], "what came to nothing leaves nothing");
    await writeFile(joinPath(dir, "export.json"), JSON.stringify({ format: 2, version: "9", shards: 1 }));
    assert.match((await weeziq(["import", dir, "--to", host.baseUrl])).output, /format 2.*upgrade/);
  });
  const open = createHost();
  others.push(open);
  await open.start(UNLIMITED);
  const reply = await get(`${open.baseUrl}/archive/holders`);
  assert.deepEqual([reply.status, /AUTH_SECRET/.test(reply.json.error)], [403, true], "in open mode nobody is");
});
