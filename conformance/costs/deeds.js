/**
 * What people do, one deed a line of the table in docs/cloudflare.md. A deed is done `times` times between two readings of the
 * meter, so it must be over, for the Worker too, when it returns: whoever was told of it is the proof. Everything that a deed
 * touches has a name from `s.unique`, by which its bill is told from what others leave behind.
 */
import { answers } from "../mocks/faulty.js";
import { get, post, request } from "../http.js";
import { join, say, streamAnswer } from "../scenario.js";

/**
 * @typedef {object} Deed
 * @property {string} name  as in the documented table
 * @property {number} [times]
 * @property {(ms: number) => number} [later]  rows that all of them together may write beyond what is documented, having taken so
 *   long: of what is stored now and then while it lasts, and so more often on a slow machine
 * @property {(s: import("../scenario.js").Scenario, world: World) => Promise<(n: number) => Promise<unknown>>} prepare  what has to be
 *   there before, and is not counted; then the deed itself
 *
 * @typedef {object} World
 * @property {import("../hosts/index.js").Host} host
 * @property {Awaited<ReturnType<typeof import("../mocks/faulty.js").startFaultyProvider>>} provider
 */

/** @typedef {(room: string) => {query?: string}} Road how a client connects */
/** @type {Road} */
const direct = (room) => ({ query: `?roomId=${room}` });
/** @type {Road} */
const gateway = () => ({});

/** Somebody who knows of all that happens in the room, and whose listening costs nothing. */
async function roomOf(s, size, road = direct) {
  const room = s.unique("room");
  const members = [];
  for (let n = 0; n < size; n += 1) members.push(await s.member(room, `m${n}`, { role: "user" }, road(room)));
  return { room, members, ann: members[0], last: members.at(-1) };
}

/** @returns {(name: string, size: number, road?: Road, more?: (n: number) => object) => Deed} */
const message = (name, size, road = direct, more = (n) => ({ clientMessageId: `c-${n}` })) => ({
  name,
  times: 20,
  prepare: async (s) => {
    const { room, ann, last } = await roomOf(s, size, road);
    await say(ann, room, "m0", "the first, which is a deed of its own");
    return async (n) => {
      await say(ann, room, "m0", `message ${n}`, more(n));
      await last.next({ type: "new-message", seq: n + 2 });
    };
  },
});

/** Who writes in a room of no domain is found there by those who erase. */
const FIRST_MESSAGE = {
  name: "a user's first message in a room of no domain",
  times: 3,
  prepare: async (s) => {
    const { room, members } = await roomOf(s, 3);
    return (n) => say(members[n], room, `m${n}`, "first", { clientMessageId: `f-${n}` });
  },
};

/** @returns {(name: string, road: Road, size: number) => Deed} */
const joining = (name, road, size) => ({
  name,
  prepare: async (s) => {
    const { room } = await roomOf(s, size);
    return async (n) => s.member(room, `new${n}`, { role: "user" }, road(room));
  },
});

/** @returns {(name: string, times: number, end: (client: import("../client.js").Client) => Promise<void>) => Deed} */
const leaving = (name, times, end) => ({
  name,
  times,
  prepare: async (s) => {
    const { room, ann } = await roomOf(s, 2);
    const leavers = [];
    for (let n = 0; n < times; n += 1) leavers.push(await s.member(room, `bye${n}`, { role: "user" }, direct(room)));
    return async (n) => {
      await end(leavers[n]);
      await ann.next({ type: "user-left", userId: `bye${n}` });
    };
  },
});

/** One event of a member that another one hears of. @returns {(name: string, event: (said: import("../client.js").Frame) => object, heard: string) => Deed} */
const told = (name, event, heard) => ({
  name,
  times: 3,
  prepare: async (s) => {
    const { room, members: [ann, bob] } = await roomOf(s, 2);
    const said = [];
    for (let n = 0; n < 3; n += 1) said.push(await say(ann, room, "m0", `message ${n}`));
    return async (n) => {
      ann.send({ roomId: room, userId: "m0", ...event(said[n]) });
      await bob.next(heard);
    };
  },
});

/** @returns {(name: string, road: Road) => Deed} */
const pinging = (name, road) => ({
  name,
  times: 20,
  prepare: async (s) => {
    const { ann } = await roomOf(s, 1, road);
    return async () => {
      ann.sendRaw(`{"type":"ping"}`);
      await ann.next("pong");
    };
  },
});

/** As a model speaks: one token after the other, each in a frame of its own. */
const spoken = (count) => async (exchange) => {
  const begun = performance.now();
  for (let n = 0; n < count; n += 1) {
    exchange.token(`${n} `);
    // By the clock: an answer that takes longer is stored more often.
    await new Promise((resolve) => setTimeout(resolve, begun + (n + 1) * TOKEN_EVERY_MS - performance.now()));
  }
  exchange.finish();
};
/** Longer than small tokens wait for each other. */
const TOKEN_EVERY_MS = 30;

