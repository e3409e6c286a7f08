/** Everything as text and back: nothing is lost on the way, and what is exported twice is the same twice. What a site does not
 * keep any more goes by itself. */
import assert from "node:assert/strict";
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { join as joinPath } from "node:path";
import { Client } from "../client.js";
import { eventually } from "../eventually.js";
import { createHost } from "../hosts/index.js";
import { get, post, request } from "../http.js";
import { say, suite } from "../scenario.js";
import { inTempDir } from "../starts.js";
import { SECRET, token } from "../tokens.js";

const { host, scenario } = suite({ SHARDS: "2" }, { needs: "process" });

const DAY_MS = 24 * 60 * 60 * 1_000;

/** @param {string[]} args @param {Record<string, string>} [env] */
async function weeziq(args, env) {
  const { code, output } = await host.run(args, env);
  assert.equal(code, 0, `weeziq ${args.join(" ")}:\n${output}`);
  return output;
}

/** Every file below, with what it holds. */
async function contents(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => joinPath(entry.parentPath, entry.name));
  return Object.fromEntries(await Promise.all(files.sort().map(async (file) => [file.slice(folder.length + 1), await readFile(file, "utf8")])));
}

/** Rooms with messages, edits and files, an AI's memory, visitors, settings. */
async function fill(s) {
  const domainId = s.unique("shop");
  await request(s.url(`/domains/${domainId}`), { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify({ name: "Shop", retention: { messagesDays: 7, statsDays: 7 } }) });
  const rooms = [];
  for (let n = 0; n < 3; n += 1) {
    const roomId = s.unique("room");
    const ann = await s.member(roomId, "ann", { domainId });
    const file = (await post(s.url(`/files?name=${n}.txt&roomId=${roomId}&domainId=${domainId}`), `file ${n}`, { "content-type": "text/plain" })).json;
    const ack = await say(ann, roomId, "ann", `ünï "quoted" \u2028 ${n}`, { clientMessageId: "c-1", attachments: [file] });
    await say(ann, roomId, "ann", "second");
    await ann.ask({ type: "edit-message", roomId, messageId: ack.id, message: "edited" }, "message-sent");
    await ann.ask({ type: "ai-chat", message: "My name is Ann", conversationId: roomId, domainId }, "ai-response");
    await ann.ask({ type: "visitor-joined-domain", domainId, visitorId: `v-${n}`, visitorData: { url: "https://shop.example/" } }, "visitor-joined-domain");
    rooms.push({ roomId, file, epoch: ann.joined.epoch });
  }
  return { domainId, rooms };
}

scenario("an export reads back into the same, byte by byte, and serves as before", async (s) => {
  await inTempDir(async (dir) => {
    const { domainId, rooms } = await fill(s);
    const { output } = await host.run(["export", joinPath(dir, "early")]);
    assert.match(output, /in use by another weeziq/, "not of a service that goes on");
    await host.stop();
    const [one, two, three] = ["one", "two", "three"].map((name) => joinPath(dir, name));
    assert.match(await weeziq(["export", one]), /rows, 3 files/);
    const again = await host.run(["export", one]);
    assert.match(again.output, /never replaces/);
    assert.match(await weeziq(["import", one], { DATA_DIR: joinPath(dir, "data") }), /rows, 3 files/);
    await weeziq(["export", two], { DATA_DIR: joinPath(dir, "data") });
    assert.deepEqual(await contents(two), await contents(one));
    const full = await host.run(["import", one], { DATA_DIR: joinPath(dir, "data") });
    assert.notEqual(full.code, 0);
    assert.match(full.output, /not empty/);
    const imported = createHost();
    await imported.restart({ DATA_DIR: joinPath(dir, "data"), FILE_UNUSED_S: "86400" });
    try {
      for (const { roomId, file, epoch } of rooms) {
        const reader = await Client.connect(imported.wsUrl);
        const joined = await reader.ask({ type: "join-room", roomId, userId: "bob", userName: "Bob", epoch, lastSeq: 2 }, "joined-room");
        assert.deepEqual([joined.resumed, joined.seq], [true, 3]);
        assert.equal((await reader.next("message-updated")).message, "edited");
        assert.match((await get(`${imported.baseUrl}${file.url}`)).text, /^file \d$/);
        reader.socket.terminate();
      }
      assert.equal((await get(`${imported.baseUrl}/domains/${domainId}`)).json.name, "Shop");
    } finally {
      await imported.stop();
    }
    await weeziq(["export", three]);
    assert.deepEqual(await contents(three), await contents(one), "and what was exported is as it was");
    await host.restart();
  });
});

