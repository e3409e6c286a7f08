/**
 * Who hears of a domain's visitors: dashboards do, visitors never. And how visitors end who just vanish. In open mode a
 * dashboard hears of every domain, so each wait names its own.
 */
import assert from "node:assert/strict";
import { join, suite } from "../scenario.js";
import { assertShape, timestamp } from "../shape.js";

const { scenario } = suite();

/** Longer than the grace of a vanished visitor (15 s), so that only a missing event fails. */
const GRACE_GUARD_MS = 80_000;

const arrival = (domainId, visitorId) => ({ type: "visitor-joined-domain", domainId, visitorId, visitorData: { url: "https://shop.example/" } });

async function visitor(s, domainId, visitorId) {
  const client = await s.connect();
  client.send(arrival(domainId, visitorId));
  await client.next({ type: "visitor-joined-domain", domainId, visitorId });
  return client;
}

scenario("a dashboard that asks for nothing observes", async (s) => {
  const domainId = s.unique("domain");
  const dashboard = await s.connect();
  // A round trip first, so that the connection surely stands on the server before the visitor comes.
  await dashboard.fence(s.unique("room"));
  await visitor(s, domainId, "v1");
  assertShape(await dashboard.next({ type: "visitor-joined-domain", domainId }), { visitorId: "v1", activeCount: 1 });
});

scenario("a dashboard that asks for all numbers goes on observing", async (s) => {
  const domainId = s.unique("domain");
  const dashboard = await s.connect();
  for (let n = 0; n < 2; n += 1) {
    dashboard.send({ type: "get-all-domain-stats" });
    await dashboard.next("all-domain-stats");
    await visitor(s, domainId, `v${n}`);
    assertShape(await dashboard.next({ type: "visitor-joined-domain", domainId }), { visitorId: `v${n}` });
  }
});

scenario("an agent in a room, and a member that states no role, observe as well", async (s) => {
  const [room, domainId] = [s.unique("room"), s.unique("domain")];
  const [agent, silent] = [await s.connect(), await s.connect()];
  await join(agent, room, "ann", { role: "agent" });
  await join(silent, room, "bob");
  await visitor(s, domainId, "v1");
  for (const client of [agent, silent]) assertShape(await client.next({ type: "visitor-joined-domain", domainId }), { visitorId: "v1" });
});

/** Each introduces itself in its own way, and from then on is one of those who are watched. */
const introductions = {
  "a visitor": (s, client, domainId) => {
    client.send(arrival(domainId, "me"));
    return client.next({ type: "visitor-joined-domain", domainId, visitorId: "me" });
  },
  "a visitor of another domain": (s, client) => {
    const elsewhere = s.unique("elsewhere");
    client.send(arrival(elsewhere, "me"));
    return client.next({ type: "visitor-joined-domain", domainId: elsewhere, visitorId: "me" });
  },
  "a customer of a room": async (s, client, domainId) => {
    const room = s.unique("room");
    client.send({ type: "customer-joined-room", roomId: room, customerId: "me", customerName: "Me", domainId });
    await client.fence(room);
  },
  "a member that states the role user": (s, client) => join(client, s.unique("room"), "me", { role: "user" }),
  "a member that states the role customer": (s, client) => join(client, s.unique("room"), "me", { role: "customer" }),
};
for (const [who, introduce] of Object.entries(introductions)) {
  scenario(`${who} does not observe, even after asking for the stats`, async (s) => {
    const domainId = s.unique("domain");
    const watched = await s.connect();
    await introduce(s, watched, domainId);
    const dashboard = await s.connect();
    await dashboard.domainFence(domainId);

    await visitor(s, domainId, "v1");
    await dashboard.next({ type: "visitor-joined-domain", domainId, visitorId: "v1" });
    await watched.domainFence(domainId);
    watched.send({ type: "get-all-domain-stats" });
    await watched.next("all-domain-stats");

    const other = await visitor(s, domainId, "v2");
    other.send({ type: "visitor-activity", domainId, visitorId: "v2", url: "https://shop.example/2" });
    other.send({ type: "visitor-left-domain", domainId, visitorId: "v2" });
    for (const type of ["visitor-joined-domain", "visitor-activity", "visitor-left-domain"]) await dashboard.next({ type, domainId, visitorId: "v2" });
    await watched.domainFence(domainId);
    for (const visitorId of ["v1", "v2"]) watched.expectNone({ domainId, visitorId });
  });
}

