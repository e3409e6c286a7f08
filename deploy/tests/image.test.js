/**
 * The Dockerfile as far as it goes without an engine: its last stage is put together by hand as its lines say, from this machine's
 * own libraries instead of the base image's, and entered by chroot as the user that it names. What this does not show: that the
 * base images can be had, that the build stage builds, how an engine counts the health check.
 */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, chownSync, copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { binary, repository } from "./weeziq.js";

const skip = process.platform !== "linux" ? "only Linux has chroot and its own libraries by ldd" : process.getuid() !== 0 && "chroot takes root";

/** What the last stage says, instruction by instruction. */
function lastStage() {
  const lines = readFileSync(join(repository, "Dockerfile"), "utf8").split("\n").filter((line) => line && !line.startsWith("#"));
  const from = lines.findLastIndex((line) => line.startsWith("FROM "));
  const all = (instruction) => lines.slice(from).filter((line) => line.startsWith(`${instruction} `)).map((line) => line.slice(instruction.length + 1));
  return {
    base: lines[from],
    user: all("USER").at(-1),
    env: Object.fromEntries(all("ENV").flatMap((line) => line.split(" ").map((pair) => pair.split("=")))),
    entrypoint: JSON.parse(all("ENTRYPOINT").at(-1)),
    health: JSON.parse(/ CMD (\[.*\])$/.exec(all("HEALTHCHECK").at(-1))[1]),
    volume: all("VOLUME").at(-1),
  };
}

/** An empty root with the program, what it is linked against, certificates, and the folder for the data. */
function root(stage) {
  const root = mkdtempSync(join(tmpdir(), "weeziq-image-"));
  const put = (path, to = path) => {
    mkdirSync(join(root, dirname(to)), { recursive: true });
    copyFileSync(path, join(root, to));
  };
  put(binary(), stage.entrypoint[0]);
  chmodSync(join(root, stage.entrypoint[0]), 0o755);
  const linked = execFileSync("ldd", [binary()], { encoding: "utf8" });
  for (const [, path] of linked.matchAll(/(\/\S+) \(0x/g)) put(path);
  if (existsSync("/etc/ssl/certs")) cpSync("/etc/ssl/certs", join(root, "etc/ssl/certs"), { recursive: true, dereference: true });
  const [uid, gid] = stage.user.split(":").map(Number);
  mkdirSync(join(root, stage.volume));
  chownSync(join(root, stage.volume), uid, gid);
  chmodSync(root, 0o755);
  return root;
}

test("its program runs alone, as nobody, writes to its volume only, says when it is ready, and stops when told", { skip, timeout: 120_000 }, async (t) => {
  const stage = lastStage();
  assert.match(stage.base, /distroless\/cc-debian12:nonroot$/, "which has these libraries and no shell");
  assert.notEqual(stage.user.split(":")[0], "0");
  assert.equal(stage.env.DATA_DIR, stage.volume);
  const folder = root(stage);
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  // Below those that a system gives to whoever asks for any.
  const port = String(20_000 + (process.pid % 12_000));
  const env = { PATH: process.env.PATH, ...stage.env, PORT: port, HOST: "127.0.0.1" };
  const inside = (command) => ["--userspec", stage.user, folder, ...command];
  const child = spawn("chroot", inside(stage.entrypoint), { env, stdio: ["ignore", "inherit", "pipe"] });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text) => (log += text));
  const exited = new Promise((resolve) => child.once("exit", (code) => resolve(code)));
  try {
    const healthy = () => {
      try {
        return execFileSync("chroot", inside(stage.health), { env, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }) === "ready\n";
      } catch {
        return false;
      }
    };
    const giveUpAt = Date.now() + 60_000;
    while (!healthy()) {
      assert.ok(Date.now() < giveUpAt && child.exitCode === null, `never healthy; it wrote:\n${log}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
    assert.match(status, new RegExp(`^Uid:\\s+${stage.user.split(":")[0]}\\s`, "m"));
    assert.match(status, /^CapEff:\s+0+$/m);
    for (const path of ["/", "/usr/local/bin", "/etc"]) {
      assert.throws(() => execFileSync("chroot", inside([stage.entrypoint[0], "restore", "/nothing"]), { env: { ...env, DATA_DIR: join(path, "new") }, stdio: "pipe" }), /cannot be made|Permission denied/);
    }
    const answer = await fetch(`http://127.0.0.1:${port}/ai/chat`, { method: "POST", body: JSON.stringify({ message: "hello", userId: "ann" }) });
    assert.equal(answer.status, 200);
  } finally {
    child.kill("SIGTERM");
  }
  assert.equal(await exited, 0);
  assert.ok(existsSync(join(folder, "data", "shards")), "what was said is in the volume");
});
