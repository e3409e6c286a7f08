/** What the commands that take their time say: to people how far they are, to everyone what came of it. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe } from "node:test";
import { post } from "../http.js";
import { sayMany, suite } from "../scenario.js";
import { inTempDir } from "../starts.js";

/** Of util-linux: it runs a command on a terminal of its own. Another program of that name knows no `--version`. */
const whyNoTerminal = /util-linux/.test(spawnSync("script", ["--version"], { encoding: "utf8" }).stdout ?? "") ? false : "script of util-linux is missing";

/** More pages of the database than are copied in one go. */
const [MESSAGES, LETTERS] = [450, 15_000];
const FILES = 4;

/** In an order in which each finds what it needs: what it says meanwhile, whether it counts, and its receipt. */
const commands = (dir) => {
  const [backup, exported] = ["backup", "exported"].map((name) => join(dir, name));
  const into = (name) => ({ DATA_DIR: join(dir, name) });
  return [
    { args: ["backup", backup], says: ["copying shard-0.db", "copying the files", "checking the copy"], counts: true, receipt: /^\S+backup: .+; checked\n$/ },
    { args: ["restore", backup], env: into("restored"), says: ["copying the backup", "holding it against its manifest", "checking "], counts: false, receipt: /^\S+restored: .+; checked\nrestored; .+\n$/ },
    { args: ["export", exported], env: into("restored"), says: ["exporting ", "exporting the files"], counts: true, receipt: /^\S+exported: \d+ rows, 4 files\n$/ },
    { args: ["import", exported], env: into("imported"), says: ["importing ", "importing the files"], counts: true, receipt: /^\S+imported: \d+ rows, 4 files\n$/ },
  ];
};

/** A chat and its files, and every command after the other. @param {(command: any, dir: string) => Promise<void>} look at one */
async function run(s, look) {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  await sayMany(ann, room, "ann", MESSAGES, () => "x".repeat(LETTERS));
  for (let n = 0; n < FILES; n += 1) assert.equal((await post(s.url(`/files?name=${n}.txt`), `${n}`, { "content-type": "text/plain" })).status, 201);
  await inTempDir(async (dir) => {
    for (const command of commands(dir)) await look(command, dir);
  });
}

describe("a command that takes its time", () => {
  const { host, scenario } = suite({ SHARDS: "1" }, { needs: "process" });

  scenario("says nothing but its receipt where nobody watches", (s) => run(s, async ({ args, env, receipt }) => {
    const { code, output } = await host.run(args, env);
    assert.equal(code, 0, output);
    assert.match(output, receipt);
  }));
});

describe("a command on a terminal", { skip: whyNoTerminal }, () => {
  const { host, scenario } = suite({ SHARDS: "1" }, { needs: "process" });

  scenario("tells what it does and how far it is, and its receipt goes where it is wanted", (s) => run(s, async ({ args, env, says, counts, receipt }, dir) => {
    const kept = join(dir, "receipt");
    const { code, output } = await host.run(args, env, ["sh", "-c", `exec script --quiet --return --command "$* >'$0'" /dev/null`, kept]);
    assert.equal(code, 0, output);
    assert.match(await readFile(kept, "utf8"), receipt);
    const lines = output.replaceAll("\x1b[K", "").split(/[\r\n]+/).filter(Boolean);
    const told = lines.filter((line) => !/^\d+ %$/.test(line));
    assert.deepEqual(says.filter((what) => !told.some((line) => line.startsWith(what))), [], output);
    assert.ok(told.every((line) => says.some((what) => line.startsWith(what.split(" ")[0]))), output);
    const percents = lines.filter((line) => !told.includes(line)).map((line) => Number.parseInt(line));
    assert.equal(percents.length > 0, counts, output);
    assert.ok(percents.every((percent) => percent <= 100), output);
  }));
});

describe("a command and its receipt on one terminal", { skip: whyNoTerminal }, () => {
  const { host, scenario } = suite({ SHARDS: "1" }, { needs: "process" });

  scenario("what comes of it stands on a line of its own", (s) => run(s, async ({ args, env, receipt }) => {
    const { output } = await host.run(args, env, ["sh", "-c", 'exec script --quiet --return --command "$*" /dev/null', "sh"]);
    const shown = output.split(/\r?\n/).map((line) => line.split(/\r(?:\x1b\[K)?/).at(-1));
    assert.match(`${shown.filter(Boolean).slice(-receipt.source.split("\\n").length + 1).join("\n")}\n`, receipt);
  }));
});