scenario("where there are tokens, whoever has proved a name has it after an import, too", async () => {
  await inTempDir(async (dir) => {
    const [one, two] = [createHost(), createHost()];
    const env = (name) => ({ DATA_DIR: joinPath(dir, name), AUTH_SECRET: SECRET });
    try {
      await one.restart(env("one"));
      const ann = await Client.connect(`${one.wsUrl}?token=${token({ sub: "ann" })}`);
      await ann.ask({ type: "join-room", roomId: "r", userId: "ann", userName: "Ann" }, "joined-room");
      ann.socket.terminate();
      await one.stop();
      await weeziq(["export", joinPath(dir, "out")], env("one"));
      await weeziq(["import", joinPath(dir, "out")], env("two"));
      await two.restart(env("two"));
      const eve = await Client.connect(two.wsUrl);
      const refused = await eve.ask({ type: "join-room", roomId: "r", userId: "ann", userName: "Ann" }, "error");
      assert.equal(refused.code, "forbidden");
      eve.socket.terminate();
    } finally {
      for (const started of [one, two]) await started.stop();
    }
  });
});

scenario("an import that is none, or of a later format, says so and leaves nothing that serves", async () => {
  await inTempDir(async (dir) => {
    const data = { DATA_DIR: joinPath(dir, "data") };
    const none = await host.run(["import", joinPath(dir, "none")], data);
    assert.match(none.output, /is that an export/);
    await mkdir(joinPath(dir, "later"));
    await writeFile(joinPath(dir, "later", "export.json"), '{"format":2,"version":"9","shards":1}');
    const later = await host.run(["import", joinPath(dir, "later")], data);
    assert.match(later.output, /upgrade/);
    await mkdir(joinPath(dir, "broken", "files"), { recursive: true });
    await writeFile(joinPath(dir, "broken", "export.json"), '{"format":1,"version":"0","shards":1}');
    await writeFile(joinPath(dir, "broken", "shard-0.jsonl"), '{"schema":"CREATE TABLE a (b)"}\n{"table":"a","row":');
    const broken = await host.run(["import", joinPath(dir, "broken")], data);
    assert.notEqual(broken.code, 0);
    assert.match(broken.output, /shard-0.jsonl: line 2/);
  });
});

scenario("what a site keeps for a week is gone after eight days, and its places in the log are not taken again", async (s) => {
  await inTempDir(async (dir) => {
    const { domainId, rooms } = await fill(s);
    const kept = await fill(s);
    await request(s.url(`/domains/${kept.domainId}`), { method: "PUT", headers: { "content-type": "application/json" }, body: '{"name":"Keeps everything"}' });
    await host.stop();
    const [exported, data] = [joinPath(dir, "export"), joinPath(dir, "data")];
    await weeziq(["export", exported]);
    await daysPass(exported, 8);
    await weeziq(["import", exported], { DATA_DIR: data });
    const later = createHost();
    await later.restart({ DATA_DIR: data });
    try {
      const reader = await Client.connect(later.wsUrl);
      const messages = async (roomId) => (await reader.ask({ type: "fetch-history", roomId }, "message-history")).messages;
      for (const { roomId, file, epoch } of rooms) {
        await eventually(() => messages(roomId), ({ length }) => length === 0);
        await eventually(() => get(`${later.baseUrl}${file.url}`), ({ status }) => status === 404);
        const behind = await reader.ask({ type: "join-room", roomId, userId: "ann", userName: "Ann", epoch, lastSeq: 1 }, "joined-room");
        assert.deepEqual([behind.resumed, behind.epoch, behind.seq], [false, epoch, 3]);
        const ack = await say(reader, roomId, "ann", "I am back");
        assert.equal(ack.seq, 4);
        const { contextLength } = await reader.ask({ type: "ai-chat", message: "Who am I?", conversationId: roomId, domainId }, "ai-response");
        assert.equal(contextLength, 1);
      }
      const export_ = async (visitor, domain) => (await get(`${later.baseUrl}/visitors/${visitor}/export?domainId=${domain}`)).json.visitor;
      await eventually(() => export_("v-0", domainId), (visitor) => visitor === null);
      assert.equal((await export_("v-0", kept.domainId)).visitorId, "v-0");
      for (const { roomId, file } of kept.rooms) {
        assert.equal((await messages(roomId)).length, 2);
        assert.equal((await get(`${later.baseUrl}${file.url}`)).status, 200);
      }
      reader.socket.terminate();
    } finally {
      await later.stop();
    }
    await host.restart();
  });
});

/** Everything in an export happened so many days earlier. */
async function daysPass(folder, days) {
  for (const name of (await readdir(folder)).filter((name) => name.endsWith(".jsonl"))) {
    const lines = (await readFile(joinPath(folder, name), "utf8")).split("\n");
    const earlier = lines.map((line) => line.replace(/"((?:\w+_)?at)":(\d{13})/g, (_, column, at) => `"${column}":${Number(at) - days * DAY_MS}`));
    await writeFile(joinPath(folder, name), earlier.join("\n"));
  }
}
