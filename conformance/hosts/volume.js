/**
 * A small file system over a folder, to run out of space on. It is in memory, in a mount namespace of its own that a process
 * holds open: nobody else sees it, and it is gone with that process, however the suite ends. Root may mount it, and so may
 * anyone where the kernel lets them have user namespaces.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { within } from "./child.js";

const MOUNTED_MS_MAX = 30_000;
const CHUNK = Buffer.alloc(4096, "ballast ");

const [UNSHARE, NSENTER] = process.getuid?.() === 0 ? [["--mount"], ["--mount"]] : [["--mount", "--map-root-user"], ["--mount", "--user", "--preserve-credentials"]];
const HOLD = 'mount -t tmpfs -o size="$2" tmpfs "$1" && echo mounted && exec cat';

/** @type {{why: string | null} | undefined} */
let tried;

/** Why there can be none here, or null. */
export function whyNoVolume() {
  if (!tried) {
    const { error, status, stderr } = spawnSync("unshare", [...UNSHARE, "sh", "-c", HOLD, "sh", "/tmp", "65536"], { input: "", encoding: "utf8" });
    tried = { why: status === 0 ? null : `no small file system can be mounted here: ${(error?.message ?? stderr).trim()}` };
  }
  return tried.why;
}

export class Volume {
  /** @param {string} path @param {import("node:child_process").ChildProcess} holder */
  constructor(path, holder) {
    this.path = path;
    this.holder = holder;
    /** the command that runs another one where the volume is to be seen @type {string[]} */
    this.entering = ["nsenter", `--target=${holder.pid}`, ...NSENTER];
  }

  /** @param {string} path a folder @param {number} bytes */
  static async mount(path, bytes) {
    // Ends with our end of its input, even if we are killed.
    const holder = spawn("unshare", [...UNSHARE, "sh", "-c", HOLD, "sh", path, String(bytes)], { stdio: ["pipe", "pipe", "inherit"] });
    await within(MOUNTED_MS_MAX, once(holder.stdout, "data"), `${path} was not mounted`);
    return new Volume(path, holder);
  }

  get #ballast() {
    return join(`/proc/${this.holder.pid}/root`, this.path, "ballast");
  }

  /** Takes all the space there is. */
  async fill() {
    const file = await open(this.#ballast, "a");
    try {
      for (;;) await file.write(CHUNK);
    } catch (error) {
      if (error.code !== "ENOSPC") throw error;
    } finally {
      await file.close();
    }
  }

  async free() {
    await rm(this.#ballast, { force: true });
  }

  async unmount() {
    const ended = once(this.holder, "exit");
    this.holder.stdin.end();
    await ended;
  }
}
