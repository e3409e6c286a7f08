/** What a site does not keep any more goes by itself, wherever it stands; what is younger, and other sites', stays. */
import assert from "node:assert/strict";
import { after, describe } from "node:test";
import { age } from "../aging.js";
import { eventually } from "../eventually.js";
import { get, post, request } from "../http.js";
import * as faulty from "../mocks/faulty.js";
import { say, sayMany, suite } from "../scenario.js";
import { assertShape } from "../shape.js";

const provider = await faulty.startFaultyProvider();
after(() => provider.stop());
const { scenario } = suite();

const arrive = (client, domainId, visitorId) =>
  client.ask({ type: "visitor-joined-domain", domainId, visitorId, visitorData: { url: "https://shop.example/" } }, "visitor-joined-domain");

const json = async (s, path) => {
  const reply = await get(s.url(path));
  assert.equal(reply.status, 200, reply.text);
  return reply.json;
};

/** A site with something of everything that it may keep. */
async function site(s, domainId, name) {
  const [client, roomId, conversationId] = [await s.connect(), s.unique("room"), s.unique("talk")];
  await arrive(client, domainId, name);
  await client.ask({ type: "visitor-left-domain", domainId, visitorId: name }, "visitor-left-domain");
  await client.ask({ type: "ai-chat", message: "My name is Ann", domainId, userId: name, conversationId }, "ai-response");
  const cleo = await s.member(roomId, name, { domainId, role: "customer" });
  const file = (await post(s.url(`/files?name=a.txt&roomId=${roomId}&domainId=${domainId}&userId=${name}`), "hello", { "content-type": "text/plain" })).json;
  await say(cleo, roomId, name, "where is my parcel?", { role: "customer", attachments: [file] });
  await eventually(() => json(s, `/rooms?domainId=${domainId}`), ({ rooms }) => rooms.length === 1);
  await eventually(() => stored(s, domainId, roomId, name), isWhole);
  return { domainId, roomId, name, file, conversationId };
}

/** What is there of it: without a word about how it is kept. */
async function stored(s, domainId, roomId, name) {
  const day = (back) => new Date(Date.now() - back * 24 * 3_600_000).toISOString();
  const series = await json(s, `/stats/domain/${domainId}/series?bucket=day&from=${day(20)}&to=${day(0)}`);
  const spent = await json(s, `/stats/domain/${domainId}/ai?from=${day(20).slice(0, 10)}&to=${day(0).slice(0, 10)}`);
  const known = await json(s, `/visitors/${name}/export?domainId=${domainId}`);
  const found = await json(s, `/search?domainId=${domainId}&q=parcel`);
  return {
    visitors: known.visitor ? 1 : 0,
    counted: series.buckets.reduce((sum, { sessions }) => sum + sessions, 0),
    spent: spent.days.reduce((sum, { answers }) => sum + answers, 0),
    messages: (await json(s, `/rooms/${roomId}/messages`)).messages.length,
    found: found.results.length,
    turns: known.conversations.reduce((sum, { aiTurns }) => sum + aiTurns.length, 0),
  };
}

const set = (s, domainId, retention) =>
  request(s.url(`/domains/${domainId}`), { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify({ name: "Shop", retention }) });

const ALL = { visitors: 1, counted: 1, spent: 1, messages: 1, found: 1, turns: 2 };

const is = (wanted) => (seen) => JSON.stringify(seen) === JSON.stringify(wanted);
const isWhole = is(ALL);

