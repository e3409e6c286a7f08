/** What connections cost that say nothing but pings: a period is waited for, with everybody in objects of their own. */
import { Scenario } from "../scenario.js";

/** As @weeziq/client does. */
const PING_EVERY_MS = 25_000;
/** Until what was begun is over: an object falls asleep after ten seconds. */
const SETTLE_MS = 30_000;
const HOUR_MS = 3_600_000;
const MEMBERS = 10;

/** @typedef {(s: Scenario) => Promise<{touched: string[], clients: import("../client.js").Client[]}>} Idler */

/** @type {Record<string, Idler>} */
const IDLERS = {
  [`a room of ${MEMBERS} over \`/ws?roomId=\``]: (s) => membersOf(s, (room) => ({ query: `?roomId=${room}` })),
  [`a room of ${MEMBERS} over \`/ws\``]: (s) => membersOf(s, () => ({})),
  "a domain with a visitor over `/ws`": (s) => visitorOf(s, {}),
  "a domain with a visitor over `/ws?roomId=`": async (s) => visitorOf(s, { query: `?roomId=${s.unique("room")}` }),
};

async function membersOf(s, road) {
  const room = s.unique("room");
  const clients = [];
  for (let n = 0; n < MEMBERS; n += 1) clients.push(await s.member(room, `m${n}`, { role: "user" }, road(room)));
  return { touched: [room], clients };
}

async function visitorOf(s, road) {
  const domainId = s.unique("domain");
  const client = await s.connect(road);
  client.send({ type: "visitor-joined-domain", domainId, visitorId: "v" });
  await client.next("visitor-joined-domain");
  return { touched: [domainId], clients: [client] };
}

/**
 * @param {import("../hosts/index.js").Host} host not yet started @param {number} seconds
 * @returns {Promise<string>} a table
 */
export async function idle(host, seconds) {
  const s = new Scenario(host);
  try {
    await host.start({}, { metered: true });
    const idlers = [];
    for (const [name, begin] of Object.entries(IDLERS)) idlers.push([name, await begin(s)]);
    const watcher = await s.connect();
    idlers.push(["the directory, with a dashboard on `/ws`", { touched: ["\u0001directory"], clients: [watcher] }]);
    const all = idlers.flatMap(([, { clients }]) => clients);
    const pings = setInterval(() => all.forEach((client) => client.sendRaw(`{"type":"ping"}`)), PING_EVERY_MS);
    await passed(SETTLE_MS);
    await host.costs();
    const begun = performance.now();
    await passed(seconds * 1000);
    const { objects, timers } = await host.costs();
    const inAnHour = (count) => Math.round((count * HOUR_MS) / (performance.now() - begun));
    clearInterval(pings);

    const heads = ["idle", "pings answered", "times woken", "messages", "requests", "alarms", "rows written", "ms active"];
    const rows = idlers.map(([name, { touched, clients }]) => {
      const counts = Object.entries(objects).filter(([object]) => touched.some((own) => object.endsWith(` ${own}`)));
      const sum = (...fields) => inAnHour(counts.reduce((sum, [, count]) => sum + fields.reduce((sum, field) => sum + count[field], 0), 0));
      const pongs = clients.reduce((sum, client) => sum + client.unread("pong").length, 0);
      return [name, pongs, sum("woken"), sum("messages", "closes"), sum("requests"), sum("alarms"), sum("rowsWritten", "alarmsSet"), sum("activeMs")];
    });
    const table = [heads, heads.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
    return `${table}\n\nAn hour's worth, from ${seconds} s. Timers that fired in the Worker and in objects: ${inAnHour(timers)} an hour in all.`;
  } finally {
    await s.leave();
    await host.dispose();
  }
}

const passed = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
