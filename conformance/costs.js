/**
 * What the platform bills for what people do: each deed of costs/deeds.js against a metered Worker, as a table.
 *
 *     node conformance/costs.js             prints it
 *     node conformance/costs.js --write     puts it into docs/cloudflare.md, which tests/costs.test.js holds the Worker to
 *     node conformance/costs.js --idle 300  what those cost who say nothing, over so many seconds
 */
import { parseArgs } from "node:util";

process.env.HOST_UNDER_TEST = "cloudflare";
const { createHost } = await import("./hosts/index.js");
const { billAll } = await import("./costs/bill.js");
const { idle } = await import("./costs/idle.js");
const { tableOf, write } = await import("./costs/page.js");

const { values: options } = parseArgs({ options: { write: { type: "boolean" }, idle: { type: "string" } } });

if (options.idle) {
  console.log(await idle(createHost(), Number(options.idle)));
} else {
  const bills = [];
  await billAll(createHost(), (name, bill) => bills.push([name, bill]));
  console.log(tableOf(bills));
  const msActive = bills.map(([name, { activeMs }]) => `${name}: ${activeMs.toFixed(1)}`);
  console.log(`\nMilliseconds with an object at work, on this machine: ${msActive.join("; ")}`);
  if (options.write) await write(bills);
}
