/** What `weeziq doctor` sees, each thing planted: it says what is wrong and what to do, and its exit code says whether anything is. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, readdir, utimes, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join as joinPath } from "node:path";
import { after, describe } from "node:test";
import { suite } from "../scenario.js";
import { inTempDir } from "../starts.js";

const KEY = "sk-planted-key";

/** A provider whose list of models opens with one key, and that has no such list under `/none`. */
const provider = createServer((request, response) => {
  const key = request.headers.authorization?.replace("Bearer ", "") ?? request.headers["x-goog-api-key"];
  const status = request.url.startsWith("/none") ? 404 : !request.url.endsWith("/models") ? 500 : key === KEY ? 200 : 401;
  response.writeHead(status).end("{}");
}).listen(0, "127.0.0.1");
await once(provider, "listening");
const url = `http://127.0.0.1:${provider.address().port}`;
after(() => provider.close());

describe("beside a service that runs", () => {
  const { host, scenario } = suite({ OPENAI_BASE_URL: `${url}/v1`, OPENAI_API_KEY: KEY }, { needs: "process" });
  const port = () => ({ PORT: new URL(host.baseUrl).port });

  /** @param {Record<string, string>} env @param {number} code @param {RegExp[]} lines @param {string[]} [words] */
  async function finds(env, code, lines, words = ["doctor"], entering = []) {
    const { code: found, output } = await host.run(words, env, entering);
    for (const line of lines) assert.match(output, line);
    assert.equal(found, code, output);
    assert.doesNotMatch(output, /planted|panicked/);
  }

  scenario("all is well, and nothing is left behind", async () => {
    const before = await readdir(host.dataDir);
    await finds({ ...port(), OPENAI_BASE_URL: `${url}/v1`, OPENAI_API_KEY: KEY }, 0, [
      /^ok    settings: /m, /^(ok  |warn)  storage: .*(can be written|a sync of)/m, /^ok    storage: \d+ \w+ free/m, /^ok    storage: \d+ databases can be opened/m,
      /^ok    clock: /m, /^ok    network: the service runs on \S+ and is ready$/m, /^ok    models: \S+\/v1\/models answers and takes the key$/m,
      /^warn  access: open mode/m, /^0 broken, /m,
    ]);
    assert.deepEqual(await readdir(host.dataDir), before);
    await finds(port(), 0, [/^ready$/m], ["doctor", "--ready"]);
  });

  scenario("a key that is refused, a list that there is none of, a provider that nobody can reach", async () => {
    await finds({ ...port(), OPENAI_BASE_URL: `${url}/v1`, OPENAI_API_KEY: "sk-planted-wrong" }, 1, [/^FAIL  models: \S+\/v1\/models refuses the key \(401\)/m]);
    await finds({ ...port(), GOOGLE_AI_BASE_URL: url, GOOGLE_AI_API_KEY: KEY }, 0, [/^ok    models: \S+\/v1beta\/models answers/m]);
    await finds({ ...port(), GOOGLE_AI_BASE_URL: url, GOOGLE_AI_API_KEY: "planted" }, 1, [/^FAIL  models: \S+\/v1beta\/models refuses the key/m]);
    await finds({ ...port(), OPENAI_BASE_URL: `${url}/none` }, 0, [/^warn  models: \S+ answers 404/m]);
    await finds({ ...port(), OPENAI_BASE_URL: "http://127.0.0.1:1/v1" }, 1, [/^FAIL  models: \S+ cannot be reached: .*refused/m]);
    await finds({ ...port(), AI_MODELS: JSON.stringify({ "our-*": { provider: "openai", baseUrl: `${url}/v1`, apiKeyEnv: "OUR_KEY" } }), OUR_KEY: KEY, AI_DEFAULT_MODEL: "our-model" }, 0, [/^ok    models: \S+\/v1\/models answers/m]);
    await finds(port(), 0, [/^warn  models: no key is set/m]);
  });

  scenario("settings that cannot be used, and those that are no good in production", async () => {
    await finds({ ...port(), AI_DEFAULT_MODEL: "nobody-s-model" }, 1, [/^FAIL  settings: AI_DEFAULT_MODEL/m]);
    await finds({ ...port(), AUTH_SECRET: "planted" }, 1, [/^FAIL  settings: AUTH_SECRET has 7 bytes and must have 32 or more.*openssl rand/m]);
    await finds({ ...port(), AUTH_SECRET: "planted-".repeat(5) }, 0, [/^ok    access: tokens say who may do what/m]);
    const production = { ...port(), HOST: "127.0.0.1", NODE_ENV: "production" };
    await finds(production, 0, [/^warn  access: ALLOWED_ORIGINS is not set/m, /^warn  access: only this machine can connect.*TRUST_PROXY=127\.0\.0\.1$/m]);
    await finds({ ...production, ALLOWED_ORIGINS: "https://shop.example", TRUST_PROXY: "127.0.0.1" }, 0, [/^ok    access: ALLOWED_ORIGINS lists/m]);
  });

  scenario("too few descriptors", async () => {
    await finds(port(), 1, [/^FAIL  network: only 256 files and connections/m], ["doctor"], ["prlimit", "--nofile=256"]);
  });

  scenario("a port that somebody else has, and a service that is not there", async () => {
    await inTempDir(async (dir) => {
      await finds({ ...port(), DATA_DIR: dir }, 1, [/^FAIL  network: HOST and PORT \(\S+\) cannot be listened on/m]);
      await finds({ PORT: "1", DATA_DIR: dir }, 1, [/nobody answers at http:\/\/127\.0\.0\.1:1\/readyz/], ["doctor", "--ready"]);
    });
  });

  scenario("a folder that cannot be written, files from the future, a database that is none", async () => {
    await inTempDir(async (dir) => {
      const free = { PORT: "0" };
      await writeFile(joinPath(dir, "file"), "");
      await finds({ ...free, DATA_DIR: joinPath(dir, "file", "data") }, 1, [/^FAIL  storage: DATA_DIR \S+ cannot be made/m]);
      await finds({ ...free, DATA_DIR: joinPath(dir, "not", "yet") }, 0, [/^ok    storage: DATA_DIR \S+ is not there yet/m]);
      assert.deepEqual(await readdir(dir), ["file"]);
      const data = joinPath(dir, "data");
      await mkdir(data);
      await writeFile(joinPath(data, "shard-0.db"), "this is no database at all ".repeat(100));
      await finds({ ...free, DATA_DIR: data }, 1, [/^FAIL  storage: \S+shard-0\.db is damaged/m]);
      const tomorrow = Date.now() / 1000 + 86_400;
      await utimes(joinPath(data, "shard-0.db"), tomorrow, tomorrow);
      await finds({ ...free, DATA_DIR: data }, 1, [/^FAIL  clock: \S+ was written 8\d+ s from now/m]);
    });
  });
});

describe("on a disk that is nearly full", () => {
  const { host, scenario } = suite({ SHARDS: "1" }, { needs: "smallStorage", storageBytes: 16 * 1024 * 1024 });

  scenario("it says so before the service does", async () => {
    const { output, code } = await host.run(["doctor"], { PORT: new URL(host.baseUrl).port });
    assert.match(output, /^FAIL  storage: only \d+ MiB free/m);
    assert.equal(code, 1);
  });
});
