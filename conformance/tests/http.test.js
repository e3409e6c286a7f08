/** HTTP: every route that applications already call, and what operators ask for. */
import assert from "node:assert/strict";
import { after } from "node:test";
import { get, openStream, post, request, sseEvents } from "../http.js";
import * as faulty from "../mocks/faulty.js";
import { suite } from "../scenario.js";
import { absent, assertHttpError, assertShape, count, matching, optional, positive, string, text, timestamp } from "../shape.js";

const provider = await faulty.startFaultyProvider();
after(() => provider.stop());
const { scenario } = suite(provider.env);

const JSON_TYPE = /^application\/json/;

scenario("the bare host says that it is well", async (s) => {
  const reply = await get(s.url("/"));
  assert.equal(reply.status, 200);
  assert.match(reply.headers.get("content-type"), JSON_TYPE);
  assertShape(reply.json, { status: "ok", message: text, timestamp, version: text });
});

scenario("a browser gets the start page", async (s) => {
  const reply = await get(s.url("/"), { accept: "text/html,application/xhtml+xml,*/*;q=0.8" });
  assert.equal(reply.status, 200);
  assert.match(reply.headers.get("content-type"), /^text\/html/);
});

scenario("liveness and readiness", async (s) => {
  for (const path of ["/healthz", "/readyz"]) assert.equal((await get(s.url(path))).status, 200);
});

scenario("a question is answered whole", async (s) => {
  provider.play(faulty.answers("A fine ", "answer."));
  const ids = { domainId: "shop.example", userId: s.unique("user") };
  const reply = await post(s.url("/ai/chat"), { message: "hello", systemPrompt: "Be kind.", ...ids });
  assert.equal(reply.status, 200);
  assert.match(reply.headers.get("content-type"), JSON_TYPE);
  assertShape(reply.json, {
    message: "A fine answer.", response: "A fine answer.", model: matching(/^gpt-3\.5-turbo/), provider: "openai", conversationId: `shop.example-${ids.userId}`,
    contextLength: positive, usage: { inputTokens: 5, outputTokens: 3 }, finishReason: "stop", timestamp, error: absent,
  });
  assert.deepEqual((await provider.request(0)).messages, [{ role: "system", content: "Be kind." }, { role: "user", content: "hello" }]);
});

scenario("an answer is streamed as plain text, piece by piece as it is generated", async (s) => {
  provider.play(faulty.held());
  const answering = openStream(s.url("/ai/stream"), { message: "hello", conversationId: s.unique("talk") });
  const upstream = await provider.request(0);
  upstream.token("Grüß ");
  const answer = await answering;
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get("content-type"), /^text\/plain; ?charset=utf-8$/i);
  assert.equal(await answer.read(), "Grüß ");
  // The provider goes on only after the first piece has been read.
  upstream.token("Gott");
  assert.equal(await answer.read(), "Gott");
  upstream.token("!");
  upstream.finish();
  assert.equal(await answer.rest(), "!");
});

scenario("the same answer comes as events where events are asked for", async (s) => {
  provider.play(faulty.held());
  const conversationId = s.unique("talk");
  const answering = openStream(s.url("/ai/stream"), { message: "hello", conversationId }, { accept: "text/event-stream" });
  const upstream = await provider.request(0);
  upstream.token("One ");
  const answer = await answering;
  assert.match(answer.headers.get("content-type"), /^text\/event-stream/);
  let stream = await answer.read();
  upstream.token("two.");
  upstream.finish();
  stream += await answer.rest();
  const events = sseEvents(stream);
  const chunks = events.filter((e) => e.event === "chunk").map((e) => e.data);
  assert.deepEqual(chunks.map((c) => c.index), chunks.map((_, n) => n));
  assert.equal(chunks.map((c) => c.chunk).join(""), "One two.");
  for (const chunk of chunks) assertShape(chunk, { conversationId, timestamp });
  const [complete, ...more] = events.filter((e) => e.event === "complete");
  assert.deepEqual([more.length, events.at(-1)], [0, complete]);
  assertShape(complete.data, { fullResponse: "One two.", conversationId, provider: "openai", finishReason: "stop", timestamp, error: absent });
});

scenario("a reader that goes away does not stop the answer", async (s) => {
  provider.play(faulty.held());
  const conversationId = s.unique("talk");
  const answering = openStream(s.url("/ai/stream"), { message: "one", conversationId });
  const upstream = await provider.request(0);
  upstream.token("Nobody ");
  const answer = await answering;
  await answer.read();
  await answer.cancel();
  const next = post(s.url("/ai/chat"), { message: "two", conversationId });
  upstream.token("reads.");
  upstream.finish();
  const second = await provider.request(1);
  assert.deepEqual(second.messages.slice(1), [{ role: "user", content: "one" }, { role: "assistant", content: "Nobody reads." }, { role: "user", content: "two" }]);
  second.token("I do.");
  second.finish();
  assertShape((await next).json, { message: "I do." });
});

