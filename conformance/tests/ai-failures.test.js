/** Providers fail in every way they know: the visitor gets a sentence and a code, never a hang, never a raw error. */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { after, describe } from "node:test";
import { openStream, post } from "../http.js";
import * as faulty from "../mocks/faulty.js";
import { streamAnswer, suite } from "../scenario.js";
import { absent, assertShape, matching, text, timestamp } from "../shape.js";

const provider = await faulty.startFaultyProvider();
after(() => provider.stop());

/**
 * Deadlines that end a stalled answer soon, and that a good one keeps on a busy machine; the suite asserts what comes, not when.
 * Where nothing good ever comes they are shorter.
 */
const DEADLINES = { AI_FIRST_TOKEN_MS: "4000", AI_TOTAL_MS: "8000" };
const SHORT = { AI_FIRST_TOKEN_MS: "600", AI_TOTAL_MS: "4000" };
const { host, scenario } = suite({ ...provider.env, ...DEADLINES });

const dialects = { OpenAI: "gpt-4o", Gemini: "gemini-2.5-flash" };

/** What may never reach a visitor or a log. */
function assertDiscreet(log, ...texts) {
  for (const shown of [...texts, log]) {
    assert.ok(!shown.includes("planted"), `a key is shown: ${shown}`);
  }
  for (const shown of texts) assert.ok(!shown.includes(faulty.RAW_ERROR), `a provider's raw error is shown: ${shown}`);
}

/** As in `limits.rs`. */
const ANSWER_BYTES_MAX = 256 * 1024;

/** Keeps the connection busy with a record that never ends, a byte at a time. @param {faulty.Exchange} exchange */
function drips(exchange) {
  exchange.raw("data: ");
  const timer = setInterval(() => exchange.raw(" "), 50);
  void exchange.gone.then(() => clearInterval(timer));
}

const silences = [
  ["answers nothing at all", faulty.hangs(), "ai_timeout"],
  ["sends the head of a stream and no token", faulty.hangsAfterHead(), "ai_timeout"],
];
const beforeFirstToken = [
  ["closes the connection", faulty.cutsAtOnce(), "ai_unavailable"],
  ["answers an HTML page", faulty.answersHtml(), "ai_unavailable"],
  ["answers a stream of garbage", faulty.answersGarbage(), "ai_unavailable"],
  ["ends the stream without a word", faulty.endsEarlyAfter(), "ai_unavailable"],
  ["answers, and without a word", faulty.answers(), "ai_unavailable"],
  ["thinks until it may say no more", (exchange) => exchange.finish(exchange.gemini ? "MAX_TOKENS" : "length"), "ai_unavailable"],
  ["wants to be left alone for longer than a visitor waits (503)", faulty.status(503, { "retry-after": "30" }), "ai_unavailable"],
  ["is broken (500)", faulty.status(500), "ai_unavailable"],
  ["does not know our key (401)", faulty.status(401), "ai_unavailable"],
  ["has had enough of us (429)", faulty.status(429, { "retry-after": "0" }), "ai_unavailable"],
  ["sends an error instead of the first token", faulty.sendsErrorAfter(), "ai_unavailable"],
];

/** Over each road the same. */
const fallsBack = (model, behaviour, code) => async (s) => {
  provider.play(behaviour);
  const client = await s.connect();
  const question = { message: "hello", conversationId: s.unique("talk"), model };
  const { chunks, complete, joined } = await streamAnswer(client, question);
  assertShape(complete, { fullResponse: text, error: true, code, finishReason: "error", conversationId: question.conversationId, timestamp });
  // A fallback may also be shown as chunks, but then as the same text.
  assert.ok(chunks.length === 0 || joined === complete.fullResponse);
  const whole = await client.ask({ type: "ai-chat", ...question }, "ai-response");
  assertShape(whole, { message: complete.fullResponse, error: true, code, finishReason: "error" });
  const http = await post(s.url("/ai/chat"), question);
  assert.equal(http.status, 200);
  assertShape(http.json, { message: complete.fullResponse, response: complete.fullResponse, error: true, code });
  assertDiscreet(s.host.logs(), client.raw.join("\n"), http.text);
};

describe("with short deadlines", () => {
  const { scenario } = suite({ ...provider.env, ...SHORT });

  for (const [dialect, model] of Object.entries(dialects)) {
    for (const [what, behaviour, code] of silences) scenario(`${dialect}: the provider ${what}: the fallback sentence and ${code}`, fallsBack(model, behaviour, code));

    scenario(`${dialect}: the provider sends a byte now and then and never a token: no byte puts off the deadline`, async (s) => {
      provider.play((exchange) => drips(exchange));
      const { complete } = await streamAnswer(await s.connect(), { message: "hello", conversationId: s.unique("talk"), model });
      assertShape(complete, { fullResponse: text, error: true, code: "ai_timeout", finishReason: "error" });
      await Promise.all(provider.requests.map((exchange) => exchange.gone));
    });
  }
});

