/** How often the AI may be asked. */
import assert from "node:assert/strict";
import { after, describe } from "node:test";
import { openStream, post } from "../http.js";
import { startModels } from "../mocks/models.js";
import { suite } from "../scenario.js";
import { assertError, assertHttpError, assertShape, positive } from "../shape.js";

const models = await startModels();
after(() => models.stop());

/**
 * So many a minute, and not one more than has come back since. What a limit lets through comes back one by one, so that a slow
 * machine is given more. @param {number} begun before the first was asked
 */
function assertLimited(answered, perMinute, begun) {
  const back = Math.floor(((performance.now() - begun) * perMinute) / 60_000);
  assert.ok(answered >= perMinute && answered <= perMinute + back, `${answered} were answered; ${perMinute} may be, and ${back} have come back`);
}

/** Asks until it is refused. @template Reply @param {() => Promise<Reply>} ask @param {(reply: Reply) => boolean} isRefused */
async function untilRefused(ask, isRefused) {
  for (let answered = 0; ; answered += 1) {
    const reply = await ask();
    if (isRefused(reply)) return { refused: reply, answered };
    assert.ok(answered < 1_000, "it is never refused");
  }
}

describe("by default", () => {
  const { scenario } = suite({ ...models.env, AI_PER_USER_PER_MIN: undefined, AI_PER_IP_PER_MIN: undefined });

  scenario("twenty questions a minute in a conversation, then rate_limited, on all transports", async (s) => {
    const [client, conversationId] = [await s.connect(), s.unique("talk")];
    const begun = performance.now();
    const asked = await untilRefused(() => client.ask({ type: "ai-chat", message: "a question", conversationId }), ({ type }) => type !== "ai-response");
    assertError(asked.refused, "rate_limited");
    assertShape(asked.refused, { retryAfterMs: positive });
    let { answered } = asked;
    assertLimited(answered, 20, begun);
    const stream = () => {
      client.send({ type: "ai-stream", message: "streamed", conversationId });
      return client.next((f) => f.type === "error" || f.type === "ai-stream-complete");
    };
    const streamed = await untilRefused(stream, ({ type }) => type === "error");
    assertError(streamed.refused, "rate_limited");
    answered += streamed.answered;
    for (const path of ["/ai/chat", "/ai/stream"]) {
      const posted = await untilRefused(() => post(s.url(path), { message: "over HTTP", conversationId }), ({ status }) => status !== 200);
      assertHttpError(posted.refused, 429, "rate_limited");
      assertShape(posted.refused.json, { retryAfterMs: positive });
      assert.match(posted.refused.headers.get("retry-after"), /^[1-9]\d*$/);
      answered += posted.answered;
    }
    assertLimited(answered, 20, begun);
    assert.equal(models.requests().length, answered, "a refused question costs nothing upstream");
    assertShape(await client.ask({ type: "ai-chat", message: "elsewhere", conversationId: s.unique("talk") }), { type: "ai-response" });
  });
});

describe("with small limits", () => {
  const { scenario } = suite({ ...models.env, AI_PER_USER_PER_MIN: "2", AI_PER_IP_PER_MIN: "7" });

  scenario("users of one domain are counted apart, and one address has its own limit", async (s) => {
    const domainId = s.unique("domain");
    const ask = (userId) => post(s.url("/ai/chat"), { message: "hello", domainId, userId });
    const begun = performance.now();
    for (const userId of ["ann", "bob", "cid"]) {
      for (let n = 1; n <= 2; n += 1) assert.equal((await ask(userId)).status, 200);
    }
    assertHttpError(await ask("ann"), 429, "rate_limited");
    // Always somebody else, so that it is the address that is refused.
    const isRefused = ({ status }) => status !== 200;
    const chat = await untilRefused(() => ask(s.unique("dora")), isRefused);
    const stream = await untilRefused(() => post(s.url("/ai/stream"), { message: "hello", domainId, userId: s.unique("fred") }), isRefused);
    for (const { refused } of [chat, stream]) assertHttpError(refused, 429, "rate_limited");
    // Whether the refused question counted against the address is the host's choice.
    const answered = 6 + chat.answered + stream.answered;
    assertLimited(answered === 6 ? 7 : answered, 7, begun);
  });
});

/** Over connections of their own and over HTTP, half each. @param {(n: number) => object} question */
async function askAtOnce(s, count, question) {
  const clients = await Promise.all(Array.from({ length: count / 2 }, () => s.connect()));
  const overSockets = clients.map((client, n) => client.ask({ type: "ai-chat", message: `question ${n}`, ...question(n) }));
  const overHttp = clients.map((_, n) => post(s.url("/ai/chat"), { message: `question over HTTP ${n}`, ...question(count / 2 + n) }).then(({ json }) => json));
  const replies = await Promise.all([...overSockets, ...overHttp]);
  const refused = replies.filter(({ code }) => code === "rate_limited");
  for (const refusal of refused) assert.ok(refusal.retryAfterMs > 0);
  assert.ok(replies.every((reply) => refused.includes(reply) || reply.message?.startsWith("You said: question")), JSON.stringify(replies));
  return count - refused.length;
}

describe("a user who asks all at once", () => {
  const perUser = 5;
  const { scenario } = suite({ ...models.env, AI_PER_USER_PER_MIN: `${perUser}`, AI_PER_IP_PER_MIN: "0" });

  scenario("a user is answered just as often as the limit says, from however many connections", async (s) => {
    const asking = { domainId: s.unique("shop"), userId: "ann" };
    const begun = performance.now();
    let answered = await askAtOnce(s, 2 * perUser, () => asking);
    answered += await askAtOnce(s, 2, () => asking);
    assertLimited(answered, perUser, begun);
    assert.equal(await askAtOnce(s, 2, () => ({ ...asking, userId: "bob" })), 2);
  });
});

describe("an address that asks all at once", () => {
  const perAddress = 12;
  const { scenario } = suite({ ...models.env, AI_PER_USER_PER_MIN: "0", AI_PER_IP_PER_MIN: `${perAddress}` });

  scenario("an address is answered just as often, under whatever names it asks", async (s) => {
    const domainId = s.unique("shop");
    const begun = performance.now();
    let answered = await askAtOnce(s, 2 * perAddress, (n) => ({ domainId, userId: `user-${n}` }));
    answered += await askAtOnce(s, 2, (n) => ({ domainId, userId: `later-${n}` }));
    assertLimited(answered, perAddress, begun);
  });
});

describe("switched off", () => {
  const { scenario } = suite(models.env);

  scenario("0 means no limit", async (s) => {
    const conversationId = s.unique("talk");
    for (let n = 1; n <= 30; n += 1) {
      const answer = await openStream(s.url("/ai/stream"), { message: `question ${n}`, conversationId });
      assert.deepEqual([answer.status, await answer.rest()], [200, `You said: question ${n}`]);
    }
  });
});
