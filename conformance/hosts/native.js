/** The native host: the `weeziq` binary on a free port of 127.0.0.1 with a data directory of its own. */
import { existsSync, statSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { exitOf, isReady, spawnGroup, untilReady, within } from "./child.js";

const READY_MS_MAX = 20_000;
const EXIT_MS_MAX = 20_000;

/** @returns {import("./index.js").Host} */
export function create() {
  return new NativeHost();
}

/** @typedef {import("./child.js").Exit} Exit */

class NativeHost {
  capabilities = { process: true, heartbeats: true, backpressure: true, framing: true, ownLog: true, shards: true, eviction: false, files: false, panics: false };
  baseUrl = "";
  wsUrl = "";
  /** @type {string | null} */
  dataDir = null;
  #env = {};
  #log = "";
  /** @type {import("node:child_process").ChildProcess | null} */
  #child = null;
  /** @type {Promise<Exit> | null} */
  #exited = null;

  async start(env = {}) {
    await this.dispose();
    this.dataDir = await mkdtemp(join(tmpdir(), "weeziq-conformance-"));
    await this.restart(env);
  }

  async restart(env = this.#env) {
    if (this.#child) throw new Error("restart: the host still runs; stop or kill it first");
    this.#env = env;
    const from = this.#log.length;
    this.#child = spawnBinary({ DATA_DIR: this.dataDir, ...env }, (text) => (this.#log += text));
    this.#exited = exitOf(this.#child);
    // An exit is looked at only where someone waits for it; unwatched it must not become an unhandled rejection.
    this.#exited.catch(() => {});
    try {
      const log = () => this.#log.slice(from);
      this.baseUrl = await untilReady({ exited: this.#exited, log, msMax: READY_MS_MAX }, () => servingUrl(log(), Object.values(env)));
    } catch (error) {
      await this.kill9();
      throw error;
    }
    this.wsUrl = `${this.baseUrl.replace(/^http/, "ws")}/ws`;
  }

  stop() {
    return this.signal("SIGTERM");
  }

  async kill9() {
    await this.signal("SIGKILL");
  }

  async signal(name) {
    const [child, exited] = [this.#child, this.#exited];
    if (!child || !exited) return { code: null, signal: null };
    child.kill(name);
    const exit = await within(EXIT_MS_MAX, exited, `${name}: the host did not exit`).catch((error) => {
      child.kill("SIGKILL");
      throw error;
    });
    this.#child = this.#exited = null;
    return exit;
  }

  async dispose() {
    await this.kill9();
    if (this.dataDir) await rm(this.dataDir, { recursive: true, force: true });
    this.dataDir = null;
  }

  logs() {
    return this.#log;
  }

  async runToExit(env) {
    let output = "";
    const child = spawnBinary(env, (text) => (output += text));
    try {
      const exit = await within(EXIT_MS_MAX, exitOf(child), "the start was expected to fail, yet it runs");
      return { ...exit, output };
    } catch (error) {
      child.kill("SIGKILL");
      throw new Error(`${error.message}; it wrote:\n${output}`);
    }
  }
}

function spawnBinary(env, onOutput) {
  return spawnGroup(binaryPath(), [], {
    // Started where no .env of the developer is found.
    cwd: tmpdir(),
    env: { ...inherited(), HOST: "127.0.0.1", PORT: "0", ...env },
    onOutput,
  });
}

/** Only what a process needs to run; a key or an origin list of the developer's shell must not change a result. */
function inherited() {
  const kept = Object.fromEntries(["PATH", "HOME", "TMPDIR", "RUST_BACKTRACE"].flatMap((k) => (process.env[k] ? [[k, process.env[k]]] : [])));
  return process.env.WEEZIQ_SHARDS ? { ...kept, SHARDS: process.env.WEEZIQ_SHARDS } : kept;
}

function binaryPath() {
  const candidates = process.env.WEEZIQ_BIN
    ? [process.env.WEEZIQ_BIN]
    : ["release", "debug"].map((profile) => fileURLToPath(new URL(`../../target/${profile}/weeziq`, import.meta.url)));
  // The one built last: a stale build of the other profile must not be what is judged.
  const [found] = candidates.filter((path) => existsSync(path)).sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  if (!found) throw new Error(`no weeziq binary (looked for ${candidates.join(", ")}); build it or set WEEZIQ_BIN`);
  return found;
}

/** With PORT=0 the one line with the URL, logged once connections are accepted, is the only way to learn the port. */
async function servingUrl(log, envValues) {
  for (const url of urlsIn(log, envValues)) if (await isReady(url)) return url;
  return undefined;
}

function urlsIn(text, envValues) {
  // A log in colour ends the URL with an escape sequence.
  const found = text.match(/https?:\/\/[^\s"'<>\x1b]+/g) ?? [];
  return [...new Set(found)]
    .map((url) => url.replace(/[).,;]+$/, "").replace(/\/+$/, ""))
    // A provider's base URL in the log is not ours.
    .filter((url) => !envValues.some((value) => value?.includes(url)))
    .filter((url) => URL.canParse(url) && new URL(url).port !== "")
    .map((url) => new URL(url).origin.replace("//0.0.0.0:", "//127.0.0.1:"));
}
