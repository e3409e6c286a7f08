/** Backups of a service that goes on, and the way back: all of one moment, nothing acknowledged before it missing, nobody disturbed. */
import assert from "node:assert/strict";
import { appendFile, cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join as joinPath } from "node:path";
import { eventually } from "../eventually.js";
import { createHost } from "../hosts/index.js";
import { nameOf, say, suite } from "../scenario.js";
import { assertShape } from "../shape.js";
import { inTempDir } from "../starts.js";
import { Client } from "../client.js";

const { host, scenario: played } = suite({ SHARDS: "3" }, { needs: "process" });
const scenario = (name, play) => played(name, play, { timeout: 300_000 });

const ROOMS = 6;
/** Of what is under way in each room at any time. */
const UNDER_WAY = 20;

/** @param {string[]} args @param {Record<string, string>} [env] */
async function weeziq(args, env) {
  const { code, output } = await host.run(args, env);
  assert.equal(code, 0, `weeziq ${args.join(" ")}:\n${output}`);
  return output;
}

/** A restored folder as a service of its own. @param {(reader: Client, restored: any) => Promise<void>} look */
async function serving(dataDir, look) {
  const restored = createHost();
  await restored.restart({ DATA_DIR: dataDir });
  const reader = await Client.connect(restored.wsUrl);
  try {
    await look(reader, restored);
  } finally {
    reader.socket.terminate();
    await restored.stop();
  }
}

/** All that a room's log holds. */
async function log(reader, roomId) {
  const messages = [];
  for (;;) {
    const page = await reader.ask({ type: "fetch-history", roomId, afterSeq: messages.at(-1)?.seq ?? 0, limit: 1_000 }, "message-history");
    messages.push(...page.messages);
    if (!page.hasMore) return messages;
  }
}

/** Speaks in a room until told to stop, always with some words under way. */
class Speaker {
  acked = [];
  #stopped = false;

  constructor(client, room) {
    [this.client, this.room] = [client, room];
    this.done = this.#speak();
  }

  async #speak() {
    const { client, room } = this;
    for (let sent = 0; !this.#stopped || this.acked.length < sent; ) {
      while (!this.#stopped && sent - this.acked.length < UNDER_WAY) {
        sent += 1;
        client.send({ type: "send-message", roomId: room, userId: "ann", userName: "Ann", role: "user", message: `${sent}`, clientMessageId: `c${sent}` });
      }
      this.acked.push(await client.next((frame) => frame.type === "message-sent" || frame.type === "error"));
    }
  }

  async stop() {
    this.#stopped = true;
    await this.done;
  }
}

/** Says the next number in one room, then in the other, and so on: one is never more than one ahead. */
class Alternator {
  #stopped = false;
  count = 0;

  constructor(client, rooms) {
    this.done = (async () => {
      while (!this.#stopped) {
        this.count += 1;
        for (const room of rooms) assertShape(await say(client, room, "cid", `${this.count}`), { success: true });
      }
    })();
  }

  async stop() {
    this.#stopped = true;
    await this.done;
  }
}

scenario("under load: what was acknowledged before is in it, all rooms as of one moment, and nobody who speaks is refused", async (s) => {
  await inTempDir(async (dir) => {
    const rooms = Array.from({ length: ROOMS }, () => s.unique("room"));
    const pair = ["one", "other"].map((name) => s.unique(name));
    const speakers = await Promise.all(rooms.map(async (room) => new Speaker(await s.member(room, "ann"), room)));
    const alternator = new Alternator(await s.connect(), pair);
    for (const target of ["first", "second.tar"]) {
      const before = speakers.map((speaker) => speaker.acked.length);
      const acked = await eventually(() => speakers.map((speaker) => speaker.acked.length), (counts) => counts.every((count, n) => count > before[n]));
      assert.match(await weeziq(["backup", joinPath(dir, target)]), /checked/);
      const later = speakers.map((speaker) => speaker.acked.length);
      const data = joinPath(dir, `restored-${target}`);
      await weeziq(["restore", joinPath(dir, target)], { DATA_DIR: data });
      assert.match(await weeziq(["check"], { DATA_DIR: data }), /^(\S+: whole\n)+$/);
      await serving(data, async (reader) => {
        for (const [n, room] of rooms.entries()) {
          const messages = await log(reader, room);
          assert.deepEqual(messages.map((m) => m.message), messages.map((_, at) => `${at + 1}`), `${room}: from the first on, without a gap`);
          assert.ok(messages.length >= acked[n], `${room}: ${acked[n]} were acknowledged before, ${messages.length} are in the backup`);
          assert.ok(messages.length <= later[n] + UNDER_WAY, "nothing that was never said");
        }
        const [one, other] = await Promise.all(pair.map((room) => log(reader, room)));
        assert.ok(one.length === other.length || one.length === other.length + 1, `of one moment: ${one.length} and ${other.length}`);
      });
    }
    await alternator.stop();
    for (const speaker of speakers) await speaker.stop();
    assert.deepEqual(speakers.flatMap((speaker) => speaker.acked.filter((ack) => ack.type === "error")), []);
  });
});

