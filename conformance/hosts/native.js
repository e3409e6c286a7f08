/** The native host: the `weeziq` binary on a free port of 127.0.0.1 with a data directory of its own. */
import { spawn } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const READY_MS_MAX = 20_000;
const EXIT_MS_MAX = 20_000;
const READY_POLL_MS = 20;

/** @returns {import("./index.js").Host & {dataDir: string | null, pid: number | undefined, signal: (name: NodeJS.Signals) => Promise<Exit>}} */
export function create() {
  return new NativeHost();
}

/** @typedef {{code: number | null, signal: string | null}} Exit */

class NativeHost {
  capabilities = { process: true, heartbeats: true };
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
      this.baseUrl = await readyUrl(() => this.#log.slice(from), this.#exited, Object.values(env));
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

  get pid() {
    return this.#child?.pid;
  }
}

/**
 * Runs the binary until it exits by itself, for starts that must fail.
 * @param {Record<string, string>} env
 * @param {string[]} [args]
 * @returns {Promise<{code: number | null, signal: string | null, output: string}>} rejects if it is still running after
 *   the guard time (and kills it)
 */
export async function runToExit(env, args = []) {
  let output = "";
  const child = spawnBinary(env, (text) => (output += text), args);
  try {
    const exit = await within(EXIT_MS_MAX, exitOf(child), "the start was expected to fail, yet it runs");
    return { ...exit, output };
  } catch (error) {
    child.kill("SIGKILL");
    throw new Error(`${error.message}; it wrote:\n${output}`);
  }
}

function spawnBinary(env, onOutput, args = []) {
  const child = spawn(binaryPath(), args, {
    // Its own process group: a Ctrl-C on the suite must reach the suite's clean-up, not the server first.
    detached: true,
    // Started where no .env of the developer is found.
    cwd: tmpdir(),
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...inherited(), HOST: "127.0.0.1", PORT: "0", ...env },
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8");
    stream.on("data", onOutput);
  }
  // The suite may die by an exception or a signal; its servers must not outlive it.
  const killIt = () => child.kill("SIGKILL");
  process.once("exit", killIt);
  child.once("exit", () => process.removeListener("exit", killIt));
  return child;
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
async function readyUrl(log, exited, envValues) {
  let exit = null;
  exited.then((e) => (exit = e), () => {});
  const giveUpAt = Date.now() + READY_MS_MAX;
  while (Date.now() < giveUpAt) {
    if (exit) throw new Error(`the host exited with ${exit.code ?? exit.signal} before it was ready; it wrote:\n${log()}`);
    for (const url of urlsIn(log(), envValues)) {
      const ready = await fetch(`${url}/readyz`).catch(() => null);
      await ready?.body?.cancel();
      if (ready?.status === 200) return url;
    }
    await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS));
  }
  throw new Error(`the host was not ready within ${READY_MS_MAX} ms; it wrote:\n${log()}`);
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

function exitOf(child) {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    // "close" comes after the pipes are drained, so the log is whole.
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
}

function within(ms, promise, sentence) {
  let timer;
  const guard = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${sentence} within ${ms} ms`)), ms);
  });
  return Promise.race([promise, guard]).finally(() => clearTimeout(timer));
}