/** As in `limits.rs`. */
const ANSWER_STORED_EVERY_MS = 250;
const TRAFFIC_STORED_EVERY_MS = 900;
/** What is counted of a site's visitors is stored once for all that came together. */
const storedAgain = (ms) => Math.floor(ms / TRAFFIC_STORED_EVERY_MS);

/** A conversation that is there already; one that was asked a moment ago would have its alarm set already. */
async function talkOf(s) {
  const talk = s.unique("talk");
  await s.member(talk, "m0", { role: "user" }, direct(talk));
  return talk;
}

/**
 * Each from another connection, in another conversation: asked now and then, both are linked anew each time.
 * @returns {(name: string, talkIn: (s: import("../scenario.js").Scenario, room: string) => Promise<{conversationId: string, roomId?: string}>, options?: {tokens?: number, times?: number}) => Deed}
 */
const answer = (name, talkIn, { tokens = 10, times = 3 } = {}) => ({
  name,
  times,
  later: (ms) => {
    const [lasts, late] = [tokens * TOKEN_EVERY_MS, ms - times * tokens * TOKEN_EVERY_MS];
    return Math.max(0, Math.floor(late / (ANSWER_STORED_EVERY_MS - (lasts % ANSWER_STORED_EVERY_MS))));
  },
  prepare: async (s, { provider }) => {
    provider.play(spoken(tokens));
    const asking = [];
    for (let n = 0; n < times; n += 1) {
      const { room, ann } = await roomOf(s, 1);
      asking.push({ ann, question: { type: "ai-stream", message: "hello", userId: "m0", ...(await talkIn(s, room)) } });
    }
    return async (n) => {
      const { ann, question } = asking[n];
      ann.send(question);
      await ann.next("ai-stream-complete");
      if (question.roomId) await ann.next({ type: "new-message", role: "assistant" });
    };
  },
});

const arrive = (client, domainId, visitorId) => {
  client.send({ type: "visitor-joined-domain", domainId, visitorId, visitorData: { url: "https://shop.example/" } });
  return client.next({ type: "visitor-joined-domain", visitorId });
};

/** A domain on which somebody is, so that it is neither new nor empty; all of them leave when it is over. */
async function domainOf(s) {
  const domainId = s.unique("domain");
  await arrive(await s.connect(), domainId, "first");
  return domainId;
}

/** @returns {(name: string, road: Road) => Deed} */
const coming = (name, road) => ({
  name,
  later: storedAgain,
  prepare: async (s) => {
    const domainId = await domainOf(s);
    const room = s.unique("room");
    if (road === direct) await s.member(room, "m0", { role: "user" }, road(room));
    return async (n) => arrive(await s.connect(road(room)), domainId, `v${n}`);
  },
});

/** @returns {(name: string, road: Road, times: number, act: (client, domainId: string, n: number) => Promise<void>) => Deed} */
const visiting = (name, road, times, act) => ({
  name,
  times,
  later: storedAgain,
  prepare: async (s) => {
    const domainId = await domainOf(s);
    const room = s.unique("room");
    const watcher = await s.connect();
    const visitors = [];
    for (let n = 0; n < times; n += 1) {
      visitors.push(await s.connect(road(room)));
      await arrive(visitors[n], domainId, `v${n}`);
      visitors[n].watcher = watcher;
    }
    return (n) => act(visitors[n], domainId, n);
  },
});

const leave = async (client, domainId, n) => {
  client.send({ type: "visitor-left-domain", domainId, visitorId: `v${n}` });
  await client.next("visitor-left-domain");
};

/** An activity has no answer: its visitor is heard of by a watcher. */
const act = async (client, domainId, n) => {
  client.send({ type: "visitor-activity", domainId, visitorId: `v${n}`, url: "https://shop.example/shoes" });
  await client.watcher.next({ type: "visitor-activity", visitorId: `v${n}` });
};

const http = (name, prepare) => ({ name, prepare });

