/** Files: put, and got back as they were. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { get, post, request } from "../http.js";
import { suite } from "../scenario.js";

const { scenario } = suite({}, { needs: "files" });

const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");

scenario("a file of some megabytes comes back byte by byte, over a kill -9", async (s) => {
  const bytes = randomBytes(3 * 1024 * 1024);
  const put = await post(s.url(`/files?name=${encodeURIComponent("Grüße 1.png")}`), bytes, { "content-type": "image/png" });
  assert.equal(put.status, 201, put.text);
  const { key, url, ...rest } = put.json;
  assert.deepEqual(rest, { name: "Grüße 1.png", size: bytes.length, contentType: "image/png" });
  assert.equal(url, `/files/${key}`);
  await s.host.kill9();
  await s.host.restart();
  const got = await fetch(s.url(url));
  assert.equal(got.status, 200);
  assert.equal(hash(Buffer.from(await got.arrayBuffer())), hash(bytes));
  assert.equal(got.headers.get("content-type"), "image/png");
  assert.equal(got.headers.get("x-content-type-options"), "nosniff");
  assert.equal(got.headers.get("content-disposition"), `inline; filename*=UTF-8''${encodeURIComponent("Grüße 1.png")}`);
});

scenario("what a browser could run is only handed out to be saved", async (s) => {
  for (const type of ["text/html", "image/svg+xml", "application/javascript"]) {
    const { json } = await post(s.url("/files?name=a.html"), "<script>alert(1)</script>", { "content-type": type });
    const got = await get(s.url(json.url));
    assert.match(got.headers.get("content-disposition"), /^attachment;/);
    assert.equal(got.headers.get("content-type"), "application/octet-stream");
    assert.equal(got.headers.get("x-content-type-options"), "nosniff");
  }
});

scenario("a file without a name, without an end or too large is refused, and one that is not there is not found", async (s) => {
  const refused = async (response, status, code) => {
    const { status: got, json } = await response;
    assert.deepEqual([got, json.code], [status, code]);
  };
  await refused(post(s.url("/files"), "x"), 400, "invalid_request");
  await refused(post(s.url(`/files?name=${"x".repeat(300)}`), "x"), 400, "invalid_request");
  await refused(post(s.url("/files?name=a%0Ab"), "x"), 400, "invalid_request");
  await refused(request(s.url("/files?name=a"), { method: "POST", body: ReadableStream.from(["x"]), duplex: "half" }), 411, "invalid_request");
  await refused(post(s.url("/files?name=a"), Buffer.alloc(26 * 1024 * 1024)), 413, "too_large");
  await refused(get(s.url("/files/none")), 404, "not_found");
});
