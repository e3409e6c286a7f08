/** HTTP requests that are wrong: the code that names the mistake, and nothing stored. */
import assert from "node:assert/strict";
import { after } from "node:test";
import { get, post, request } from "../http.js";
import { startModels } from "../mocks/models.js";
import { say, suite } from "../scenario.js";
import { assertHttpError, assertShape } from "../shape.js";

const models = await startModels();
after(() => models.stop());
const { scenario } = suite(models.env);

const POSTS = ["/ai/chat", "/ai/stream", "/visitors/add", "/visitors/activity", "/visitors/remove"];
const LONG_ID = "x".repeat(129);
const KIB = 1024;

scenario("a body that is no JSON object", async (s) => {
  for (const path of POSTS) {
    for (const body of ["", "{", "hello", '{"message":}', "[]", '"text"', "17", "null", Buffer.from([0xff, 0xfe, 0x00])]) {
      assertHttpError(await post(s.url(path), body), 400, "invalid_json");
    }
  }
});

const wrongFields = {
  "/ai/chat": { good: { message: "hi" }, required: ["message"], ids: ["domainId", "userId", "conversationId"], strings: ["message", "model", "systemPrompt"] },
  "/ai/stream": { good: { message: "hi" }, required: ["message"], ids: ["domainId", "userId", "conversationId"], strings: ["message", "model", "systemPrompt"] },
  "/visitors/add": { good: { domainId: "d", visitorId: "v" }, required: ["domainId", "visitorId"], ids: ["domainId", "visitorId"], strings: [] },
  "/visitors/activity": { good: { domainId: "d", visitorId: "v" }, required: ["domainId", "visitorId"], ids: ["domainId", "visitorId"], strings: ["url", "title"] },
  "/visitors/remove": { good: { domainId: "d", visitorId: "v" }, required: ["domainId", "visitorId"], ids: ["domainId", "visitorId"], strings: [] },
};
for (const [path, { good, required, ids, strings }] of Object.entries(wrongFields)) {
  scenario(`${path}: missing and mistyped fields are named`, async (s) => {
    for (const field of required) {
      const { [field]: _, ...without } = good;
      assertHttpError(await post(s.url(path), without), 400, "invalid_request", field);
    }
    for (const field of ids) {
      for (const value of [17, {}, [], true, "", LONG_ID, "a\u0000b", "a\nb", "a\u007fb"]) {
        assertHttpError(await post(s.url(path), { ...good, [field]: value }), 400, "invalid_request", field);
      }
    }
    for (const field of strings) {
      for (const value of [17, {}, [], true]) {
        assertHttpError(await post(s.url(path), { ...good, [field]: value }), 400, "invalid_request", field);
      }
    }
  });
}

scenario("an id of 128 characters is fine, whatever the characters weigh", async (s) => {
  for (const id of ["x".repeat(128), "ü".repeat(128), "日".repeat(128)]) {
    assert.equal((await post(s.url("/visitors/add"), { domainId: id, visitorId: id })).status, 200);
  }
});

scenario("too large a question, too much visitor data, too large a body", async (s) => {
  for (const path of ["/ai/chat", "/ai/stream"]) {
    assertHttpError(await post(s.url(path), { message: "x".repeat(16 * KIB + 1) }), 413, "too_large");
    assertHttpError(await post(s.url(path), { message: "ü".repeat(8 * KIB + 1) }), 413, "too_large");
    assertHttpError(await post(s.url(path), { message: "x", padding: "x".repeat(256 * KIB) }), 413, "too_large");
  }
  assert.equal((await post(s.url("/ai/chat"), { message: "x".repeat(16 * KIB), conversationId: s.unique("talk") })).status, 200);

  const domainId = s.unique("domain");
  const visitorData = { url: "https://shop.example/", title: "x".repeat(4 * KIB) };
  assertHttpError(await post(s.url("/visitors/add"), { domainId, visitorId: "v1", visitorData }), 413, "too_large");
  assertShape((await get(s.url(`/stats/domain/${domainId}`))).json, { activeVisitors: 0, totalVisitors: 0 });
});

scenario("visitor data that is no object", async (s) => {
  for (const visitorData of ["text", 17, [], true]) {
    assertHttpError(await post(s.url("/visitors/add"), { domainId: s.unique("domain"), visitorId: "v1", visitorData }), 400, "invalid_request", "visitorData");
  }
});

scenario("a model nobody offers", async (s) => {
  for (const path of ["/ai/chat", "/ai/stream"]) {
    assertHttpError(await post(s.url(path), { message: "hi", model: "claude-3-opus" }), 400, "unsupported_model", "claude-3-opus");
  }
});

scenario("an id in the path is held to the same rules", async (s) => {
  assertHttpError(await get(s.url(`/stats/domain/${LONG_ID}`)), 400, "invalid_request", "domainId");
  assertHttpError(await get(s.url("/stats/domain/a%00b")), 400, "invalid_request", "domainId");
});

scenario("a wrong question leaves no trace in the memory", async (s) => {
  const conversationId = s.unique("talk");
  await post(s.url("/ai/chat"), { message: "x".repeat(16 * KIB + 1), conversationId });
  await post(s.url("/ai/chat"), { message: "hi", model: "claude-3-opus", conversationId });
  await post(s.url("/ai/chat"), { message: "the first", conversationId });
  assert.deepEqual(models.requests().at(-1).messages.slice(1), [{ role: "user", content: "the first" }]);
});

scenario("what the parts of a host say to each other is nothing that a client can say", async (s) => {
  const roomId = s.unique("room");
  const ann = await s.member(roomId, "ann");
  await say(ann, roomId, "ann", "kept");
  const inner = ["/connect?hello={}", "/words", "/missing", "/ask", "/desk", "/log", "/relist", "/resume", "/cancel", "/consult", "/admit", "/origins", "/counted", "/salt", "/holders", "/dump", "/load?import=i&first=1&last=1", "/site/settings", "/visitors/unlist", "/visitors/rooms-of"];
  for (const path of inner) {
    for (const method of ["GET", "POST", "PUT"]) {
      const reply = await request(s.url(path), { method, ...(method === "GET" ? {} : { body: JSON.stringify({ roomId }) }) });
      assert.ok([404, 405].includes(reply.status), `${method} ${path}: ${reply.status} ${reply.text}`);
    }
  }
  assert.deepEqual((await get(s.url(`/rooms/${roomId}/messages`))).json.messages.map(({ message }) => message), ["kept"]);
});
