/**
 * The Cloudflare host: the Worker under `wrangler dev`, with its storage in a folder of its own. Suites about eviction get
 * it from cloudflare-evictable.js instead, which serves the same on the same storage, and can evict.
 */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { exitOf, isReady, killGroup, POLL_MS, spawnGroup, untilReady, within } from "./child.js";

/** Two seconds on a machine that is not busy. */
const READY_MS_MAX = 120_000;
const EXIT_MS_MAX = 60_000;
/** The runtime itself gives up after 30 s on an object that is still busy. */
const EVICT_MS_MAX = 60_000;
/** The counts come once nothing is under way: an answer of a model may be. */
const COSTS_MS_MAX = 60_000;

const NODE_MAJOR_MIN = 22;

const EVICTABLE = fileURLToPath(new URL("cloudflare-evictable.js", import.meta.url));
const METERED = fileURLToPath(new URL("cloudflare-metered.js", import.meta.url));
/** An object is named as what it serves. */
const BINDINGS = { room: "CHAT_ROOM", domain: "VISITOR_TRACKER" };

/** @returns {import("./index.js").Host & {pid: number | undefined}} */
export function create() {
  return new CloudflareHost();
}

class CloudflareHost {
  capabilities = { process: false, heartbeats: false, backpressure: false, deadlines: false, memory: false, smallStorage: false, framing: false, ownLog: false, shards: false, socketIo: false, eviction: true, panics: true, costs: true, archive: true, metrics: false };
  baseUrl = "";
  wsUrl = "";
  /** @type {string | null} */
  dataDir = null;
  /** Everything of this host: storage, and what wrangler writes into its user's home. @type {string | null} */
  #dir = null;
  #env = {};
  /** @type {import("./index.js").StartOptions} */
  #options = {};
  #log = "";
  /** @type {import("node:child_process").ChildProcess | null} */
  #child = null;
  /** @type {Promise<import("./child.js").Exit> | null} */
  #exited = null;