for (const [dialect, model] of Object.entries(dialects)) {
  describe(`${dialect}: the provider`, () => {
    for (const [what, behaviour, code] of beforeFirstToken) scenario(`${what}: the fallback sentence and ${code}`, fallsBack(model, behaviour, code));

    const midway = [
      ["breaks off", faulty.cutsAfter("Half an ", "answer"), "ai_unavailable"],
      ["ends the stream without saying that it is the end", faulty.endsEarlyAfter("Half an ", "answer"), "ai_unavailable"],
      ["sends an error", faulty.sendsErrorAfter("Half an ", "answer"), "ai_unavailable"],
    ];
    for (const [what, behaviour, code] of midway) {
      scenario(`${what} midway: the text so far, and that it is not all`, async (s) => {
        provider.play(behaviour);
        const client = await s.connect();
        const { complete, joined } = await streamAnswer(client, { message: "hello", conversationId: s.unique("talk"), model });
        assert.equal(joined, "Half an answer");
        assertShape(complete, { fullResponse: "Half an answer", error: true, code, finishReason: "error", fallback: text });
        assert.equal(provider.requests.length, 1, "what was begun before a visitor's eyes is not begun again");
        const plain = await post(s.url("/ai/stream"), { message: "hello", conversationId: s.unique("talk"), model });
        assert.equal(plain.text, `Half an answer\n\n${complete.fallback}`);
        assertDiscreet(host.logs(), client.raw.join("\n"));
      });
    }

    scenario("stalls midway: the deadline of the whole ends it", async (s) => {
      provider.play((exchange) => exchange.token("Half an answer"));
      const client = await s.connect();
      const { complete } = await streamAnswer(client, { message: "hello", conversationId: s.unique("talk"), model });
      assertShape(complete, { fullResponse: "Half an answer", error: true, code: "ai_timeout", finishReason: "error", fallback: text });
      // The upstream request is dropped, not left to run.
      await provider.requests[0].gone;
    });

    scenario("sends ten million characters: the answer is cut at its limit, and the model is dropped", async (s) => {
      const sent = Array.from({ length: 1_000 }, (_, n) => `${n} `.repeat(Math.ceil(10_000 / `${n} `.length)));
      provider.play(async (exchange) => {
        for (const piece of sent) {
          if (exchange.res.destroyed) return;
          exchange.token(piece);
          await new Promise(setImmediate);
        }
        exchange.finish();
      });
      const client = await s.connect();
      const { complete, joined } = await streamAnswer(client, { message: "hello", conversationId: s.unique("talk"), model });
      assertShape(complete, { finishReason: "length", error: absent });
      assert.equal(complete.fullResponse, sent.join("").slice(0, ANSWER_BYTES_MAX));
      assert.equal(joined, complete.fullResponse);
      await provider.requests[0].gone;
    });

    scenario("sends one record of ten million characters: the fallback sentence", async (s) => {
      provider.play(async (exchange) => {
        exchange.raw("data: ");
        for (let n = 0; n < 1_000 && !exchange.res.destroyed; n += 1) {
          exchange.raw("x".repeat(10_000));
          await new Promise(setImmediate);
        }
      });
      const { complete, chunks } = await streamAnswer(await s.connect(), { message: "hello", conversationId: s.unique("talk"), model });
      assertShape(complete, { fullResponse: text, error: true, code: "ai_unavailable", finishReason: "error" });
      assert.equal(chunks.length, 0);
      await Promise.all(provider.requests.map((exchange) => exchange.gone));
    });

    scenario("goes on midway with a byte now and then: the deadline of the whole ends it", async (s) => {
      provider.play((exchange) => {
        exchange.token("Half an answer");
        drips(exchange);
      });
      const { complete } = await streamAnswer(await s.connect(), { message: "hello", conversationId: s.unique("talk"), model });
      assertShape(complete, { fullResponse: "Half an answer", error: true, code: "ai_timeout", finishReason: "error", fallback: text });
      await provider.requests[0].gone;
    });

    scenario("fails once and then answers: the visitor notices nothing", async (s) => {
      for (const failure of [faulty.status(429, { "retry-after": "0" }), faulty.status(503), faulty.cutsAtOnce(), faulty.hangs()]) {
        provider.play(failure, faulty.answers("All ", "well."));
        const client = await s.connect();
        const { complete } = await streamAnswer(client, { message: "hello", conversationId: s.unique("talk"), model });
        assertShape(complete, { fullResponse: "All well.", finishReason: "stop", error: absent, code: absent });
        assert.equal(provider.requests.length, 2);
      }
    });

    scenario("refuses our key: asking again would not help", async (s) => {
      provider.play(faulty.status(401));
      await (await s.connect()).ask({ type: "ai-chat", message: "hello", conversationId: s.unique("talk"), model }, "ai-response");
      assert.equal(provider.requests.length, 1);
    });

    scenario("failed: the conversation goes on and the fallback is no memory", async (s) => {
      provider.play(faulty.status(401), faulty.answers("Now it works."));
      const client = await s.connect();
      const question = { conversationId: s.unique("talk"), model, systemPrompt: "Be kind." };
      const failed = await client.ask({ type: "ai-chat", message: "one", ...question }, "ai-response");
      assertShape(await client.ask({ type: "ai-chat", message: "two", ...question }, "ai-response"), { message: "Now it works.", error: absent });
      const told = provider.requests[1].messages;
      assert.equal(told[0].role, "system");
      // The unanswered question may stand before the second, as a turn of its own or as a part of the same one.
      assert.match(told.at(-1).content, /two$/);
      assert.ok(told.every((m) => m.content !== failed.message), "the model never said the fallback sentence");
    });

    scenario("writes its bytes as the network likes: CRLF, joined events, split characters", async (s) => {
      provider.play((exchange) => {
        exchange.token("Zoë: ");
        exchange.finish();
        return undefined;
      });
      const plain = await streamAnswer(await s.connect(), { message: "hello", conversationId: s.unique("talk"), model });
      assert.equal(plain.complete.fullResponse, "Zoë: ");

      provider.play(async (exchange) => {
        const written = capture(exchange, () => {
          for (const piece of ["grüß ", "dich 👋🏽", " ende"]) exchange.token(piece);
        });
        const bytes = Buffer.from(`: a comment\r\n\r\n${written.replaceAll("\n", "\r\n")}`);
        // One byte a write: every character and every line end is split somewhere.
        for (const byte of bytes) await new Promise((resolve) => exchange.res.write(Buffer.from([byte]), resolve));
        exchange.finish();
      });
      const { complete } = await streamAnswer(await s.connect(), { message: "hello", conversationId: s.unique("talk"), model });
      assertShape(complete, { fullResponse: "grüß dich 👋🏽 ende", finishReason: "stop", error: absent });
    });

    scenario("fails under a streamed HTTP answer: the text ends, with the fallback or what there was", async (s) => {
      provider.play(faulty.status(500));
      const failed = await openStream(s.url("/ai/stream"), { message: "hello", conversationId: s.unique("talk"), model });
      assert.equal(failed.status, 200);
      const fallback = await failed.rest();
      assert.ok(fallback.length > 0);

      provider.play(faulty.cutsAfter("Half an ", "answer"));
      const cut = await openStream(s.url("/ai/stream"), { message: "hello", conversationId: s.unique("talk"), model });
      const soFar = await cut.rest();
      assert.ok(soFar.startsWith("Half an answer"), soFar);
      assertDiscreet(host.logs(), fallback, soFar);
    });
  });
}

