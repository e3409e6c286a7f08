/** Files: put, attached, and got back as they were, whatever they claim to be and however they come. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { describe } from "node:test";
import { bare } from "../bare.js";
import { eventually } from "../eventually.js";
import { get, post, request } from "../http.js";
import { say, suite } from "../scenario.js";

const MIB = 1024 * 1024;
const LIMIT = 25 * MIB;
const UPLOAD_GUARD_MS = 90_000;

const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");
const remove = (url) => request(url, { method: "DELETE" });

/** The head of a picture, and noise behind it. */
const png = (width, height, bytes = randomBytes(64)) => {
  const size = Buffer.alloc(8);
  size.writeUInt32BE(width, 0);
  size.writeUInt32BE(height, 4);
  return Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "latin1"), size, bytes]);
};

/** @param {ReadableStream | Blob} body with no length told */
const stream = (url, body, headers = {}) => request(url, { method: "POST", body, headers, duplex: "half", signal: AbortSignal.timeout(UPLOAD_GUARD_MS) });

async function upload(s, query, bytes, type = "image/png") {
  const put = await post(s.url(`/files?${new URLSearchParams(query)}`), bytes, { "content-type": type });
  assert.equal(put.status, 201, put.text);
  return put.json;
}

async function refused(response, status, code, word = /./) {
  const { status: got, json, text } = await response;
  assert.deepEqual([got, json?.code], [status, code], text);
  assert.match(json.error, word);
}

