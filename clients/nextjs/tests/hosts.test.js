/** Both files against a real host, the one that `HOST_UNDER_TEST` names, through connections that are cut. */
import assert from "node:assert/strict";
import { cutter, hosted, unique } from "../../js/tests/support/host.js";
import { scenario } from "../../js/tests/support/play.js";
import { seen } from "../../js/tests/support/seen.js";
import { load, openPage } from "./load.js";

const COUNT = 50;
const host = hosted();
openPage();

/** @param {any} client @param {string} event */
function heard(client, event) {
  const list = seen();
  client[`on${event}`]((data) => list.add(data));
  return list;
}

/** Two applications talk, and an admin watches who comes. @param {(url: string) => Promise<any>} open */
async function play(s, open) {
  const room = unique("room");
  const domain = unique("shop");
  const clients = { ann: undefined, bob: undefined, admin: undefined };
  for (const name of Object.keys(clients)) {
    const between = await cutter(s, host, { seed: name.length, cutsMax: name === "admin" ? 0 : 4, bytesMean: 6_000 });
    clients[name] = await open(between.url);
    s.after(() => clients[name].disconnect());
  }
  const visitors = heard(clients.admin, "VisitorJoinedDomain");
  const customers = heard(clients.admin, "CustomerJoinedRoom");
  const stats = heard(clients.admin, "AllDomainStats");
  clients.admin.requestAllDomainStats();
  await stats.next();
  const messages = heard(clients.bob, "NewMessage");
  const users = heard(clients.bob, "RoomUsers");
  clients.bob.joinRoom(room, "bob", "Bob");
  await users.next();
  clients.ann.joinDomainAsVisitor(domain, "ann", { userAgent: "Firefox", timestamp: new Date() });
  clients.ann.notifyAdminCustomerJoined(room, "ann", "Ann");
  clients.ann.joinRoom(room, "ann", "Ann");
  for (let n = 1; n <= COUNT; n += 1) clients.ann.sendMessage(room, `${n}`, "ann", "Ann", "user");
  await messages.next({ message: `${COUNT}` });
  assert.deepEqual(messages.all.map(({ message }) => message), Array.from({ length: COUNT }, (_, n) => `${n + 1}`));
  await visitors.next({ domainId: domain, visitorId: "ann" });
  await customers.next({ roomId: room, customerId: "ann", customerName: "Ann" });
}

scenario("WebSocket: everything once and in order", (s) => play(s, (url) => load("socketClient", { NODE_ENV: "production", NEXT_PUBLIC_WS_URL: url })));

scenario("Socket.IO: everything once and in order, where the host has it", async (s) => {
  const { status } = await fetch(`${host.baseUrl}/socket.io/?EIO=4&transport=polling`);
  if (status === 404) return console.log("# this host has no Socket.IO");
  await play(s, (url) => load("socketClient", { NODE_ENV: "development", NEXT_PUBLIC_WS_URL: url }));
});
