/** Holds the mocks to what README.md says of them; needs no host. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { post, sseEvents } from "../http.js";
import * as faulty from "./faulty.js";
import { GOOGLE_KEY, OPENAI_KEY, startModels } from "./models.js";

const GEMINI = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
let models;
let provider;
before(async () => {
  models = await startModels();
  provider = await faulty.startFaultyProvider();
});
after(async () => {
  await models.stop();
  await provider.stop();
});

const openAi = (content, more = {}) =>
  post(`${models.env.OPENAI_BASE_URL}/chat/completions`, { model: "gpt-4o", stream: true, messages: [{ role: "system", content: "Be kind." }, { role: "user", content }], ...more }, { authorization: `Bearer ${OPENAI_KEY}` });
const gemini = (text) =>
  post(models.env.GOOGLE_AI_BASE_URL + GEMINI, { systemInstruction: { parts: [{ text: "Be kind." }] }, contents: [{ role: "user", parts: [{ text }] }] }, { "x-goog-api-key": GOOGLE_KEY });

test("an OpenAI stream has role, content, finish, usage if asked for, and [DONE]", async () => {
  models.on("weather", { content: "It rains today.", usage: { prompt_tokens: 9, completion_tokens: 4 } });
  const reply = await openAi("weather", { stream_options: { include_usage: true } });
  const events = sseEvents(reply.text);
  assert.match(reply.text, /data: \[DONE\]\n\n$/);
  const chunks = events.slice(0, -1).map((e) => e.data);
  assert.deepEqual(chunks[0].choices[0].delta, { role: "assistant", content: "" });
  assert.equal(chunks.map((c) => c.choices[0]?.delta.content ?? "").join(""), "It rains today.");
  assert.equal(chunks.at(-2).choices[0].finish_reason, "stop");
  assert.deepEqual([chunks.at(-1).choices, chunks.at(-1).usage], [[], { prompt_tokens: 9, completion_tokens: 4, total_tokens: 13 }]);
  const withoutUsage = await openAi("weather");
  assert.ok(!withoutUsage.text.includes("usage"));
});

test("a Gemini stream ends with finish reason and usage, and its request is recorded in OpenAI's form", async () => {
  models.on("climate", { content: "It warms.", finishReason: "length", usage: { prompt_tokens: 9, completion_tokens: 4 } });
  const chunks = sseEvents((await gemini("climate")).text).map((e) => e.data);
  assert.equal(chunks.map((c) => c.candidates[0].content.parts[0].text).join(""), "It warms.");
  assert.equal(chunks.at(-1).candidates[0].finishReason, "MAX_TOKENS");
  assert.deepEqual(chunks.at(-1).usageMetadata, { promptTokenCount: 9, candidatesTokenCount: 4, totalTokenCount: 13 });
  assert.deepEqual(models.requests().at(-1).messages, [{ role: "system", content: "Be kind." }, { role: "user", content: "climate" }]);
});

test("a wrong key is refused in both dialects", async () => {
  const wrongOpenAi = await post(`${models.env.OPENAI_BASE_URL}/chat/completions`, { model: "gpt-4o", messages: [] }, { authorization: "Bearer no" });
  const wrongGemini = await post(models.env.GOOGLE_AI_BASE_URL + GEMINI, { contents: [] }, { "x-goog-api-key": "no" });
  assert.deepEqual([wrongOpenAi.status, wrongGemini.status], [401, 401]);
});

test("an answer nobody scripted repeats the question", async () => {
  assert.equal(sseEvents((await openAi("hm?")).text).map((e) => e.data?.choices[0]?.delta.content ?? "").join(""), "You said: hm?");
});

test("the faulty provider plays its behaviours in turn and repeats the last", async () => {
  provider.play(faulty.status(429), faulty.answers("now ", "well"));
  const ask = () => post(`${provider.env.OPENAI_BASE_URL}/chat/completions`, { stream: true, messages: [] });
  assert.equal((await ask()).status, 429);
  for (const _ of [1, 2]) assert.match((await ask()).text, /now .*well.*\[DONE\]/s);
  assert.equal((await provider.request(2)).stream, true);
});

test("where several are under way, each is found by its question", async () => {
  provider.play(faulty.held());
  const ask = (content) => post(`${provider.env.OPENAI_BASE_URL}/chat/completions`, { stream: true, messages: [{ role: "user", content: "one" }, { role: "user", content }] });
  const [one, other] = [ask("one"), ask("other")];
  for (const question of ["other", "one"]) faulty.answers(question)(await provider.requestAbout(question));
  assert.match((await one).text, /"content":"one"/);
  assert.match((await other).text, /"content":"other"/);
});

test("a cut stream gives the tokens first, then breaks", async () => {
  provider.play(faulty.cutsAfter("half"));
  const response = await fetch(provider.env.GOOGLE_AI_BASE_URL + GEMINI, { method: "POST", body: "{}" });
  const first = await response.body.getReader().read();
  assert.match(new TextDecoder().decode(first.value), /half/);
  await assert.rejects(post(provider.env.GOOGLE_AI_BASE_URL + GEMINI, {}), /terminated|fetch failed/);
});
