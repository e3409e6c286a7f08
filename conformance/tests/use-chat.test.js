/** The AI SDK's `useChat`, by the transport and the reader of the package itself, over its current major and the two before it. */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, describe } from "node:test";
import { openStream, post, request } from "../http.js";
import * as faulty from "../mocks/faulty.js";
import { suite } from "../scenario.js";
import { assertHttpError, assertShape, text, timestamp } from "../shape.js";

const provider = await faulty.startFaultyProvider();
after(() => provider.stop());
const { scenario } = suite(provider.env);

const user = (...texts) => ({ id: `u-${texts[0]}`, role: "user", parts: texts.map((text) => ({ type: "text", text })) });
const assistant = (text) => ({ id: `a-${text}`, role: "assistant", parts: [{ type: "step-start" }, { type: "text", text }] });
const textOf = (message) => message.parts.filter((part) => part.type === "text").map((part) => part.text).join("|");

for (const name of ["ai", "ai-previous", "ai-oldest"]) {
  const { version } = createRequire(import.meta.url)(`${name}/package.json`);
  describe(`package ai ${version}`, async () => {
    const { DefaultChatTransport, readUIMessageStream } = await import(name);

    /** What `useChat` does for one question; gives each state of the answer. */
    const chat = async (s, chatId, messages, body = {}) => {
      const transport = new DefaultChatTransport({ api: s.url("/ai/stream"), body });
      const stream = await transport.sendMessages({ chatId, messages, trigger: "submit-message", messageId: undefined, abortSignal: undefined });
      const states = [];
      for await (const message of readUIMessageStream({ stream, onError: (error) => assert.fail(error) })) states.push(structuredClone(message));
      return states;
    };

    scenario("an answer comes as it is written, and the conversation is ours", async (s) => {
      const chatId = s.unique("chat");
      provider.play(faulty.held());
      const asking = chat(s, chatId, [user("What do you sell?")], { domainId: "shop.example", userId: s.unique("user") });
      const upstream = await provider.request(0);
      upstream.token("Hats für ");
      upstream.token("alle.");
      upstream.finish();
      const states = await asking;
      const last = states.at(-1);
      assert.equal(textOf(last), "Hats für alle.");
      assert.equal(last.role, "assistant");
      assert.ok(new Set(states.map((state) => state.id)).size === 1 && last.id, "one message, with an id");
      assertShape(last.metadata, { conversationId: chatId, provider: "openai", model: text, finishReason: "stop", timestamp });

      provider.play(faulty.answers("Yes."));
      // The page sends its whole history along; the model hears each word once all the same.
      const next = await chat(s, chatId, [user("What do you sell?"), assistant("Hats für alle."), user("Even ", "on Sundays?")]);
      assert.equal(textOf(next.at(-1)), "Yes.");
      const heard = await provider.request(0);
      assert.deepEqual(heard.messages.slice(1), [
        { role: "user", content: "What do you sell?" },
        { role: "assistant", content: "Hats für alle." },
        { role: "user", content: "Even on Sundays?" },
      ]);
    });

    scenario("a page that reloads in mid-answer goes on with the same message, and one that comes later has nothing to read", async (s) => {
      const chatId = s.unique("chat");
      const transport = new DefaultChatTransport({ api: s.url("/ai/stream"), body: { userId: s.unique("user") } });
      const read = (stream) => readUIMessageStream({ stream, onError: (error) => assert.fail(error) })[Symbol.asyncIterator]();
      const lastOf = async (states, state) => {
        for (;;) {
          const { done, value } = await states.next();
          if (done) return state;
          state = structuredClone(value);
        }
      };
      provider.play(faulty.held());
      const asking = transport.sendMessages({ chatId, messages: [user("Tell me")], trigger: "submit-message", messageId: undefined, abortSignal: undefined });
      const upstream = await provider.request(0);
      upstream.token("Hats ");
      const first = read(await asking);
      while (!textOf((await first.next()).value));
      const again = read(await transport.reconnectToStream({ chatId }));
      upstream.token("für alle.");
      upstream.finish();
      const [one, other] = await Promise.all([lastOf(first), lastOf(again)]);
      assert.deepEqual([textOf(one), textOf(other)], ["Hats für alle.", "Hats für alle."]);
      assert.equal(other.id, one.id, "or a page would show it twice");
      assert.equal(await transport.reconnectToStream({ chatId }), null);
    });

    scenario("a page that stops: the model is let go at once, and the next question does not wait", async (s) => {
      const chatId = s.unique("chat");
      const transport = new DefaultChatTransport({ api: s.url("/ai/stream") });
      provider.play(faulty.held());
      const stopping = new AbortController();
      const asking = transport.sendMessages({ chatId, messages: [user("Tell me all")], trigger: "submit-message", messageId: undefined, abortSignal: stopping.signal });
      const upstream = await provider.request(0);
      upstream.token("Once ");
      await asking;
      stopping.abort();
      const stop = () => request(s.url(`/ai/stream/${chatId}/stream`), { method: "DELETE" });
      assert.equal((await stop()).status, 204);
      await upstream.gone;
      provider.play(faulty.answers("Yes."));
      assert.equal(textOf((await chat(s, chatId, [user("And now?")])).at(-1)), "Yes.");
      assert.equal((await stop()).status, 204, "nothing to stop is fine");
    });

    scenario("a provider that fails: the fallback sentence, and that it is one", async (s) => {
      provider.play(faulty.status(401));
      const [last] = (await chat(s, s.unique("chat"), [user("hello")])).slice(-1);
      assert.ok(textOf(last).length > 0);
      assertShape(last.metadata, { error: true, code: "ai_unavailable", finishReason: "error" });
    });

    scenario("an answer that breaks off: the text so far, and the sentence below it", async (s) => {
      provider.play(faulty.cutsAfter("Half an ", "answer"));
      const [last] = (await chat(s, s.unique("chat"), [user("hello")])).slice(-1);
      assert.match(textOf(last), /^Half an answer\|.+/);
      assertShape(last.metadata, { error: true, fallback: text, finishReason: "error" });
    });

    scenario("a question that is refused is an error that says why", async (s) => {
      await assert.rejects(chat(s, s.unique("chat"), [user("  ")]), /message is required/);
      await assert.rejects(chat(s, s.unique("chat"), [assistant("nobody asked")]), /messages must be/);
    });

    scenario("a long history is no reason to refuse the next question", async (s) => {
      provider.play(faulty.answers("Short."));
      const history = Array.from({ length: 60 }, (_, n) => [user(`${n} ${"x".repeat(2_000)}`), assistant("y".repeat(2_000))]).flat();
      const states = await chat(s, s.unique("chat"), [...history, user("And now?")]);
      assert.equal(textOf(states.at(-1)), "Short.");
    });
  });
}