  async start(env = {}, options = {}) {
    await this.dispose();
    this.#dir = await mkdtemp(join(tmpdir(), "weeziq-conformance-"));
    this.dataDir = join(this.#dir, "state");
    await mkdir(join(this.#dir, "tmp"));
    await writeFile(noSecrets(this.#dir), "");
    this.#options = options;
    await this.restart(env);
  }

  async restart(env = this.#env) {
    if (this.#child) throw new Error("restart: the host still runs; stop or kill it first");
    this.#env = env;
    const from = this.#log.length;
    this.#child = spawnWorker(this.#dir, this.dataDir, env, this.#options, (text) => (this.#log += text));
    this.#exited = exitOf(this.#child);
    // An exit is looked at only where someone waits for it; unwatched it must not become an unhandled rejection.
    this.#exited.catch(() => {});
    try {
      const log = () => this.#log.slice(from);
      this.baseUrl = await untilReady({ exited: this.#exited, log, msMax: READY_MS_MAX }, () => servingUrl(log(), this.#options.lacking ? "/healthz" : "/readyz"));
    } catch (error) {
      await this.kill9();
      throw error;
    }
    this.wsUrl = `${this.baseUrl.replace(/^http/, "ws")}/ws`;
  }

  stop() {
    return this.#end((child) => child.kill("SIGTERM"));
  }

  async kill9() {
    await this.#end(killGroup);
  }

  async #end(signal) {
    const [child, exited] = [this.#child, this.#exited];
    if (!child || !exited) return { code: null, signal: null };
    signal(child);
    const exit = await within(EXIT_MS_MAX, exited, "the host did not exit").finally(() => killGroup(child));
    // Not the processes: where nobody reaps them, killed ones stay as zombies. Their port is free at once.
    await within(EXIT_MS_MAX, untilRefused(this.baseUrl), `${this.baseUrl} was still served`);
    this.#child = this.#exited = null;
    return exit;
  }

  async dispose() {
    await this.kill9();
    if (this.#dir) await rm(this.#dir, { recursive: true, force: true });
    this.#dir = this.dataDir = null;
  }

  logs() {
    return this.#log;
  }

  /** Also the id of its process group. */
  get pid() {
    return this.#child?.pid;
  }

  async evict(kind, name) {
    await this.#ask({ binding: BINDINGS[kind], name });
  }

  async evictAll() {
    await this.#ask({});
  }

  async costs() {
    const reply = await fetch(`${this.baseUrl}/costs`, { signal: AbortSignal.timeout(COSTS_MS_MAX) });
    if (!reply.ok) throw new Error("costs: the host was not started with {metered: true}");
    return reply.json();
  }

  /** @param {{binding?: string, name?: string}} eviction */
  async #ask(eviction) {
    const child = this.#child;
    if (!child?.connected) throw new Error("evict: the host was not started with {evictable: true}");
    const answer = new Promise((resolve) => child.once("message", resolve));
    child.send(eviction);
    const { error } = await within(EVICT_MS_MAX, answer, `evict ${JSON.stringify(eviction)}: no answer`);
    if (error) throw new Error(`evict ${JSON.stringify(eviction)}: ${error}`);
  }
}

function spawnWorker(dir, dataDir, env, { evictable = false, panics = false, metered = false }, onOutput) {
  // What is configured for production is not what a suite means that says nothing of it.
  const { PORT = "0", ...vars } = { NODE_ENV: "", ...env };
  const settings = Object.entries(vars).filter(([, value]) => value !== undefined);
  const shared = [
    `--config=${configPath()}`,
    `--persist-to=${dataDir}`,
    // Named, so that a developer's .dev.vars or .env beside the configuration is not read.
    `--env-file=${noSecrets(dir)}`,
    // One argument each and cut at the first colon: whatever follows arrives as it is, and is not shown in the log.
    ...settings.map(([name, value]) => `--var=${name}:${value}`),
  ];
  const dev = ["dev", "--local", "--ip=127.0.0.1", `--port=${PORT}`, "--inspector-port=0", "--show-interactive-dev-session=false"];
  const entry = panics ? [panickingBuild()] : metered ? [METERED] : [];
  dev.splice(1, 0, ...entry);
  const script = evictable ? [EVICTABLE, `--wrangler=${wranglerPath()}`, ...entry.map((path) => `--entry=${path}`)] : [wranglerPath(), ...dev];
  return spawnGroup(nodePath(), ["--no-warnings", ...script, ...shared], {
    cwd: dir,
    env: {
      PATH: process.env.PATH,
      // wrangler keeps logs, caches, logins and a registry of what runs in its user's home.
      HOME: dir,
      TMPDIR: join(dir, "tmp"),
      FORCE_COLOR: "0",
      WEEZIQ_WORKER_BUILT: "1",
      WRANGLER_SEND_METRICS: "false",
      // Says nothing either of a newer wrangler, for which it would have to ask.
      WRANGLER_HIDE_BANNER: "true",
      WRANGLER_CI_DISABLE_CONFIG_WATCHING: "true",
      CLOUDFLARE_CF_FETCH_ENABLED: "false",
      // What wrangler is compiled to is kept, which saves each start 0.4 s.
      NODE_COMPILE_CACHE: fileURLToPath(new URL("../node_modules/.cache/wrangler", import.meta.url)),
      // Two more Workers beside ours, which would start with it each time (0.4 s).
      X_LOCAL_EXPLORER: "false",
      X_LOCAL_OBSERVABILITY: "false",
    },
    onOutput,
    ipc: evictable,
  });
}

/** Built for this alone; no release has its routes. */
function panickingBuild() {
  const path = fileURLToPath(new URL("../../crates/worker/build-panic-route/index.js", import.meta.url));
  if (!existsSync(path)) throw new Error(`no ${path}; run cargo xtask worker --features panic-route`);
  return path;
}

function noSecrets(dir) {
  return join(dir, "no-secrets.env");
}

function configPath() {
  const path = process.env.WEEZIQ_WORKER_CONFIG ?? fileURLToPath(new URL("../../crates/worker/wrangler.toml", import.meta.url));
  if (!existsSync(path)) throw new Error(`no Worker (looked for ${path}); build it or set WEEZIQ_WORKER_CONFIG`);
  return path;
}

/** Wrangler asks for a newer Node than the suite does: the repository brings one. */
function nodePath() {
  const installed = fileURLToPath(new URL("../../node_modules/.bin/node", import.meta.url));
  if (existsSync(installed)) return installed;
  if (Number(process.versions.node.split(".")[0]) < NODE_MAJOR_MIN) throw notInstalled(`node ${NODE_MAJOR_MIN}`);
  return process.execPath;
}

function wranglerPath() {
  try {
    return createRequire(new URL("../../package.json", import.meta.url)).resolve("wrangler");
  } catch {
    throw notInstalled("wrangler");
  }
}

function notInstalled(what) {
  return new Error(`${what} is not installed; run npm ci in the repository's root`);
}

async function servingUrl(log, path) {
  const url = /Ready on (http:\/\/[\w.:]+)/.exec(log)?.[1];
  return url && (await isReady(url, path)) ? url : undefined;
}

async function untilRefused(url) {
  if (!url) return;
  const { hostname, port } = new URL(url);
  while (await accepts(hostname, Number(port))) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
}

function accepts(host, port) {
  return new Promise((resolve) => {
    const socket = connect(port, host);
    socket.once("connect", () => resolve(true));
    socket.once("error", () => resolve(false));
    socket.once("close", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}
