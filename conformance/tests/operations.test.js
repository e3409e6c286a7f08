/** What whoever runs the process relies on: starts that fail say why, a stop drains, logs are readable and discreet. */
import assert from "node:assert/strict";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join as joinPath } from "node:path";
import { after, describe, test } from "node:test";
import { get, post } from "../http.js";
import * as faulty from "../mocks/faulty.js";
import { join, lacks, say, suite } from "../scenario.js";
import { assertShape } from "../shape.js";
import { assertRefusesToStart, inTempDir } from "../starts.js";

const skip = lacks("process");

const provider = await faulty.startFaultyProvider();
after(() => provider.stop());

describe("starts that must fail", { skip }, () => {
  const { host, scenario } = suite();

  scenario("a second process on the same data directory is refused, and the first is unharmed", async (s) => {
    const room = s.unique("room");
    const ann = await s.member(room, "ann");
    await assertRefusesToStart({ DATA_DIR: host.dataDir }, host.dataDir);
    assertShape(await say(ann, room, "ann", "still here"), { seq: 1 });
  });

  scenario("a port in use", async () => {
    const { port } = new URL(host.baseUrl);
    await inTempDir((dir) => assertRefusesToStart({ DATA_DIR: joinPath(dir, "data"), PORT: port }, port));
  });

  test("a data directory that can't be written", async () => {
    // Not by permissions, which mean nothing to root: a path through a file is impossible for everyone.
    await inTempDir(async (dir) => {
      await writeFile(joinPath(dir, "file"), "");
      const output = await assertRefusesToStart({ DATA_DIR: joinPath(dir, "file", "data") }, joinPath(dir, "file"));
      assert.doesNotMatch(output, /https?:\/\//, "nothing was served");
    });
  });

  const malformed = [
    ["PORT", "abc"], ["PORT", "70000"], ["PORT", "-1"], ["HOST", "not a host"],
    ["AI_TOTAL_MS", "x"], ["AI_TOTAL_MS", "0"], ["AI_FIRST_TOKEN_MS", "-1"], ["AI_CONTEXT_MESSAGES", "ten"], ["AI_CONTEXT_MESSAGES", "0"],
    ["AI_PER_USER_PER_MIN", "many"], ["AI_PER_IP_PER_MIN", "1.5"], ["EVENTS_PER_SEC", "fast"],
    ["AI_MODELS", "{"], ["AI_MODELS", "[]"], ["AI_MODELS", '{"my-model":{"provider":"nobody"}}'],
    ["DURABILITY", "maybe"], ["SHARDS", "0"], ["SHARDS", "x"],
    ["OPENAI_BASE_URL", "not a url"], ["GOOGLE_AI_BASE_URL", "ftp://models.example"],
    ["ALLOWED_ORIGINS", "shop.example"], ["ALLOWED_ORIGINS", "https://*.*.example"], ["ALLOWED_ORIGINS", "https://shop.example/path"],
  ];
  for (const [variable, value] of malformed) {
    test(`${variable}=${value}`, () => inTempDir((dir) => assertRefusesToStart({ DATA_DIR: dir, [variable]: value }, variable)));
  }

  test("a malformed setting does not show a key that is set beside it", async () => {
    await inTempDir(async (dir) => {
      const output = await assertRefusesToStart({ DATA_DIR: dir, PORT: "abc", OPENAI_API_KEY: "sk-planted-1" }, "PORT");
      assert.ok(!output.includes("planted"));
    });
  });
});

describe("an orderly stop", { skip }, () => {
  const { host, scenario } = suite(provider.env);

  for (const signal of ["SIGTERM", "SIGINT"]) {
    scenario(`${signal}: clients are closed with 1001, the exit code is 0`, async (s) => {
      const room = s.unique("room");
      const [ann, idle] = [await s.member(room, "ann"), await s.connect()];
      await say(ann, room, "ann", "before");
      const { code, signal: killedBy } = await host.signal(signal);
      assert.deepEqual({ code, killedBy }, { code: 0, killedBy: null });
      for (const client of [ann, idle]) assert.equal((await client.untilClosed()).code, 1001);
      await host.restart();
    });
  }

  scenario("a model that does not end its answer does not hold up the stop, and the talk goes on afterwards", async (s) => {
    provider.play(faulty.held());
    const [client, conversationId] = [await s.connect(), s.unique("talk")];
    client.send({ type: "ai-stream", message: "one", conversationId });
    const upstream = await provider.request(0);
    upstream.token("Half an ");
    await client.next("ai-stream-chunk");
    const streamed = fetch(`${host.baseUrl}/ai/stream`, { method: "POST", headers: { accept: "text/event-stream" }, body: JSON.stringify({ message: "other", conversationId: s.unique("talk") }) });
    (await provider.request(1)).token("Also half");
    const body = (await streamed).text();
    assert.equal((await host.stop()).code, 0);
    assertShape(await client.next("ai-stream-complete"), { fullResponse: "Half an ", finishReason: "interrupted" });
    assert.match(await body, /event: complete\nid: end\ndata: .*"finishReason":"interrupted"/);
    assert.equal((await client.untilClosed()).code, 1001);
    await upstream.gone;
    await host.restart();
    provider.play(faulty.answers("Here I am."));
    const answer = await (await s.connect()).ask({ type: "ai-chat", message: "two", conversationId }, "ai-response");
    assertShape(answer, { message: "Here I am.", finishReason: "stop" });
  });

  scenario("what was sent before the stop is acknowledged or refused, and what was acknowledged is stored", async (s) => {
    const room = s.unique("room");
    const ann = await s.member(room, "ann");
    for (let n = 1; n <= 200; n += 1) ann.send({ type: "send-message", roomId: room, message: `m${n}`, userId: "ann", userName: "Ann", role: "user" });
    await ann.next("message-sent");
    const stopping = host.stop();
    assert.equal((await ann.untilClosed()).code, 1001);
    assert.equal((await stopping).code, 0);
    await host.restart();
    const acked = ann.frames.filter((f) => f.type === "message-sent");
    const bob = await s.member(room, "bob");
    assert.ok(bob.joined.seq >= acked.at(-1).seq, `${acked.at(-1).seq} acknowledged, ${bob.joined.seq} stored`);
  });
});

describe("logs", () => {
  /** What a visit carries and no log may hold, at no level. */
  const secrets = { text: "planted-words-of-a-visitor", name: "Planted Name", mail: "planted@mail.example" };

  for (const NODE_ENV of ["production", "development"]) {
    describe(`with NODE_ENV=${NODE_ENV}`, () => {
      const { host, scenario } = suite({ ...provider.env, NODE_ENV });

      scenario("a whole visit leaves no secret and no words in the log", async (s) => {
        const room = s.unique("room");
        const client = await s.connect();
        await join(client, room, "ann", { userName: secrets.name, customerData: { mail: secrets.mail } });
        await say(client, room, "ann", secrets.text, { userName: secrets.name });
        client.send({ type: "visitor-joined-domain", domainId: "shop.example", visitorId: "v1", visitorData: { title: secrets.text, email: secrets.mail } });
        for (const behaviour of [faulty.answers(secrets.text), faulty.status(401), faulty.status(500), faulty.answersGarbage(), faulty.cutsAfter(secrets.text)]) {
          provider.play(behaviour);
          for (const model of ["gpt-4o", "gemini-2.5-flash"]) {
            await client.ask({ type: "ai-chat", message: secrets.text, conversationId: s.unique("talk"), model }, "ai-response");
          }
        }
        client.sendRaw(`{"message": "${secrets.text}`);
        await client.next("error");
        await client.ask({ type: secrets.text, message: secrets.text });
        await post(s.url("/ai/chat"), `{"message": "${secrets.text}`);
        await post(s.url(`/nope?token=${secrets.text}`), { message: secrets.text }, { authorization: `Bearer ${secrets.text}` });
        await host.stop();
        const log = host.logs();
        assert.ok(log.length > 0, "it does log");
        for (const line of log.split("\n")) assert.doesNotMatch(line, /planted/i);
        await host.restart();
      });

      if (NODE_ENV === "production") {
        scenario(
          "each line is a JSON object",
          async (s) => {
            await get(s.url("/healthz"));
            const lines = host.logs().trim().split("\n");
            for (const line of lines) assert.equal(typeof JSON.parse(line), "object", line);
          },
          { needs: "ownLog" },
        );
      }
    });
  }
});

describe("the data directory", () => {
  const { host, scenario } = suite();

  scenario("holds no address of a visitor", async (s) => {
    const client = await s.member(s.unique("room"), "ann");
    client.send({ type: "visitor-joined-domain", domainId: "shop.example", visitorId: "v1", visitorData: { url: "https://shop.example/" } });
    await client.next("visitor-joined-domain");
    await post(s.url("/visitors/add"), { domainId: "shop.example", visitorId: "v2" });
    await host.stop();
    for (const entry of await readdir(host.dataDir, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const bytes = await readFile(joinPath(entry.path, entry.name));
      assert.ok(!bytes.includes("127.0.0.1"), `${entry.name} holds a raw address`);
    }
    await host.restart();
  });
});
