/**
 * Files that are not what was written: whoever starts on them is told which and what to do, before anything is served, and they
 * are left as they are for whoever can still read something out of them.
 */
import assert from "node:assert/strict";
import { chmod, cp, mkdir, readFile, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { whyNoVolume } from "../hosts/volume.js";
import { storedLog } from "../follower.js";
import { request } from "../http.js";
import { lacks, say, suite } from "../scenario.js";
import { assertShape } from "../shape.js";
import { assertRefusesToStart, inTempDir } from "../starts.js";

const skip = lacks("process");

const PAGE_BYTES = 4096;
const GARBAGE = Buffer.alloc(PAGE_BYTES, 0xa5);
/** So many rooms that each shard has some, whatever their number. */
const ROOMS = 24;

/** What each room holds: enough for more than the first pages. */
async function fillRooms(s, prefix) {
  const client = await s.connect();
  const acks = [];
  for (let n = 0; n < ROOMS; n += 1) {
    for (const message of ["one", "two", "three"]) acks.push(await say(client, `${prefix}-${n}`, "ann", `${message} ${"x".repeat(2_000)}`));
  }
  return acks;
}

async function put(url, body) {
  const reply = await request(url, { method: "PUT", body: JSON.stringify(body) });
  assert.equal(reply.status, 200, reply.text);
}

async function databases(dir) {
  return (await readdir(dir)).filter((name) => name.endsWith(".db"));
}

/**
 * Waits until everything is in the rooms' databases and nothing in their logs alone, as the index of each log says:
 * https://www.sqlite.org/walformat.html, mxFrame and nBackfill.
 */
async function untilCheckpointed(dir) {
  for (const name of (await databases(dir)).filter((name) => name.startsWith("shard"))) {
    for (;;) {
      const index = await readFile(join(dir, `${name}-shm`));
      if (index.readUInt32LE(16) === index.readUInt32LE(96)) break;
      await new Promise(setImmediate);
    }
  }
}

async function overwrite(path, at, bytes) {
  const file = await readFile(path);
  assert.ok(at + bytes.length <= file.length, `${path} has ${file.length} bytes`);
  bytes.copy(file, at);
  await writeFile(path, file);
}

const pagesOf = async (path) => Math.floor((await readFile(path)).length / PAGE_BYTES);

/** @type {Record<string, (path: string) => Promise<unknown>>} */
const damages = {
  "a header of garbage": (path) => overwrite(path, 0, GARBAGE.subarray(0, 100)),
  "a first page of garbage": (path) => overwrite(path, 0, GARBAGE),
  "garbage in every page but the first": async (path) => {
    for (let page = await pagesOf(path); page > 1; page -= 1) await overwrite(path, (page - 1) * PAGE_BYTES, GARBAGE);
  },
  "zeros in every page but the first": async (path) => {
    for (let page = await pagesOf(path); page > 1; page -= 1) await overwrite(path, (page - 1) * PAGE_BYTES, Buffer.alloc(PAGE_BYTES));
  },
  "garbage in the last page": async (path) => overwrite(path, ((await pagesOf(path)) - 1) * PAGE_BYTES, GARBAGE),
  "half of its pages": async (path) => truncate(path, Math.ceil((await pagesOf(path)) / 2) * PAGE_BYTES),
  "a page and a half": (path) => truncate(path, PAGE_BYTES * 1.5),
  "text instead of a database": (path) => writeFile(path, "dear diary, ".repeat(1_000)),
  "a folder in its place": async (path) => {
    await rm(path);
    await mkdir(path);
  },
};

describe("a start on damaged files", { skip }, () => {
  const { host, scenario } = suite();

  /** A folder with databases that are whole, and no logs. */
  async function inCopy(use) {
    await inTempDir(async (dir) => {
      await cp(host.dataDir, dir, { recursive: true, filter: (path) => !/-(wal|shm)$|lock$/.test(path) });
      await use(dir);
    });
  }

  let acks;
  scenario("to begin with, there is something to damage", async (s) => {
    acks = await fillRooms(s, "room");
    for (let n = 0; n < 20; n += 1) await put(s.url(`/domains/shop-${n}.example`), { name: "Shop", systemPrompt: "x".repeat(4_000) });
    await untilCheckpointed(host.dataDir);
    await host.stop();
    assert.ok((await pagesOf(join(host.dataDir, "shard-0.db"))) > 20);
  });

  for (const name of ["shard-0.db", "settings.db"]) {
    for (const [what, damage] of Object.entries(damages)) {
      test(`${name}: ${what}`, () => inCopy(async (dir) => {
        const path = join(dir, name);
        await damage(path);
        const asItWas = await readFile(path).catch(() => null);
        const output = await assertRefusesToStart({ DATA_DIR: dir }, path);
        assert.doesNotMatch(output, /https?:\/\//, "nothing was served");
        assert.deepEqual(await readFile(path).catch(() => null), asItWas, "it is left as it was");
        assert.match(output, /backup|check its owner/i, "it says what to do");
      }));
    }
  }

  test("a database of a newer release", () => inCopy(async (dir) => {
    const path = join(dir, "shard-0.db");
    // The first row of the table of versions: three bytes of record, row id, header, type, value.
    const file = await readFile(path);
    const row = (version) => Buffer.from([3, 1, 2, 1, version]);
    const newest = [9, 8, 7, 6, 5, 4].find((version) => file.indexOf(row(version)) > 0);
    assert.ok(newest, "no row of a version is found");
    const at = file.indexOf(row(newest)) + 4;
    await overwrite(path, at, Buffer.from([99]));
    const asItWas = await readFile(path);
    const output = await assertRefusesToStart({ DATA_DIR: dir }, path);
    assert.match(output, /newer release/);
    assert.match(output, /upgrade/);
    assert.deepEqual(await readFile(path), asItWas, "it is left as it was");
  }));

  for (const text of ["", "three", "0", "-1", "1 2", "1000"]) {
    test(`a number of shards that is ${JSON.stringify(text)}`, () => inCopy(async (dir) => {
      await writeFile(join(dir, "shards"), text);
      await assertRefusesToStart({ DATA_DIR: dir }, join(dir, "shards"));
    }));
  }

  const isRoot = process.getuid?.() === 0;
  test("a folder that may be read only", { skip: isRoot && (whyNoVolume() ?? false) }, () => inCopy(async (dir) => {
    // Root may write whatever its mode says, but not into what is mounted so.
    const readOnly = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"';
    if (!isRoot) await chmod(dir, 0o555);
    try {
      const output = await assertRefusesToStart({ DATA_DIR: dir }, dir, isRoot ? ["unshare", "--mount", "sh", "-c", readOnly, dir] : undefined);
      assert.doesNotMatch(output, /https?:\/\//, "nothing was served");
    } finally {
      await chmod(dir, 0o755);
    }
  }));

  const logs = {
    "a log of garbage": (log) => writeFile(log, Buffer.alloc(50_000, 0xa5)),
    "an empty log": (log) => writeFile(log, ""),
    "a log that is cut off in its header": (log) => writeFile(log, Buffer.from([0x37, 0x7f, 0x06, 0x82, 0, 0])),
    "a log and an index of garbage": async (log) => {
      for (const path of [log, log.replace(/-wal$/, "-shm")]) await writeFile(path, Buffer.alloc(50_000, 0xa5));
    },
  };
  for (const [what, damage] of Object.entries(logs)) {
    scenario(`${what} is nothing to lose by, as long as the database has everything`, (s) => inCopy(async (dir) => {
      for (const name of await databases(dir)) await damage(join(dir, `${name}-wal`));
      await host.restart({ DATA_DIR: dir, EVENTS_PER_SEC: "0" });
      try {
        await assertAllThere(s, acks);
      } finally {
        await host.kill9();
      }
    }));
  }

  scenario("garbage behind what was written last is no part of the log", (s) => inCopy(async (dir) => {
    await host.restart({ DATA_DIR: dir, EVENTS_PER_SEC: "0" });
    const more = await fillRooms(s, "more");
    await host.kill9();
    for (const name of await databases(dir)) await writeFile(join(dir, `${name}-wal`), Buffer.alloc(50_000, 0xa5), { flag: "a" });
    await host.restart();
    try {
      await assertAllThere(s, [...acks, ...more]);
    } finally {
      await host.kill9();
    }
  }));

  scenario("with the damaged file out of the way it starts, and the other files serve what they hold", (s) => inCopy(async (dir) => {
    const path = join(dir, "settings.db");
    await damages["a header of garbage"](path);
    await assertRefusesToStart({ DATA_DIR: dir }, path);
    await rm(path);
    await host.restart({ DATA_DIR: dir, EVENTS_PER_SEC: "0" });
    try {
      await assertAllThere(s, acks);
    } finally {
      await host.kill9();
    }
  }));
});

/** Every acknowledged message, in its place, and the next one behind it. */
async function assertAllThere(s, acks) {
  const rooms = new Map();
  for (const ack of acks) rooms.set(ack.roomId, [...(rooms.get(ack.roomId) ?? []), ack]);
  for (const [room, told] of rooms) {
    const { epoch } = (await s.member(room, "bob")).joined;
    const log = await storedLog(s, room, epoch);
    assert.deepEqual(log.frames.map((f) => [f.seq, f.id]), told.map((ack) => [ack.seq, ack.id]));
    assertShape(await say(await s.connect(), room, "bob", "and on"), { seq: told.length + 1 });
  }
}
