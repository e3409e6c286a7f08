/** docs/operations.md, block by block: what is there to be typed is run as it stands, in an empty folder, or says why it is not. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { binary, repository } from "./weeziq.js";

const page = join(repository, "docs", "operations.md");
const TIMEOUT_MS = 300_000;

/** Every fenced block: its language, the file it names, its text, where it stands, and why it is not run, if it is not. */
function blocks() {
  const lines = readFileSync(page, "utf8").split("\n");
  const found = [];
  for (let n = 0; n < lines.length; n += 1) {
    const [, language, name] = /^```(\w+)(?: (\S+))?$/.exec(lines[n]) ?? [];
    if (!language) {
      assert.doesNotMatch(lines[n], /^\s*```/, `line ${n + 1}: a block says what language it is in`);
      continue;
    }
    const end = lines.indexOf("```", n + 1);
    const [, why] = /^<!-- not run: (.{20,}) -->$/.exec(lines[n - 1]) ?? [];
    found.push({ language, name, why, line: n + 1, text: lines.slice(n + 1, end).join("\n") });
    n = end;
  }
  return found;
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return String(port);
}

test("every command on the page works, or says why it is not run", { timeout: TIMEOUT_MS }, async (t) => {
  const all = blocks();
  const run = all.filter((block) => !block.why);
  for (const { language, name, line } of run) {
    assert.ok(language === "sh" || (language === "yaml" && name), `line ${line}: a block of ${language} is neither run nor says why not`);
  }
  const commands = run.filter(({ language }) => language === "sh");
  assert.ok(commands.length >= 7, `${commands.length} blocks`);

  const folder = mkdtempSync(join(tmpdir(), "weeziq-docs-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const [bin, home] = ["bin", "home"].map((name) => join(folder, name));
  mkdirSync(bin);
  mkdirSync(home);
  symlinkSync(binary(), join(bin, "weeziq"));
  // Whoever reads has these ports free; here somebody may have them.
  const ports = { 8787: await freePort(), 8788: await freePort() };
  const placed = (text) => text.replaceAll(/\b878[78]\b/g, (port) => ports[port]);
  const script = commands.map(({ line, text }) => `echo "--- line ${line}" >&2\n${placed(text)}`).join("\n");
  const { status, stdout, stderr, error } = spawnSync("bash", ["-c", `set -euo pipefail\ntrap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n${script}`], {
    cwd: home,
    env: { PATH: `${bin}:${process.env.PATH}`, HOME: home },
    encoding: "utf8",
    timeout: TIMEOUT_MS - 10_000,
  });
  assert.equal(error, undefined);
  assert.equal(status, 0, `the last block begun is the one that failed:\n${stderr}\n${stdout}`);
  assert.match(stdout, /first-backup: \d+ files, .* checked/);
  assert.match(stdout, /shard-0\.db: whole/);

  const promtool = process.env.PROMTOOL;
  for (const { name, text } of run.filter(({ language }) => language === "yaml")) {
    writeFileSync(join(home, name), text);
    if (!promtool) t.diagnostic(`${name} is not checked: PROMTOOL is not set`);
    else {
      copyFileSync(join(repository, "deploy", "alerts.yml"), join(home, "alerts.yml"));
      const { status, stdout, stderr } = spawnSync(promtool, ["check", "config", name], { cwd: home, encoding: "utf8" });
      assert.equal(status, 0, stdout + stderr);
      const checked = spawnSync(promtool, ["check", "metrics"], { input: readFileSync(join(home, "metrics.txt")), encoding: "utf8" });
      assert.equal(checked.stdout + checked.stderr, "", "promtool has nothing to say of the metrics");
    }
  }
});

test("the page names only alerts, samples and files that there are", () => {
  const text = readFileSync(page, "utf8");
  const alerts = [...readFileSync(join(repository, "deploy/alerts.yml"), "utf8").matchAll(/alert: (\w+)/g)].map(([, name]) => name);
  const named = new Set([...text.matchAll(/`(Weeziq\w+)`/g)].map(([, name]) => name));
  for (const name of named) assert.ok(alerts.includes(name), `${name} is no alert`);
  const sources = spawnSync("git", ["grep", "-ho", "\"\\(weeziq\\|process\\)_[a-z_]*\"", "--", "crates/server/src/metrics", "crates/core/src/metrics"], { cwd: repository, encoding: "utf8" }).stdout;
  for (const [, sample] of text.matchAll(/\b((?:weeziq|process)_[a-z_]+)\b/g)) assert.ok(sources.includes(`"${sample}"`), `${sample} is no sample`);
  for (const [, link] of text.matchAll(/\]\(([^)#]+)\)/g)) {
    assert.doesNotThrow(() => readFileSync(join(dirname(page), link)), link);
  }
});
