/** One connection that deals with many rooms, conversations and domains, and leaves them again. */
import assert from "node:assert/strict";
import { after } from "node:test";
import { get, post } from "../http.js";
import * as faulty from "../mocks/faulty.js";
import { join, say, suite } from "../scenario.js";
import { assertError, assertShape } from "../shape.js";

const provider = await faulty.startFaultyProvider();
after(() => provider.stop());
const { scenario } = suite({ ...provider.env, AI_FIRST_TOKEN_MS: "90000", AI_TOTAL_MS: "120000" });

/** Longer than a place that nothing is awaited from is kept in reach. */
const PATIENCE_MS = 40_000;

scenario("an answer that takes long comes, whatever else goes wrong in its conversation meanwhile", async (s) => {
  const conversationId = s.unique("talk");
  const client = await s.connect();
  provider.play(faulty.held());
  client.send({ type: "ai-chat", id: "q", message: "think well", conversationId });
  const upstream = await provider.request(0);
  // Forbidden without a join: an error from where the answer is to come from.
  assertError(await client.ask({ type: "typing-start", roomId: conversationId, userId: "ann" }, "error"), "forbidden");
  // Another connection's grace is the clock: three seconds, and again, and again.
  const room = s.unique("room");
  const watcher = await s.member(room, "wanda");
  for (let n = 0; n < 4; n += 1) {
    await (await s.member(room, `gone-${n}`)).die();
    await watcher.next({ type: "user-left", userId: `gone-${n}` }, PATIENCE_MS);
  }
  upstream.token("Forty-two.");
  upstream.finish();
  assertShape(await client.next((f) => f.replyTo === "q", PATIENCE_MS), { type: "ai-response", message: "Forty-two." });
});

scenario("whoever joined and left sixty rooms may go on in others", async (s) => {
  const client = await s.connect();
  for (let n = 0; n < 60; n += 1) {
    const roomId = s.unique("room");
    await join(client, roomId, "ann");
    await client.ask({ type: "leave-room", roomId }, "left-room");
  }
  const room = s.unique("room");
  assertShape(await say(client, room, "ann", "still here"), { seq: 1 });
  provider.play(faulty.answers("Yes."));
  assertShape(await client.ask({ type: "ai-chat", message: "and you?", conversationId: s.unique("talk") }, "ai-response"), { message: "Yes." });
});

scenario("the longest names make a conversation of their own, which has a name", async (s) => {
  const [domainId, userId] = ["𝄞".repeat(128), "𝄢".repeat(128)];
  provider.play(faulty.answers("Hm."));
  const first = (await post(s.url("/ai/chat"), { message: "one", domainId, userId })).json;
  assert.ok(first.conversationId.length > 0);
  const again = await (await s.connect()).ask({ type: "ai-chat", message: "two", domainId, userId }, "ai-response");
  assertShape(again, { conversationId: first.conversationId, contextLength: 3 });
  const other = (await post(s.url("/ai/chat"), { message: "three", domainId, userId: "𝄢".repeat(127) })).json;
  assert.notEqual(other.conversationId, first.conversationId);
});

scenario("a HEAD is a GET without a body, and what is no method of a route is told which are", async (s) => {
  for (const path of ["/", "/healthz", "/readyz", "/stats/domains", "/stats/domain/shop.example", "/domains/shop.example"]) {
    const [head, body] = [await fetch(s.url(path), { method: "HEAD" }), await get(s.url(path))];
    assert.deepEqual([head.status, await head.text()], [body.status, ""], path);
  }
  const refused = await fetch(s.url("/ai/chat"), { method: "PUT", body: "{}" });
  assert.equal(refused.status, 405);
  assert.match(refused.headers.get("allow") ?? "", /POST/);
});
