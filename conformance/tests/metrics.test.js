/** What the service says of itself to whoever watches over it: numbers that follow what happens, and readiness that means it. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { after, describe } from "node:test";
import { bare } from "../bare.js";
import { eventually } from "../eventually.js";
import { get, post } from "../http.js";
import { hostName } from "../hosts/index.js";
import * as faulty from "../mocks/faulty.js";
import { nameOf, say, sayMany, suite } from "../scenario.js";
import { assertError, assertHttpError } from "../shape.js";
import { SECRET, token } from "../tokens.js";

const provider = await faulty.startFaultyProvider();
after(() => provider.stop());

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
    for (const shard of ["0", "1"]) {
      for (const name of ["turns_total", "busy_seconds_total"]) assert.ok(samples.get(`weeziq_shard_${name}{shard="${shard}"}`) > 0, name);
      assert.ok(samples.get(`weeziq_shard_mailbox_wait_seconds{shard="${shard}"}`) >= 0);
      assert.ok(samples.get(`weeziq_database_bytes{shard="${shard}"}`) > 0);
    }
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
    await eventually(afterMore, (page) => page.get('weeziq_connections_closed_total{reason="too-slow"}') > 0);
  });

  scenario("one that does not read: that it does not, what waits for it, what was dropped for it, and that all of that is over", async (s) => {
    const room = s.unique("room");
    const [ann, slow] = [await s.member(room, "ann"), await s.member(room, "slow")];
    const dropped = 'weeziq_frames_dropped_total{reason="slow-reader"}';
    const before = await until(s, (page) => page.get("weeziq_slow_readers") === 0);
    slow.socket.pause();
    const afterMore = async () => {
      for (let n = 0; n < 200; n += 1) ann.send({ type: "user-online", roomId: room, userId: "ann", userName: "x".repeat(256), status: "𝄢".repeat(256) });
      await ann.fence(room);
      return metrics(s);
    };
    const during = await eventually(afterMore, (page) => page.get(dropped) > before.get(dropped));
    assert.equal(during.get("weeziq_slow_readers"), 1);
    assert.ok(during.get("weeziq_unread_bytes") > 0);
    await slow.die();
    await until(s, (page) => page.get("weeziq_slow_readers") === 0 && page.get("weeziq_unread_bytes") === 0);
  });

  scenario("rooms, those who watch, and who has not said what they want", async (s) => {
    const before = await metrics(s);
    const grown = (page, name) => page.get(name) - before.get(name);
    const [ann, watching] = [await s.member(s.unique("room"), "ann"), await s.connect()];
    await watching.domainFence(s.unique("domain"));
    const silent = await bare(s.host.baseUrl);
    await until(s, (page) => grown(page, "weeziq_rooms") > 0 && grown(page, "weeziq_observers") > 0 && grown(page, "weeziq_connections_silent") > 0);
    silent.destroy();
    for (const client of [ann, watching]) await client.close();
    await until(s, (page) => page.get("weeziq_observers") === 0 && page.get("weeziq_connections_silent") === before.get("weeziq_connections_silent"));
  });

  scenario("Socket.IO's clients that come back, recovered or afresh", async (s) => {
    const room = s.unique("room");
    const bob = await s.socketIoMember(room, "bob", { transports: ["websocket"] });
    await say(bob, room, "bob", "hello");
    const comesBack = async () => {
      await bob.lose();
      bob.socket.connect();
      return (await bob.next("(connect)")).recovered;
    };
    const count = (result) => ({ [`weeziq_socketio_recoveries_total{result="${result}"}`]: 1 });
    await grows(s, count("recovered"), async () => assert.equal(await comesBack(), true));
    await grows(s, count("afresh"), async () => {
      // Of a session that there is not.
      bob.socket._pid = "a".repeat(20);
      assert.equal(await comesBack(), false);
    });
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

describe("models that answer", () => {
  const { scenario } = suite({ ...provider.env, METRICS: "on" });

  scenario("questions by provider, attempts, and how long answers took to begin", async (s) => {
    provider.play(faulty.answers("Yes."));
    const expected = { 'weeziq_ai_questions_total{provider="openai"}': 2, 'weeziq_ai_questions_total{provider="google"}': 1 };
    const before = await settled(s);
    await grows(s, expected, async () => {
      for (const model of ["gpt-4o-mini", "gpt-4o-mini", "gemini-2.5-flash"]) {
        const { status, json } = await post(s.url("/ai/chat"), { message: "hello?", model, userId: s.unique("visitor") });
        assert.deepEqual([status, json.message], [200, "Yes."]);
      }
    });
    const samples = await eventually(() => metrics(s), (page) => total(page, "weeziq_ai_first_token_seconds_count") === total(before, "weeziq_ai_first_token_seconds_count") + 3);
    assert.equal(total(samples, "weeziq_ai_attempts_total"), total(before, "weeziq_ai_attempts_total") + 3);
    assert.equal(total(samples, "weeziq_ai_failures_total"), 0);
    assert.ok(total(samples, "weeziq_ai_first_token_seconds_sum") > 0);
  });
});

describe("a model that is still answering", () => {
  const { scenario } = suite(provider.env, { needs: "metrics" });

  scenario("answers under way, and requests that wait for them", async (s) => {
    provider.play(faulty.held());
    const ask = post(s.url("/ai/chat"), { message: "hello?", userId: s.unique("visitor") });
    const upstream = await provider.request(0);
    await until(s, (page) => page.get("weeziq_ai_answers_under_way") === 1 && page.get("weeziq_requests_waiting") === 1);
    upstream.token("Yes.");
    upstream.finish();
    assert.equal((await ask).json.message, "Yes.");
    await until(s, (page) => page.get("weeziq_ai_answers_under_way") === 0 && page.get("weeziq_requests_waiting") === 0);
  });
});

describe("with the default rate of events", () => {
  const { scenario } = suite({ METRICS: "on", EVENTS_PER_SEC: undefined });

  scenario("one that goes on too fast: what was refused, and that it was let go", async (s) => {
    const [refused, closed] = ['weeziq_events_refused_total{code="rate_limited"}', 'weeziq_connections_closed_total{reason="policy"}'];
    const before = await settled(s);
    const abusive = await s.connect();
    for (let n = 0; n < 3_000; n += 1) abusive.send({ type: "ping" });
    assert.equal((await abusive.untilClosed()).code, 1008);
    const after = await until(s, (page) => page.get(closed) > before.get(closed));
    assert.equal(after.get(closed), 1);
    assert.ok(after.get(refused) >= 1_000);
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
