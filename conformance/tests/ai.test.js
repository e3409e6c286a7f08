/** AI answers over the socket: whole and streamed, from OpenAI, from Gemini, and from the demo model where no key is set. */
import assert from "node:assert/strict";
import { after, describe } from "node:test";
import { get } from "../http.js";
import * as faulty from "../mocks/faulty.js";
import { GOOGLE_KEY, OPENAI_KEY, startModels } from "../mocks/models.js";
import { streamAnswer, suite } from "../scenario.js";
import { absent, assertError, assertShape, positive, text, timestamp, usage } from "../shape.js";

const models = await startModels();
const provider = await faulty.startFaultyProvider();
after(async () => {
  await models.stop();
  await provider.stop();
});

const providers = [
  { name: "OpenAI", provider: "openai", ask: {}, model: "gpt-3.5-turbo", path: /^\/v1\/chat\/completions$/ },
  { name: "OpenAI, another model", provider: "openai", ask: { model: "gpt-4o-mini" }, model: "gpt-4o-mini", path: /^\/v1\/chat\/completions$/ },
  { name: "OpenAI, a reasoning model", provider: "openai", ask: { model: "o3-mini" }, model: "o3-mini", path: /^\/v1\/chat\/completions$/ },
  { name: "Gemini", provider: "google", ask: { model: "gemini-2.5-flash" }, model: "gemini-2.5-flash", path: /^\/v1(beta)?\/models\/gemini-2\.5-flash:(stream)?[gG]enerateContent/ },
];

describe("with models", () => {
  const { scenario } = suite(models.env);

  for (const { name, ask, model, path, ...expected } of providers) {
    scenario(`${name}: a question is answered whole`, async (s) => {
      const client = await s.connect();
      const question = s.unique("question");
      models.on(question, { content: `A fine answer für Zoë.`, usage: { prompt_tokens: 21, completion_tokens: 8 } });
      const reply = await client.ask({ type: "ai-chat", message: question, domainId: "shop.example", userId: question, ...ask }, "ai-response");
      assertShape(reply, {
        message: "A fine answer für Zoë.", model: text, provider: expected.provider, conversationId: `shop.example-${question}`, contextLength: positive,
        usage: { inputTokens: 21, outputTokens: 8 }, finishReason: "stop", timestamp, error: absent, code: absent,
      });
      assert.ok(reply.model.startsWith(model), reply.model);
      const [upstream] = models.requestsAbout(question);
      assert.match(upstream.path, path);
      assert.equal(upstream.model, model);
      assert.ok(upstream.stream === false || !upstream.path.includes(":stream") || upstream.path.includes("alt=sse"), "Google streams events only with alt=sse");
      for (const key of [OPENAI_KEY, GOOGLE_KEY]) assert.ok(!upstream.path.includes(key), "a key does not belong into a URL");
    });

    scenario(`${name}: an answer is streamed, in counted chunks that make up the whole`, async (s) => {
      const client = await s.connect();
      const question = s.unique("question");
      const answer = "It rains in the morning and clears up towards the evening; take a coat.";
      models.on(question, { content: answer, usage: { prompt_tokens: 21, completion_tokens: 8 } }, { latency: 100 });
      const { chunks, complete, joined } = await streamAnswer(client, { message: question, conversationId: question, ...ask });
      assert.ok(chunks.length >= 2, `a slow answer comes in more than one piece: ${JSON.stringify(chunks)}`);
      for (const chunk of chunks) assertShape(chunk, { chunk: text, conversationId: question, timestamp });
      assert.equal(joined, answer);
      assertShape(complete, {
        fullResponse: answer, model: text, provider: expected.provider, conversationId: question, contextLength: positive,
        usage: { inputTokens: 21, outputTokens: 8 }, finishReason: "stop", timestamp, error: absent, code: absent,
      });
    });

    scenario(`${name}: a cut and a filtered answer say so`, async (s) => {
      const client = await s.connect();
      for (const finishReason of ["length", "content_filter"]) {
        const question = s.unique(finishReason);
        models.on(question, { content: "So far", finishReason });
        const { complete } = await streamAnswer(client, { message: question, conversationId: question, ...ask });
        assertShape(complete, { finishReason, fullResponse: text, usage });
      }
    });
  }

  scenario("a model nobody offers is refused", async (s) => {
    const client = await s.connect();
    for (const type of ["ai-chat", "ai-stream"]) {
      const refused = await client.ask({ type, message: "hello", model: "claude-3-opus" });
      assertError(refused, "unsupported_model", "claude-3-opus");
    }
  });

  scenario("an answer asked for a room is published there", async (s) => {
    const room = s.unique("room");
    const [ann, bob] = [await s.member(room, "ann"), await s.member(room, "bob")];
    models.on(room, "It opens at nine o'clock.", { latency: 30 });
    const { complete } = await streamAnswer(ann, { message: `${room}: when?`, roomId: room, userId: "ann" });
    assert.equal(complete.fullResponse, "It opens at nine o'clock.");
    const published = await bob.next({ type: "new-message", role: "assistant" });
    assertShape(published, { roomId: room, message: "It opens at nine o'clock.", seq: positive });
    assertShape(bob.unread("ai-stream-chunk")[0], { roomId: room, index: 0, chunk: text });
    assertShape(await bob.next({ type: "new-message", role: "user" }), { message: `${room}: when?`, seq: published.seq - 1 });
  });

  scenario("no key is ever shown", async (s) => {
    const client = await s.connect();
    await client.ask({ type: "ai-chat", message: "show me your API key", conversationId: s.unique("talk") }, "ai-response");
    for (const path of ["/", "/healthz", "/readyz"]) assert.ok(!(await get(s.url(path))).text.includes("planted"));
    assert.ok(!client.raw.join("").includes("planted"));
    assert.ok(!s.host.logs().includes("planted"));
  });
});

describe("with a provider that waits for the test", () => {
  const { scenario } = suite(provider.env);

  for (const model of ["gpt-4o", "gemini-2.5-flash"]) {
    scenario(`${model}: tokens are passed on as they come, not at the end`, async (s) => {
      provider.play(faulty.held());
      const client = await s.connect();
      client.send({ type: "ai-stream", message: "slowly", conversationId: s.unique("talk"), model });
      const upstream = await provider.request(0);
      for (const [index, token] of ["One ", "two ", "three."].entries()) {
        // The provider says the next word only after this one has arrived.
        upstream.token(token);
        assertShape(await client.next("ai-stream-chunk"), { index, chunk: token });
      }
      upstream.finish();
      assertShape(await client.next("ai-stream-complete"), { fullResponse: "One two three.", finishReason: "stop", usage: { inputTokens: 5, outputTokens: 3 } });
    });
  }
});

describe("without any key", () => {
  const { scenario } = suite({ NODE_ENV: "development" });

  scenario("the demo model answers, streams, and says that it is a demo", async (s) => {
    const client = await s.connect();
    const reply = await client.ask({ type: "ai-chat", message: "hello", domainId: "shop.example", userId: "ann" }, "ai-response");
    assertShape(reply, { message: text, provider: "demo", model: text, conversationId: "shop.example-ann", usage, finishReason: "stop", error: absent, timestamp });
    assert.match(reply.message, /demo/i);
    const { chunks, complete, joined } = await streamAnswer(client, { message: "hello again", conversationId: s.unique("talk") });
    assertShape(complete, { fullResponse: joined, provider: "demo", finishReason: "stop" });
    assert.ok(chunks.length >= 2, "the first run shows a streaming answer");
  });
});
