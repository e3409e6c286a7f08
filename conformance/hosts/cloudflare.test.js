/** Holds cloudflare.js to what index.js says of a host, with a Worker small enough to need no build. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { Client } from "../client.js";
import { eventually } from "../eventually.js";
import { create } from "./cloudflare.js";

const WORKER = `
  import { DurableObject } from "cloudflare:workers";
  class Counter extends DurableObject {
    woken = crypto.randomUUID();
    constructor(state, env) {
      super(state, env);
      state.storage.sql.exec("CREATE TABLE IF NOT EXISTS said (text)");
    }
    fetch() {
      const [client, server] = Object.values(new WebSocketPair());
      this.ctx.acceptWebSocket(server);
      return new Response(null, { status: 101, webSocket: client });
    }
    webSocketMessage(from, text) {
      this.ctx.storage.sql.exec("INSERT INTO said VALUES (?)", text);
      const { rows } = this.ctx.storage.sql.exec("SELECT count(*) AS rows FROM said").one();
      for (const socket of this.ctx.getWebSockets()) socket.send(JSON.stringify({ type: "said", rows, woken: this.woken }));
    }
  }
  export class ChatRoom extends Counter {}
  export class VisitorTracker extends Counter {}
  export default {
    fetch(request, { CHAT_ROOM, VISITOR_TRACKER, ...settings }) {
      const { pathname, searchParams } = new URL(request.url);
      if (pathname === "/ws") return CHAT_ROOM.get(CHAT_ROOM.idFromName(searchParams.get("roomId"))).fetch(request);
      console.log("asked for " + pathname);
      return Response.json(settings);
    },
  };
`;
const CONFIG = `
  name = "tiny"
  main = "worker.js"
  compatibility_date = "2026-01-15"
  durable_objects.bindings = [{ name = "CHAT_ROOM", class_name = "ChatRoom" }, { name = "VISITOR_TRACKER", class_name = "VisitorTracker" }]
  migrations = [{ tag = "v1", new_sqlite_classes = ["ChatRoom", "VisitorTracker"] }]
  vars = { KEPT = "as configured", REPLACED = "as configured" }
`;

const host = create();
let project;
before(async () => {
  project = await mkdtemp(join(tmpdir(), "weeziq-conformance-"));
  process.env.WEEZIQ_WORKER_CONFIG = join(project, "wrangler.toml");
  await writeFile(join(project, "worker.js"), WORKER);
  await writeFile(join(project, "wrangler.toml"), CONFIG);
  await writeFile(join(project, ".dev.vars"), "OPENAI_API_KEY=a-developers-own\n");
});
afterEach(() => host.dispose());
after(() => rm(project, { recursive: true, force: true }));

async function says(client) {
  client.send({ type: "say" });
  return client.next("said");
}

/** What still runs of a process group; a zombie does not. */
function running(group) {
  const lines = execFileSync("ps", ["-eo", "pgid=,stat=,args="], { encoding: "utf8" }).split("\n").map((line) => line.trim().split(/\s+/));
  return lines.filter(([pgid, stat]) => Number(pgid) === group && !stat.startsWith("Z")).map((fields) => fields.slice(2).join(" "));
}

for (const evictable of [false, true]) {
  const way = evictable ? "evictable" : "wrangler dev";

  test(`${way}: settings arrive as they are, and the log shows none`, async () => {
    const settings = { REPLACED: "", URL: "http://127.0.0.1:1/v1?a=b,c", MODELS: `{"my model":{"provider":"openai"}}`, SECRET: `planted "it's" $HOME \`id\` #1\n\\n` };
    await host.start({ ...settings, ABSENT: undefined }, { evictable });
    assert.deepEqual(await (await fetch(`${host.baseUrl}/settings`)).json(), { KEPT: "as configured", ...settings });
    await host.stop();
    assert.match(host.logs(), /asked for \/settings/);
    for (const value of ["planted", "my model", "a-developers-own"]) assert.ok(!host.logs().includes(value));
  });

  test(`${way}: what is stored is there after a stop and after kill -9; a fresh start has none of it`, async () => {
    const rows = async () => (await says(await Client.connect(`${host.wsUrl}?roomId=r`))).rows;
    await host.start({}, { evictable });
    assert.equal(await rows(), 1);
    await host.stop();
    await host.restart();
    assert.equal(await rows(), 2);
    await host.kill9();
    await assert.rejects(fetch(host.baseUrl));
    await host.restart();
    assert.equal(await rows(), 3);
    await host.start({}, { evictable });
    assert.equal(await rows(), 1);
  });

  test(`${way}: nothing is left behind`, async () => {
    await host.start({}, { evictable });
    const group = host.pid;
    assert.ok(running(group).some((args) => args.includes("workerd")), "the runtime is of the group");
    const dir = dirname(host.dataDir);
    await host.dispose();
    // Killed, and gone as soon as the kernel gets to it.
    await eventually(() => running(group), ({ length }) => length === 0);
    assert.ok(!existsSync(dir));
  });
}

test("an evicted object has forgotten what it did not store, and its sockets are open", async () => {
  await host.start({}, { evictable: true });
  const [ann, bob] = [await Client.connect(`${host.wsUrl}?roomId=r`), await Client.connect(`${host.wsUrl}?roomId=r`)];
  const told = [await says(ann)];
  await bob.next("said");
  for (const evict of [() => host.evict("room", "r"), () => host.evictAll()]) {
    await evict();
    told.push(await says(ann));
    assert.deepEqual(await bob.next("said"), told.at(-1));
  }
  assert.deepEqual(told.map(({ rows }) => rows), [1, 2, 3]);
  assert.equal(new Set(told.map(({ woken }) => woken)).size, 3);
  await assert.rejects(host.evict("room", "nobody"), /not currently running/);
  await assert.rejects(host.evict("domain", "r"), /not currently running/);
});

test("a Worker that can't start says why", async () => {
  await writeFile(join(project, "worker.js"), `throw new Error("no such luck"); ${WORKER}`);
  await assert.rejects(host.start(), /exited with 1 .*no such luck/s);
});
