/**
 * The Worker with a hook that `wrangler dev` lacks: objects are taken out of memory, as the platform does with idle ones, and
 * their sockets stay open. Run by cloudflare.js as a child under the Node that wrangler asks for.
 *
 * Wrangler's `createTestHarness` offers the same eviction, but keeps no storage over a restart and reads a developer's
 * .dev.vars; so this goes one step below it, to what that harness itself calls. cloudflare.test.js holds it.
 */
import { createRequire } from "node:module";
import { parseArgs } from "node:util";

const string = { type: /** @type {const} */ ("string") };
const { values: options } = parseArgs({ options: { wrangler: string, config: string, "persist-to": string, "env-file": string, entry: string, var: { ...string, multiple: true, default: [] } } });
const { unstable_startWorker: startWorker } = createRequire(import.meta.url)(options.wrangler);

const worker = await startWorker({
  config: options.config,
  // Another script than the configuration's.
  entrypoint: options.entry,
  envFiles: [options["env-file"]],
  bindings: Object.fromEntries(options.var.map(binding)),
  dev: { remote: false, server: { hostname: "127.0.0.1", port: 0 }, inspector: false, watch: false, persist: options["persist-to"] },
});

process.on("message", async (eviction) => {
  process.send(await evict(eviction).then(() => ({}), (error) => ({ error: String(error) })));
});
process.once("SIGTERM", end);
// The suite is gone.
process.once("disconnect", end);

/** `NAME:value` as wrangler's own `--var` takes it. */
function binding(setting) {
  const colon = setting.indexOf(":");
  return [setting.slice(0, colon), { type: "plain_text", value: setting.slice(colon + 1), hidden: true }];
}

/** @param {{binding?: string, name?: string}} eviction of one object, or of all that are in memory */
async function evict({ binding, name }) {
  await worker.ready;
  const runtime = worker.raw.runtimes[0].mf;
  const script = worker.config.name;
  const namespaces = Object.entries(worker.config.bindings).filter(([, { type }]) => type === "durable_object_namespace");
  const classOf = (wanted) => namespaces.find(([key]) => key === wanted)?.[1].class_name;
  if (binding) return runtime.unsafeEvictDurableObject(script, classOf(binding), { name, webSockets: "hibernate" });

  const evictions = namespaces.map(async ([key, { class_name }]) => {
    const ids = await runtime.listDurableObjectIds(key, script);
    await Promise.all(ids.map((id) => runtime.unsafeEvictDurableObject(script, class_name, { id, webSockets: "hibernate" }).catch(unlessAsleep(key))));
  });
  await Promise.all(evictions);
}

/** What is stored is more than what is in memory. */
function unlessAsleep(key) {
  return (error) => {
    if (!String(error).includes("not currently running")) throw new Error(`one of ${key}: ${error}`);
  };
}

async function end() {
  await worker.dispose();
  process.exit(0);
}