scenario("OpenAI: a finish reason without [DONE] is an end all the same", async (s) => {
  provider.play((exchange) => {
    exchange.token("All.");
    exchange.raw(`data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n`);
    exchange.res.end();
  });
  const { complete } = await streamAnswer(await s.connect(), { message: "hello", conversationId: s.unique("talk"), model: "gpt-4o" });
  assertShape(complete, { fullResponse: "All.", finishReason: "stop", error: absent });
});

scenario("Gemini: a refused prompt is a filtered answer", async (s) => {
  provider.play(faulty.blocksPrompt());
  const { complete } = await streamAnswer(await s.connect(), { message: "hello", conversationId: s.unique("talk"), model: "gemini-2.5-flash" });
  assertShape(complete, { fullResponse: text, error: true, code: "ai_content_filtered", finishReason: matching(/^(content_filter|error)$/) });
});

describe("nobody listens at the provider's address", () => {
  const { scenario } = suite(async () => {
    const url = `http://127.0.0.1:${await closedPort()}`;
    return { ...provider.env, ...DEADLINES, OPENAI_BASE_URL: `${url}/v1`, GOOGLE_AI_BASE_URL: url };
  });
  for (const model of Object.values(dialects)) {
    scenario(`${model}: the fallback sentence and ai_unavailable`, async (s) => {
      const reply = await (await s.connect()).ask({ type: "ai-chat", message: "hello", conversationId: s.unique("talk"), model }, "ai-response");
      assertShape(reply, { message: text, error: true, code: "ai_unavailable", finishReason: "error" });
    });
  }
});

/** What `write` would send, taken instead of sent. */
function capture(exchange, write) {
  const original = exchange.raw;
  let written = "";
  exchange.raw = (bytes) => (written += bytes);
  write();
  exchange.raw = original;
  exchange.head();
  return written;
}

/** A port that was free a moment ago. */
function closedPort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}