describe("taken and given", () => {
  const { scenario } = suite();

  scenario("a file of some megabytes comes back byte by byte, over a kill -9", async (s) => {
    const bytes = png(640, 480, randomBytes(12 * MIB));
    const file = await upload(s, { name: "Grüße 1.png", roomId: s.unique("room") }, bytes);
    const { key, url, ...rest } = file;
    assert.deepEqual(rest, { name: "Grüße 1.png", size: bytes.length, contentType: "image/png", sha256: hash(bytes), width: 640, height: 480 });
    assert.match(key, /^[A-Za-z]{26}$/);
    assert.equal(url, `/files/${key}`);
    await s.host.kill9();
    await s.host.restart();
    const got = await fetch(s.url(url));
    assert.equal(got.status, 200);
    assert.equal(hash(Buffer.from(await got.arrayBuffer())), hash(bytes));
    assert.equal(got.headers.get("content-type"), "image/png");
    assert.equal(got.headers.get("x-content-type-options"), "nosniff");
    assert.match(got.headers.get("content-security-policy"), /default-src 'none'.*sandbox/);
    assert.equal(got.headers.get("content-disposition"), `inline; filename="Gr__e 1.png"; filename*=UTF-8''Gr%C3%BC%C3%9Fe%201.png`);
    assert.equal(got.headers.get("accept-ranges"), "bytes");
  });

  scenario("without a length told, and of any size: nothing, a byte, a part and one byte more", async (s) => {
    for (const size of [0, 1, 5 * MIB, 5 * MIB + 1, 10 * MIB]) {
      const bytes = randomBytes(size);
      const put = await stream(s.url("/files?name=a.bin"), new Blob([bytes]).stream());
      assert.equal(put.status, 201, put.text);
      assert.deepEqual([put.json.size, put.json.sha256], [size, hash(bytes)]);
      const got = await fetch(s.url(put.json.url));
      assert.equal(hash(Buffer.from(await got.arrayBuffer())), hash(bytes));
    }
  });

  scenario("a form brings the file as its part, with its name and type", async (s) => {
    const bytes = png(3, 4, randomBytes(6 * MIB));
    const form = new FormData();
    form.append("note", "before it");
    form.append("file", new Blob([bytes], { type: "image/png" }), "из формы.png");
    form.append("more", "after it");
    const put = await request(s.url(`/files?roomId=${s.unique("room")}`), { method: "POST", body: form });
    assert.equal(put.status, 201, put.text);
    assert.deepEqual([put.json.name, put.json.contentType, put.json.sha256, put.json.width], ["из формы.png", "image/png", hash(bytes), 3]);
    const got = await fetch(s.url(put.json.url));
    assert.equal(hash(Buffer.from(await got.arrayBuffer())), hash(bytes));
    const named = new FormData();
    named.append("file", new Blob(["x"]), "theirs.txt");
    const renamed = await request(s.url("/files?name=ours.txt"), { method: "POST", body: named });
    assert.equal(renamed.json.name, "ours.txt");
  });

  scenario("a form without the part, cut short, or that is none is refused", async (s) => {
    const form = new FormData();
    form.append("other", "x");
    await refused(request(s.url("/files"), { method: "POST", body: form }), 400, "invalid_request", /file/);
    const type = { "content-type": "multipart/form-data; boundary=b" };
    const part = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello';
    await refused(post(s.url("/files"), part, type), 400, "invalid_request", /broke off/);
    await refused(post(s.url("/files"), "no form at all", type), 400, "invalid_request");
    const nameless = part.replace('; filename="a.txt"', "") + "\r\n--b--\r\n";
    await refused(post(s.url("/files"), nameless, type), 400, "invalid_request", /name/);
  });

  scenario("a part of a file, on the conditions of RFC 9110", async (s) => {
    const bytes = png(8, 8, randomBytes(1000));
    const { url } = await upload(s, { name: "a.png" }, bytes);
    const ask = (headers, method = "GET") => fetch(s.url(url), { headers, method });
    const whole = await ask({});
    const etag = whole.headers.get("etag");
    await whole.arrayBuffer();
    for (const [range, from, to] of [["bytes=0-9", 0, 9], ["bytes=1000-", 1000, bytes.length - 1], ["bytes=-5", bytes.length - 5, bytes.length - 1], ["bytes=10-99999", 10, bytes.length - 1]]) {
      const part = await ask({ range });
      assert.equal(part.status, 206, range);
      assert.equal(part.headers.get("content-range"), `bytes ${from}-${to}/${bytes.length}`);
      assert.equal(part.headers.get("content-length"), String(to - from + 1));
      assert.ok(bytes.subarray(from, to + 1).equals(Buffer.from(await part.arrayBuffer())), range);
    }
    for (const range of ["bytes=0-1,5-6", "bytes=9-2", "lines=1-2", "bytes=x"]) {
      const all = await ask({ range });
      assert.deepEqual([all.status, (await all.arrayBuffer()).byteLength], [200, bytes.length], range);
    }
    const beyond = await ask({ range: `bytes=${bytes.length}-` });
    assert.deepEqual([beyond.status, beyond.headers.get("content-range"), await beyond.text()], [416, `bytes */${bytes.length}`, ""]);
    for (const tag of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
      const known = await ask({ "if-none-match": tag });
      assert.deepEqual([known.status, await known.text()], [304, ""], tag);
      assert.equal(known.headers.get("etag"), etag);
    }
    const changed = await ask({ "if-none-match": '"other"' });
    assert.equal(changed.status, 200);
    await changed.arrayBuffer();
    for (const [tag, status] of [[etag, 206], ['"other"', 200]]) {
      const part = await ask({ range: "bytes=0-0", "if-range": tag });
      assert.equal(part.status, status);
      await part.arrayBuffer();
    }
    const head = await ask({}, "HEAD");
    assert.deepEqual([head.status, head.headers.get("content-length"), head.headers.get("etag"), await head.text()], [200, String(bytes.length), etag, ""]);
  });

  scenario("a deleted file is gone at once, and its key names nothing", async (s) => {
    const { url } = await upload(s, { name: "a.png", roomId: s.unique("room") }, png(1, 1));
    assert.equal((await remove(s.url(url))).status, 200);
    await refused(get(s.url(url)), 404, "not_found");
    await refused(remove(s.url(url)), 404, "not_found");
  });
});

