/** How often the AI may be asked. */
import assert from "node:assert/strict";
import { after, describe } from "node:test";
import { openStream, post } from "../http.js";
import { startModels } from "../mocks/models.js";
import { suite } from "../scenario.js";
import { assertError, assertHttpError, assertShape, positive } from "../shape.js";

const models = await startModels();
after(() => models.stop());

describe("by default", () => {
  const { scenario } = suite({ ...models.env, AI_PER_USER_PER_MIN: undefined, AI_PER_IP_PER_MIN: undefined });

  scenario("twenty questions a minute in a conversation, then rate_limited, on all transports", async (s) => {
    const [client, conversationId] = [await s.connect(), s.unique("talk")];
    const ask = (n) => client.ask({ type: "ai-chat", message: `question ${n}`, conversationId });
    for (let n = 1; n <= 20; n += 1) assertShape(await ask(n), { type: "ai-response" });

    const refused = await ask(21);
    assertError(refused, "rate_limited");
    assertShape(refused, { retryAfterMs: positive });
    client.send({ type: "ai-stream", message: "streamed", conversationId });
    assertError(await client.next("error"), "rate_limited");
    for (const path of ["/ai/chat", "/ai/stream"]) {
      const reply = await post(s.url(path), { message: "over HTTP", conversationId });
      assertHttpError(reply, 429, "rate_limited");
      assertShape(reply.json, { retryAfterMs: positive });
      assert.match(reply.headers.get("retry-after"), /^[1-9]\d*$/);
    }
    assert.equal(models.requests().length, 20, "a refused question costs nothing upstream");
    assertShape(await client.ask({ type: "ai-chat", message: "elsewhere", conversationId: s.unique("talk") }), { type: "ai-response" });
  });
});

describe("with small limits", () => {
  const { scenario } = suite({ ...models.env, AI_PER_USER_PER_MIN: "2", AI_PER_IP_PER_MIN: "7" });

  scenario("users of one domain are counted apart, and one address has its own limit", async (s) => {
    const domainId = s.unique("domain");
    const ask = (userId) => post(s.url("/ai/chat"), { message: "hello", domainId, userId });
    for (const userId of ["ann", "bob", "cid"]) {
      for (let n = 1; n <= 2; n += 1) assert.equal((await ask(userId)).status, 200);
    }
    assertHttpError(await ask("ann"), 429, "rate_limited");
    const last = await ask("dora");
    const beyond = await ask("eve");
    // Whether the refused question counted against the address is the host's choice; the eighth is beyond either way.
    assert.ok([200, 429].includes(last.status));
    assertHttpError(beyond, 429, "rate_limited");
    assertHttpError(await post(s.url("/ai/stream"), { message: "hello", domainId, userId: "fred" }), 429, "rate_limited");
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
    assert.equal(await askAtOnce(s, 2 * perUser, () => asking), perUser);
    assert.equal(await askAtOnce(s, 2, () => asking), 0);
    assert.equal(await askAtOnce(s, 2, () => ({ ...asking, userId: "bob" })), 2);
  });
});

describe("an address that asks all at once", () => {
  const perAddress = 12;
  const { scenario } = suite({ ...models.env, AI_PER_USER_PER_MIN: "0", AI_PER_IP_PER_MIN: `${perAddress}` });

  scenario("an address is answered just as often, under whatever names it asks", async (s) => {
    const domainId = s.unique("shop");
    assert.equal(await askAtOnce(s, 2 * perAddress, (n) => ({ domainId, userId: `user-${n}` })), perAddress);
    assert.equal(await askAtOnce(s, 2, (n) => ({ domainId, userId: `later-${n}` })), 0);
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
