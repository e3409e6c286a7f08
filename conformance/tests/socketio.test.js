/** The stock Socket.IO client, over each of its transports: the same events, limits and order as over `/ws`, in the same rooms. */
import assert from "node:assert/strict";
import { after, describe } from "node:test";
import { startModels } from "../mocks/models.js";
import { join, say, sayMany, suite } from "../scenario.js";
import { assertShape, count, text, timestamp } from "../shape.js";
import { SocketIoClient, TRANSPORTS } from "../socketio.js";
import { request } from "../http.js";

const models = await startModels();
after(() => models.stop());

const PATIENCE_MS = 60_000;
/** Who is lost between two polls is missed with the next ping alone: 45 s, and the grace. */
const LOST_MS = 90_000;
const gapless = (length, from = 1) => Array.from({ length }, (_, n) => from + n);

for (const SHARDS of ["1", "3"]) {
  for (const [name, transports] of Object.entries(TRANSPORTS)) {
    describe(`${name}, ${SHARDS} shards`, () => {
      const { scenario } = suite({ ...models.env, SHARDS }, { needs: "socketIo" });
      const options = { transports };

      scenario("a visitor joins, speaks and leaves, and everyone hears it under the same names", async (s) => {
        const room = s.unique("room");
        const ann = await s.member(room, "ann");
        const bob = await s.socketIo(options);
        const joined = await bob.ack({ type: "join-room", roomId: room, userId: "bob", userName: "Bob" });
        assertShape(joined, { roomId: room, success: true, seq: 0, epoch: text, liveAgent: false, resumed: false, timestamp });
        assertShape(await bob.next("joined-room"), joined);
        assertShape(await ann.next("user-joined"), { userId: "bob", socketId: bob.socket.id });
        assertShape(await bob.next((f) => f.type === "room-users" && f.users.length === 2), { roomId: room });

        const sent = await bob.ack({ type: "send-message", roomId: room, message: "hé\u0000llo", userId: "bob", userName: "Bob", clientMessageId: "c1" });
        assertShape(sent, { success: true, seq: 1, clientMessageId: "c1", id: text });
        const heard = await ann.next("new-message");
        assertShape(heard, { id: sent.id, message: "hé\u0000llo", socketId: bob.socket.id });
        assert.deepEqual(await bob.next("new-message"), heard);
        assertShape(await bob.ack({ type: "send-message", roomId: room, message: "again", userId: "bob", userName: "Bob", clientMessageId: "c1" }), { duplicate: true, id: sent.id });

        for (const event of ["typing-start", "typing-stop"]) {
          assert.deepEqual(await bob.ack({ type: event, roomId: room, userId: "bob" }), { success: true });
          assertShape(await ann.next("user-typing"), { userId: "bob", isTyping: event === "typing-start" });
        }
        assert.deepEqual(await bob.ack({ type: "user-online", roomId: room, userId: "bob", userName: "Bob", status: "away" }), { success: true });
        assertShape(await ann.next("user-presence"), { status: "away" });
        assertShape(await bob.ack({ type: "mark-read", roomId: room, seq: 1 }), { roomId: room, seq: 1 });
        assertShape(await ann.next("message-read"), { userId: "bob", seq: 1 });
        assertShape(await bob.ack({ type: "edit-message", roomId: room, messageId: sent.id, message: "edited" }), { seq: 2 });
        for (const client of [ann, bob]) assertShape(await client.next("message-updated"), { id: sent.id, message: "edited" });
        assertShape((await bob.ack({ type: "fetch-history", roomId: room })).messages[0], { message: "edited" });
        assertShape(await bob.ack({ type: "delete-message", roomId: room, messageId: sent.id }), { seq: 3 });
        for (const client of [ann, bob]) assertShape(await client.next("message-deleted"), { id: sent.id });
        assertShape(await bob.ack({ type: "toggle-live-agent", roomId: room, enabled: true }), { code: "forbidden" });
        assertShape(await bob.ack({ type: "leave-room", roomId: room }), { roomId: room, success: true });
        assertShape(await ann.next("user-left"), { userId: "bob", socketId: bob.socket.id });
        await bob.fence(room);
        bob.expectNone("user-typing");
      });

      scenario("an agent takes over, and is acknowledged", async (s) => {
        const room = s.unique("room");
        const ann = await s.socketIoMember(room, "ann", options, { role: "agent" });
        assert.deepEqual(await ann.ack({ type: "toggle-live-agent", roomId: room, enabled: true }), { success: true });
        assertShape(await ann.next("live-agent-toggled"), { seq: 1, enabled: true });
        assertShape(await ann.ack({ type: "toggle-live-agent", roomId: room, enabled: true }), { seq: 1, enabled: true });
      });

      scenario("visitors are seen and counted", async (s) => {
        const domainId = s.unique("domain");
        const dashboard = await s.socketIo(options);
        assertShape(await dashboard.ack({ type: "get-domain-stats", domainId }), { activeVisitors: 0 });
        const visitor = await s.socketIo(options);
        assertShape(await visitor.ack({ type: "visitor-joined-domain", domainId, visitorId: "v", visitorData: { title: "Shoes" } }), { activeCount: 1 });
        assertShape(await dashboard.next({ type: "visitor-joined-domain", domainId }), { visitorId: "v", activeCount: 1 });
        assert.deepEqual(await visitor.ack({ type: "visitor-activity", domainId, visitorId: "v", url: "/a" }), { success: true });
        assertShape((await dashboard.ack({ type: "get-domain-stats", domainId })).visitors[0], { id: "v" });
        const all = await new Promise((resolve) => {
          dashboard.socket.once("all-domain-stats", resolve);
          dashboard.socket.emit("get-all-domain-stats");
        });
        assertShape(all.stats[domainId], { activeVisitors: 1, totalVisitors: 1 });
        assert.deepEqual(await visitor.ack({ type: "customer-joined-room", roomId: s.unique("room"), customerId: "c", customerName: "C", domainId }), { success: true });
        assertShape(await dashboard.next("customer-joined-room"), { customerId: "c" });
        assertShape(await visitor.ack({ type: "visitor-left-domain", domainId, visitorId: "v" }), { activeCount: 0 });
        assertShape(await dashboard.next({ type: "visitor-left-domain", domainId }), { visitorId: "v" });
      });

      scenario("the AI answers, at once and as it is written", async (s) => {
        const client = await s.socketIo(options);
        const answer = await client.ack({ type: "ai-chat", message: "hello there", conversationId: s.unique("talk") });
        assertShape(answer, { message: "You said: hello there", usage: { inputTokens: answer.usage.inputTokens, outputTokens: answer.usage.outputTokens } });
        assertShape(await client.next("ai-response"), { message: answer.message });
        const complete = await client.ack({ type: "ai-stream", message: "hello again", conversationId: s.unique("talk") });
        assert.equal(client.unread("ai-stream-chunk").map((f) => f.chunk).join(""), complete.fullResponse, "acknowledged with its end");
        assertShape(await client.next("ai-stream-complete"), { fullResponse: complete.fullResponse });
      });

      scenario("errors have the same codes, as an event and in the acknowledgement", async (s) => {
        const client = await s.socketIo(options);
        for (const [event, code] of [
          [{ type: "dance" }, "unknown_type"],
          [{ type: "join-room", roomId: "r" }, "invalid_request"],
          [{ type: "typing-start", roomId: s.unique("room"), userId: "u" }, "forbidden"],
          [{ type: "send-message", roomId: "r", userId: "u", userName: "U", message: "x".repeat(16_385) }, "too_large"],
          [{ type: "ai-chat", message: "?", model: "unknown-model" }, "unsupported_model"],
        ]) {
          const refusal = await client.ack({ ...event, id: "mine" });
          assertShape(refusal, { code, message: text, replyTo: "mine", timestamp });
          assertShape(await client.next("error"), refusal);
        }
      });

      scenario("Socket.IO and WebSocket members of a room hear one order", async (s) => {
        const room = s.unique("room");
        const plain = [await s.member(room, "ann"), await s.member(room, "bob")];
        const others = [];
        for (const userId of ["cid", "dora"]) others.push(await s.socketIoMember(room, userId, options));
        const all = [...plain, ...others];
        const each = 50;
        for (let n = 0; n < each; n += 1) for (const [k, client] of all.entries()) client.send({ type: "send-message", roomId: room, message: `${k}: ${n}`, userId: `u${k}`, userName: "U" });
        const heard = await Promise.all(all.map((client) => client.take(each * all.length, "new-message", PATIENCE_MS)));
        for (const log of heard) {
          assert.deepEqual(log, heard[0]);
          assert.deepEqual(log.map((f) => f.seq), gapless(each * all.length));
        }
      });

      scenario("a burst of 500 that begins with the connection: nothing lost, nothing reordered", async (s) => {
        const room = s.unique("room");
        const ann = await s.member(room, "ann");
        const bob = await s.socketIoMember(room, "bob", options);
        // Both ways at once, while a client of the default transports changes from one to the other.
        const spoken = sayMany(ann, room, "ann", 500);
        for (let n = 1; n <= 500; n += 1) bob.send({ type: "send-message", roomId: room, message: `b${n}`, userId: "bob", userName: "Bob" });
        await spoken;
        const [inAnn, inBob] = await Promise.all([ann, bob].map((client) => client.take(1_000, "new-message", PATIENCE_MS)));
        assert.deepEqual(inBob.map((f) => f.seq), gapless(1_000));
        assert.deepEqual(inBob, inAnn);
        assert.deepEqual(inBob.filter((f) => f.userId === "bob").map((f) => f.message), gapless(500).map((n) => `b${n}`));
        if (name === "default") {
          await bob.upgraded();
          await bob.fence(room);
        }
      });

      scenario("one connection lives in rooms of all shards", async (s) => {
        const rooms = Array.from({ length: 8 }, () => s.unique("room"));
        const [ann, bob] = [await s.connect(), await s.socketIo(options)];
        for (const room of rooms) for (const [client, user] of [[ann, "ann"], [bob, "bob"]]) await join(client, room, user);
        for (const room of rooms) {
          const ack = await say(bob, room, "bob", `in ${room}`);
          for (const client of [ann, bob]) assertShape(await client.next({ type: "new-message", roomId: room }), { id: ack.id, message: `in ${room}` });
        }
        bob.close();
        for (const room of rooms) assertShape(await ann.next({ type: "user-left", roomId: room }), { userId: "bob" });
      });

      scenario("who disconnects leaves at once, who dies leaves after a grace", async (s) => {
        const room = s.unique("room");
        const ann = await s.member(room, "ann");
        const dying = await s.socketIoMember(room, "dora", options);
        const closing = await s.socketIoMember(room, "carl", options);
        if (name === "default") for (const client of [dying, closing]) await client.upgraded();
        await dying.lose();
        closing.close();
        const left = [await ann.next("user-left", LOST_MS), await ann.next("user-left", LOST_MS)];
        assert.deepEqual(left.map((f) => f.userId), ["carl", "dora"]);
      }, { timeout: 2 * LOST_MS });

      scenario("who comes back to the namespace over the same connection is somebody new", async (s) => {
        const room = s.unique("room");
        const ann = await s.member(room, "ann");
        const bob = await s.socketIoMember(room, "bob", options);
        const was = bob.socket.id;
        await ann.next("user-joined");
        bob.socket.disconnect();
        assertShape(await ann.next("user-left"), { socketId: was });
        bob.socket.connect();
        await bob.next("(connect)");
        assert.notEqual(bob.socket.id, was);
        assertShape(await join(bob, room, "bob"), { seq: 0 });
      });
    });
  }
}

