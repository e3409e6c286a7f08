/** What the service says of itself to whoever watches over it: numbers that follow what happens, and readiness that means it. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { describe } from "node:test";
import { eventually } from "../eventually.js";
import { get, post } from "../http.js";
import { hostName } from "../hosts/index.js";
import { nameOf, say, sayMany, suite } from "../scenario.js";
import { assertError, assertHttpError } from "../shape.js";
import { SECRET, token } from "../tokens.js";

/**
 * The page as a map from `name{labels}` to its number. Whoever reads it must be able to: every line is a sample or a comment, each
 * name has its type before it, and no sample is told twice.
 * @param {string} text
 */
function parsed(text) {
  const types = new Map(), samples = new Map();
  assert.ok(text.endsWith("\n"), "the last line ends");
  for (const line of text.trimEnd().split("\n")) {
    const [, declared, type] = /^# TYPE (\w+) (counter|gauge|histogram|summary)$/.exec(line) ?? [];
    if (declared) types.set(declared, type);
    if (line.startsWith("#")) continue;
    const [, name, labels = "", value] = /^([a-z_]+)(\{(?:[a-z]+="[^"\\\n]*",?)+\})? (\S+)$/.exec(line) ?? [];
    assert.ok(name && Number.isFinite(Number(value)), `not a sample: ${line}`);
    assert.ok(types.has(name) || ["histogram", "summary"].includes(types.get(name.replace(/_(bucket|sum|count)$/, ""))), `${name} has no type`);
    assert.ok(!samples.has(name + labels), `${name}${labels} is told twice`);
    samples.set(name + labels, Number(value));
  }
  return samples;
}

async function metrics(s) {
  const { status, headers, text } = await get(s.url("/metrics"));
  assert.equal(status, 200);
  assert.equal(headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  return parsed(text);
}

/** The page with all that happened before: where many tell and one adds up, what is counted later comes no earlier. */
async function settled(s) {
  const marker = 'weeziq_http_requests_total{route="/readyz",method="GET",status="200"}';
  const before = (await metrics(s)).get(marker) ?? 0;
  await get(s.url("/readyz"));
  return eventually(() => metrics(s), (page) => page.get(marker) > before);
}

/**
 * By how much samples have grown while that was done, once they all have. A counter that was not there began at zero.
 * @param {import("../scenario.js").Scenario} s @param {Record<string, number>} expected @param {() => Promise<unknown>} doing
 */
async function grows(s, expected, doing) {
  const before = await settled(s);
  await doing();
  const by = (after, sample) => (after.get(sample) ?? 0) - (before.get(sample) ?? 0);
  const samples = Object.keys(expected);
  const after = await eventually(() => metrics(s), (page) => samples.every((sample) => by(page, sample) >= expected[sample]));
  assert.deepEqual(Object.fromEntries(samples.map((sample) => [sample, by(after, sample)])), expected);
}

/** Of all shards. */
const total = (samples, name) => [...samples].filter(([sample]) => sample.startsWith(`${name}{`)).reduce((sum, [, value]) => sum + value, 0);

/** Connections end a moment after their client says so. */
const until = (s, isSo) => eventually(() => metrics(s), isSo);

describe("numbers", () => {
  const { scenario } = suite({ METRICS: "on" });

  scenario("what is said, told, refused", async (s) => {
    const room = s.unique("room");
    const [ann] = [await s.member(room, "ann"), await s.member(room, "bob"), await s.member(room, "cid", {}, { query: `?roomId=${room}` })];
    const expected = {
      'weeziq_events_total{kind="send-message"}': 10,
      'weeziq_events_total{kind="ai-chat"}': 1,
      weeziq_deliveries_total: 30,
      'weeziq_events_refused_total{code="unknown_type"}': 1,
      'weeziq_ai_questions_total{provider="demo"}': 1,
      'weeziq_http_requests_total{route="/ai/chat",method="POST",status="200"}': 1,
      'weeziq_http_requests_total{route="none",method="GET",status="404"}': 1,
    };
    await grows(s, expected, async () => {
      await sayMany(ann, room, "ann", 10);
      assertError(await ann.ask({ type: "no-such-event" }), "unknown_type");
      await post(s.url("/ai/chat"), { message: "hello", userId: s.unique("visitor") });
      await get(s.url("/nothing/here"));
    });
  });

  scenario("who came, and who came back, with what was missed or with a history", async (s) => {
    const room = s.unique("room");
    const { joined: { epoch } } = await s.member(room, "ann");
    const expected = { 'weeziq_connections_total{transport="websocket"}': 3, 'weeziq_resumes_total{result="resumed"}': 1, 'weeziq_resumes_total{result="history"}': 1 };
    await grows(s, expected, async () => {
      await s.member(room, "bob", { epoch, lastSeq: 0 });
      await s.member(room, "cid", { epoch: "of-another-life", lastSeq: 7 }, { query: `?roomId=${room}` });
      await s.member(room, "dan");
    });
  });

  scenario("visitors who are here", async (s) => {
    const domainId = s.unique("domain");
    await grows(s, { weeziq_visitors: 2 }, async () => {
      for (const visitorId of ["v1", "v2"]) await post(s.url("/visitors/add"), { domainId, visitorId });
    });
  });

  scenario("a name that a client chose is in no label", async (s) => {
    await grows(s, { 'weeziq_events_refused_total{code="unknown_type"}': 1 }, async () => {
      await get(s.url("/rooms/planted-room/transcript"));
      await get(s.url("/planted-path"));
      await (await s.connect()).ask({ type: "planted-type" });
    });
    const { text } = await get(s.url("/metrics"));
    assert.match(text, /route="\/rooms\/\{room\}\/transcript"/);
    assert.doesNotMatch(text, /planted/);
  });
});

describe("numbers of one process", () => {
  const { host, scenario } = suite({ SHARDS: "2" }, { needs: "metrics" });

  scenario("connections by transport, and none of those who have gone", async (s) => {
    const room = s.unique("room");
    const ann = await s.member(room, "ann");
    await s.socketIoMember(room, "bob", { transports: ["websocket"] });
    await s.socketIoMember(room, "cid", { transports: ["polling"] });
    await get(s.url("/metrics"));
    const samples = await metrics(s);
    for (const transport of ["websocket", "socketio-websocket", "socketio-polling"]) {
      assert.equal(samples.get(`weeziq_connections{transport="${transport}"}`), 1, transport);
      assert.equal(samples.get(`weeziq_connections_total{transport="${transport}"}`), 1, transport);
    }
    assert.equal(samples.get("weeziq_members"), 3);
    ann.socket.close();
    await until(s, (after) => after.get('weeziq_connections{transport="websocket"}') === 0);
  });

  scenario("each shard's storage, and the process", async (s) => {
    const room = s.unique("room");
    await say(await s.member(room, "ann"), room, "ann", "hello");
    const samples = await metrics(s);
    for (const what of ["commit", "sync"]) {
      assert.ok(total(samples, `weeziq_${what}_seconds_count`) > 0, `${what}s are counted`);
      for (const shard of ["0", "1"]) {
        assert.equal(samples.get(`weeziq_${what}_seconds_bucket{shard="${shard}",le="+Inf"}`), samples.get(`weeziq_${what}_seconds_count{shard="${shard}"}`));
      }
    }
    assert.deepEqual(["0", "1"].map((shard) => samples.get(`weeziq_shard_up{shard="${shard}"}`)), [1, 1]);
    for (const name of ["process_resident_memory_bytes", "process_open_fds", "process_max_fds", "process_start_time_seconds", "weeziq_disk_free_bytes"]) {
      assert.ok(samples.get(name) > 0, name);
    }
  });

  scenario("one that does not read: what it could not be told, and that it was let go", async (s) => {
    const room = s.unique("room");
    const [ann, slow] = [await s.member(room, "ann"), await s.member(room, "slow")];
    slow.socket.pause();
    const text = "x".repeat(15_000);
    const afterMore = async () => {
      await sayMany(ann, room, "ann", 100, () => text);
      return metrics(s);
    };
    const samples = await eventually(afterMore, (page) => page.get('weeziq_connections_closed_total{reason="too-slow"}') > 0);
    assert.ok(samples.get("weeziq_slow_readers") >= 0);
  });

  scenario("a method that a client made up is in no label", async (s) => {
    await fetch(s.url("/planted-path"), { method: "BREW" }).catch(() => {});
    const { text } = await get(s.url("/metrics"));
    assert.doesNotMatch(text, /planted|BREW/);
    assert.match(host.logs(), /ready at/);
  });
});

describe("models", () => {
  const url = "http://127.0.0.1:1/v1";
  const { scenario } = suite(() => ({ METRICS: "on", OPENAI_BASE_URL: url, AI_BREAKER_FAILURES: "1" }));

  scenario("one that cannot be reached: attempts, failures by why, and that it is left alone", async (s) => {
    const of = (samples, name, more = "") => samples.get(`weeziq_ai_${name}{endpoint="0",url="${url}"${more}}`);
    assert.equal(of(await metrics(s), "attempts_total"), 0, "told before it happens");
    await post(s.url("/ai/chat"), { message: "hello", userId: s.unique("visitor") });
    await post(s.url("/ai/chat"), { message: "hello again", userId: s.unique("visitor") });
    const samples = await eventually(() => metrics(s), (page) => of(page, "refused_total") >= 1);
    assert.ok(of(samples, "attempts_total") >= 1);
    assert.equal(of(samples, "failures_total", ',reason="unavailable"'), of(samples, "attempts_total"));
    assert.ok(of(samples, "breaker_opened_total") >= 1);
    if (hostName === "native") assert.equal(of(samples, "breaker_open"), 1);
    assert.equal(of(samples, "first_token_seconds_count"), 0);
  });
});

describe("where tokens say who somebody is", () => {
  const { scenario } = suite({ METRICS: "on", AUTH_SECRET: SECRET });

  scenario("numbers are for staff of all sites", async (s) => {
    const asks = (claims) => get(s.url("/metrics"), claims ? { authorization: `Bearer ${token(claims)}` } : {});
    assertHttpError(await asks(), 403, "forbidden");
    assertHttpError(await asks({ sub: "vic", role: "visitor", domains: ["shop.example"] }), 403, "forbidden");
    assertHttpError(await asks({ sub: "ann", role: "agent", domains: ["shop.example"] }), 403, "forbidden");
    parsed((await asks({ sub: "prometheus", role: "agent" })).text);
  });
});

describe("numbers of many isolates", () => {
  const { host, scenario } = suite({ METRICS: "on" }, { needs: "eviction" });

  scenario("outlive the memory of whoever counted them, and of whoever adds them up", async (s) => {
    const room = s.unique("room");
    const said = { 'weeziq_events_total{kind="send-message"}': 5, weeziq_deliveries_total: 5 };
    const ann = await s.member(room, "ann");
    await grows(s, said, () => sayMany(ann, room, "ann", 5));
    const before = await settled(s);
    await host.evictAll();
    const after = await metrics(s);
    for (const sample of Object.keys(said)) assert.equal(after.get(sample), before.get(sample), sample);
  });
});

describe("a deployment that was not asked to count", () => {
  const { scenario } = suite();

  scenario("says so and which setting has it count", async (s) => {
    if (hostName === "native") return void parsed((await get(s.url("/metrics"))).text);
    const reply = await get(s.url("/metrics"));
    assertHttpError(reply, 404, "not_found");
    assert.match(reply.json.error, /METRICS=on/);
  });
});

describe("a listener of its own", () => {
  let port;
  const address = async () => {
    // Free a moment ago is as good as it gets; the port has to be known before.
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    port = server.address().port;
    await new Promise((resolve) => server.close(resolve));
    return { METRICS_ADDR: `127.0.0.1:${port}` };
  };
  const { scenario } = suite(address, { needs: "metrics" });

  scenario("is then the only place for them, and serves nothing else", async (s) => {
    const own = (path) => get(`http://127.0.0.1:${port}${path}`);
    parsed((await own("/metrics")).text);
    for (const path of ["/readyz", "/healthz"]) assert.equal((await own(path)).status, 200);
    assertHttpError(await get(s.url("/metrics")), 404, "not_found");
    assertHttpError(await own("/stats/domains"), 404, "not_found");
  });
});

describe("readiness", () => {
  const { host, scenario } = suite({ SHARDS: "1" }, { needs: "smallStorage", storageBytes: 4 * 1024 * 1024 });

  scenario("is refused while nothing can be stored, says why, and comes back by itself", async (s) => {
    const room = s.unique("room");
    const ann = await s.member(room, "ann");
    await say(ann, room, "ann", "before");
    await host.fillStorage();
    for (let refused = 0; refused < 3; ) {
      const reply = await ann.ask({ type: "send-message", roomId: room, userId: "ann", userName: nameOf("ann"), role: "user", message: "x".repeat(4_000) });
      if (reply.type === "error") refused += 1;
    }
    const samples = await metrics(s);
    assert.equal(samples.get('weeziq_storage_failing{shard="0"}'), 1);
    assert.ok(samples.get('weeziq_commits_failed_total{shard="0"}') >= 3);
    const unready = await get(s.url("/readyz"));
    assertHttpError(unready, 503, "unavailable");
    assert.match(unready.json.error, /shard 0 cannot store/);
    assert.equal((await get(s.url("/healthz"))).status, 200, "a restart would not help");
    await host.freeStorage();
    // Nobody but whoever asks whether it is ready: traffic has been taken elsewhere.
    await eventually(() => get(s.url("/readyz")), ({ status }) => status === 200);
    assert.equal((await metrics(s)).get('weeziq_storage_failing{shard="0"}'), 0);
  });
});
