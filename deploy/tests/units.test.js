/**
 * The files for supervisors and monitors, held against the tools that will read them. What this does not show: the service under a
 * running systemd, which takes a machine that was booted by it; what the unit promises to keep out is taken from systemd's own analysis.
 */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { binary, lacks, repository } from "./weeziq.js";

const deploy = join(repository, "deploy");
/** Of ten: 9.6 is a unit that says nothing, 1.2 is what this one has. */
const EXPOSURE_MAX = 1.5;

/** systemd looks whether the program is there; where it will be, there is none yet. */
function units(t) {
  const folder = mkdtempSync(join(tmpdir(), "weeziq-units-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const files = readdirSync(deploy).filter((name) => /\.(service|timer)$/.test(name));
  for (const name of files) {
    writeFileSync(join(folder, name), readFileSync(join(deploy, name), "utf8").replaceAll("/usr/local/bin/weeziq", binary()));
  }
  return { folder, files };
}

const analyze = (folder, ...words) => spawnSync("systemd-analyze", words, { cwd: folder, encoding: "utf8" });
const noSystemd = spawnSync("systemd-analyze", ["--version"]).status !== 0 && "systemd-analyze is not here";

test("systemd understands every line of the units", { skip: noSystemd }, (t) => {
  const { folder, files } = units(t);
  const { status, stderr } = analyze(folder, "verify", ...files.map((name) => `./${name}`));
  assert.equal(stderr.trim(), "");
  assert.equal(status, 0);
});

test("the service may do little beside its work", { skip: noSystemd }, (t) => {
  const { folder } = units(t);
  const { status, stdout, stderr } = analyze(folder, "security", "--offline=true", "--no-pager", `--threshold=${EXPOSURE_MAX * 10}`, "./weeziq.service");
  assert.equal(status, 0, stdout + stderr);
});

test("the unit's settings are settings", () => {
  const known = execFileSync(binary(), ["config"], { encoding: "utf8", cwd: tmpdir() }).split("\n").map((line) => line.split("=")[0]);
  const unit = readFileSync(join(deploy, "weeziq.service"), "utf8");
  const named = [...unit.matchAll(/^Environment=(.*)$/gm)].flatMap(([, pairs]) => pairs.split(" ").map((pair) => pair.split("=")[0]));
  assert.ok(named.length >= 4);
  for (const name of named) assert.ok(known.includes(name), name);
});

test("hadolint finds nothing in the Dockerfile", { skip: lacks("HADOLINT") }, () => {
  const { status, stdout } = spawnSync(process.env.HADOLINT, [join(repository, "Dockerfile")], { encoding: "utf8" });
  assert.equal(stdout, "");
  assert.equal(status, 0);
});

test("the image is built by the toolchain that the sources are pinned to", () => {
  const [, channel] = /channel = "(.*)"/.exec(readFileSync(join(repository, "rust-toolchain.toml"), "utf8"));
  assert.match(readFileSync(join(repository, "Dockerfile"), "utf8"), new RegExp(`^FROM rust:${channel}-`, "m"));
});

test("Prometheus takes the alert rules, and they go off when they should", { skip: lacks("PROMTOOL") }, () => {
  for (const words of [["check", "rules", "deploy/alerts.yml"], ["test", "rules", "deploy/tests/alerts.test.yml"]]) {
    const { status, stdout, stderr } = spawnSync(process.env.PROMTOOL, words, { cwd: repository, encoding: "utf8" });
    assert.equal(status, 0, stdout + stderr);
  }
});
