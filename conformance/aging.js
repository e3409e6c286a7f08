/**
 * Makes what a host has stored older, while the host does not run: a site keeps things for a day at least, and no test waits for
 * that. Both hosts keep SQLite; what bears a time in either is listed here. Or makes it what another release would have stored.
 *
 * Runs as a program of its own, on the Node that the repository brings: an older one has no SQLite.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { argv, execPath } from "node:process";
import { fileURLToPath } from "node:url";

const SELF = fileURLToPath(import.meta.url);
const DAY_MS = 24 * 60 * 60 * 1000;

/** Columns of milliseconds. */
const MOMENTS = {
  event: ["at"],
  turn: ["at"],
  run: ["started_at", "ended_at"],
  room: ["created_at"],
  conversation: ["since", "last_at"],
  file: ["at"],
  visitor: ["first_at", "joined_at", "last_at"],
  traffic: ["hour"],
  inbox_room: ["created_at"],
};

/** @param {import("./hosts/index.js").Host} host that is stopped @param {number} days */
export function age(host, days) {
  run("age", host.dataDir, String(days));
}

/**
 * Puts other settings where some are stored.
 * @param {import("./hosts/index.js").Host} host that is stopped @param {string} naming a word of these settings alone
 * @param {string} text that stands there instead
 */
export function restate(host, naming, text) {
  run("restate", host.dataDir, naming, text);
}

function run(...words) {
  const installed = fileURLToPath(new URL("../node_modules/.bin/node", import.meta.url));
  execFileSync(existsSync(installed) ? installed : execPath, ["--no-warnings", SELF, ...words], { stdio: ["ignore", "inherit", "inherit"] });
}

async function ageAll(dir, days) {
  const { DatabaseSync } = await import("node:sqlite");
  let aged = 0;
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (!/\.(db|sqlite)$/.test(entry.name)) continue;
    const db = new DatabaseSync(join(entry.parentPath, entry.name));
    aged += ageDatabase(db, days);
    db.close();
  }
  if (aged === 0) throw new Error(`nothing in ${dir} has a time`);
}

function ageDatabase(db, days) {
  let aged = 0;
  for (const [table, columns] of Object.entries(MOMENTS)) {
    const known = db.prepare("SELECT name FROM pragma_table_info(?)").all(table).map(({ name }) => name);
    for (const column of columns.filter((name) => known.includes(name))) {
      aged += Number(db.prepare(`UPDATE ${table} SET ${column} = ${column} - ?`).run(days * DAY_MS).changes);
    }
    if (table === "inbox_room" && known.length > 0) {
      const earlier = `strftime('%Y-%m-%dT%H:%M:%fZ', json_extract(summary, '$.createdAt'), '-${days} days')`;
      db.exec(`UPDATE inbox_room SET summary = json_set(summary, '$.createdAt', ${earlier})`);
    }
  }
  if (db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'ai_use'").get()) db.exec(`UPDATE ai_use SET date = date(date, '-${days} days')`);
  return aged;
}

/** Natively a row; on Cloudflare a value of KV, which is a file. */
async function restateAll(dir, naming, text) {
  const { DatabaseSync } = await import("node:sqlite");
  let restated = 0;
  for (const entry of (await readdir(dir, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())) {
    const path = join(entry.parentPath, entry.name);
    if (entry.name === "settings.db") {
      const db = new DatabaseSync(path);
      restated += Number(db.prepare("UPDATE domain_settings SET settings = ? WHERE instr(settings, ?)").run(text, naming).changes);
      db.close();
    } else if (entry.parentPath.endsWith("/blobs") && (await readFile(path, "utf8")).includes(naming)) {
      await writeFile(path, text);
      restated += 1;
    }
  }
  if (restated !== 1) throw new Error(`${restated} settings in ${dir} name ${naming}`);
}

if (argv[1] === SELF) {
  const [what, dir, ...words] = argv.slice(2);
  await (what === "age" ? ageAll(dir, Number(words[0])) : restateAll(dir, ...words));
}