scenario("what is older than a site keeps is nowhere, and the rest is where it was", async (s) => {
  const [limited, endless] = [s.unique("shop"), s.unique("museum")];
  // An account of its own is a site's that somebody has set up.
  for (const domainId of [limited, endless]) await set(s, domainId, {});
  const [old, kept] = [await site(s, limited, s.unique("ann")), await site(s, endless, s.unique("bob"))];
  const of = ({ domainId, roomId, name }) => stored(s, domainId, roomId, name);
  await s.host.stop();
  age(s.host, 10);
  await s.host.restart();
  const late = s.unique("late");
  await arrive(await s.connect(), limited, late);
  assert.deepEqual([await of(old), await of(kept)], [{ ...ALL, counted: 2 }, ALL], "older now, and all still there");
  assert.equal((await set(s, limited, { messagesDays: 7, statsDays: 7 })).status, 200);
  const gone = { visitors: 0, counted: 1, spent: 0, messages: 0, found: 0, turns: 0 };
  await eventually(() => of(old), is(gone));
  await eventually(async () => (await get(s.url(old.file.url))).status === 404);
  assert.deepEqual(await of(kept), ALL, "a site that keeps everything");
  assert.equal((await get(s.url(kept.file.url))).status, 200);
  const { visitors, totalVisitors } = await json(s, `/stats/domain/${limited}`);
  assert.deepEqual([visitors.map(({ id }) => id), totalVisitors], [[late], 2], "who was there counts as ever having been");
}, { timeout: 300_000 });

scenario("statistics go alone where only they are not kept", async (s) => {
  const domainId = s.unique("shop");
  await set(s, domainId, {});
  const old = await site(s, domainId, s.unique("ann"));
  const now = () => stored(s, domainId, old.roomId, old.name);
  await s.host.stop();
  age(s.host, 3);
  await s.host.restart();
  await set(s, domainId, { statsDays: 2 });
  await eventually(now, is({ ...ALL, visitors: 0, counted: 0, spent: 0 }));
}, { timeout: 300_000 });

scenario("files go sooner than what was said about them, where a site keeps them for less", async (s) => {
  const domainId = s.unique("shop");
  await set(s, domainId, {});
  const old = await site(s, domainId, s.unique("ann"));
  await s.host.stop();
  age(s.host, 3);
  await s.host.restart();
  assert.equal((await get(s.url(old.file.url))).status, 200);
  await set(s, domainId, { messagesDays: 30, filesDays: 2 });
  await eventually(async () => (await get(s.url(old.file.url))).status === 404);
  assert.deepEqual(await stored(s, domainId, old.roomId, old.name), ALL);
}, { timeout: 300_000 });

