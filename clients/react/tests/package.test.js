/** What is published: its sources, its types and the papers; small, typed, and with nothing of its own to install. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const run = promisify(execFile);
const BYTES_MAX = 4_000;
const here = fileURLToPath(new URL("..", import.meta.url));
const bin = (name, ...args) => run(process.execPath, [join(here, "node_modules", ...name), ...args], { cwd: here, env: { ...process.env, FORCE_COLOR: "0" } });

/** @type {string} */
let dir;
/** @type {string} */
let tarball;
/** @type {string[]} */
let packedFiles;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "weeziq-react-"));
  // What `prepack` does was done before the tests.
  const { stdout } = await run("npm", ["--silent", "pack", "--json", "--ignore-scripts", "--pack-destination", dir], { cwd: here });
  const packed = JSON.parse(stdout);
  const [{ filename, files }] = Array.isArray(packed) ? packed : Object.values(packed);
  tarball = join(dir, filename.replace("@", "").replace("/", "-"));
  packedFiles = files.map(({ path }) => path);
});
after(() => rm(dir, { recursive: true, force: true }));

test("all hooks together are at most 4,000 bytes beside the client, and who imports less pays for less", async (t) => {
  const sizes = {};
  for (const part of ["*", "{ WeeziqProvider, useRoom }", "{ WeeziqProvider, useAiChat }", "{ WeeziqProvider, useVisitors }"]) {
    const { outputFiles } = await build({
      stdin: { contents: `export ${part} from "./src/index.js"`, resolveDir: here },
      bundle: true,
      minify: true,
      format: "esm",
      target: "es2022",
      external: ["react", "@weeziq/client"],
      write: false,
      logLevel: "error",
    });
    sizes[part] = gzipSync(outputFiles[0].contents, { level: 9 }).length;
    t.diagnostic(`${part}: ${sizes[part]} bytes`);
  }
  assert.ok(sizes["*"] <= BYTES_MAX, `everything: ${sizes["*"]} bytes`);
  assert.ok(sizes["{ WeeziqProvider, useAiChat }"] < 0.7 * sizes["*"]);
});

test("the package holds its sources, their types and the papers, and nothing else", () => {
  const folders = packedFiles.map((path) => (path.includes("/") ? path.split("/")[0] : path));
  assert.deepEqual([...new Set(folders)].sort(), ["LICENSE", "README.md", "package.json", "src", "types"]);
  const sources = packedFiles.filter((path) => path.startsWith("src/"));
  for (const source of sources) assert.ok(packedFiles.includes(source.replace("src/", "types/").replace(".js", ".d.ts")), `${source} has types`);
  assert.deepEqual(packedFiles.filter((path) => /test|\.map$|node_modules|\.tgz$/.test(path)), []);
});

test("it brings nothing with it, and knows its place in an application with server components", async () => {
  const { dependencies, peerDependencies, license, scripts } = JSON.parse(await readFile(join(here, "package.json"), "utf8"));
  assert.deepEqual([dependencies, Object.keys(peerDependencies), license], [undefined, ["@weeziq/client", "react"], "MIT"]);
  assert.ok(!scripts.install && !scripts.postinstall);
  assert.ok((await readFile(join(here, "src/index.js"), "utf8")).startsWith('"use client";'));
});

test("publint finds nothing", async () => {
  const { stdout } = await bin(["publint", "src", "cli.js"], "run", tarball, "--strict");
  assert.match(stdout, /All good!/);
});

test("are the types wrong? they are not", async () => {
  // ES modules alone, on purpose, as the client.
  const { stdout } = await bin(["@arethetypeswrong", "cli", "dist", "index.js"], tarball, "--profile", "esm-only", "--format", "json");
  const { analysis, problems } = JSON.parse(stdout);
  assert.ok(analysis.types);
  const found = Object.values(problems ?? {}).flat().filter(({ resolutionKind }) => !["node10", "node16-cjs"].includes(resolutionKind));
  assert.deepEqual(found, []);
});

test("an application in TypeScript is checked against them, strictly", async () => {
  await writeFile(join(dir, "package.json"), '{"type":"module"}');
  await writeFile(join(dir, "app.tsx"), APPLICATION);
  const installed = join(dir, "node_modules/@weeziq/react");
  await mkdir(installed, { recursive: true });
  await mkdir(join(dir, "node_modules/@types"));
  await run("tar", ["-xzf", tarball, "--strip-components=1", "-C", installed]);
  for (const name of ["@weeziq/client", "react", "@types/react"]) await symlink(join(here, "node_modules", name), join(dir, "node_modules", name));
  for (const [module, moduleResolution] of [["nodenext", "nodenext"], ["esnext", "bundler"]]) {
    const compilerOptions = { module, moduleResolution, noEmit: true, strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, target: "es2022", lib: ["es2022", "dom", "dom.iterable"], jsx: "react-jsx", types: [] };
    await writeFile(join(dir, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["app.tsx"] }));
    await bin(["typescript", "bin", "tsc"], "--project", dir).catch(({ stdout }) => assert.fail(stdout));
  }
});

const APPLICATION = `
import type { Message, Outgoing, WeeziqError } from "@weeziq/client";
import { WeeziqProvider, useAiChat, useConnection, useDomainStats, useRoom, useVisit, useVisitors, useWeeziq, type AiChat, type RoomState } from "@weeziq/react";

function Chat({ id }: { id: string | null }) {
  const { messages, pending, status, error, send, loadEarlier } = useRoom(id, { userId: "ann", userName: "Ann" });
  const shown: Message[] = messages;
  const unsent: readonly Outgoing[] = pending;
  const why: WeeziqError | undefined = error;
  // @ts-expect-error there is no such status
  if (status === "gone") return null;
  // @ts-expect-error a name is missing
  useRoom(id, { userId: "ann" });
  const ask: AiChat = useAiChat({ userId: "ann", ...(id === null ? {} : { roomId: id }) });
  send("Hello").then(({ seq }) => seq.toFixed());
  ask.send("?").then(({ finishReason }) => finishReason.length);
  loadEarlier(10).then(() => {});
  const { visitors, activeVisitors } = useVisitors("shop");
  useWeeziq()?.files.upload(new File([], "a")).then(({ url }) => url.length);
  const { visitorId } = useVisit("shop", { data: { plan: "free" } });
  return <p>{shown.length}{unsent.length}{why?.code}{visitors[0]?.browser}{activeVisitors}{visitorId?.length}{useConnection().retryInMs}{Object.keys(useDomainStats().stats)}</p>;
}
const first: RoomState["messages"] = [];
// @ts-expect-error where to?
export const wrong = <WeeziqProvider><Chat id="room" /></WeeziqProvider>;
export default () => <WeeziqProvider url="wss://chat.example.com/ws" onError={({ code }) => code.length}><Chat id={first[0]?.roomId ?? null} /></WeeziqProvider>;
`;
