/** Which pages may talk to the host: CORS on HTTP, and the same list at the WebSocket handshake. */
import assert from "node:assert/strict";
import { describe } from "node:test";
import { HandshakeRefused } from "../client.js";
import { get, post, request } from "../http.js";
import { suite } from "../scenario.js";
import { assertHttpError } from "../shape.js";

async function assertAllowed(s, origin) {
  const reply = await get(s.url("/"), { origin });
  assert.equal(reply.status, 200, `${origin} over HTTP`);
  assert.equal(reply.headers.get("access-control-allow-origin"), origin);
  assert.equal(reply.headers.get("access-control-allow-credentials"), "true");
  assert.match(reply.headers.get("vary") ?? "", /origin/i, "a cache must not serve one origin's reply to another");
  const client = await s.connect({ headers: { origin } });
  client.send({ type: "ping" });
  await client.next("pong");
}

async function assertRefused(s, origin) {
  const reply = await post(s.url("/visitors/add"), { domainId: "d", visitorId: "v" }, { origin });
  assertHttpError(reply, 403, "forbidden");
  assert.equal(reply.headers.get("access-control-allow-origin"), null);
  for (const path of ["/ws", "/"]) {
    const handshake = s.connect({ path, headers: { origin } });
    await assert.rejects(handshake, (error) => error instanceof HandshakeRefused && error.status === 403, `${origin} at the handshake of ${path}`);
  }
}

async function assertNoOriginPasses(s) {
  const reply = await get(s.url("/"));
  assert.equal(reply.status, 200);
  await (await s.connect()).fence(s.unique("room"));
}

describe("with a list of origins", () => {
  const { scenario } = suite({ ALLOWED_ORIGINS: "https://shop.example, http://localhost:3000,https://*.vercel.app" });

  scenario("the listed ones are reflected with credentials", async (s) => {
    for (const origin of ["https://shop.example", "http://localhost:3000", "https://my-app.vercel.app"]) await assertAllowed(s, origin);
  });

  for (const [why, origins] of Object.entries({
    "another host": ["https://evil.example", "https://sub.shop.example", "https://shop.example.evil.example"],
    "another scheme": ["http://shop.example", "http://my-app.vercel.app"],
    "another port": ["https://shop.example:8443", "http://localhost:3001", "http://localhost"],
    "beside the wildcard": ["https://vercel.app", "https://evilvercel.app", "https://a.vercel.app.evil.example", "https://evil.example/.vercel.app", "https://.vercel.app"],
    "an opaque origin": ["null"],
  })) {
    scenario(`refused: ${why}`, async (s) => {
      for (const origin of origins) await assertRefused(s, origin);
    });
  }

  scenario("a request without Origin is no browser and passes", assertNoOriginPasses);

  scenario("a preflight names methods and headers", async (s) => {
    const ask = (origin) =>
      request(s.url("/ai/chat"), { method: "OPTIONS", headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "content-type,authorization" } });
    const allowed = await ask("https://shop.example");
    assert.ok([200, 204].includes(allowed.status), `status ${allowed.status}`);
    assert.equal(allowed.headers.get("access-control-allow-origin"), "https://shop.example");
    assert.equal(allowed.headers.get("access-control-allow-credentials"), "true");
    const listed = (header) => allowed.headers.get(header).toLowerCase().split(/\s*,\s*/);
    for (const method of ["get", "post", "put", "delete", "options"]) assert.ok(listed("access-control-allow-methods").includes(method), method);
    for (const header of ["content-type", "authorization"]) assert.ok(listed("access-control-allow-headers").includes(header), header);
    const refused = await ask("https://evil.example");
    assert.deepEqual([refused.status, refused.headers.get("access-control-allow-origin")], [403, null]);
  });

  scenario("errors carry the headers too, or a page could not read them", async (s) => {
    const reply = await post(s.url("/ai/chat"), "{", { origin: "https://shop.example" });
    assertHttpError(reply, 400, "invalid_json");
    assert.equal(reply.headers.get("access-control-allow-origin"), "https://shop.example");
    const missing = await get(s.url("/nope"), { origin: "https://shop.example" });
    assert.equal(missing.headers.get("access-control-allow-origin"), "https://shop.example");
  });
});

describe("with null in the list", () => {
  const { scenario } = suite({ ALLOWED_ORIGINS: "https://shop.example,null" });
  scenario("the opaque origin is allowed, as it was asked for", (s) => assertAllowed(s, "null"));
});

describe("in production without a list", () => {
  const { scenario } = suite({ NODE_ENV: "production" });
  scenario("only the host's own pages", async (s) => {
    await assertAllowed(s, s.host.baseUrl);
    for (const origin of ["https://shop.example", "http://127.0.0.1:1", "null"]) await assertRefused(s, origin);
    await assertNoOriginPasses(s);
  });

  scenario("and those that a site lists, as long as it lists them", async (s) => {
    const [listed, other] = ["https://listed.example", "https://other.example"];
    const list = async (allowedOrigins) => {
      const url = s.url(`/domains/${s.unique("site")}`);
      const put = (origins) => request(url, { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify({ name: "Site", allowedOrigins: origins }) });
      assert.equal((await put(allowedOrigins)).status, 200);
      return () => put([]);
    };
    await assertRefused(s, listed);
    const unlist = await list([listed]);
    await assertAllowed(s, listed);
    const room = s.unique("room");
    await (await s.connect({ query: `?roomId=${room}`, headers: { origin: listed } })).fence(room);
    await assertRefused(s, other);
    assert.equal((await unlist()).status, 200);
    await assertRefused(s, listed);
  });
});

describe("in development without a list", () => {
  const { scenario } = suite();
  scenario("any origin passes", async (s) => {
    for (const origin of ["https://shop.example", "http://localhost:3000"]) await assertAllowed(s, origin);
    await assertNoOriginPasses(s);
  });
});
