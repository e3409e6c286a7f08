/**
 * What serves a room or a domain falls out of memory when nothing happens, and comes back with the next event. Whoever is
 * connected notices nothing: not over a socket that leads straight to its room, and not over one for all rooms.
 */
import assert from "node:assert/strict";
import { after, describe } from "node:test";
import * as faulty from "../mocks/faulty.js";
import { join, say, suite } from "../scenario.js";
import { assertError, assertShape, matching, positive } from "../shape.js";

const provider = await faulty.startFaultyProvider();
after(() => provider.stop());
const { host, scenario } = suite(provider.env, { needs: "eviction" });

/** Longer than any grace or expiry of this file (15 s), so that only a missing event fails. */
const EXPIRY_GUARD_MS = 80_000;

const roads = {
  "straight to the room": (room) => ({ query: `?roomId=${room}` }),
  "for all rooms": () => ({}),
};

for (const [road, to] of Object.entries(roads)) {
  describe(`over sockets ${road}`, () => {
    const trio = async (s) => {
      const room = s.unique("room");
      const members = [];
      for (const [userId, role] of [["ann", "agent"], ["bob", "user"], ["cid", "user"]]) members.push(await s.member(room, userId, { role }, to(room)));
      return [room, ...members];
    };

    scenario("an evicted room keeps its members, and who they are", async (s) => {
      const [room, ann, bob] = await trio(s);
      bob.send({ type: "user-online", roomId: room, userId: "bob", userName: "Bob", status: "away" });
      await ann.next("user-presence");
      await host.evict("room", room);

      await s.member(room, "dora", {}, to(room));
      for (const client of [ann, bob]) {
        const { users } = await client.next((f) => f.type === "room-users" && f.users.some((u) => u.userId === "dora"));
        assert.deepEqual(users.map((u) => [u.userId, u.userName, u.role, u.status]).sort(), [["ann", "Ann", "agent", "online"], ["bob", "Bob", "user", "away"], ["cid", "Cid", "user", "online"], ["dora", "Dora", "user", "online"]]);
      }
      await host.evict("room", room);
      bob.send({ type: "typing-start", roomId: room, userId: "bob" });
      assertShape(await ann.next("user-typing"), { userId: "bob", userName: "Bob", isTyping: true });
      await host.evict("room", room);
      await bob.close();
      assertShape(await ann.next("user-left"), { userId: "bob", userName: "Bob" });
    });

    scenario("a talk goes on over evictions, with no number left out", async (s) => {
      const [room, ann, bob, cid] = await trio(s);
      for (let n = 1; n <= 4; n += 1) {
        assertShape(await say(ann, room, "ann", `message ${n}`), { seq: n });
        await host.evict("room", room);
      }
      for (const client of [ann, bob, cid]) {
        const seen = await client.take(4, "new-message");
        assert.deepEqual(seen.map((f) => [f.seq, f.message]), [1, 2, 3, 4].map((n) => [n, `message ${n}`]));
      }
      const back = await s.connect(to(room));
      assertShape(await join(back, room, "bob", { epoch: bob.joined.epoch, lastSeq: 2 }), { resumed: true, epoch: bob.joined.epoch, seq: 4 });
      assert.deepEqual((await back.take(2, "new-message")).map((f) => f.seq), [3, 4]);
    });

    scenario("a message repeated after an eviction is known", async (s) => {
      const [room, ann, bob] = await trio(s);
      const first = await say(ann, room, "ann", "pay", { clientMessageId: "c-1" });
      await host.evict("room", room);
      assertShape(await say(ann, room, "ann", "pay", { clientMessageId: "c-1" }), { duplicate: true, id: first.id, seq: first.seq, timestamp: first.timestamp });
      await bob.fence(room);
      assert.equal(bob.unread("new-message").length, 1);
    });

    scenario("a typing that was begun before the eviction expires by itself", async (s) => {
      const [room, ann, bob] = await trio(s);
      bob.send({ type: "typing-start", roomId: room, userId: "bob" });
      assertShape(await ann.next("user-typing"), { isTyping: true });
      await host.evict("room", room);
      assertShape(await ann.next("user-typing", EXPIRY_GUARD_MS), { userId: "bob", userName: "Bob", isTyping: false });
      await ann.fence(room);
      ann.expectNone("user-typing");
    });

    scenario("who died just before the eviction leaves after the grace, and who is back by then was never away", async (s) => {
      const [room, ann, bob, cid] = await trio(s);
      await bob.die();
      await cid.die();
      await host.evict("room", room);
      await join(await s.connect(to(room)), room, "bob");
      assertShape(await ann.next("user-left", EXPIRY_GUARD_MS), { userId: "cid", userName: "Cid" });
      const { users } = await ann.next((f) => f.type === "room-users" && !f.users.some((u) => u.userId === "cid"));
      assert.deepEqual(users.map((u) => u.userId).sort(), ["ann", "bob"]);
      // Another death is the clock: when its grace is over, so was the one of the returned.
      const clock = await s.member(room, "dora", {}, to(room));
      await clock.die();
      await ann.next({ type: "user-left", userId: "dora" }, EXPIRY_GUARD_MS);
      ann.expectNone({ type: "user-left", userId: "bob" });
    });

    scenario("an answer that is being written has one end, and the talk goes on", async (s) => {
      const [room, ann, bob] = await trio(s);
      const talk = { conversationId: s.unique("talk"), systemPrompt: "Be kind." };
      provider.play(faulty.held());
      ann.send({ type: "ai-stream", message: "a story", roomId: room, userId: "ann", ...talk });
      const upstream = await provider.request(0);
      upstream.token("Once upon ");
      assertShape(await bob.next("ai-stream-chunk"), { roomId: room, chunk: "Once upon " });

      // What is busy is not evicted before it is done, or else its answer is cut here.
      const evicting = host.evictAll();
      upstream.token("a time.");
      upstream.finish();
      const complete = await ann.next("ai-stream-complete", EXPIRY_GUARD_MS);
      await evicting;
      assertShape(complete, { finishReason: matching(/^(stop|interrupted)$/), conversationId: talk.conversationId });
      const whole = complete.finishReason === "stop";
      assert.equal(complete.fullResponse, whole ? "Once upon a time." : "Once upon ");

      provider.play(faulty.answers("Yes, ", "again."));
      assertShape(await ann.ask({ type: "ai-chat", message: "and then?", ...talk }, "ai-response"), { message: "Yes, again.", finishReason: "stop" });
      const told = (await provider.request(0)).messages.map((m) => m.content);
      assert.deepEqual([told[0], told.at(-1)], ["Be kind.", "and then?"]);
      if (whole) assert.deepEqual(told.slice(1, 3), ["a story", "Once upon a time."]);
      await ann.fence(room);
      ann.expectNone("ai-stream-complete");
      assert.ok(bob.unread({ type: "new-message", role: "assistant" }).length <= 1);
    });

    scenario("observers of every domain hear of one whose object was evicted", async (s) => {
      const [room, domainId] = [s.unique("room"), s.unique("domain")];
      const [agent, visitor] = [await s.member(room, "ann", { role: "agent" }, to(room)), await s.connect(to(room))];
      // The first event makes it one that watches; the next is answered once it does.
      await agent.fence(room);
      visitor.send({ type: "visitor-joined-domain", domainId, visitorId: "v1" });
      await agent.next({ type: "visitor-joined-domain", domainId });
      await host.evictAll();
      visitor.send({ type: "visitor-joined-domain", domainId, visitorId: "v2" });
      assertShape(await agent.next({ type: "visitor-joined-domain", domainId }), { visitorId: "v2", activeCount: 2 });
      await host.evictAll();
      visitor.send({ type: "customer-joined-room", roomId: room, customerId: "carl", customerName: "Carl", domainId });
      assertShape(await agent.next({ type: "customer-joined-room", domainId }), { customerId: "carl" });
      await visitor.domainFence(domainId);
      visitor.expectNone("customer-joined-room");
    });
  });
}

