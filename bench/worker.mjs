/**
 * Messages a second through one `ChatRoom` in workerd: the Worker as it is built, served by the runtime alone, with nothing of
 * wrangler in front; `weeziq-bench` speaks, checks and times. Prints a table for docs/cloudflare.md.
 *
 *     node bench/worker.mjs [--rounds 3] [--seconds 5]
 *
 * It needs `npm ci`, `cargo xtask worker` and `cargo build --release -p weeziq-bench` (or WEEZIQ_BENCH, the program).
 */
import { execFileSync, spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const string = (value) => ({ type: /** @type {const} */ ("string"), default: value });
const { values: options } = parseArgs({ options: { rounds: string("3"), seconds: string("5") } });

/** Two speakers, as many messages under way as keep the object busy; then one after the other, for the time that one takes. */
const RUNS = [2, 20, 100].flatMap((members) => [
  { members, senders: 2, inFlight: 16 },
  { members, senders: 1, inFlight: 1 },
]);
const ROADS = { "`/ws?roomId=`": "/ws?roomId={room}", "`/ws`": "/ws" };

const bench = process.env.WEEZIQ_BENCH ?? join(root, "target/release/weeziq-bench");
const workerd = createRequire(join(root, "package.json")).resolve("workerd/bin/workerd");

/** A fresh runtime with empty storage. @returns {Promise<{port: number, pid: number, stop: () => Promise<void>}>} */
async function serve() {
  const dir = await mkdtemp(join(tmpdir(), "weeziq-workerd-"));
  await mkdir(join(dir, "objects"));
  for (const file of ["index.js", "index_bg.wasm"]) await writeFile(join(dir, file), await readFile(join(root, "crates/worker/build", file)));
  const wrangler = await readFile(join(root, "crates/worker/wrangler.toml"), "utf8");
  const [, date] = /^compatibility_date = "(.+)"$/m.exec(wrangler);
  await writeFile(join(dir, "worker.capnp"), config(dir, date));
  const child = spawn(workerd, ["serve", "worker.capnp", "--experimental", "--control-fd=3"], { cwd: dir, stdio: ["ignore", "inherit", "inherit", "pipe"] });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const port = await new Promise((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`workerd exited with ${code}`)));
    child.stdio[3].setEncoding("utf8").on("data", (text) => {
      const listening = text.split("\n").filter(Boolean).map((line) => JSON.parse(line)).find(({ event }) => event === "listen");
      if (listening) resolve(listening.port);
    });
  });
  const stop = async () => {
    child.kill();
    await ended;
    await rm(dir, { recursive: true, force: true });
  };
  return { port, pid: child.pid, stop };
}

const config = (dir, date) => `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "weeziq", worker = .worker), (name = "objects", disk = (path = ${JSON.stringify(join(dir, "objects"))}, writable = true))],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "weeziq")],
);
const worker :Workerd.Worker = (
  modules = [(name = "index.js", esModule = embed "index.js"), (name = "index_bg.wasm", wasm = embed "index_bg.wasm")],
  compatibilityDate = "${date}",
  bindings = [
    (name = "CHAT_ROOM", durableObjectNamespace = "ChatRoom"),
    (name = "VISITOR_TRACKER", durableObjectNamespace = "VisitorTracker"),
    (name = "EVENTS_PER_SEC", text = "0"),
  ],
  durableObjectNamespaces = [
    (className = "ChatRoom", uniqueKey = "ChatRoom", enableSql = true),
    (className = "VisitorTracker", uniqueKey = "VisitorTracker", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "objects"),
);
`;

/** One run on a runtime of its own. */
async function measure(path, { members, senders, inFlight }) {
  const { port, pid, stop } = await serve();
  const json = join(tmpdir(), `weeziq-worker-${process.pid}.json`);
  try {
    const flags = { url: `ws://127.0.0.1:${port}${path}`, pid, members, senders, "in-flight": inFlight, seconds: options.seconds, json };
    // It exits with 1 if anything was lost, doubled or out of order, and that ends all.
    execFileSync(bench, ["fanout-saturated", ...Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`)], { stdio: ["ignore", "ignore", "inherit"] });
    const { runs: [run] } = JSON.parse(await readFile(json, "utf8"));
    return run;
  } finally {
    await rm(json, { force: true });
    await stop();
  }
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const round = (value) => (value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString("en"));

const results = new Map();
for (let n = 1; n <= Number(options.rounds); n += 1) {
  for (const [road, path] of Object.entries(ROADS)) {
    for (const run of RUNS) {
      const key = `${road} | ${run.members} | ${run.senders * run.inFlight}`;
      results.set(key, [...(results.get(key) ?? []), await measure(path, run)]);
      process.stderr.write(`round ${n}: ${key}\n`);
    }
  }
}

console.log("| over | members | under way | messages/s | deliveries/s | p50 ms | p99 ms | CPU µs a message | CPU µs a delivery | others' CPU % |\n|---|---|---|---|---|---|---|---|---|---|");
for (const [key, runs] of results) {
  const of = (figure) => median(runs.map(({ traffic }) => figure(traffic)));
  const cells = [
    of((t) => t.messages / (t.elapsedMs / 1000)),
    of((t) => t.deliveriesPerSec),
    of((t) => t.latencyUs.p50 / 1000),
    of((t) => t.latencyUs.p99 / 1000),
    of((t) => t.cpu.ticksUs / t.messages),
    of((t) => t.cpuUsPerDelivery),
    // Others on the machine, and what its host took: beyond a few per cent times are not worth quoting.
    of((t) => t.disturbance.othersPercent + t.disturbance.stolenPercent),
  ];
  console.log(`| ${key} | ${cells.map(round).join(" | ")} |`);
}