describe("lies", () => {
  const { scenario } = suite();

  scenario("what a browser could run is only handed out to be saved", async (s) => {
    const svg = `<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)">&b;</svg>`;
    for (const [type, body, found] of [
      ["text/html", "<script>alert(1)</script>", "text/html"],
      ["image/png", "<script>alert(1)</script>", "text/html"],
      ["image/jpeg", "\ufeff \n<!DOCTYPE html><body>", "text/html"],
      ["image/svg+xml", svg, "image/svg+xml"],
      ["image/png", svg, "image/svg+xml"],
      ["text/xml", "<?xml version='1.0'?><a/>", "text/xml"],
      ["application/javascript", "alert(1)", "application/javascript"],
      ["application/pdf", "%PDF-1.7", "application/pdf"],
    ]) {
      const { url, contentType } = await upload(s, { name: "a.html" }, body, type);
      assert.equal(contentType, found, `claimed as ${type}`);
      const got = await get(s.url(url));
      assert.equal(got.text, body.replace("\ufeff", ""));
      assert.match(got.headers.get("content-disposition"), /^attachment;/);
      assert.equal(got.headers.get("content-type"), "application/octet-stream");
      assert.equal(got.headers.get("x-content-type-options"), "nosniff");
    }
  });

  scenario("a type is what the bytes say, not what the request claims", async (s) => {
    const kind = async (type, bytes) => (await upload(s, { name: "a" }, bytes, type)).contentType;
    assert.equal(await kind("text/html", png(1, 1)), "image/png");
    assert.equal(await kind("image/png", Buffer.from("no picture")), "application/octet-stream");
    assert.equal(await kind("video/mp4", Buffer.from("MZ\x90\0", "latin1")), "application/octet-stream");
    assert.equal(await kind("text/plain; charset=utf-8", Buffer.from("words")), "text/plain");
  });

  scenario("an archive that would unfold to terabytes is bytes like any other, and so is a picture that says it is vast", async (s) => {
    const zip = Buffer.concat([Buffer.from("PK\x03\x04", "latin1"), randomBytes(200)]);
    assert.equal((await upload(s, { name: "42.zip" }, zip, "application/zip")).contentType, "application/zip");
    const vast = await upload(s, { name: "vast.png" }, png(2_000_000_000, 2_000_000_000));
    assert.deepEqual([vast.contentType, vast.width, vast.height], ["image/png", undefined, undefined]);
  });

  scenario("no name breaks out of its header, and none is a path", async (s) => {
    const name = `a"; filename=evil.html; x="%0d%0a\u2028';.png`;
    const { url } = await upload(s, { name }, png(1, 1));
    const disposition = (await get(s.url(url))).headers.get("content-disposition");
    assert.match(disposition, /^inline; filename="[A-Za-z0-9 ._()-]+"; filename\*=UTF-8''[A-Za-z0-9!#$&+.^_`|~%-]+$/);
    assert.equal(decodeURIComponent(disposition.split("''")[1]), name);
    for (const bad of ["a\nb", "a\rSet-Cookie: x", "a\0", "../a.png", "a/b.png", "a\\b.png", "..", "gnp\u202eexe.txt", "x".repeat(257)]) {
      await refused(post(s.url(`/files?name=${encodeURIComponent(bad)}`), "x"), 400, "invalid_request", /^name /);
      const form = new FormData();
      form.append("file", new Blob(["x"]), bad);
      // A form's own writer escapes line ends and quotes, and so they are harmless.
      if (!/[\n\r\0]/.test(bad)) await refused(request(s.url("/files"), { method: "POST", body: form }), 400, "invalid_request", /^name /);
    }
    await refused(post(s.url("/files"), "x"), 400, "invalid_request", /^name /);
    await refused(post(s.url(`/files?name=a&roomId=${"x".repeat(200)}`), "x"), 400, "invalid_request", /^roomId /);
  });

  scenario("no key leads anywhere but to a file", async (s) => {
    for (const key of ["none", "..%2f..%2fetc%2fpasswd", "%2e%2e%2fshard-0.db", "a".repeat(26), `${"a".repeat(25)}%00`, "a".repeat(5000), "%ff"]) {
      const { status, json } = await get(s.url(`/files/${key}`));
      assert.ok([400, 404, 414].includes(status), `${key}: ${status}`);
      if (status === 404) assert.equal(json.code, "not_found");
    }
    await refused(get(s.url("/files/a/b")), 404, "not_found");
  });
});

describe("too much", () => {
  const { scenario } = suite();

  scenario("a file has 25 MiB and no byte more, whatever its length says", async (s) => {
    const most = Buffer.alloc(LIMIT, 1);
    assert.equal((await post(s.url("/files?name=a"), most)).status, 201);
    await refused(post(s.url("/files?name=a"), Buffer.alloc(LIMIT + 1)), 413, "too_large");
    await refused(stream(s.url("/files?name=a"), new Blob([Buffer.alloc(LIMIT + 1)]).stream()), 413, "too_large");
    const form = new FormData();
    form.append("file", new Blob([Buffer.alloc(LIMIT + 1)]), "a");
    await refused(request(s.url("/files"), { method: "POST", body: form, signal: AbortSignal.timeout(UPLOAD_GUARD_MS) }), 413, "too_large");
  });

  scenario("a body that never ends is given up: one that falls silent, and one that does not", async (s) => {
    const silent = await bare(s.host.baseUrl);
    silent.write("POST /files?name=a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n5\r\nhello\r\n");
    const flood = await bare(s.host.baseUrl);
    flood.write("POST /files?name=a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    const chunk = Buffer.concat([Buffer.from("100000\r\n"), Buffer.alloc(MIB, 1), Buffer.from("\r\n")]);
    const pump = () => {
      while (!flood.isClosed && flood.socket.writable && flood.socket.write(chunk));
    };
    flood.socket.on("drain", pump);
    pump();
    await Promise.all([flood.untilReceived(/too_large/).catch(() => flood.untilClosed()), silent.untilReceived(/came too slowly/)]);
    flood.destroy();
    silent.destroy();
    assert.equal((await post(s.url("/files?name=a"), "x")).status, 201, "and others are served");
  });

  scenario("a room holds 32 files that no message names, and other rooms are not concerned", async (s) => {
    const [roomId, other] = [s.unique("room"), s.unique("room")];
    const files = [];
    for (let n = 0; n < 32; n += 1) files.push(await upload(s, { name: `${n}`, roomId }, png(1, 1)));
    await refused(post(s.url(`/files?name=a&roomId=${roomId}`), "x"), 429, "rate_limited");
    await upload(s, { name: "a", roomId: other }, png(1, 1));
    const ann = await s.member(roomId, "ann");
    await say(ann, roomId, "ann", "look", { attachments: [files[0]] });
    await upload(s, { name: "a", roomId }, png(1, 1));
  });

  scenario("uploads at a time are bounded, and who was refused may come again", async (s) => {
    const open = async () => {
      const upload = await bare(s.host.baseUrl);
      upload.write("POST /files?name=a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n1\r\nx\r\n");
      return upload;
    };
    const opened = await Promise.all(Array.from({ length: 20 }, open));
    // As soon as enough are under way, there is no place for another one.
    for (let refused = false; !refused; ) {
      // One that falls silent would give its place up.
      for (const upload of opened) upload.write("1\r\nx\r\n");
      const { status, json } = await post(s.url("/files?name=a"), "x");
      refused = status === 429;
      assert.ok(refused ? json.code === "rate_limited" && json.retryAfterMs > 0 : status === 201, `${status}`);
      // That one may have had the place of one of ours, which was then refused.
      if (!refused) opened.push(await open());
    }
    for (const upload of opened) upload.write("0\r\n\r\n");
    await Promise.all(opened.map((upload) => upload.untilReceived(/HTTP\/1.1 (201|429)/)));
    assert.ok(opened.some((upload) => upload.received.includes("HTTP/1.1 201")), "some were taken");
    for (const upload of opened) upload.destroy();
    assert.equal((await post(s.url("/files?name=a"), "x")).status, 201);
  });
});

describe("in memory", () => {
  const SIZE = 24 * MIB;
  const PIECE = Buffer.alloc(256 * 1024, 7);
  const MOST = Buffer.alloc(SIZE, 7);
  /** A process grew by 28 MiB with eight coming, by 20 with 32 going. Each of them whole would take 192, and 768. */
  const [COMING_BYTES_MAX, GOING_BYTES_MAX] = [84 * MIB, 64 * MIB];

  /**
   * With a host of its own, as the most that a process has ever held is all that there is to see.
   * @param {string} name
   * @param {number} bytesMax by which it may grow
   * @param {(s: import("../scenario.js").Scenario) => Promise<void>} play
   */
  function measured(name, bytesMax, play) {
    describe(name, () => {
      const { host, scenario } = suite({}, { needs: "memory" });
      scenario(name, async (s) => {
        // Whatever the first file costs once.
        const { url } = await upload(s, { name: "first" }, randomBytes(MIB));
        await get(s.url(url));
        const before = host.memoryBytesPeak();
        await play(s);
        const [grown, allowed] = [host.memoryBytesPeak() - before, bytesMax].map((bytes) => Math.round(bytes / MIB));
        assert.ok(grown <= allowed, `grew by ${grown} MiB, ${allowed} would be fine`);
      });
    });
  }

  const written = (connection, data) => new Promise((resolve) => connection.socket.write(data, resolve));

  for (const [how, head, framed, end] of [
    ["whose length is told", `Content-Length: ${SIZE}`, (piece) => piece, ""],
    ["whose length is not told", "Transfer-Encoding: chunked", (piece) => Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from("\r\n")]), "0\r\n\r\n"],
  ]) {
    measured(`as many large files at a time as one address may bring, ${how}, are not kept in memory`, COMING_BYTES_MAX, async (s) => {
      const coming = await Promise.all(Array.from({ length: 8 }, () => bare(s.host.baseUrl)));
      for (const connection of coming) await written(connection, `POST /files?name=a HTTP/1.1\r\nHost: x\r\n${head}\r\nContent-Type: text/plain\r\n\r\n`);
      // In turns, so that all of them are nearly whole before one is.
      for (let sent = 0; sent < SIZE; sent += PIECE.length) await Promise.all(coming.map((connection) => written(connection, framed(PIECE))));
      for (const connection of coming) connection.write(end);
      for (const connection of coming) {
        const [, key] = /"sha256":"(\w+)"/.exec(await connection.untilReceived(/\r\n\r\n\{.*\}/));
        assert.equal(key, hash(MOST));
        connection.destroy();
      }
    });
  }

  measured("a large file that many ask for and do not read is not kept in memory, and who reads on gets all of it", GOING_BYTES_MAX, async (s) => {
    const { url } = await upload(s, { name: "a" }, MOST);
    const readers = await Promise.all(Array.from({ length: 32 }, () => bare(s.host.baseUrl)));
    for (const reader of readers) {
      reader.write(`GET ${url} HTTP/1.1\r\nHost: x\r\n\r\n`);
      await reader.untilReceived(/200 OK/);
      reader.socket.pause();
    }
    for (let n = 0; n < 4; n += 1) assert.equal(hash(Buffer.from(await (await fetch(s.url(url))).arrayBuffer())), hash(MOST), "nobody waits for them");
    const [slow] = readers;
    slow.socket.resume();
    const body = () => slow.received.slice(slow.received.indexOf("\r\n\r\n") + 4);
    await eventually(() => body().length === SIZE);
    assert.equal(hash(Buffer.from(body(), "latin1")), hash(MOST));
    for (const reader of readers) reader.destroy();
  });
});

describe("attached", () => {
  const { scenario } = suite();

  scenario("a message names files of its room, and everyone is told of them", async (s) => {
    const room = s.unique("room");
    const [ann, bob] = [await s.member(room, "ann"), await s.member(room, "bob")];
    const files = [await upload(s, { name: "a.png", roomId: room, userId: "ann" }, png(3, 4)), await upload(s, { name: "b.txt", roomId: room }, "hello", "text/plain")];
    await say(ann, room, "ann", "look", { attachments: files });
    assert.deepEqual((await bob.next("new-message")).attachments, files);
    const foreign = [{ url: "https://files.example/a.png", key: 17 }, { name: "no key" }];
    await say(ann, room, "ann", "and these are mine", { attachments: foreign });
    assert.deepEqual((await bob.next("new-message")).attachments, foreign);
  });

  scenario("a file of another room, of none, or that is not what the message says is refused, and nothing is sent", async (s) => {
    const [room, other] = [s.unique("room"), s.unique("room")];
    const ann = await s.member(room, "ann");
    const own = await upload(s, { name: "a.png", roomId: room }, png(3, 4));
    const theirs = await upload(s, { name: "a.png", roomId: other }, png(3, 4));
    const nobodys = await upload(s, { name: "a.png" }, png(3, 4));
    const many = Array.from({ length: 11 }, () => own);
    for (const attachments of [[theirs], [nobodys], [own, theirs], [{ key: "a".repeat(26) }], [{ key: "../x" }], [{ ...own, size: 1 }], [{ ...own, contentType: "text/html" }], many]) {
      const error = await ann.ask({ type: "send-message", roomId: room, userId: "ann", userName: "Ann", message: "x", attachments }, "error");
      assert.equal(error.code, "invalid_request");
      assert.match(error.message ?? error.error, /attachments/);
    }
    const ack = await say(ann, room, "ann", "the first that counts", { attachments: [own] });
    assert.equal(ack.seq, 1);
  });

  scenario("a file goes with the message that named it first", async (s) => {
    const room = s.unique("room");
    const ann = await s.member(room, "ann");
    const [one, two] = [await upload(s, { name: "1.png", roomId: room }, png(1, 1)), await upload(s, { name: "2.png", roomId: room }, png(1, 1))];
    const first = await say(ann, room, "ann", "one", { attachments: [one] });
    const second = await say(ann, room, "ann", "both", { attachments: [one, two] });
    await ann.ask({ type: "delete-message", roomId: room, messageId: second.id }, "message-sent");
    await gone(s, two.url);
    assert.equal((await get(s.url(one.url))).status, 200, "an earlier message still has it");
    await ann.ask({ type: "delete-message", roomId: room, messageId: first.id }, "message-sent");
    await gone(s, one.url);
  });
});

describe("erased", () => {
  const { scenario } = suite();

  /** Where either host keeps the bytes of files. */
  const kept = async (s) => {
    const entries = await readdir(s.host.dataDir, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile() && /[/](files|blobs)$/.test(entry.parentPath)).map(({ name }) => name);
  };
  const nothingIsKept = (s) => eventually(() => kept(s), (names) => names.length === 0);
  const erase = async (s, roomId) => (await remove(s.url(`/rooms/${roomId}`))).json.removed.files;

  /** An upload to that room of which so many bytes have come. */
  async function begun(s, roomId, bytes) {
    const coming = await bare(s.host.baseUrl);
    coming.write(`POST /files?name=a&roomId=${roomId} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n`);
    if (bytes) coming.write(Buffer.concat([Buffer.from(`${bytes.toString(16)}\r\n`), Buffer.alloc(bytes, 7), Buffer.from("\r\n")]));
    return coming;
  }

  /** Ends uploads whose room went, and looks for what there is of them. */
  async function endInVain(s, roomId, coming) {
    for (const upload of coming) upload.write("0\r\n\r\n");
    for (const upload of coming) {
      await upload.untilReceived(/HTTP\/1.1 404[^]*erased meanwhile/);
      upload.destroy();
    }
    await nothingIsKept(s);
    assert.equal(await erase(s, roomId), 0, "nor is there a row of any");
  }

  scenario("what is still coming while its room goes leaves no bytes", async (s) => {
    const roomId = s.unique("room");
    const coming = await begun(s, roomId, 5);
    await eventually(async () => (await erase(s, roomId)) === 1);
    // One sweep follows another: the one that takes this file comes behind the one that looked for what is coming.
    const { url } = await upload(s, { name: "b", roomId }, "x");
    assert.notEqual((await kept(s)).length, 0);
    await remove(s.url(url));
    await nothingIsKept(s);
    await endInVain(s, roomId, [coming]);
  });

  scenario("nor does what has come in parts, beside what was whole", async (s) => {
    const roomId = s.unique("room");
    const { url } = await upload(s, { name: "whole", roomId }, "x");
    const coming = await Promise.all([1, MIB, 12 * MIB].map((bytes) => begun(s, roomId, bytes)));
    let erased = 0;
    await eventually(async () => (erased += await erase(s, roomId)), (count) => count === 1 + coming.length);
    await gone(s, url);
    await endInVain(s, roomId, coming);
  });

  scenario("an upload that ends as its room goes is there or is not: the next erasure leaves nothing of it", async (s) => {
    const roomId = s.unique("room");
    const taken = [];
    for (let round = 0; round < 12; round += 1) {
      const coming = await Promise.all([5, MIB].map((bytes) => begun(s, roomId, bytes)));
      const ends = coming.map(async (upload, n) => {
        if (n === round % 2) await erase(s, roomId);
        upload.write("0\r\n\r\n");
        const answer = await upload.untilReceived(/HTTP\/1\.1 (201|404)[^]*\r\n\r\n\{.*\}/);
        upload.destroy();
        return /"url":"([^"]+)"/.exec(answer)?.[1];
      });
      await Promise.all([erase(s, roomId), ...ends]);
      for (const end of ends) taken.push(await end);
    }
    const urls = taken.filter(Boolean);
    await erase(s, roomId);
    for (const url of urls) await gone(s, url);
    await nothingIsKept(s);
    assert.equal(await erase(s, roomId), 0);
  });
});