scenario("the wire: version 1, its parts with their own keys alone, and a last word", async (s) => {
  provider.play(faulty.answers("One ", "two."));
  const answer = await openStream(s.url("/ai/stream"), { id: s.unique("chat"), messages: [user("hello")], trigger: "submit-message" });
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get("content-type"), /^text\/event-stream/);
  assert.equal(answer.headers.get("x-vercel-ai-ui-message-stream"), "v1");
  const stream = await answer.rest();
  const lines = stream.split("\n\n").filter(Boolean);
  assert.equal(lines.pop(), "data: [DONE]");
  const parts = lines.map((line) => JSON.parse(line.replace(/^data: /, "")));
  const deltas = parts.filter((part) => part.type === "text-delta");
  assert.equal(deltas.map((part) => part.delta).join(""), "One two.");
  assert.deepEqual(
    parts.filter((part) => part.type !== "text-delta").map((part) => part.type),
    ["start", "start-step", "text-start", "text-end", "finish-step", "finish"],
  );
  const keys = { start: ["messageId"], "start-step": [], "text-start": ["id"], "text-delta": ["id", "delta"], "text-end": ["id"], "finish-step": [], finish: ["finishReason", "messageMetadata"] };
  for (const { type, ...rest } of parts) assert.deepEqual(Object.keys(rest), keys[type], type);
});

scenario("older shapes of a message, and what is no shape of one", async (s) => {
  for (const content of ["hello", [{ type: "text", text: "hello" }]]) {
    provider.play(faulty.answers("Hi."));
    const reply = await post(s.url("/ai/stream"), { id: s.unique("chat"), messages: [{ role: "user", content }] });
    assert.match(reply.text, /"delta":"Hi\."/);
  }
  for (const messages of [[], {}, "hello", [7], [{ role: "assistant", parts: [] }]]) {
    assertHttpError(await post(s.url("/ai/stream"), { id: "chat", messages }), 400, "invalid_request", "messages");
  }
  assertHttpError(await post(s.url("/ai/stream"), { id: "x".repeat(129), messages: [user("hello")] }), 400, "invalid_request", "id");
  assertHttpError(await post(s.url("/ai/stream"), { id: "chat", messages: [user("x".repeat(1024 * 1024))] }), 413, "too_large");
});