describe("limits", () => {
  const { scenario } = suite({ EVENTS_PER_SEC: "5" }, { needs: "socketIo" });

  for (const [name, transports] of Object.entries(TRANSPORTS)) {
    scenario(`${name}: events over the rate are refused and acknowledged so, and no way around it is a reconnection to the namespace`, async (s) => {
      const client = await s.socketIo({ transports });
      const acks = await Promise.all(gapless(30).map(() => client.ack({ type: "ping" })));
      const refused = acks.filter((ack) => ack.code === "rate_limited");
      assert.ok(refused.length >= 15, `${refused.length} of 30 were refused`);
      assertShape(refused[0], { retryAfterMs: count });
    });

    scenario(`${name}: repeated abuse ends the connection`, async (s) => {
      const client = await s.socketIo({ transports });
      for (let n = 0; n < 1_300; n += 1) client.send({ type: "ping" });
      await client.next("(disconnect)", PATIENCE_MS);
    });
  }
});

describe("origins", () => {
  const { scenario } = suite({ ALLOWED_ORIGINS: "https://shop.example" }, { needs: "socketIo" });

  scenario("pages that are not allowed are refused, with a status", async (s) => {
    for (const transports of Object.values(TRANSPORTS)) {
      const as = (origin) => ({ transports, extraHeaders: { origin } });
      await s.socketIo(as("https://shop.example"));
      await assert.rejects(s.socketIo(as("https://evil.example")), /refused/);
    }
    const ask = (origin, method = "GET") =>
      request(s.url("/socket.io/?EIO=4&transport=polling"), { method, headers: { origin, ...(method === "OPTIONS" && { "access-control-request-method": "POST" }) } });
    const refused = await ask("https://evil.example");
    assert.equal(refused.status, 403);
    assert.deepEqual(refused.json, { code: 4, message: "Forbidden" });
    for (const method of ["GET", "OPTIONS"]) {
      const allowed = await ask("https://shop.example", method);
      assert.equal(allowed.status, method === "GET" ? 200 : 204);
      assert.equal(allowed.headers.get("access-control-allow-origin"), "https://shop.example");
      assert.equal(allowed.headers.get("access-control-allow-credentials"), "true");
    }
  });
});

