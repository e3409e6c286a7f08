/** The native host: the `weeziq` binary on a free port of 127.0.0.1 with a data directory of its own. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { exitOf, isReady, spawnGroup, untilReady, within } from "./child.js";
import { Volume, whyNoVolume } from "./volume.js";

const READY_MS_MAX = 60_000;
const EXIT_MS_MAX = 60_000;

/** @returns {import("./index.js").Host} */
export function create() {
  return new NativeHost();
}

/** @typedef {import("./child.js").Exit} Exit */

class NativeHost {
  capabilities = {
    process: true,
    heartbeats: true,
    backpressure: true,
    deadlines: true,
    framing: true,
    ownLog: true,
    shards: true,
    socketIo: true,
    eviction: false,
    panics: false,
    costs: false,
    archive: false,
    metrics: true,
    memory: existsSync("/proc/self/status"),
    // Asked only where a test asks.
    get smallStorage() {
      return whyNoVolume() ?? true;
    },
  };
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
  /** Where the storage is, if it is a small one. @type {Volume | null} */
  #volume = null;

  async start(env = {}, { storageBytes } = {}) {
    await this.dispose();
    this.dataDir = await mkdtemp(join(tmpdir(), "weeziq-conformance-"));
    if (storageBytes) this.#volume = await Volume.mount(this.dataDir, storageBytes);
    await this.restart(env);
  }

  async restart(env = this.#env) {
    if (this.#child) throw new Error("restart: the host still runs; stop or kill it first");
    this.#env = env;
    const from = this.#log.length;
    this.#child = spawnBinary({ DATA_DIR: this.dataDir, ...env }, (text) => (this.#log += text), this.#volume?.entering);
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
    await this.#volume?.unmount();
    this.#volume = null;
    if (this.dataDir) await rm(this.dataDir, { recursive: true, force: true });
    this.dataDir = null;
  }

  logs() {
    return this.#log;
  }

  memoryBytesPeak() {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, "utf8");
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)[1]) * 1024;
  }

  async fillStorage() {
    await this.#volume.fill();
  }

  async freeStorage() {
    await this.#volume.free();
  }

  async run(args, env = {}, entering = this.#volume?.entering) {
    let output = "";
    const child = spawnBinary({ DATA_DIR: this.dataDir, ...env }, (text) => (output += text), entering, args);
    const exited = exitOf(child);
    const exit = await within(EXIT_MS_MAX, exited, `weeziq ${args.join(" ")} did not end`).catch((error) => {
      child.kill("SIGKILL");
      throw error;
    });
    return { ...exit, output };
  }

  async runToExit(env, entering) {
    let output = "";
    const child = spawnBinary(env, (text) => (output += text), entering);
    const exited = exitOf(child);
    const url = await untilReady({ exited, log: () => output, msMax: EXIT_MS_MAX }, () => servingUrl(output, Object.values(env))).catch(() => null);
    if (child.exitCode !== null || child.signalCode !== null) return { ...(await exited), output };
    child.kill("SIGKILL");
    throw new Error(`the start was expected to fail, yet it ${url ? `serves ${url}` : "runs"}; it wrote:\n${output}`);
  }
}

/** @param {string[]} [entering] a command that runs it where it belongs */
function spawnBinary(env, onOutput, entering = [], words = []) {
  const [command, ...args] = [...entering, binaryPath(), ...words];
  return spawnGroup(command, args, {
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

export function binaryPath() {
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