/** @type {Deed[]} */
export const DEEDS = [
  {
    name: "a room's first join",
    prepare: async (s) => async (n) => {
      const room = s.unique("new");
      await s.member(room, `m${n}`, { role: "user" }, direct(room));
    },
  },
  joining("a join over `/ws?roomId=`, room of 2", direct, 2),
  joining("a join over `/ws`, room of 2", gateway, 2),
  message("a message, room of 2", 2),
  message("a message, room of 20", 20),
  message("a message over `/ws`, room of 2", 2, gateway),
  message("a message without `clientMessageId`", 2, direct, () => ({})),
  {
    name: "a message that wakes its room",
    times: 3,
    prepare: async (s, { host }) => {
      const { room, ann, last } = await roomOf(s, 2);
      return async (n) => {
        await host.evict("room", room);
        await say(ann, room, "m0", `message ${n}`, { clientMessageId: `c-${n}` });
        await last.next({ type: "new-message", seq: n + 1 });
      };
    },
  },
  FIRST_MESSAGE,
  pinging("a ping over `/ws?roomId=`", direct),
  pinging("a ping over `/ws`", gateway),
  {
    name: "typing, begun and stopped",
    // Once: while one alarm is set, who types again sets no other.
    times: 1,
    prepare: async (s) => {
      const { room, members: [ann, bob] } = await roomOf(s, 2);
      return async () => {
        for (const type of ["typing-start", "typing-stop"]) {
          ann.send({ type, roomId: room, userId: "m0" });
          await bob.next("user-typing");
        }
      };
    },
  },
  told("a read mark", ({ id, seq }) => ({ type: "mark-read", messageId: id, seq }), "message-read"),
  told("an edit", ({ id, seq }) => ({ type: "edit-message", messageId: id, seq, message: "better" }), "message-updated"),
  {
    name: "50 messages of history",
    prepare: async (s) => {
      const { room, ann } = await roomOf(s, 2);
      for (let n = 0; n < 60; n += 1) await say(ann, room, "m0", `message ${n}`);
      return () => ann.ask({ type: "fetch-history", roomId: room, limit: 50 }, "message-history");
    },
  },
  leaving("a goodbye", 3, (client) => client.close()),
  leaving("dropping out for good", 1, (client) => client.die()),

  answer("an AI answer of 10 tokens", async (s) => ({ conversationId: await talkOf(s) })),
  answer("an AI answer of 100 tokens", async (s) => ({ conversationId: await talkOf(s) }), { tokens: 100, times: 1 }),
  answer("an AI answer told in a room that is its conversation", async (_, room) => ({ conversationId: room, roomId: room })),
  answer("an AI answer of 10 tokens told in another room", async (s, room) => ({ conversationId: await talkOf(s), roomId: room })),
  answer("a conversation's first AI answer", async (s) => ({ conversationId: s.unique("new") })),
  {
    name: "an AI answer over HTTP, on a domain",
    times: 3,
    prepare: async (s, { provider }) => {
      provider.play(answers("Hello."));
      const talks = [await talkOf(s), await talkOf(s), await talkOf(s)];
      return (n) => post(s.url("/ai/chat"), { message: "hello", domainId: "shop", userId: "u", conversationId: talks[n] });
    },
  },

  {
    name: "a domain's first visitor",
    prepare: async (s) => async () => arrive(await s.connect(), s.unique("new"), "v"),
  },
  coming("a visitor who comes, over `/ws`", gateway),
  coming("a visitor who comes, over `/ws?roomId=`", direct),
  visiting("a visitor's next page, over `/ws`", gateway, 3, act),
  visiting("a visitor's next page, over `/ws?roomId=`", direct, 3, act),
  visiting("a visitor who leaves, over `/ws`", gateway, 3, leave),
  visiting("a visitor who leaves, over `/ws?roomId=`", direct, 3, leave),
  {
    name: "a dashboard that connects to `/ws`",
    prepare: async (s) => async () => {
      await (await s.connect()).ask({ type: "ping" }, "pong");
    },
  },

  http("statistics of a domain over HTTP", async (s) => {
    const domainId = await domainOf(s);
    return () => get(s.url(`/stats/domain/${domainId}`));
  }),
  http("settings of a domain, read", async (s) => () => get(s.url("/domains/shop"))),
  http("settings of a domain, written", async (s) => (n) => {
    const headers = { "content-type": "application/json" };
    return request(s.url("/domains/shop"), { method: "PUT", headers, body: JSON.stringify({ name: `Shop ${n}` }) });
  }),
  http("a file that comes", async (s) => (n) => post(s.url(`/files?name=${n}.txt`), "text", { "content-type": "text/plain" })),
  http("a file that goes", async (s) => {
    const { json } = await post(s.url("/files?name=a.txt"), "text", { "content-type": "text/plain" });
    return () => get(new URL(json.url, s.host.baseUrl).href);
  }),
  http("a page", async (s) => () => get(s.url("/"), { accept: "text/html" })),
];

/** What the first of its kind makes for all that follow: the directory's tables, the counter of this address. */
export async function warmUp(s, { provider }) {
  provider.play(answers("Hello."));
  const [visitor, watcher] = [await s.connect(), await s.connect({ query: `?roomId=${s.unique("room")}` })];
  await arrive(visitor, s.unique("domain"), "v");
  await watcher.domainFence(s.unique("domain"));
  await streamAnswer(visitor, { message: "hello", userId: "u", conversationId: s.unique("talk") });
  await join(watcher, s.unique("room"), "w");
}
