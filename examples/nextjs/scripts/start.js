/** From a clean clone to a running application: the packages beside it are installed and built first, as they are not published yet. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const QUIET = ["--no-audit", "--no-fund", "--loglevel=error"];
const at = (path) => fileURLToPath(new URL(path, import.meta.url));

function npm(folder, ...args) {
  const { status } = spawnSync("npm", args, { cwd: at(folder), stdio: "inherit", shell: process.platform === "win32" });
  if (status !== 0) process.exit(status ?? 1);
}

if (!existsSync(at("../node_modules"))) {
  // This folder's own setting is not theirs: npm hands it down.
  for (const client of ["../../../clients/js", "../../../clients/react"]) npm(client, "ci", "--install-links=false", ...QUIET);
  npm("../../../clients/react", "run", "--silent", "build");
  npm("..", "ci", ...QUIET);
}

const server = process.env.WEEZIQ_URL ?? "http://localhost:8787";
const isThere = await fetch(new URL("/healthz", server)).then(({ ok }) => ok, () => false);
if (!isThere) console.warn(`No WeeziQ at ${server} yet: start one (cargo run --release), or set WEEZIQ_URL. The pages connect when it is there.`);
await import("./next.js");
