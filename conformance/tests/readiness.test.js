/** A Worker that cannot reach what a chat needs says so, and what is missing, to whoever decides where visitors are sent. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { createHost } from "../hosts/index.js";
import { get } from "../http.js";
import { lacks } from "../scenario.js";

const WORKER = fileURLToPath(new URL("../../crates/worker/", import.meta.url));
const configured = process.env.WEEZIQ_WORKER_CONFIG;
const host = createHost();
const skip = lacks("archive");
after(async () => {
  await host.dispose();
  if (configured === undefined) delete process.env.WEEZIQ_WORKER_CONFIG;
  else process.env.WEEZIQ_WORKER_CONFIG = configured;
});

/** The Worker's own configuration from elsewhere, without one of its tables. */
async function without(table) {
  const config = await readFile(join(WORKER, "wrangler.toml"), "utf8");
  const left = config.split(/\n(?=\[)/).filter((part) => !part.startsWith(table) && !part.startsWith("[build]"));
  return left.join("\n").replace('"build/index.js"', JSON.stringify(join(WORKER, "build/index.js"))).replace('"pages"', JSON.stringify(join(WORKER, "pages")));
}

for (const [table, says] of [
  ["[[kv_namespaces]]", /KV namespace CHAT_STORAGE cannot be read/],
  ["[[r2_buckets]]", /R2 bucket FILE_STORAGE cannot be read/],
]) {
  test(`without ${table} it is not ready, and says why`, { skip, timeout: 120_000 }, async () => {
    const dir = await mkdtemp(join(tmpdir(), "weeziq-conformance-"));
    try {
      process.env.WEEZIQ_WORKER_CONFIG = join(dir, "wrangler.toml");
      await writeFile(process.env.WEEZIQ_WORKER_CONFIG, await without(table));
      await host.start({}, { lacking: true });
      const { status, json } = await get(`${host.baseUrl}/readyz`);
      assert.deepEqual([status, json.code], [503, "unavailable"]);
      assert.match(json.error, says);
      assert.equal((await get(`${host.baseUrl}/healthz`)).status, 200, "it serves all the same");
    } finally {
      await host.dispose();
      await rm(dir, { recursive: true, force: true });
    }
  });
}
