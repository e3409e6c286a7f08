/** Starts that must fail: before anything is served, with a sentence that says what is wrong. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createHost } from "./hosts/index.js";

/**
 * One sentence that names what is wrong, and no zero.
 * @param {Record<string, string>} env @param {string} naming
 * @param {string[]} [entering] a command that runs the host's where it is to run
 * @returns {Promise<string>} what it wrote
 */
export async function assertRefusesToStart(env, naming, entering) {
  const { code, output } = await createHost().runToExit(env, entering);
  assert.ok(code !== 0 && code !== null, `exit code ${code}; it wrote:\n${output}`);
  assert.doesNotMatch(output, /panicked|RUST_BACKTRACE/);
  const lines = output.trim().split("\n");
  const sentence = lines.find((line) => line.includes(naming));
  assert.ok(sentence, `a line should name ${naming}; it wrote:\n${output}`);
  assert.ok(sentence.trim().split(/\s+/).length >= 4, `a sentence, not a code: ${sentence}`);
  return output;
}

/** @param {(dir: string) => Promise<unknown>} use */
export async function inTempDir(use) {
  const dir = await mkdtemp(join(tmpdir(), "weeziq-conformance-"));
  try {
    await use(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