scenario("whoever comes back to a restored room is told that it is another log", async (s) => {
  await inTempDir(async (dir) => {
    const room = s.unique("room");
    const ann = await s.member(room, "ann");
    await say(ann, room, "ann", "kept");
    await weeziq(["backup", joinPath(dir, "backup")]);
    await say(ann, room, "ann", "said afterwards");
    await weeziq(["restore", joinPath(dir, "backup")], { DATA_DIR: joinPath(dir, "data") });
    await serving(joinPath(dir, "data"), async (reader) => {
      await say(reader, room, "bob", "said instead");
      const joined = await reader.ask({ type: "join-room", roomId: room, userId: "ann", userName: "Ann", epoch: ann.joined.epoch, lastSeq: 2 }, "joined-room");
      assertShape(joined, { resumed: false, seq: 2 });
      assert.notEqual(joined.epoch, ann.joined.epoch);
      const messages = await log(reader, room);
      assert.deepEqual(messages.map((m) => m.message), ["kept", "said instead"]);
      assert.ok(messages.every((m) => m.id === `${joined.epoch}-${m.seq}`));
    });
  });
});

scenario("a service that is stopped can be backed up too, and is not touched by it", async (s) => {
  await inTempDir(async (dir) => {
    const room = s.unique("room");
    await say(await s.member(room, "ann"), room, "ann", "kept");
    await host.kill9();
    const bytes = async () => Promise.all((await readdir(host.dataDir, { withFileTypes: true })).filter((entry) => entry.isFile() && !entry.name.endsWith("-shm")).map(({ name }) => name).sort().map(async (name) => [name, (await readFile(joinPath(host.dataDir, name))).toString("base64")]));
    const before = await bytes();
    await weeziq(["backup", joinPath(dir, "backup")]);
    assert.deepEqual((await bytes()).map(([name]) => name), before.map(([name]) => name));
    assert.deepEqual(await bytes(), before);
    await weeziq(["restore", joinPath(dir, "backup")], { DATA_DIR: joinPath(dir, "data") });
    await serving(joinPath(dir, "data"), async (reader) => {
      assert.deepEqual((await log(reader, room)).map((m) => m.message), ["kept"]);
    });
    await host.restart();
  });
});

scenario("nothing is ever replaced, and nothing half done is left", async (s) => {
  await inTempDir(async (dir) => {
    const [backup, data] = [joinPath(dir, "backup"), joinPath(dir, "data")];
    const refuses = async (args, env, naming) => {
      const { code, output } = await host.run(args, env);
      assert.equal(code, 1, output);
      assert.match(output, naming);
      assert.doesNotMatch(output, /panicked/);
    };
    await say(await s.member(s.unique("room"), "ann"), s.unique("room"), "ann", nameOf("hello"));
    await refuses(["backup", backup], { DATA_DIR: joinPath(dir, "nowhere") }, /nothing to back up/);
    await weeziq(["backup", backup]);
    await refuses(["backup", backup], {}, /never replaces/);
    await mkdir(data);
    await writeFile(joinPath(data, "something"), "");
    await refuses(["restore", backup], { DATA_DIR: data }, /not empty/);
    await rm(joinPath(data, "something"));

    const spoilt = async (spoil, naming) => {
      const copy = joinPath(dir, "spoilt");
      await cp(backup, copy, { recursive: true });
      await spoil(copy);
      await refuses(["restore", copy], { DATA_DIR: data }, naming);
      assert.deepEqual(await readdir(data), []);
      await rm(copy, { recursive: true });
    };
    await spoilt((copy) => appendFile(joinPath(copy, "shard-1.db"), "x"), /shard-1\.db is not what was written/);
    await spoilt((copy) => rm(joinPath(copy, "shard-0.db")), /shard-0\.db/);
    await spoilt((copy) => writeFile(joinPath(copy, "extra.db"), ""), /extra\.db does not belong/);
    await spoilt((copy) => rm(joinPath(copy, "backup.json")), /no backup of WeeziQ/);
    await spoilt((copy) => writeFile(joinPath(copy, "backup.json"), "{}"), /no backup of WeeziQ/);
    await spoilt(async (copy) => {
      const path = joinPath(copy, "backup.json");
      await writeFile(path, (await readFile(path, "utf8")).replace('"shards"', '"../shards"'));
    }, /leads out of it/);
    // Into a folder that is there and empty, as a mount point is.
    await weeziq(["restore", backup], { DATA_DIR: data });
    assert.deepEqual((await readdir(dir)).sort(), ["backup", "data"]);
  });
});