describe("slow readers", () => {
  const { scenario } = suite({}, { needs: "socketIo" });
  const long = "x".repeat(15_000);

  for (const [name, transports] of Object.entries(TRANSPORTS)) {
    scenario(
      `${name}: one that does not read is let go, and everyone else gets everything`,
      async (s) => {
        const room = s.unique("room");
        const [ann, bob] = [await s.member(room, "ann"), await s.socketIoMember(room, "bob", { transports })];
        const slow = await s.socketIoMember(room, "slow", { transports });
        if (name !== "polling") await slow.upgraded();
        slow.stall();
        // At the pace of one who reads: all at once would be more than any queue holds.
        for (let told = 0; told < 800; told += 40) {
          await sayMany(ann, room, "ann", 40, () => long);
          for (const client of [ann, bob]) {
            const heard = await client.take(40, "new-message", PATIENCE_MS);
            assert.deepEqual(heard.map((f) => f.seq - told), gapless(40));
          }
        }
        await ann.next({ type: "user-left", userId: "slow" }, PATIENCE_MS);
        slow.resume();
        await slow.next("(disconnect)", PATIENCE_MS);
        const heard = slow.frames.filter((f) => f.type === "new-message").map((f) => f.seq);
        assert.deepEqual(heard, gapless(heard.length), "what it did get is without a gap");
        const back = await SocketIoClient.connect(s.host.baseUrl, { transports });
        assertShape(await back.ack({ type: "join-room", roomId: room, userId: "slow", userName: "Slow", epoch: ann.joined.epoch, lastSeq: heard.length }), { seq: 800 });
        back.close();
      },
      { timeout: 300_000 },
    );
  }
});

