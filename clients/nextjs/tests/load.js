/** The files as Next.js compiles them: TypeScript gone, and the variables of the environment written in. */
import { mkdir, rm } from "node:fs/promises";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { WebSocket } from "ws";

const folder = fileURLToPath(new URL(".built/", import.meta.url));
const NAMES = ["NODE_ENV", "NEXT_PUBLIC_WS_URL", "NEXT_PUBLIC_SOCKET_URL", "NEXT_PUBLIC_AI_API_URL"];
let count = 0;
after(() => rm(folder, { recursive: true, force: true }));

/** @param {"socketClient" | "cloudflareSocketClient"} name @param {Record<string, string>} env @returns {Promise<any>} its default export, fresh */
export async function load(name, env) {
  await mkdir(folder, { recursive: true });
  const outfile = `${folder}${process.pid}-${(count += 1)}.mjs`;
  const define = Object.fromEntries(NAMES.map((key) => [`process.env.${key}`, JSON.stringify(env[key] ?? "")]));
  await build({
    entryPoints: [fileURLToPath(new URL(`../lib/${name}.ts`, import.meta.url))],
    outfile,
    bundle: true,
    packages: "external",
    format: "esm",
    define,
    logLevel: "error",
  });
  return (await import(outfile)).default;
}

/** Enough of a page. */
export function openPage() {
  Object.assign(globalThis, { window: globalThis, WebSocket });
}
