/** What is published: small, whole, typed, and nothing else. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const run = promisify(execFile);
const BYTES_MAX = 6_000;
const here = fileURLToPath(new URL("..", import.meta.url));
/** Quiet, and off the network: all that these look at is here. */
const npm = (...args) => run("npm", ["--silent", ...args], { cwd: here });
const bin = (name, ...args) => run(process.execPath, [join(here, "node_modules", ...name), ...args], { cwd: here, env: { ...process.env, FORCE_COLOR: "0" } });

/** @type {string} */
let dir;
/** @type {string} */
let tarball;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "weeziq-client-"));
  // What `prepack` does was done before the tests; done again, it takes from under other tests what they read.
  const { stdout } = await npm("pack", "--json", "--ignore-scripts", "--pack-destination", dir);
  const packed = JSON.parse(stdout);
  const [{ filename, files }] = Array.isArray(packed) ? packed : Object.values(packed);
  tarball = join(dir, filename.replace("@", "").replace("/", "-"));
  packedFiles = files.map(({ path }) => path);
});
after(() => rm(dir, { recursive: true, force: true }));
/** @type {string[]} */
let packedFiles;

/** @param {string} code */
async function gzippedBytes(code) {
  const { outputFiles } = await build({
    stdin: { contents: code, resolveDir: here },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    write: false,
  });
  return gzipSync(outputFiles[0].contents, { level: 9 }).length;
}

test("all of it is at most 6,000 bytes, and who imports less pays for less", async (t) => {
  const sizes = {};
  for (const part of ["*", "{ connect }", "{ openConnection, joinRoom }", "{ openConnection, ai }", "{ openConnection, visitors }"]) {
    sizes[part] = await gzippedBytes(`export ${part} from "./src/index.js"`);
    t.diagnostic(`${part}: ${sizes[part]} bytes`);
  }
  assert.ok(sizes["*"] <= BYTES_MAX, `everything: ${sizes["*"]} bytes`);
  assert.ok(sizes["{ openConnection, joinRoom }"] < 0.85 * sizes["*"]);
  assert.ok(gzipSync(await readFile(join(here, "dist/weeziq.min.js")), { level: 9 }).length <= BYTES_MAX);
});

test("the package holds its sources, its types, one bundle and the papers, and nothing else", () => {
  const folders = packedFiles.map((path) => (path.includes("/") ? path.split("/")[0] : path));
  assert.deepEqual([...new Set(folders)].sort(), ["LICENSE", "README.md", "dist", "package.json", "src", "types"]);
  const sources = packedFiles.filter((path) => path.startsWith("src/"));
  for (const source of sources) assert.ok(packedFiles.includes(source.replace("src/", "types/").replace(".js", ".d.ts")), `${source} has types`);
  assert.deepEqual(packedFiles.filter((path) => /test|\.map$|node_modules|\.tgz$/.test(path)), []);
});

test("it depends on nothing", async () => {
  const { dependencies, peerDependencies, license, scripts } = JSON.parse(await readFile(join(here, "package.json"), "utf8"));
  assert.deepEqual([dependencies, peerDependencies, license], [undefined, undefined, "MIT"]);
  assert.ok(!scripts.install && !scripts.postinstall);
});

test("publint finds nothing", async () => {
  const { stdout } = await bin(["publint", "src", "cli.js"], "run", tarball, "--strict");
  assert.match(stdout, /All good!/);
});

test("are the types wrong? they are not", async () => {
  // ES modules alone, on purpose: every runtime that this is for has them, and Node's `require` takes them too.
  const { stdout } = await bin(["@arethetypeswrong", "cli", "dist", "index.js"], tarball, "--profile", "esm-only", "--format", "json");
  const { analysis, problems } = JSON.parse(stdout);
  assert.ok(analysis.types);
  const found = Object.values(problems ?? {}).flat().filter(({ resolutionKind }) => !["node10", "node16-cjs"].includes(resolutionKind));
  assert.deepEqual(found, []);
});

test("an application in TypeScript is checked against them, strictly", async () => {
  await run("npm", ["--silent", "init", "--yes"], { cwd: dir });
  await run("npm", ["--silent", "install", "--offline", "--no-audit", "--no-fund", tarball], { cwd: dir });
  await writeFile(join(dir, "app.mts"), APPLICATION);
  for (const options of [["--module", "nodenext", "--moduleResolution", "nodenext"], ["--module", "esnext", "--moduleResolution", "bundler"]]) {
    await run(process.execPath, [join(here, "node_modules/typescript/bin/tsc"), "--noEmit", "--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "--target", "es2022", "--lib", "es2022,dom,dom.iterable", ...options, "app.mts"], { cwd: dir }).catch(({ stdout }) => assert.fail(stdout));
  }
});

const APPLICATION = `
import { connect, indexedDbStorage, WeeziqError, type Message, type Room, type Weeziq } from "@weeziq/client";
import { connect as small } from "@weeziq/client/min";

const weeziq: Weeziq = connect("wss://chat.example.com/ws", { storage: indexedDbStorage(), token: async () => "t" });
small("wss://chat.example.com/ws");
weeziq.on("status", ({ state, retryInMs, error }) => console.log(state.length, retryInMs?.toFixed(), error?.code));
// @ts-expect-error there is no such event
weeziq.on("no-such-event", () => {});
const room: Room = weeziq.join("room", { userId: "ann", userName: "Ann" });
// @ts-expect-error a name is missing
weeziq.join("room", { userId: "ann" });
const stop = room.on("message", (message: Message) => console.log(message.seq.toFixed(), message.message.length));
room.on("failed", ({ message, error }) => console.log(message.length, error.retryAfterMs));
stop();
try {
  const { seq, duplicate } = await room.send("Hello");
  console.log(seq.toFixed(), duplicate);
} catch (error) {
  if (error instanceof WeeziqError && error.code === "queue_full") console.log(error.message);
  // @ts-expect-error there is no such code
  if (error instanceof WeeziqError && error.code === "no_such_code") console.log();
}
const stream = weeziq.ai.stream("?", { userId: "ann", signal: new AbortController().signal });
for await (const text of stream) console.log(text.length);
console.log((await stream.answer).finishReason, (await weeziq.ai.chat("?")).usage.inputTokens);
const { url } = await weeziq.files.upload(new File([], "a"), { onProgress: ({ loaded, total }) => console.log(loaded / total) });
console.log(url.length, (await weeziq.visitors.stats("shop.example")).visitors[0]?.browser);
weeziq.visitors.track("shop.example").stop();
`;
