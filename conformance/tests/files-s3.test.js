/**
 * The same files in a bucket: the binary against a real server that speaks S3 (`s3s-fs`, over a folder), which `cargo xtask test`
 * installs and names in `S3_SERVER`.
 */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { bare } from "../bare.js";
import { eventually } from "../eventually.js";
import { killGroup, spawnGroup } from "../hosts/child.js";
import { createHost } from "../hosts/index.js";
import { get, post, request } from "../http.js";
import { UNLIMITED } from "../scenario.js";

const MIB = 1024 * 1024;
const BUCKET = "weeziq-files";
const KEYS = { AWS_ACCESS_KEY_ID: "test-access", AWS_SECRET_ACCESS_KEY: "test-secret" };

const host = createHost();
const skip = !process.env.S3_SERVER ? "S3_SERVER names no server that speaks S3" : host.capabilities.process ? false : "this host keeps files in no bucket of one's choice";

const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** @type {string} */
let folder;
/** @type {import("node:child_process").ChildProcess} */
let server;
let log = "";

before(async () => {
  if (skip) return;
  folder = await mkdtemp(join(tmpdir(), "weeziq-s3-"));
  await mkdir(join(folder, BUCKET));
  const url = await startServer();
  await host.start({ ...UNLIMITED, ...KEYS, FILE_STORAGE_URL: `s3://${BUCKET}/some/folder`, FILE_UNUSED_S: "6", AWS_REGION: "us-east-1", AWS_ENDPOINT: url, AWS_ALLOW_HTTP: "true" });
});

after(async () => {
  await host.dispose();
  if (server) killGroup(server);
  if (folder) await rm(folder, { recursive: true, force: true });
});

/** What the bucket holds: keys, parts of uploads under way, and whatever else. */
async function held() {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
}

/** Of files that are whole. */
const whole = async () => (await held()).filter((name) => /^weeziq-files\/some\/folder\/[A-Za-z]{26}$/.test(name));

test("files of no byte, of one part and of several come back byte by byte, and in parts", { skip }, async () => {
  for (const size of [0, 1000, 5 * MIB, 5 * MIB + 1, 12 * MIB]) {
    const bytes = randomBytes(size);
    const put = await post(`${host.baseUrl}/files?name=a.bin`, bytes);
    assert.equal(put.status, 201, put.text + host.logs() + log);
    assert.equal(put.json.sha256, hash(bytes));
    const got = await fetch(`${host.baseUrl}${put.json.url}`);
    assert.equal(hash(Buffer.from(await got.arrayBuffer())), hash(bytes));
    if (size < 10) continue;
    const part = await fetch(`${host.baseUrl}${put.json.url}`, { headers: { range: `bytes=${size - 7}-` } });
    assert.equal(part.status, 206);
    assert.ok(bytes.subarray(size - 7).equals(Buffer.from(await part.arrayBuffer())));
    assert.equal((await request(`${host.baseUrl}${put.json.url}`, { method: "DELETE" })).status, 200);
  }
  await eventually(whole, ({ length }) => length <= 1);
});

test("an upload that breaks off after some parts leaves nothing", { skip }, async () => {
  const before = (await held()).length;
  const cut = await bare(host.baseUrl);
  cut.write(`POST /files?name=a&roomId=r HTTP/1.1\r\nHost: x\r\nContent-Length: ${20 * MIB}\r\n\r\n`);
  cut.write(Buffer.alloc(11 * MIB, 1));
  await eventually(held, ({ length }) => length > before);
  cut.destroy();
  await eventually(held, ({ length }) => length <= before);
});

test("a file that no message names is deleted from the bucket", { skip }, async () => {
  const { json } = await post(`${host.baseUrl}/files?name=a&roomId=r`, "x");
  assert.ok((await whole()).some((name) => name.endsWith(json.key)));
  await eventually(whole, (names) => !names.some((name) => name.endsWith(json.key)));
  assert.equal((await get(`${host.baseUrl}${json.url}`)).status, 404);
});

test("a bucket that does not answer costs the uploads and nothing else, and the log says which settings to look at", { skip }, async () => {
  await host.kill9();
  await host.restart({ ...UNLIMITED, ...KEYS, FILE_STORAGE_URL: `s3://${BUCKET}`, AWS_REGION: "us-east-1", AWS_ENDPOINT: "http://127.0.0.1:9", AWS_ALLOW_HTTP: "true" });
  assert.equal((await get(`${host.baseUrl}/healthz`)).status, 200);
  await eventually(() => /FILE_STORAGE_URL, AWS_ENDPOINT/.test(host.logs()));
});

/** A port that was free may be somebody else's by the time that it is used: then the server ends, and another is tried. */
async function startServer() {
  for (;;) {
    const port = await freePort();
    const args = ["--host", "127.0.0.1", "--port", String(port), "--access-key", KEYS.AWS_ACCESS_KEY_ID, "--secret-key", KEYS.AWS_SECRET_ACCESS_KEY, folder];
    const started = (server = spawnGroup(process.env.S3_SERVER, args, { cwd: folder, env: { PATH: process.env.PATH }, onOutput: (text) => (log += text) }));
    const url = `http://127.0.0.1:${port}`;
    const hasEnded = () => started.exitCode !== null || started.signalCode !== null;
    await eventually(async () => hasEnded() || (await fetch(url).catch(() => null)));
    if (!hasEnded()) return url;
    if (!/in use/i.test(log)) throw new Error(`the server that speaks S3 does not start:\n${log}`);
  }
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer().once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = /** @type {import("node:net").AddressInfo} */ (probe.address());
      probe.close(() => resolve(port));
    });
  });
}
