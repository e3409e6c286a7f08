/** What the model is told: the system prompt first, then the conversation as far as it fits. */
import assert from "node:assert/strict";
import { after, describe } from "node:test";
import { post } from "../http.js";
import * as faulty from "../mocks/faulty.js";
import { startModels } from "../mocks/models.js";
import { suite } from "../scenario.js";
import { assertShape, text } from "../shape.js";

const models = await startModels();
const provider = await faulty.startFaultyProvider();
after(async () => {
  await models.stop();
  await provider.stop();
});

const PROMPT = "You sell shoes.";
const system = { role: "system", content: PROMPT };
const user = (content) => ({ role: "user", content });
const assistant = (content) => ({ role: "assistant", content });
const dialects = { OpenAI: {}, Gemini: { model: "gemini-2.5-flash" } };

describe("with models", () => {
  const { scenario } = suite(models.env);

  for (const [name, ask] of Object.entries(dialects)) {
    scenario(`${name}: a second question comes with the first exchange`, async (s) => {
      const client = await s.connect();
      const conversationId = s.unique("talk");
      const [one, two] = [s.unique("one"), s.unique("two")];
      await client.ask({ type: "ai-chat", message: one, conversationId, systemPrompt: PROMPT, ...ask }, "ai-response");
      client.send({ type: "ai-stream", message: two, conversationId, systemPrompt: PROMPT, ...ask });
      assertShape(await client.next("ai-stream-complete"), { fullResponse: `You said: ${two}` });
      assert.deepEqual(models.requestsAbout(two)[0].messages, [system, user(one), assistant(`You said: ${one}`), user(two)]);
    });

    scenario(`${name}: the last ten messages fit, the system prompt never falls out`, async (s) => {
      const client = await s.connect();
      const conversationId = s.unique("talk");
      const spoken = [];
      for (let n = 1; n <= 8; n += 1) {
        const question = `${conversationId} question ${n}.`;
        const { message } = await client.ask({ type: "ai-chat", message: question, conversationId, systemPrompt: PROMPT, ...ask }, "ai-response");
        spoken.push(user(question), assistant(message));
      }
      spoken.pop();
      const [first, ...rest] = models.requestsAbout(`${conversationId} question 8.`)[0].messages;
      assert.deepEqual(first, system);
      // A host may leave out an answer that has lost its question, which makes nine of the ten.
      assert.ok(rest.length === 10 || (rest.length === 9 && rest[0].role === "user"), `${rest.length} messages were sent`);
      assert.deepEqual(rest, spoken.slice(-rest.length));
    });
  }

  scenario("some system prompt is always first, also where the caller gives none", async (s) => {
    const client = await s.connect();
    const question = s.unique("question");
    await client.ask({ type: "ai-chat", message: question, conversationId: s.unique("talk") }, "ai-response");
    assertShape(models.requestsAbout(question)[0].messages[0], { role: "system", content: text });
  });

  scenario("without a conversationId the memory is the domain's and the user's", async (s) => {
    const [domainId, first] = [s.unique("domain"), s.unique("first")];
    const ask = (message, userId, more) => ({ message, domainId, userId, systemPrompt: PROMPT, ...more });
    const one = await (await s.connect()).ask({ type: "ai-chat", ...ask(first, "ann") }, "ai-response");
    assert.equal(one.conversationId, `${domainId}-ann`);

    const two = await post(s.url("/ai/chat"), ask("the second", "ann"));
    assert.equal(two.json.conversationId, `${domainId}-ann`);
    assert.deepEqual(models.requests().at(-1).messages.slice(1, 3), [user(first), assistant(`You said: ${first}`)]);

    await post(s.url("/ai/chat"), ask("of someone else", "bob"));
    assert.deepEqual(models.requests().at(-1).messages, [system, user("of someone else")]);
    await post(s.url("/ai/chat"), ask("of another talk", "ann", { conversationId: s.unique("talk") }));
    assert.deepEqual(models.requests().at(-1).messages, [system, user("of another talk")]);
  });

  scenario("a conversation may be shared by name", async (s) => {
    const conversationId = s.unique("talk");
    for (const [userId, message] of [["ann", "I am Ann"], ["bob", "I am Bob"]]) {
      await (await s.connect()).ask({ type: "ai-chat", message, userId, domainId: userId, conversationId, systemPrompt: PROMPT }, "ai-response");
    }
    assert.deepEqual(models.requests().at(-1).messages, [system, user("I am Ann"), assistant("You said: I am Ann"), user("I am Bob")]);
  });
});

