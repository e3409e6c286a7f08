/** Visitors and files where there is no page; `browser.test.js` has those of a page. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { buffer } from "node:stream/consumers";
import { heard } from "./support/seen.js";
import { refused, scenario } from "./support/play.js";

scenario("a visitor is announced, followed, announced again after a return, and leaves", async (s) => {
  const server = await s.serve();
  const client = s.connect(server.url);
  const visit = client.visitors.track("shop.example", { visitorId: "v1", data: { plan: "pro" } });
  const joined = await server.frames.next({ type: "visitor-joined-domain" });
  assert.deepEqual([joined.domainId, joined.visitorId, joined.visitorData], ["shop.example", "v1", { plan: "pro" }]);
  for (let n = 1; n <= 20; n += 1) visit.activity({ url: `https://shop.example/${n}`, title: `Page ${n}` });
  const activity = await server.frames.next({ type: "visitor-activity" });
  assert.deepEqual([activity.url, activity.title], ["https://shop.example/20", "Page 20"]);
  server.cut();
  await server.frames.next({ type: "visitor-joined-domain", visitorId: "v1" });
  visit.stop();
  await server.frames.next({ type: "visitor-left-domain", visitorId: "v1" });
  assert.equal(server.frames.all.filter(({ type }) => type === "visitor-activity").length, 1);
});

scenario("without an id a visitor gets one; stopped before there is a connection it is never announced", async (s) => {
  const server = await s.serve();
  const client = s.connect(server.url);
  client.visitors.track("shop.example").stop();
  const { visitorId } = client.visitors.track("shop.example");
  assert.match(visitorId, /^[\w-]{10,128}$/);
  await server.frames.next({ type: "visitor-joined-domain", visitorId });
  assert.equal(server.frames.all.length, 1);
});

scenario("a dashboard asks for numbers, and hears who comes and goes", async (s) => {
  const server = await s.serve({
    "get-domain-stats": ({ domainId }, reply) => reply({ type: "domain-stats", domainId, activeVisitors: 2, totalVisitors: 9, visitors: [] }),
    "get-all-domain-stats": (_frame, reply) => reply({ type: "all-domain-stats", stats: { "shop.example": { activeVisitors: 2 } } }),
  });
  const client = s.connect(server.url);
  const lists = ["visitor-joined-domain", "visitor-activity", "visitor-left-domain"].map((name) => heard(client, name));
  assert.equal((await client.visitors.stats("shop.example")).activeVisitors, 2);
  assert.equal((await client.visitors.allStats()).stats["shop.example"].activeVisitors, 2);
  for (const type of ["visitor-joined-domain", "visitor-activity", "visitor-left-domain"]) server.tell({ type, domainId: "shop.example", visitorId: "v2" });
  for (const list of lists) assert.equal((await list.next()).visitorId, "v2");
});

/** Takes files as a test says. @param {import("node:http").RequestListener} listener */
async function takesFiles(s, listener) {
  const server = createServer(listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  s.after(() => (server.closeAllConnections(), server.close()));
  return s.connect(`http://127.0.0.1:${server.address().port}`, { token: "t1", backoff: {} });
}

scenario("a file is put, with its name, its type and the token, and its address is absolute", async (s) => {
  /** @type {any} */
  let got;
  const client = await takesFiles(s, async (request, response) => {
    if (request.method !== "POST") return response.end();
    const { pathname, searchParams } = new URL(request.url, "http://shop.example");
    got = { path: pathname, asked: Object.fromEntries(searchParams), type: request.headers["content-type"], token: request.headers.authorization, length: request.headers["content-length"], body: String(await buffer(request)) };
    response.writeHead(201).end(JSON.stringify({ key: "k", url: "/files/k", name: "Grüße 1.txt", size: 5, contentType: "text/plain" }));
  });
  await client.statuses.next({ state: "waiting" });
  const progress = [];
  const file = new File(["Hello"], "Grüße 1.txt", { type: "text/plain" });
  const uploaded = await client.files.upload(file, { onProgress: (step) => progress.push(step) });
  assert.deepEqual(got, { path: "/files", asked: { name: "Grüße 1.txt" }, type: "text/plain", token: "Bearer t1", length: "5", body: "Hello" });
  assert.deepEqual([uploaded.key, uploaded.url], ["k", new URL("/files/k", client.url.href.replace("ws", "http")).href]);
  assert.deepEqual(progress.at(-1), { loaded: 5, total: 5 });
});

for (const [what, code, status, body] of [
  ["says why", "too_large", 413, '{"error":"25 MiB at most","code":"too_large"}'],
  ["has no files", "not_found", 404, "nothing here"],
  ["answers garbage", "bad_frame", 200, "<html>"],
  ["answers null", "bad_frame", 201, "null"],
  ["is not there", "unreachable", 0, ""],
]) {
  scenario(`an upload to a server that ${what} is refused with ${code}`, async (s) => {
    const client = await takesFiles(s, (request, response) => (status ? response.writeHead(status).end(body) : request.socket.destroy()));
    await refused(client.files.upload(new Blob(["x"])), code);
  });
}

scenario("an upload that is too large or called off is refused here", async (s) => {
  const client = await takesFiles(s, () => {});
  await refused(client.files.upload(new Blob([new Uint8Array(26 * 1024 * 1024)])), "too_large");
  await refused(client.files.upload(new Blob(["x"]), { signal: AbortSignal.abort() }), "aborted");
  const controller = new AbortController();
  const upload = client.files.upload(new Blob(["x"]), { signal: controller.signal });
  controller.abort();
  await refused(upload, "aborted");
});
