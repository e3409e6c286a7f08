/** What the AI may use in a day, what it has used, and what answers when nothing is left. */
import assert from "node:assert/strict";
import { after, describe } from "node:test";
import { eventually } from "../eventually.js";
import { get, post, request } from "../http.js";
import * as faulty from "../mocks/faulty.js";
import { suite } from "../scenario.js";
import { assertShape, count, text } from "../shape.js";

const provider = await faulty.startFaultyProvider();
after(() => provider.stop());

const put = (s, domainId, body) =>
  request(s.url(`/domains/${domainId}`), { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
const ai = async (s, domainId, query = "") => (await get(s.url(`/stats/domain/${domainId}/ai${query}`))).json;
const today = () => new Date().toISOString().slice(0, 10);

/** The account once the answer's own end has reached it. */
const settled = (s, domainId, answers) =>
  eventually(
    () => ai(s, domainId),
    ({ days, today }) => days.reduce((sum, day) => sum + day.answers + day.failed, 0) >= answers && !(today.tokens % 2000 === 0 && today.tokens > 0),
  );

describe("without a budget", () => {
  const { scenario } = suite({ ...provider.env });

  scenario("each answer is entered once, by day, model and provider, over a crash too", async (s) => {
    const domainId = s.unique("domain");
    await put(s, domainId, { name: "Shop" });
    assert.deepEqual((await ai(s, domainId)).days, []);
    provider.play(faulty.answers("A ", "hat."));
    const question = { message: "what do you sell?", domainId };
    await post(s.url("/ai/chat"), { ...question, userId: "ann" });
    await post(s.url("/ai/chat"), { ...question, userId: "bob", model: "gpt-4o" });
    const client = await s.connect();
    client.send({ type: "ai-stream", ...question, userId: "cid", model: "gpt-4o" });
    await client.next("ai-stream-complete");
    await settled(s, domainId, 3);
    provider.play(faulty.status(401));
    await post(s.url("/ai/chat"), { ...question, userId: "dan", model: "gpt-4o" });
    const report = await settled(s, domainId, 4);
    const of = (model) => report.days.find((day) => day.model === model);
    assertShape(of("gpt-4o"), { date: today(), provider: "openai", answers: 2, failed: 1, inputTokens: count, outputTokens: count });
    assert.ok(of("gpt-4o").inputTokens > 0 && report.days.length === 2);
    assert.ok(!("budget" in report.today));
    await s.host.kill9();
    await s.host.restart();
    assert.deepEqual((await ai(s, domainId)).days, report.days);
    assert.deepEqual((await ai(s, domainId, "?from=2020-01-01&to=2020-02-01")).days, []);
    for (const query of ["?from=yesterday", "?to=2026-13-01", "?from=2026-02-02&to=2026-02-01", "?from=2000-01-01"]) {
      assert.equal((await get(s.url(`/stats/domain/${domainId}/ai${query}`))).status, 400, query);
    }
  });
});

describe("without a key", () => {
  const { scenario } = suite({});

  scenario("the demo's answers are counted, of a site that nobody has set up too, with no tokens", async (s) => {
    const domainId = s.unique("domain");
    await post(s.url("/ai/chat"), { message: "hello", domainId, userId: "ann" });
    const { days } = await settled(s, domainId, 1);
    assertShape(days[0], { date: today(), provider: "demo", answers: 1, failed: 0, interrupted: 0, inputTokens: 0, outputTokens: 0 });
  });
});

describe("an answer that is cut off", () => {
  const { host, scenario } = suite(provider.env);

  scenario("by a crash is counted once, as interrupted, when its conversation is back", async (s) => {
    const domainId = s.unique("domain");
    await put(s, domainId, { name: "Shop" });
    provider.play(faulty.held());
    const client = await s.connect();
    client.send({ type: "ai-stream", message: "what do you sell?", domainId, userId: "ann", model: "gpt-4o" });
    (await provider.request(0)).token("Hats");
    await client.next("ai-stream-chunk");
    for (let crashes = 0; crashes < 2; crashes += 1) {
      await host.kill9();
      await host.restart();
      const back = await s.connect();
      assertShape(await back.ask({ type: "ai-resume", conversationId: `${domainId}-ann` }), { finishReason: "interrupted" });
      // Told to the site behind the answer's end; on Cloudflare a death just then takes that with it.
      await eventually(() => ai(s, domainId), ({ days }) => days.length > 0);
    }
    const { days } = await ai(s, domainId);
    assert.deepEqual(days.map((day) => [day.answers, day.failed, day.interrupted]), [[0, 0, 1]]);
    assert.ok(days[0].inputTokens > 0 && days[0].outputTokens > 0, "the provider was asked, and had answered");
  });
});

describe("with a budget", () => {
  const { scenario } = suite({ ...provider.env, AI_DAILY_TOKENS: "3000", AI_FIRST_TOKEN_MS: "60000" });

  scenario("questions at once are let in up to the budget, and the helpdesk answers the rest", async (s) => {
    const domainId = s.unique("domain");
    await put(s, domainId, { helpdesk: [{ question: "When do you open?", answer: "At nine o'clock." }] });
    // Those who were let in are answered once all others were refused: an answer that ends gives back what was set aside for it.
    provider.play(faulty.held());
    const replies = [];
    const ask = async (userId) => replies.push(await post(s.url("/ai/chat"), { message: "When do you open?", domainId, userId }));
    const asking = Promise.all(Array.from({ length: 8 }, (_, n) => ask(`user-${n}`)));
    await eventually(() => provider.requests.length + replies.length, (count) => count >= 8);
    for (const upstream of [...provider.requests]) {
      upstream.token("A hat.");
      upstream.finish();
    }
    await asking;
    assert.ok(replies.every((reply) => reply.status === 200));
    const [asked, limited] = [replies.filter((reply) => !reply.json.code), replies.filter((reply) => reply.json.code)];
    assert.ok(asked.length >= 2 && limited.length >= 1, `${asked.length} were asked, ${limited.length} were not`);
    for (const { json } of limited) {
      assertShape(json, { code: "rate_limited", provider: "demo", message: "At nine o'clock.", usage: { inputTokens: 0, outputTokens: 0 } });
      assert.ok(!json.error && json.sources[0].name === "helpdesk");
    }
    assert.equal(provider.requests.length, asked.length);
    assertShape((await settled(s, domainId, 8)).today, { budget: 3000 });
  });

});

describe("with a budget of one answer", () => {
  // The mock counts 8 tokens an answer.
  const { scenario } = suite({ ...provider.env, AI_DAILY_TOKENS: "8" });

  scenario("a budget that is used up is used up after a crash, and until tomorrow", async (s) => {
    const domainId = s.unique("domain");
    await put(s, domainId, { name: "Shop", fallbackMessage: "Call us." });
    provider.play(faulty.answers("All of it."));
    await post(s.url("/ai/chat"), { message: "tell me all", domainId, userId: "ann" });
    await settled(s, domainId, 1);
    await s.host.kill9();
    await s.host.restart();
    const asked = provider.requests.length;
    const limited = await post(s.url("/ai/chat"), { message: "and more", domainId, userId: "bob" });
    assertShape(limited.json, { code: "rate_limited", message: "Call us.", provider: "demo" });
    assert.equal(provider.requests.length, asked);
  });

  scenario("names that nobody has set up share one account", async (s) => {
    provider.play(faulty.answers("All of it."));
    await post(s.url("/ai/chat"), { message: "tell me all", domainId: s.unique("made-up"), userId: "ann" });
    await settled(s, "default", 1);
    const limited = await post(s.url("/ai/chat"), { message: "and more", domainId: s.unique("made-up"), userId: "bob" });
    assert.equal(limited.json.code, "rate_limited");
    const none = await post(s.url("/ai/chat"), { message: "and more", userId: "cid" });
    assert.equal(none.json.code, "rate_limited");
  });
});