scenario("who came straight to a room, under the longest names and with as many visits as it may have, is still known", async (s) => {
  const room = s.unique("room");
  const long = (n) => `${String(n).padStart(4, "0")}${"𝄞".repeat(124)}`;
  const label = "𝄢".repeat(256);
  const ann = await s.connect({ query: `?roomId=${room}` });
  await ann.ask({ type: "join-room", userId: long(0), userName: label, role: label }, "joined-room");
  ann.send({ type: "user-online", userId: long(0), userName: label, status: label });
  const visit = (n) => ann.ask({ type: "visitor-joined-domain", domainId: long(n), visitorId: long(n), visitorData: {} });
  for (let n = 0; n < 8; n += 1) assert.equal((await visit(n)).type, "visitor-joined-domain");
  assertError(await visit(8), "invalid_request", "visitorId");
  await ann.ask({ type: "visitor-left-domain", domainId: long(0), visitorId: long(0) }, "visitor-left-domain");
  assert.equal((await visit(9)).type, "visitor-joined-domain");
  await host.evict("room", room);
  const bob = await s.member(room, "bob");
  await say(bob, room, "bob", "do you hear me?");
  assertShape(await ann.next("new-message"), { message: "do you hear me?" });
  assertShape(await ann.ask({ type: "get-all-domain-stats" }, "all-domain-stats"), {});
});

