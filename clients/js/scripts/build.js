/** `dist/weeziq.min.js`, everything in one file, and `types/`, which say what the sources say. */
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL("..", import.meta.url));
for (const made of ["dist", "types"]) rmSync(new URL(`../${made}`, import.meta.url), { recursive: true, force: true });
await build({
  absWorkingDir: here,
  entryPoints: ["src/index.js"],
  outfile: "dist/weeziq.min.js",
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
});
const { status } = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "--project", "jsconfig.json"], { cwd: here, stdio: "inherit" });
process.exitCode = status ?? 1;