describe("with a provider that waits for the test", () => {
  const { scenario } = suite(provider.env);

  scenario("one run at a time: a second question waits and is asked with the first answer", async (s) => {
    provider.play(faulty.held());
    const [ann, conversationId] = [await s.connect(), s.unique("talk")];
    const ask = (message) => ann.send({ type: "ai-chat", id: message, message, conversationId, systemPrompt: PROMPT });
    ask("one");
    const first = await provider.request(0);
    ask("two");
    // A round trip, so that the second question is on the server while the first is still being answered.
    ann.send({ type: "ping" });
    await ann.next("pong");
    first.token("The first answer.");
    first.finish();
    const second = await provider.request(1);
    assert.deepEqual(second.messages, [system, user("one"), assistant("The first answer."), user("two")]);
    second.token("The second answer.");
    second.finish();
    assertShape(await ann.next({ type: "ai-response", replyTo: "one" }), { message: "The first answer." });
    assertShape(await ann.next({ type: "ai-response", replyTo: "two" }), { message: "The second answer." });
  });

  scenario("a dropped connection is no cancel: the answer is remembered", async (s) => {
    provider.play(faulty.held());
    const [ann, conversationId] = [await s.connect(), s.unique("talk")];
    ann.send({ type: "ai-stream", message: "one", conversationId, systemPrompt: PROMPT });
    const first = await provider.request(0);
    first.token("Nobody ");
    await ann.next("ai-stream-chunk");
    await ann.die();
    const back = await s.connect();
    back.send({ type: "ai-chat", message: "two", conversationId, systemPrompt: PROMPT });
    first.token("listens.");
    first.finish();
    const second = await provider.request(1);
    assert.deepEqual(second.messages, [system, user("one"), assistant("Nobody listens."), user("two")]);
    second.token("I do.");
    second.finish();
    assertShape(await back.next("ai-response"), { message: "I do." });
  });

  scenario("several conversations are answered at the same time", async (s) => {
    provider.play(faulty.held());
    const ann = await s.connect();
    const talks = [s.unique("a"), s.unique("b"), s.unique("c")];
    for (const conversationId of talks) ann.send({ type: "ai-chat", message: conversationId, conversationId });
    const upstream = [await provider.request(0), await provider.request(1), await provider.request(2)];
    for (const exchange of upstream) {
      exchange.token(`for ${exchange.messages.at(-1).content}`);
      exchange.finish();
    }
    for (const conversationId of talks) assertShape(await ann.next({ type: "ai-response", conversationId }), { message: `for ${conversationId}` });
  });
});

for (const [messages, name] of [["1", "the question alone"], ["4", "four"], ["25", "twenty-five"]]) {
  describe(`AI_CONTEXT_MESSAGES=${messages}`, () => {
    const { scenario } = suite({ ...provider.env, AI_CONTEXT_MESSAGES: messages });

    for (const [dialect, ask] of Object.entries(dialects)) {
      scenario(`${dialect}: a model is told the last of a conversation, ${name}, and the system prompt before it`, async (s) => {
        const { conversationId, spoken } = await conversed(s, 15, (n) => `question ${n}`, ask);
        await assertTold(s, { conversationId, spoken, ask, question: "the last question" }, Number(messages));
      });
    }
  });
}

describe("with long messages", () => {
  const { scenario } = suite({ ...provider.env, AI_CONTEXT_MESSAGES: "200" });
  /** Of the conversation, the question included; estimated, and so the estimate may be short by a third. */
  const [TOKENS_MAX, OFF_BY] = [8_000, 1.5];
  const WORDS = 3_000;
  const words = (messages) => messages.reduce((sum, { content }) => sum + content.split(" ").length, 0);

  for (const [dialect, ask] of Object.entries(dialects)) {
    scenario(`${dialect}: as many of the last are told as have room, and older short ones are left out with them`, async (s) => {
      const long = (n) => `question ${n}: ${"hat ".repeat(WORDS)}`;
      const { conversationId, spoken } = await conversed(s, 10, (n) => (n > 5 ? long(n) : `short ${n}`), ask);
      const told = await assertTold(s, { conversationId, spoken, ask, question: long("at last") });
      assert.ok(words(told) <= TOKENS_MAX * OFF_BY, `${words(told)} words were sent`);
      assert.ok(told.length > 1, "there is room for more than the question");
      // What is short has room beside one that is long.
      for (let n = 1; n <= 6; n += 1) await answered(s, { type: "ai-chat", message: `short again ${n}`, conversationId, systemPrompt: PROMPT, ...ask });
      assert.ok((await provider.request(6)).messages.length >= 14);
    });

    scenario(`${dialect}: a question that has no room for anything else is told alone, and whole`, async (s) => {
      // Four bytes each, of which no vocabulary makes fewer than three tokens.
      const question = "𓀀".repeat(4_000);
      const { conversationId } = await conversed(s, 3, (n) => `question ${n}`, ask);
      provider.play(faulty.answers("Yes."));
      await answered(s, { type: "ai-chat", message: question, conversationId, systemPrompt: PROMPT, ...ask });
      assert.deepEqual((await provider.request(0)).messages, [system, user(question)]);
    });
  }
});

/** Asks over a connection of its own. */
const answered = async (s, question) => (await s.connect()).ask(question, "ai-response");

/** A conversation of so many questions, each with an answer of its own. */
async function conversed(s, count, questionOf, ask) {
  const [conversationId, spoken] = [s.unique("talk"), []];
  for (let n = 1; n <= count; n += 1) {
    provider.play(faulty.answers(`answer ${n}`));
    await answered(s, { type: "ai-chat", message: questionOf(n), conversationId, systemPrompt: PROMPT, ...ask });
    spoken.push(user(questionOf(n)), assistant(`answer ${n}`));
  }
  return { conversationId, spoken };
}

/** The system prompt, then the end of what was spoken, so many with the question. @returns what was told after the prompt */
async function assertTold(s, { conversationId, spoken, ask, question }, count) {
  provider.play(faulty.answers("at last"));
  await answered(s, { type: "ai-chat", message: question, conversationId, systemPrompt: PROMPT, ...ask });
  const [first, ...told] = (await provider.request(0)).messages;
  assert.deepEqual(first, system);
  // A host may leave out an answer that has lost its question.
  const isWhole = count === undefined || told.length === count || (told.length === count - 1 && told[0].role === "user");
  assert.ok(isWhole, `${told.length} messages were sent`);
  assert.deepEqual(told, [...spoken, user(question)].slice(-told.length));
  return told;
}
