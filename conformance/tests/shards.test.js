/** However many parts share the work, a client sees the same: rooms, domains and talks that lie on different ones. */
import assert from "node:assert/strict";
import { after, describe } from "node:test";
import { get } from "../http.js";
import { startModels } from "../mocks/models.js";
import { join, lacks, say, suite } from "../scenario.js";
import { assertShape } from "../shape.js";

const models = await startModels();
after(() => models.stop());

/** Enough names that a handful of parts all get some. */
const NAMES = 12;

/** A host without shards spreads them in the one way it has. */
for (const SHARDS of lacks("shards") ? [undefined] : ["1", "3"]) {
  describe(SHARDS ? `${SHARDS} shards` : "as the host spreads them", () => {
    const { scenario } = suite({ ...models.env, SHARDS });
    const names = (s, kind) => Array.from({ length: NAMES }, () => s.unique(kind));

    scenario("one connection lives in rooms of all of them", async (s) => {
      const rooms = names(s, "room");
      const [ann, bob] = [await s.connect(), await s.connect()];
      for (const room of rooms) {
        await join(ann, room, "ann");
        await join(bob, room, "bob");
        assertShape(await ann.next({ type: "user-joined", roomId: room }), { userId: "bob" });
      }
      for (const room of rooms) {
        const ack = await say(bob, room, "bob", `in ${room}`);
        for (const client of [ann, bob]) assertShape(await client.next({ type: "new-message", roomId: room }), { id: ack.id, seq: 1, message: `in ${room}` });
        bob.send({ type: "typing-start", roomId: room, userId: "bob" });
        assertShape(await ann.next({ type: "user-typing", roomId: room }), { isTyping: true });
      }
      await bob.ask({ type: "leave-room", roomId: rooms[0] }, "left-room");
      await ann.next({ type: "user-left", roomId: rooms[0] });
      await bob.close();
      for (const room of rooms.slice(1)) assertShape(await ann.next({ type: "user-left", roomId: room }), { userId: "bob" });
    });

    scenario("the bad frame of one room's connection gets its reply, wherever the rooms lie", async (s) => {
      const client = await s.connect();
      for (const room of names(s, "room").slice(0, 4)) await join(client, room, "ann");
      client.sendRaw("{");
      assertShape(await client.next("error"), { code: "invalid_json" });
      client.send({ type: "ping" });
      await client.next("pong");
    });

    scenario("what was refused before a first join is answered, wherever that room lies", async (s) => {
      for (const room of names(s, "room")) {
        const client = await s.connect();
        // One write, so that both are read together and the join may move the connection.
        client.socket._socket.cork();
        client.send({ type: "nonsense", id: "refused" });
        client.send({ type: "join-room", roomId: room, userId: "ann", userName: "Ann" });
        client.socket._socket.uncork();
        assertShape(await client.next("error"), { code: "unknown_type", replyTo: "refused" });
        await client.next("joined-room");
      }
    });

    scenario("visitors of all of them are seen, counted and summed up", async (s) => {
      const domains = names(s, "domain");
      const dashboard = await s.connect();
      await dashboard.fence(s.unique("room"));
      for (const [n, domainId] of domains.entries()) {
        const visitor = await s.connect();
        for (let v = 0; v <= n % 3; v += 1) {
          visitor.send({ type: "visitor-joined-domain", domainId, visitorId: `v${v}` });
          assertShape(await visitor.next({ type: "visitor-joined-domain", domainId }), { visitorId: `v${v}`, activeCount: v + 1 });
          assertShape(await dashboard.next({ type: "visitor-joined-domain", domainId }), { visitorId: `v${v}`, activeCount: v + 1 });
        }
      }
      dashboard.send({ type: "get-all-domain-stats" });
      const { stats } = await dashboard.next("all-domain-stats");
      const overHttp = (await get(s.url("/stats/domains"))).json.stats;
      for (const [n, domainId] of domains.entries()) {
        for (const seen of [stats, overHttp]) assertShape(seen[domainId], { activeVisitors: (n % 3) + 1, totalVisitors: (n % 3) + 1 });
      }
    });

    scenario("talks with the AI keep their memory apart, on a connection that sits elsewhere", async (s) => {
      const client = await s.member(s.unique("room"), "ann");
      const talks = names(s, "talk");
      for (const round of ["first", "second"]) {
        for (const conversationId of talks) {
          const reply = await client.ask({ type: "ai-chat", message: `${round} of ${conversationId}`, conversationId }, "ai-response");
          assert.equal(reply.message, `You said: ${round} of ${conversationId}`);
        }
      }
      for (const conversationId of talks) {
        const [asked] = models.requestsAbout(`second of ${conversationId}`);
        assert.deepEqual(asked.messages.slice(1).map((m) => m.content), [`first of ${conversationId}`, `You said: first of ${conversationId}`, `second of ${conversationId}`]);
      }
    });

    scenario("a restart by kill -9 finds all of them again", async (s) => {
      const rooms = names(s, "room");
      const epochs = new Map();
      const ann = await s.connect();
      for (const room of rooms) {
        epochs.set(room, (await join(ann, room, "ann")).epoch);
        await say(ann, room, "ann", room);
      }
      await s.host.kill9();
      await s.host.restart();
      const back = await s.connect();
      for (const room of rooms) {
        assertShape(await join(back, room, "ann"), { epoch: epochs.get(room), seq: 1 });
        assert.equal((await back.next({ type: "message-history", roomId: room })).messages[0].message, room);
      }
    });
  });
}
