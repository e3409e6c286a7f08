/** Where things are. */
import { existsSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const repository = fileURLToPath(new URL("../..", import.meta.url));

/** The one built last, unless `WEEZIQ_BIN` says which. */
export function binary() {
  if (process.env.WEEZIQ_BIN) return process.env.WEEZIQ_BIN;
  const built = ["release", "debug"].map((profile) => `${repository}target/${profile}/weeziq`).filter((path) => existsSync(path));
  const [newest] = built.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  if (!newest) throw new Error("no weeziq binary; build it, or set WEEZIQ_BIN");
  return newest;
}

/** Why a tool cannot be used, for a test that is skipped; false if it can. @param {string} tool its path, as `cargo xtask` found or installed it */
export function lacks(tool) {
  const path = process.env[tool];
  if (path) return false;
  return `${tool} is not set; \`cargo xtask test\` installs it and sets it`;
}
