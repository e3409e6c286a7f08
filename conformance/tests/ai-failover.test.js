/** `AI_MODELS`: models by other names, at other places, with other keys, and who stands in for whom when one fails. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { eventually } from "../eventually.js";
import { openStream, post } from "../http.js";
import * as faulty from "../mocks/faulty.js";
import { lacks, streamAnswer, suite } from "../scenario.js";
import { absent, assertError, assertShape, text } from "../shape.js";
import { assertRefusesToStart, inTempDir } from "../starts.js";

const [first, second] = [await faulty.startFaultyProvider(), await faulty.startFaultyProvider()];
after(() => Promise.all([first.stop(), second.stop()]));

const OTHER_KEY = "sk-planted-other-91c3";
const MODELS = {
  support: { provider: "openai", model: "gpt-4o", fallbacks: ["spare", "gemini-2.5-flash"] },
  spare: { provider: "openai", model: "qwen-7b", baseUrl: `${second.url}/v1`, apiKeyEnv: "OTHER_KEY" },
  "local-*": { provider: "openai", baseUrl: `${second.url}/v1` },
  "local-gemini-*": { provider: "google", baseUrl: second.url, apiKeyEnv: "OTHER_KEY" },
};
const env = { ...first.env, AI_MODELS: JSON.stringify(MODELS), OTHER_KEY, AI_FIRST_TOKEN_MS: "3000", AI_TOTAL_MS: "10000" };
const { host, scenario } = suite(env);

const ask = (s, model, more = {}) => ({ message: "hello", conversationId: s.unique("talk"), model, ...more });

function assertDiscreet(...shown) {
  for (const one of [...shown, host.logs()]) assert.ok(!one.includes("planted"), `a key is shown: ${one}`);
}

scenario("a model goes where it is mapped to, under its own name and with the key of that place alone", async (s) => {
  const client = await s.connect();
  const cases = [
    ["support", first, "gpt-4o", "openai", (h) => assert.match(h.authorization, /^Bearer sk-planted-openai/)],
    ["gpt-4o-mini", first, "gpt-4o-mini", "openai", (h) => assert.match(h.authorization, /^Bearer sk-planted-openai/)],
    ["spare", second, "qwen-7b", "openai", (h) => assert.equal(h.authorization, `Bearer ${OTHER_KEY}`)],
    // The provider's own key is for the provider alone.
    ["local-llama", second, "local-llama", "openai", (h) => assert.equal(h.authorization, undefined)],
    ["local-gemini-x", second, "local-gemini-x", "google", (h) => assert.equal(h["x-goog-api-key"], OTHER_KEY)],
  ];
  for (const [model, provider, name, family, hasKey] of cases) {
    for (const it of [first, second]) it.play(faulty.answers("Yes."));
    const { complete } = await streamAnswer(client, ask(s, model));
    assertShape(complete, { fullResponse: "Yes.", model: name, provider: family, error: absent });
    assert.equal(provider.requests.length, 1, model);
    const { headers, body, path } = provider.requests[0];
    hasKey(headers);
    assert.ok(body.model === name || path.includes(`/models/${name}:`), model);
  }
  assertError(await client.ask({ type: "ai-chat", ...ask(s, "mistral-7b") }, "error"), "unsupported_model", "mistral-7b");
  assertDiscreet(client.raw.join("\n"));
});

const failures = [
  ["is broken (503)", faulty.status(503), 3],
  ["has had enough of us for a long time (429)", faulty.status(429, { "retry-after": "30" }), 1],
  ["does not know our key (401)", faulty.status(401), 1],
  ["says nothing", faulty.hangs(), 1],
  ["closes the connection", faulty.cutsAtOnce(), 3],
  ["sends an error instead of the first token", faulty.sendsErrorAfter(), 3],
  ["ends without a word", faulty.endsEarlyAfter(), 3],
];
for (const [what, behaviour, attempts] of failures) {
  scenario(`the first model ${what}: the next one answers, and the visitor notices nothing`, async (s) => {
    first.play(behaviour);
    second.play(faulty.answers("All ", "well."));
    const client = await s.connect();
    const { chunks, complete, joined } = await streamAnswer(client, ask(s, "support"));
    assert.equal(joined, "All well.");
    assert.equal(chunks[0].index, 0);
    assertShape(complete, { fullResponse: "All well.", model: "qwen-7b", provider: "openai", finishReason: "stop", error: absent, code: absent });
    assert.deepEqual([first.requests.length, second.requests.length], [attempts, 1]);

    const http = await openStream(s.url("/ai/stream"), ask(s, "support"));
    assert.deepEqual([http.status, await http.rest()], [200, "All well."]);
    assertDiscreet(client.raw.join("\n"));
  });
}

scenario("two fail, the third is another provider's", async (s) => {
  second.play(faulty.status(500));
  first.play((exchange) => (exchange.gemini ? faulty.answers("At last.") : faulty.status(401))(exchange));
  const { complete } = await streamAnswer(await s.connect(), ask(s, "support"));
  assertShape(complete, { fullResponse: "At last.", model: "gemini-2.5-flash", provider: "google", finishReason: "stop" });
});

scenario("all fail: one sentence, one code, and the offer of a person", async (s) => {
  for (const provider of [first, second]) provider.play(faulty.status(401));
  const client = await s.connect();
  const { complete, chunks } = await streamAnswer(client, ask(s, "support"));
  assertShape(complete, { fullResponse: text, model: "gpt-4o", error: true, code: "ai_unavailable", finishReason: "error", offersHuman: true });
  assert.equal(chunks.length, 0);
  const http = await post(s.url("/ai/chat"), ask(s, "support"));
  assertShape(http.json, { response: complete.fullResponse, error: true, code: "ai_unavailable", offersHuman: true });
  assertDiscreet(client.raw.join("\n"), http.text);
});

scenario("the total deadline holds for all of them together", async (s) => {
  for (const provider of [first, second]) provider.play(faulty.hangs());
  const { complete } = await streamAnswer(await s.connect(), ask(s, "support"));
  assertShape(complete, { error: true, code: "ai_timeout", finishReason: "error", offersHuman: true });
  const asked = first.requests.length + second.requests.length;
  assert.ok(asked >= 3 && asked <= 5, `${asked} requests in 10 s of 3 s each`);
  await Promise.all([...first.requests, ...second.requests].map((exchange) => exchange.gone));
});

scenario("what breaks off before the visitor's eyes is not begun again elsewhere", async (s) => {
  first.play(faulty.cutsAfter("Half an ", "answer"));
  second.play(faulty.answers("Another."));
  const { complete, joined } = await streamAnswer(await s.connect(), ask(s, "support"));
  assert.equal(joined, "Half an answer");
  assertShape(complete, { fullResponse: "Half an answer", error: true, code: "ai_unavailable", finishReason: "error", fallback: text, offersHuman: true });
  assert.equal(second.requests.length, 0);
});

scenario("a question that a provider refuses for its content is not taken to another", async (s) => {
  first.play((exchange) => exchange.reply(400, { error: { code: "content_filter", message: faulty.RAW_ERROR } }));
  second.play(faulty.answers("Another."));
  const { complete } = await streamAnswer(await s.connect(), ask(s, "support"));
  assertShape(complete, { error: true, code: "ai_content_filtered", finishReason: "content_filter", fullResponse: text, offersHuman: true });
  assert.equal(second.requests.length, 0);
});

describe("an endpoint that fails again and again", () => {
  const { host, scenario } = suite({ ...env, AI_BREAKER_FAILURES: "3", AI_BREAKER_MS: "10000" });
  const lines = (what) => host.logs().split("\n").filter((line) => line.includes(what));

  scenario("is left alone, the others go on, and it is asked again after a while", async (s) => {
    const client = await s.connect();
    const answer = async (model) => (await streamAnswer(client, ask(s, model))).complete;
    first.play(faulty.status(503));
    second.play(faulty.answers("From the other."));
    assertShape(await answer("support"), { fullResponse: "From the other." });
    assert.equal(first.requests.length, 3);
    assertShape(await answer("support"), { fullResponse: "From the other." });
    assertShape(await answer("gpt-4o"), { error: true, code: "ai_unavailable", offersHuman: true });
    assert.equal(first.requests.length, 3, "nobody asks it meanwhile");
    await logged(lines, "breaker opened");
    first.play(faulty.answers("Back again."));
    // Over HTTP, where one connection does not deal with too many conversations.
    await eventually(async () => {
      await post(s.url("/ai/chat"), ask(s, "support"));
      return first.requests.length > 0;
    });
    assertShape(await answer("support"), { fullResponse: "Back again.", model: "gpt-4o" });
    await logged(lines, "breaker closed");
    const told = [...lines("breaker opened"), ...lines("breaker closed")];
    assert.equal(told.length, 2, told.join("\n"));
    for (const line of told) assert.ok(line.includes(new URL(first.url).host) && !line.includes(env.OPENAI_API_KEY), line);
  });

  /** A log arrives when it likes. */
  const logged = (lines, what) => eventually(() => lines(what), ({ length }) => length > 0);
});

describe("settings that can't be", { skip: lacks("process") }, () => {
  const wrong = [
    [{ "my-model": { provider: "openai", apiKeyEnv: "NO_SUCH_KEY" } }, "NO_SUCH_KEY"],
    [{ "my-model": { provider: "openai", fallbacks: ["gemini-2.5-flash"] } }, "gemini-2.5-flash"],
    [{ "my-model": { provider: "openai", baseUrl: "localhost:11434" } }, "baseUrl"],
    [{ "my-model": { provider: "openai", key: "sk-planted-inline" } }, "key"],
    [{ "my-model": "sk-planted-inline" }, "AI_MODELS"],
  ];
  for (const [models, naming] of wrong) {
    test(`AI_MODELS=${JSON.stringify(models)}`, () =>
      inTempDir(async (DATA_DIR) => {
        const output = await assertRefusesToStart({ DATA_DIR, OPENAI_API_KEY: "sk-planted-own", AI_MODELS: JSON.stringify(models) }, naming);
        assert.ok(!output.includes("planted"), output);
      }));
  }
});