describe("while people talk", () => {
  const { scenario } = suite(provider.env);
  const [OLD, ROOMS, BEHIND] = [60, 3, 5];

  const consecutive = (from, to) => Array.from({ length: to - from + 1 }, (_, n) => from + n);
  const seqs = (messages) => messages.map(({ seq }) => seq);

  /** A room in which people go on: each round one speaks, reads, joins and comes back. What is gone must stay gone. */
  class Chat {
    acks = [];
    isSwept = false;
    #isOver = false;

    constructor(s, room, epoch, [ann, bob]) {
      Object.assign(this, { s, room, epoch, ann, bob });
      this.done = this.#goOn();
      // Whoever waits for the end is told; until then it is no one's.
      this.done.catch(() => {});
    }

    async #goOn() {
      while (!this.#isOver) {
        this.acks.push(await say(this.ann, this.room, "ann", `new ${this.acks.length}`));
        const wasSwept = this.isSwept;
        await this.#looksBack(wasSwept);
        await this.#joins(wasSwept, {});
        await this.#joins(wasSwept, { epoch: this.epoch, lastSeq: 1 });
        await this.#joins(wasSwept, { epoch: this.epoch, lastSeq: OLD });
      }
    }

    async #looksBack(wasSwept) {
      const { messages } = await json(this.s, `/rooms/${this.room}/messages?beforeSeq=${OLD + 1}&limit=200`);
      assert.ok([0, OLD].includes(messages.length), `all of it or nothing: ${seqs(messages)}`);
      assert.ok(!wasSwept || messages.length === 0, `what was gone is back: ${seqs(messages)}`);
      this.isSwept = messages.length === 0;
    }

    async #joins(wasSwept, from) {
      const client = await this.s.connect();
      const joined = await client.ask({ type: "join-room", roomId: this.room, userId: "cid", userName: "Cid", ...from }, "joined-room");
      assert.equal(joined.epoch, this.epoch);
      if (joined.resumed) {
        const missed = await client.take(joined.seq - from.lastSeq, "new-message");
        assert.deepEqual(seqs(missed), consecutive(from.lastSeq + 1, joined.seq));
        assert.ok(!wasSwept || from.lastSeq === OLD, `a resume from ${from.lastSeq} would have to miss what is gone`);
      } else {
        const { messages } = await client.next("message-history");
        assert.deepEqual(seqs(messages), consecutive(joined.seq - messages.length + 1, joined.seq));
        assert.ok(!wasSwept || messages[0].seq > OLD, `what was gone is back: ${seqs(messages)}`);
        assert.ok(from.lastSeq !== OLD || joined.seq - OLD > 1_000, "nothing that is gone was missed");
      }
      await client.close();
    }

    async end() {
      this.#isOver = true;
      await this.done;
    }
  }

  scenario("what is old goes from under a chat: no place of the log is lost, taken twice or shown again, and an answer ends whole", async (s) => {
    const [domainId, rooms] = [s.unique("shop"), Array.from({ length: ROOMS }, () => s.unique("room"))];
    await set(s, domainId, {});
    provider.play(faulty.answers("An old answer."));
    const epochs = [];
    for (const room of rooms) {
      const ann = await s.member(room, "ann", { domainId });
      await sayMany(ann, room, "ann", OLD, (n) => `old ${n}`);
      await ann.ask({ type: "ai-chat", message: "an old question", conversationId: `${room}-ai`, domainId }, "ai-response");
      epochs.push(ann.joined.epoch);
    }
    await s.host.stop();
    age(s.host, 10);
    await s.host.restart();

    const chats = [];
    for (const [n, room] of rooms.entries()) chats.push(new Chat(s, room, epochs[n], [await s.member(room, "ann", { domainId }), await s.member(room, "bob")]));
    const rounds = async () => {
      const before = chats.map(({ acks }) => acks.length);
      await Promise.race([eventually(() => chats.every(({ acks }, n) => acks.length > before[n] + BEHIND)), ...chats.map(({ done }) => done)]);
    };
    await rounds();
    provider.play(faulty.held());
    const asker = await s.member(rooms[0], "dan");
    asker.send({ type: "ai-stream", message: "a question", conversationId: `${rooms[0]}-ai`, domainId, roomId: rooms[0], systemPrompt: "Be brief." });
    const upstream = await provider.request(0);
    upstream.token("Half of it, ");
    await asker.next("ai-stream-chunk");
    assert.ok(chats.every(({ isSwept }) => !isSwept), "older now, and all still there");
    for (const messagesDays of [9, 8, 7]) {
      assert.equal((await set(s, domainId, { messagesDays })).status, 200);
      await rounds();
    }
    await Promise.race([eventually(() => chats.every(({ isSwept }) => isSwept)), ...chats.map(({ done }) => done)]);
    upstream.token("and the other half.");
    upstream.finish();
    assertShape(await asker.next("ai-stream-complete"), { fullResponse: "Half of it, and the other half.", finishReason: "stop" });
    await rounds();
    for (const chat of chats) await chat.end();

    await s.host.kill9();
    for (const { bob, acks } of chats) {
      const heard = bob.frames.filter(({ type }) => type === "new-message");
      assert.deepEqual(seqs(heard), consecutive(OLD + 1, OLD + heard.length));
      for (const ack of acks) assert.equal(heard[ack.seq - OLD - 1].id, ack.id);
    }
    await s.host.restart();
    for (const { room, bob } of chats) {
      const heard = bob.frames.filter(({ type }) => type === "new-message");
      const kept = [];
      for (let hasMore = true; hasMore; ) {
        const page = await json(s, `/rooms/${room}/messages?limit=200&afterSeq=${kept.at(-1)?.seq ?? 0}`);
        kept.push(...page.messages);
        hasMore = page.hasMore;
      }
      assert.deepEqual(kept.map(({ seq, id, message }) => [seq, id, message]), heard.map(({ seq, id, message }) => [seq, id, message]));
    }
    provider.play(faulty.answers("And a new one."));
    await (await s.connect()).ask({ type: "ai-chat", message: "another question", conversationId: `${rooms[0]}-ai`, domainId, systemPrompt: "Be brief." }, "ai-response");
    assert.deepEqual((await provider.request(0)).messages.slice(1).map(({ content }) => content), ["a question", "Half of it, and the other half.", "another question"]);
  }, { timeout: 300_000 });
});
