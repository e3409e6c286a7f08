/** A host's process: in a group of its own, its output collected, and never left behind by the suite. */
import { spawn } from "node:child_process";

/** @typedef {{code: number | null, signal: string | null}} Exit */

/**
 * @param {string} command @param {string[]} args
 * @param {{cwd: string, env: Record<string, string>, onOutput: (text: string) => void, ipc?: boolean}} options
 */
export function spawnGroup(command, args, { cwd, env, onOutput, ipc = false }) {
  const child = spawn(command, args, {
    // Its own process group: a Ctrl-C on the suite must reach the suite's clean-up, not the host first; and what the host
    // starts can be killed together with it.
    detached: true,
    cwd,
    stdio: ["ignore", "pipe", "pipe", ...(ipc ? ["ipc"] : [])],
    env,
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8");
    stream.on("data", onOutput);
  }
  // The suite may die by an exception or a signal; its hosts must not outlive it.
  const killIt = () => killGroup(child);
  process.once("exit", killIt);
  child.once("exit", () => process.removeListener("exit", killIt));
  return child;
}

/** @param {import("node:child_process").ChildProcess} child */
export function killGroup(child) {
  try {
    if (child.pid) process.kill(-child.pid, "SIGKILL");
  } catch (error) {
    // Nobody is left in the group.
    if (error.code !== "ESRCH") throw error;
  }
}

/** @returns {Promise<Exit>} */
export function exitOf(child) {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    // "close" comes after the pipes are drained, so the log is whole.
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
}

/**
 * Asks again and again, until there is an answer.
 * @template T
 * @param {{exited: Promise<Exit>, log: () => string, msMax: number}} host
 * @param {() => Promise<T | undefined>} ask
 * @returns {Promise<T>} rejects with the log if the process exits before, or never answers
 */
export async function untilReady({ exited, log, msMax }, ask) {
  let exit = null;
  exited.then((e) => (exit = e), (error) => (exit = { code: error.message, signal: null }));
  const giveUpAt = Date.now() + msMax;
  while (Date.now() < giveUpAt) {
    if (exit) throw new Error(`the host exited with ${exit.code ?? exit.signal} before it was ready; it wrote:\n${log()}`);
    const answer = await ask();
    if (answer !== undefined) return answer;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new Error(`the host was not ready within ${msMax} ms; it wrote:\n${log()}`);
}

/** @param {string} url @param {string} path where it says so @returns {Promise<boolean>} whether it serves already */
export async function isReady(url, path = "/readyz") {
  const reply = await fetch(`${url}${path}`).catch(() => null);
  await reply?.body?.cancel();
  return reply?.status === 200;
}

/** @template T @param {number} ms @param {Promise<T>} promise @param {string} sentence @returns {Promise<T>} */
export function within(ms, promise, sentence) {
  let timer;
  const guard = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${sentence} within ${ms} ms`)), ms);
  });
  return Promise.race([promise, guard]).finally(() => clearTimeout(timer));
}

export const POLL_MS = 20;