describe("never mentioned", () => {
  const { scenario } = suite({ FILE_UNUSED_S: "6", FILE_BYTES_MAX: "1000" });

  scenario("a file that no message of its room names in time is deleted, over a restart; one that was named stays", async (s) => {
    const room = s.unique("room");
    const ann = await s.member(room, "ann");
    const named = await upload(s, { name: "1.png", roomId: room }, png(1, 1));
    await say(ann, room, "ann", "look", { attachments: [named] });
    const unnamed = await upload(s, { name: "2.png", roomId: room }, png(1, 1));
    const nobodys = await upload(s, { name: "3.png" }, png(1, 1));
    await s.host.kill9();
    await s.host.restart();
    await gone(s, unnamed.url);
    assert.equal((await get(s.url(named.url))).status, 200);
    assert.equal((await get(s.url(nobodys.url))).status, 200, "a file of the site waits for no message");
    const bob = await s.member(room, "bob");
    const error = await bob.ask({ type: "send-message", roomId: room, userId: "bob", userName: "Bob", message: "x", attachments: [unnamed] }, "error");
    assert.equal(error.code, "invalid_request");
  });

  scenario("the operator decides how large a file may be", async (s) => {
    await upload(s, { name: "a" }, randomBytes(1000), "text/plain");
    await refused(post(s.url("/files?name=a"), randomBytes(1001)), 413, "too_large", /1000/);
  });
});

describe("types", () => {
  const { scenario } = suite({ FILE_TYPES: "image/*, application/pdf" });

  scenario("the operator decides what is taken, and bytes count for more than claims", async (s) => {
    await upload(s, { name: "a.png" }, png(1, 1));
    await upload(s, { name: "a.pdf" }, Buffer.from("%PDF-1.7 and so on"), "application/pdf");
    const lies = { "text/html": "<script>alert(1)</script>", "image/svg\\+xml": "<svg onload='alert(1)'/>", "application/zip": "PK\x03\x04 and so on" };
    for (const [kind, bytes] of Object.entries(lies)) {
      const named = new RegExp(`file is ${kind}; what is taken here is image/\\*,application/pdf`);
      await refused(post(s.url("/files?name=a.png"), Buffer.from(bytes), { "content-type": "image/png" }), 400, "invalid_request", named);
    }
  });
});

/** Until there is nothing any more: what was deleted goes a moment later on some hosts. */
const gone = (s, url) => eventually(() => get(s.url(url)), ({ status }) => status === 404);
