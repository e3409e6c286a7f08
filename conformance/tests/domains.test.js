/** What an operator sets for a site is kept, and is what the AI of that site goes by. */
import assert from "node:assert/strict";
import { after } from "node:test";
import { get, post, request } from "../http.js";
import * as faulty from "../mocks/faulty.js";
import { suite } from "../scenario.js";
import { assertShape } from "../shape.js";

const provider = await faulty.startFaultyProvider();
after(() => provider.stop());
const { scenario } = suite(provider.env);

const schemaVersion = 2;
const SETTINGS = {
  name: "The Shop",
  welcomeMessage: "Welcome!",
  systemPrompt: "You sell hats. Grüß Gott.",
  fallbackMessage: "Our hatter will call you back.",
  model: "gpt-4o-mini",
};

const put = (s, domainId, body) =>
  request(s.url(`/domains/${encodeURIComponent(domainId)}`), {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });

scenario("settings of a domain are kept as they were given", async (s) => {
  const domainId = s.unique("shop.example/a b");
  const url = s.url(`/domains/${encodeURIComponent(domainId)}`);
  assert.deepEqual((await get(url)).json, { domainId, schemaVersion });
  const stored = await put(s, domainId, { ...SETTINGS, unknown: { a: 1 } });
  assert.equal(stored.status, 200);
  assert.deepEqual(stored.json, { domainId, schemaVersion, ...SETTINGS });
  assert.deepEqual((await get(url)).json, { domainId, schemaVersion, ...SETTINGS });
  assert.deepEqual((await put(s, domainId, { name: "Closed" })).json, { domainId, schemaVersion, name: "Closed" });
  await s.host.kill9();
  await s.host.restart();
  assert.deepEqual((await get(s.url(`/domains/${encodeURIComponent(domainId)}`))).json, { domainId, schemaVersion, name: "Closed" });
});

scenario("the AI of a domain is told the domain's prompt, over each road, and answers by its model", async (s) => {
  const domainId = s.unique("domain");
  await put(s, domainId, SETTINGS);
  provider.play(faulty.answers("A ", "hat."));
  const question = { message: "what do you sell?", domainId, userId: "ann" };
  assertShape((await post(s.url("/ai/chat"), question)).json, { message: "A hat.", model: SETTINGS.model });
  const client = await s.connect();
  await client.ask({ type: "ai-chat", ...question, userId: "bob" }, "ai-response");
  const straight = await s.connect({ query: `?roomId=${s.unique("room")}` });
  await straight.ask({ type: "ai-chat", ...question, userId: "cid" }, "ai-response");
  assert.equal(provider.requests.length, 3);
  for (const { messages } of provider.requests) assert.equal(messages[0].content, SETTINGS.systemPrompt);
});

scenario("a question that brings its own prompt and model goes by those", async (s) => {
  const domainId = s.unique("domain");
  await put(s, domainId, SETTINGS);
  provider.play(faulty.answers("Moo."));
  const asked = { message: "hello", domainId, userId: "ann", systemPrompt: "You are a cow.", model: "gpt-4o" };
  assertShape((await post(s.url("/ai/chat"), asked)).json, { message: "Moo.", model: "gpt-4o" });
  assert.equal((await provider.request(0)).messages[0].content, "You are a cow.");
});

scenario("a domain's own sentence is shown when no model answers", async (s) => {
  const domainId = s.unique("domain");
  await put(s, domainId, SETTINGS);
  provider.play(faulty.status(401));
  const { status, json } = await post(s.url("/ai/chat"), { message: "hello", domainId, userId: "ann" });
  assert.equal(status, 200);
  assertShape(json, { message: SETTINGS.fallbackMessage, error: true, code: "ai_unavailable" });
});

scenario("settings that break a limit change nothing", async (s) => {
  const domainId = s.unique("domain");
  await put(s, domainId, { name: "Before" });
  for (const [body, status, code, word] of [
    ["{", 400, "invalid_json", "JSON"],
    ["[]", 400, "invalid_json", "JSON"],
    [{ systemPrompt: 7 }, 400, "invalid_request", "systemPrompt"],
    [{ name: "a\nb" }, 400, "invalid_request", "name"],
    [{ welcomeMessage: "x".repeat(17_000) }, 413, "too_large", "welcomeMessage"],
  ]) {
    const refused = await put(s, domainId, body);
    assert.deepEqual([refused.status, refused.json.code], [status, code]);
    assert.match(refused.json.error, new RegExp(word));
  }
  assert.equal((await get(s.url(`/domains/${domainId}`))).json.name, "Before");
  assert.equal((await request(s.url(`/domains/${domainId}`), { method: "DELETE" })).status, 405);
});