scenario("an observer that introduces itself stops observing", async (s) => {
  const domainId = s.unique("domain");
  const [turning, dashboard] = [await s.connect(), await s.connect()];
  await turning.fence(s.unique("room"));
  await dashboard.domainFence(domainId);
  await visitor(s, domainId, "v1");
  await turning.next({ type: "visitor-joined-domain", domainId, visitorId: "v1" });
  turning.send(arrival(domainId, "me"));
  await turning.next({ type: "visitor-joined-domain", domainId, visitorId: "me" });
  await visitor(s, domainId, "v2");
  await dashboard.next({ type: "visitor-joined-domain", domainId, visitorId: "v2" });
  await turning.domainFence(domainId);
  turning.expectNone({ domainId, visitorId: "v2" });
});

scenario("a customer enters a room and observers are told, with a domain and without", async (s) => {
  const [room, domainId] = [s.unique("room"), s.unique("domain")];
  const [c1, c2] = [s.unique("carl"), s.unique("cora")];
  const [dashboard, customer] = [await s.connect(), await s.connect()];
  await dashboard.domainFence(domainId);
  customer.send({ type: "customer-joined-room", roomId: room, customerId: c1, customerName: "Carl", domainId });
  assertShape(await dashboard.next({ type: "customer-joined-room", customerId: c1 }), { roomId: room, customerName: "Carl", domainId, timestamp });
  customer.send({ type: "customer-joined-room", roomId: room, customerId: c2, customerName: "Cora" });
  assertShape(await dashboard.next({ type: "customer-joined-room", customerId: c2 }), { roomId: room, customerName: "Cora", timestamp });
  await customer.fence(room);
  customer.expectNone("customer-joined-room");
});

scenario("a visitor whose connection vanishes leaves after a grace, one that returns does not", async (s) => {
  const domainId = s.unique("domain");
  const dashboard = await s.connect();
  await dashboard.domainFence(domainId);
  const [returning, gone] = [await visitor(s, domainId, "back"), await visitor(s, domainId, "gone")];
  await returning.die();
  await visitor(s, domainId, "back");
  // The second death is the clock: when its grace is over, so is the first one's.
  await gone.die();
  const left = await dashboard.next({ type: "visitor-left-domain", domainId }, GRACE_GUARD_MS);
  assertShape(left, { visitorId: "gone", activeCount: 1, timestamp });
  const stats = await dashboard.ask({ type: "get-domain-stats", domainId }, "domain-stats");
  assertShape(stats, { activeVisitors: 1, totalVisitors: 2 });
  assert.deepEqual(stats.visitors.map((v) => v.id), ["back"]);
  dashboard.expectNone({ type: "visitor-left-domain", domainId });
});

scenario("a visitor with two pages open leaves with the last one", async (s) => {
  const domainId = s.unique("domain");
  const dashboard = await s.connect();
  await dashboard.domainFence(domainId);
  const [first, second] = [await visitor(s, domainId, "v1"), await visitor(s, domainId, "v1")];
  const clock = await visitor(s, domainId, "clock");
  await first.die();
  await clock.die();
  assertShape(await dashboard.next({ type: "visitor-left-domain", domainId }, GRACE_GUARD_MS), { visitorId: "clock", activeCount: 1 });
  await second.die();
  assertShape(await dashboard.next({ type: "visitor-left-domain", domainId }, GRACE_GUARD_MS), { visitorId: "v1", activeCount: 0 });
});