scenario("a visitor is added, moves on, and is removed", async (s) => {
  const domainId = s.unique("domain");
  const visitorData = { userAgent: "curl/8.0", url: "https://shop.example/", title: "Shop", referrer: "" };
  const dashboard = await s.connect();
  await dashboard.domainFence(domainId);

  const added = await post(s.url("/visitors/add"), { domainId, visitorId: "v1", visitorData });
  assert.equal(added.status, 200);
  assertShape(added.json, { success: true, domainStats: { activeVisitors: 1, totalVisitors: 1 } });
  assertShape(added.json.visitor, { id: "v1", url: visitorData.url, title: visitorData.title });
  assertShape(await dashboard.next({ type: "visitor-joined-domain", domainId }), { visitorId: "v1", activeCount: 1, timestamp });
  const again = await post(s.url("/visitors/add"), { domainId, visitorId: "v1" });
  assertShape(again.json, { domainStats: { activeVisitors: 1, totalVisitors: 1 } });

  const active = await post(s.url("/visitors/activity"), { domainId, visitorId: "v1", url: "https://shop.example/cart", title: "Cart" });
  assert.equal(active.status, 200);
  assertShape(active.json, { success: true, lastActivity: timestamp });
  assertShape(await dashboard.next({ type: "visitor-activity", domainId }), { visitorId: "v1", url: "https://shop.example/cart" });

  const removed = await post(s.url("/visitors/remove"), { domainId, visitorId: "v1" });
  assert.equal(removed.status, 200);
  assertShape(removed.json, { success: true, domainStats: { activeVisitors: 0, totalVisitors: 1 } });
  assertShape(await dashboard.next({ type: "visitor-left-domain", domainId }), { visitorId: "v1", activeCount: 0 });
});

scenario("a visitor nobody knows can't be removed", async (s) => {
  assertHttpError(await post(s.url("/visitors/remove"), { domainId: s.unique("domain"), visitorId: "nobody" }), 404, "not_found");
});

scenario("a domain's stats, over HTTP as over the socket", async (s) => {
  const domainId = s.unique("domain");
  for (const visitorId of ["v1", "v2"]) await post(s.url("/visitors/add"), { domainId, visitorId, visitorData: { url: "https://shop.example/", title: "Shop" } });
  const reply = await get(s.url(`/stats/domain/${domainId}`));
  assert.equal(reply.status, 200);
  assertShape(reply.json, { activeVisitors: 2, totalVisitors: 2 });
  assert.deepEqual(reply.json.visitors.map((v) => v.id).sort(), ["v1", "v2"]);
  for (const row of reply.json.visitors) assertShape(row, { url: "https://shop.example/", title: "Shop", country: optional(string), timestamp, lastActivity: timestamp });
  const overSocket = await (await s.connect()).ask({ type: "get-domain-stats", domainId }, "domain-stats");
  assert.deepEqual(reply.json.visitors, overSocket.visitors);

  const empty = await get(s.url(`/stats/domain/${s.unique("nobody")}`));
  assert.equal(empty.status, 200);
  assertShape(empty.json, { activeVisitors: 0, totalVisitors: 0, visitors: [] });
});

scenario("a domain's name may hold any character", async (s) => {
  const domainId = `${s.unique("shop")}/ä ö?#%`;
  await post(s.url("/visitors/add"), { domainId, visitorId: "v1" });
  const reply = await get(s.url(`/stats/domain/${encodeURIComponent(domainId)}`));
  assertShape(reply.json, { activeVisitors: 1, totalVisitors: 1 });
});

scenario("all domains at a glance", async (s) => {
  const domainId = s.unique("domain");
  await post(s.url("/visitors/add"), { domainId, visitorId: "v1" });
  const reply = await get(s.url("/stats/domains"));
  assert.equal(reply.status, 200);
  assertShape(reply.json, { timestamp });
  assertShape(reply.json.stats[domainId], { activeVisitors: 1, totalVisitors: count, lastUpdated: timestamp });
});

scenario("a route nobody serves is a JSON error", async (s) => {
  for (const [method, path] of [["GET", "/nope"], ["POST", "/ai/nope"], ["GET", "/stats/domain"], ["DELETE", "/nope/deep"]]) {
    const reply = await request(s.url(path), { method });
    assertHttpError(reply, 404, "not_found");
    assert.match(reply.headers.get("content-type"), JSON_TYPE);
  }
});

scenario("the socket's address without an upgrade says what is missing", async (s) => {
  assert.equal((await get(s.url("/ws"))).status, 426);
});

scenario("the interface describes itself, and every route that it names is there", async (s) => {
  const { status, headers, json } = await get(s.url("/openapi.json"));
  assert.equal(status, 200);
  assert.match(headers.get("content-type"), /^application\/json/);
  for (const [path, methods] of Object.entries(json.paths)) {
    for (const method of Object.keys(methods)) {
      const url = s.url(path.replaceAll(/\{\w+\}/g, s.unique("name")));
      const reply = await request(url, { method: method.toUpperCase(), ...(["post", "put"].includes(method) ? { body: "{}" } : {}) });
      assert.notEqual(reply.status, 405, `${method} ${path}: ${reply.text}`);
      assert.ok(reply.status < 500, `${method} ${path}: ${reply.text}`);
      if (reply.status === 404) assert.doesNotMatch(reply.json?.error ?? "", /^there is nothing at/, `${method} ${path}`);
    }
  }
});