describe("heartbeats", () => {
  const { scenario } = suite({}, { needs: "socketIo" });

  scenario(
    "the living are kept, the silent are gone",
    async (s) => {
      const room = s.unique("room");
      const ann = await s.member(room, "ann");
      const living = [];
      for (const [name, transports] of Object.entries(TRANSPORTS)) living.push(await s.socketIoMember(room, name, { transports }));
      const silent = [];
      for (const name of ["websocket", "polling"]) {
        const client = await s.socketIoMember(room, `silent-${name}`, { transports: TRANSPORTS[name] });
        // Neither its answers to pings nor its next request leave it any more.
        client.socket.io.engine.transport.send = () => {};
        silent.push(client);
      }
      const left = [await ann.next("user-left", 110_000), await ann.next("user-left", 110_000)];
      assert.deepEqual(left.map((f) => f.userId).sort(), ["silent-polling", "silent-websocket"]);
      for (const client of living) await client.fence(room);
    },
    { timeout: 300_000 },
  );
});

describe("stopping", () => {
  const { scenario } = suite({}, { needs: "socketIo" });

  scenario("everybody hears of it, whatever they came by, and comes back by themselves", async (s) => {
    const clients = [];
    for (const transports of Object.values(TRANSPORTS)) clients.push(await s.socketIo({ transports }));
    assert.deepEqual(await s.host.stop(), { code: 0, signal: null });
    for (const client of clients) {
      const { detail } = await client.next("(disconnect)", PATIENCE_MS);
      assert.ok(["transport close", "transport error"].includes(detail), `${detail}: after a goodbye of the namespace the stock client would stay away`);
    }
    await s.host.restart();
  });
});