describe("a domain", () => {
  const arrive = async (s, domainId, visitorId) => {
    const client = await s.connect();
    client.send({ type: "visitor-joined-domain", domainId, visitorId, visitorData: { url: "https://shop.example/" } });
    await client.next({ type: "visitor-joined-domain", domainId, visitorId });
    return client;
  };
  const observed = async (s) => {
    const [domainId, dashboard] = [s.unique("domain"), await s.connect()];
    await dashboard.domainFence(domainId);
    return [domainId, dashboard, await arrive(s, domainId, "v1"), await arrive(s, domainId, "v2")];
  };

  scenario("keeps its visitors and its observers", async (s) => {
    const [domainId, dashboard, one] = await observed(s);
    await dashboard.take(2, { type: "visitor-joined-domain", domainId });
    await host.evict("domain", domainId);
    assertShape(await dashboard.ask({ type: "get-domain-stats", domainId }, "domain-stats"), { activeVisitors: 2, totalVisitors: 2 });
    await host.evict("domain", domainId);
    await arrive(s, domainId, "v3");
    assertShape(await dashboard.next({ type: "visitor-joined-domain", domainId }), { visitorId: "v3", activeCount: 3 });
    await host.evict("domain", domainId);
    one.send({ type: "visitor-activity", domainId, visitorId: "v1", url: "https://shop.example/cart" });
    assertShape(await dashboard.next({ type: "visitor-activity", domainId }), { visitorId: "v1", url: "https://shop.example/cart" });
    await host.evict("domain", domainId);
    one.send({ type: "visitor-left-domain", domainId, visitorId: "v1" });
    for (const client of [one, dashboard]) assertShape(await client.next({ type: "visitor-left-domain", domainId }), { visitorId: "v1", activeCount: 2 });
    await one.domainFence(domainId);
    for (const visitorId of ["v2", "v3"]) one.expectNone({ domainId, visitorId });
    const all = await dashboard.ask({ type: "get-all-domain-stats" }, "all-domain-stats");
    assertShape(all.stats[domainId], { activeVisitors: 2, totalVisitors: 3 });
  });

  scenario("misses a visitor whose connection died just before the eviction", async (s) => {
    const [domainId, dashboard, one, two] = await observed(s);
    await one.die();
    await host.evict("domain", domainId);
    assertShape(await dashboard.next({ type: "visitor-left-domain", domainId }, EXPIRY_GUARD_MS), { visitorId: "v1", activeCount: 1 });
    const { visitors } = await dashboard.ask({ type: "get-domain-stats", domainId }, "domain-stats");
    assert.deepEqual(visitors.map((v) => v.id), ["v2"]);
    await two.domainFence(domainId);
  });
});

describe("with the default limit of questions", () => {
  const { host, scenario } = suite({ ...provider.env, AI_PER_USER_PER_MIN: undefined }, { needs: "eviction" });

  scenario("the twenty questions of a minute are not forgotten", async (s) => {
    provider.play(faulty.answers("Yes."));
    const [client, conversationId] = [await s.connect(), s.unique("talk")];
    const ask = () => client.ask({ type: "ai-chat", message: "again?", conversationId });
    const begun = performance.now();
    // One comes back every three seconds: a slow machine gets further.
    const allowed = () => 20 + Math.floor((performance.now() - begun) / 3_000);
    let [answered, refused] = [0, null];
    while (!refused) {
      if (answered % 5 === 4 || answered >= 20) await host.evictAll();
      const reply = await ask();
      if (reply.type !== "ai-response") refused = reply;
      else answered += 1;
      assert.ok(answered <= allowed(), `${answered} were answered, ${allowed()} may be`);
    }
    assert.ok(answered >= 20, `${answered} were answered`);
    assertError(refused, "rate_limited");
    assertShape(refused, { retryAfterMs: positive });
    assert.equal(provider.requests.length, answered, "a refused question costs nothing upstream");
  });
});
