/** Who may do what where there is a secret: by tokens, whatever an event says of itself. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { get, post, request } from "../http.js";
import * as faulty from "../mocks/faulty.js";
import { join, lacks, nameOf, say, suite } from "../scenario.js";
import { assertRefusesToStart, inTempDir } from "../starts.js";
import { assertShape, matching } from "../shape.js";
import { ed25519, inSeconds, SECRET, token, unsigned } from "../tokens.js";

const provider = await faulty.startFaultyProvider();
after(() => provider.stop());
const { scenario } = suite({ ...provider.env, AUTH_SECRET: SECRET });

const bearer = (claims) => ({ authorization: `Bearer ${token(claims)}` });
const as = (claims) => ({ query: `?token=${token(claims)}` });
const staff = (sub, domain, role = "agent") => ({ sub, name: nameOf(sub), role, domains: [domain] });
const put = (url, body, headers) => request(url, { method: "PUT", body: JSON.stringify(body), headers: { "content-type": "application/json", ...headers } });

/** The error that answers an event. */
async function refused(client, event, code) {
  const error = await client.ask(event, "error");
  assert.equal(error.code, code, error.message);
  return error;
}

describe("a token", () => {
  const bad = {
    "without a signature": [unsigned({ role: "admin" }), /HS256/],
    "of another key": [token({}, { secret: "another secret, which is long enough too" }), /key/],
    "of another algorithm": [token({}, { header: { alg: "HS512" } }), /HS256/],
    "that has expired": [token({ exp: inSeconds(-1) }), /expired/],
    "that does not hold yet": [token({ nbf: inSeconds(600) }), /yet/],
    "that never ends": [token({ exp: undefined }), /exp/],
    "with a role that there is not": [token({ role: "root" }), /role|claims/],
    "that is none": ["nonsense", /three parts/],
    "that is too long": [token({ padding: "x".repeat(4000) }), /bytes/],
  };
  for (const [name, [value, word]] of Object.entries(bad)) {
    scenario(`${name} is refused wherever it comes`, async (s) => {
      const room = s.unique("room");
      for (const how of [{ query: `?token=${value}` }, { query: `?roomId=${room}&token=${value}` }, { headers: { authorization: `Bearer ${value}` } }]) {
        const handshake = await s.connect(how).then(() => assert.fail("let in"), (error) => error);
        assert.equal(handshake.status, 401);
        assert.equal(JSON.parse(handshake.body).code, "unauthorized");
        assert.match(JSON.parse(handshake.body).error, word);
      }
      const reply = await get(s.url("/stats/domains"), { authorization: `Bearer ${value}` });
      assert.deepEqual([reply.status, reply.json.code], [401, "unauthorized"]);
      const client = await s.connect();
      const error = await refused(client, { type: "join-room", roomId: room, userId: "ann", userName: "Ann", token: value }, "unauthorized");
      assert.match(error.message, word);
      await join(client, room, s.unique("bob"));
    });
  }

  scenario("says who somebody is, whatever the events say", async (s) => {
    const [room, sub] = [s.unique("room"), s.unique("ann")];
    const ann = await s.connect(as({ sub, name: "Ann Truly" }));
    const joined = await ann.ask({ type: "join-room", roomId: room, userId: "mallory", userName: "Mallory" }, "joined-room");
    assert.equal(joined.roomId, room);
    const bob = await s.member(room, s.unique("bob"));
    ann.send({ type: "send-message", roomId: room, userId: "mallory", userName: "Mallory", role: "user", message: "hello" });
    assertShape(await bob.next("new-message"), { userId: sub, userName: "Ann Truly", role: "user" });
    ann.send({ type: "typing-start", roomId: room, userId: "mallory", userName: "Mallory" });
    assertShape(await bob.next("user-typing"), { userId: sub, userName: "Ann Truly" });
    ann.send({ type: "user-online", roomId: room, userId: "mallory", userName: "Mallory", status: "away" });
    assertShape(await bob.next("user-presence"), { userId: sub, userName: "Ann Truly", status: "away" });
  });

  scenario("may come with a join, and in an Authorization header", async (s) => {
    const [room, sub] = [s.unique("room"), s.unique("ann")];
    const late = await s.member(room, sub, { token: token({ sub }) });
    assertShape(await sayAs(late, room), { userId: sub });
    const early = await s.member(room, sub, {}, { headers: bearer({ sub }) });
    assertShape(await sayAs(early, room), { userId: sub });
    const straight = await s.member(room, sub, {}, { query: `?roomId=${room}&token=${token({ sub })}` });
    assertShape(await sayAs(straight, room), { userId: sub });
  });

  scenario("of another subject does not turn a connection into somebody else", async (s) => {
    const [room, sub] = [s.unique("room"), s.unique("ann")];
    const ann = await s.member(room, sub, {}, as({ sub }));
    await refused(ann, { type: "join-room", roomId: room, userId: "x", userName: "X", token: token({ sub: s.unique("bob") }) }, "forbidden");
  });
});

/** What the room makes of a message that says it is somebody else's. */
async function sayAs(client, room) {
  await client.ask({ type: "send-message", roomId: room, userId: "mallory", userName: "Mallory", role: "user", message: "hello" }, "message-sent");
  return client.next("new-message");
}

describe("without a token", () => {
  scenario("a visitor joins rooms that it can name, and speaks in them as who it joined as", async (s) => {
    const [room, sub] = [s.unique("room"), s.unique("vic")];
    const visitor = await s.member(room, sub);
    assertShape(await sayAs(visitor, room), { userId: sub, role: "user" });
  });

  for (const role of ["agent", "admin", "assistant", "system"]) {
    scenario(`nobody is ${role}`, async (s) => {
      const [room, sub] = [s.unique("room"), s.unique("vic")];
      const visitor = await s.connect();
      await refused(visitor, { type: "join-room", roomId: room, userId: sub, userName: "Vic", role }, "forbidden");
      await join(visitor, room, sub);
      await refused(visitor, { type: "send-message", roomId: room, userId: sub, userName: "Vic", role, message: "trust me" }, "forbidden");
      visitor.expectNone("new-message");
    });
  }

  scenario("asking for a person asks the people of the token's domains", async (s) => {
    const [room, sub, shop] = [s.unique("room"), s.unique("vic"), s.unique("shop")];
    const vic = await s.member(room, sub, {}, as({ sub, domains: [shop] }));
    await refused(vic, { type: "request-human", roomId: room, domainId: s.unique("other") }, "forbidden");
    await vic.ask({ type: "request-human", roomId: room, domainId: shop, userId: "mallory" }, "human-requested");
  });

  scenario("nobody goes by a name that a token has proved, after a restart neither", async (s) => {
    const [room, sub] = [s.unique("room"), s.unique("ann")];
    await s.member(room, sub, {}, as({ sub }));
    const imposes = async () => {
      for (const how of [{}, { query: `?roomId=${room}` }]) {
        const visitor = await s.connect(how);
        await refused(visitor, { type: "join-room", roomId: room, userId: sub, userName: "Ann" }, "forbidden");
        await refused(visitor, { type: "customer-joined-room", roomId: room, customerId: sub, customerName: "Ann" }, "forbidden");
        await refused(visitor, { type: "send-message", roomId: room, userId: sub, userName: "Ann", role: "user", message: "it is me" }, "forbidden");
      }
    };
    await imposes();
    await s.host.stop();
    await s.host.restart();
    await imposes();
  });

  scenario("nobody speaks, reads or shows itself in a room without being in it", async (s) => {
    const room = s.unique("room");
    await say(await s.member(room, s.unique("vic")), room, "vic", "between us");
    const stranger = await s.connect();
    await refused(stranger, { type: "send-message", roomId: room, userId: "eve", userName: "Eve", message: "hello" }, "forbidden");
    await refused(stranger, { type: "fetch-history", roomId: room }, "forbidden");
    await refused(stranger, { type: "user-online", roomId: room, userId: "eve", userName: "Eve" }, "forbidden");
    await refused(stranger, { type: "typing-start", roomId: room, userId: "eve", userName: "Eve" }, "forbidden");
  });

  scenario("nobody takes over, watches, sees others' rows, sets anything or prompts the AI", async (s) => {
    const [room, domainId, sub] = [s.unique("room"), s.unique("domain"), s.unique("vic")];
    for (const how of [{}, as({ sub, domains: [domainId] })]) {
      const visitor = await s.member(room, sub, {}, how);
      await refused(visitor, { type: "toggle-live-agent", roomId: room, enabled: true }, "forbidden");
      await refused(visitor, { type: "get-domain-stats", domainId }, "forbidden");
      await refused(visitor, { type: "get-all-domain-stats" }, "forbidden");
      await refused(visitor, { type: "ai-chat", message: "hi", domainId, systemPrompt: "obey" }, "forbidden");
      await (await s.connect()).ask({ type: "visitor-joined-domain", domainId, visitorId: s.unique("v") }, "visitor-joined-domain");
      await visitor.fence(room);
      visitor.expectNone("visitor-joined-domain");
    }
    for (const headers of [{}, bearer({ sub, domains: [domainId] })]) {
      for (const path of [`/stats/domain/${domainId}`, "/stats/domains", `/domains/${domainId}`]) {
        assert.equal((await get(s.url(path), headers)).status, 403, path);
      }
      assert.equal((await put(s.url(`/domains/${domainId}`), { name: "Mine" }, headers)).status, 403);
      assert.equal((await post(s.url("/ai/chat"), { message: "hi", domainId, systemPrompt: "obey" }, headers)).json.code, "forbidden");
    }
  });
});

describe("an agent", () => {
  scenario("is one by its token alone, takes over, and changes what others said", async (s) => {
    const [room, domainId, sub] = [s.unique("room"), s.unique("domain"), s.unique("gus")];
    const vic = await s.member(room, s.unique("vic"), { domainId });
    const { id } = await say(vic, room, "vic", "a secret number");
    const agent = await s.member(room, sub, {}, as(staff(sub, domainId)));
    assertShape(await sayAs(agent, room), { userId: sub, role: "agent" });
    agent.send({ type: "toggle-live-agent", roomId: room, enabled: true });
    assertShape(await vic.next("live-agent-toggled"), { userId: sub, enabled: true });
    await agent.ask({ type: "delete-message", roomId: room, messageId: id }, "message-sent");
    await refused(agent, { type: "join-room", roomId: room, userId: sub, userName: "Gus", role: "admin" }, "forbidden");
  });

  scenario("may let a program speak as assistant", async (s) => {
    const [room, sub] = [s.unique("room"), s.unique("gus")];
    const agent = await s.member(room, sub, {}, as(staff(sub, "*")));
    agent.send({ type: "send-message", roomId: room, userId: sub, userName: "Gus", role: "assistant", message: "beep" });
    assertShape(await agent.next("new-message"), { userId: sub, role: "assistant" });
  });

  scenario("of one domain sees and enters nothing of another", async (s) => {
    const [domainId, other, sub] = [s.unique("domain"), s.unique("other"), s.unique("gus")];
    const room = s.unique("room");
    await s.member(room, s.unique("vic"), { domainId: other });
    const agent = await s.connect(as(staff(sub, domainId)));
    await refused(agent, { type: "join-room", roomId: room, userId: sub, userName: "Gus" }, "forbidden");
    await refused(agent, { type: "join-room", roomId: s.unique("room"), userId: sub, userName: "Gus", domainId: other }, "forbidden");
    await refused(agent, { type: "get-domain-stats", domainId: other }, "forbidden");
    await refused(agent, { type: "visitor-joined-domain", domainId: other, visitorId: "v" }, "forbidden");
    for (const d of [other, domainId]) await (await s.connect()).ask({ type: "visitor-joined-domain", domainId: d, visitorId: s.unique("v") }, "visitor-joined-domain");
    assertShape(await agent.next("visitor-joined-domain"), { domainId });
    assertShape(await agent.ask({ type: "get-domain-stats", domainId }, "domain-stats"), { activeVisitors: 1 });
    assert.deepEqual(Object.keys((await agent.ask({ type: "get-all-domain-stats" }, "all-domain-stats")).stats), [domainId]);
    const over = await get(s.url("/stats/domains"), bearer(staff(sub, domainId)));
    assert.deepEqual(Object.keys(over.json.stats), [domainId]);
    assert.equal((await get(s.url(`/stats/domain/${other}`), bearer(staff(sub, domainId)))).status, 403);
    assert.equal((await get(s.url(`/stats/domain/${domainId}`), bearer(staff(sub, domainId)))).json.visitors.length, 1);
  });

  scenario("observes over a socket that ends in its room too", async (s) => {
    const [domainId, sub, room] = [s.unique("domain"), s.unique("gus"), s.unique("room")];
    const agent = await s.connect({ query: `?roomId=${room}&token=${token(staff(sub, domainId))}` });
    await join(agent, room, sub);
    // The first event makes it one that watches; the next is answered once it does.
    await agent.fence(room);
    const visitor = await s.connect();
    await visitor.ask({ type: "visitor-joined-domain", domainId, visitorId: "v" }, "visitor-joined-domain");
    assertShape(await agent.next("visitor-joined-domain"), { domainId });
    assertShape(await agent.ask({ type: "get-domain-stats", domainId }, "domain-stats"), { activeVisitors: 1 });
  });

  scenario("is no admin: settings take one, of that domain", async (s) => {
    const [domainId, sub] = [s.unique("domain"), s.unique("gus")];
    const url = s.url(`/domains/${domainId}`);
    assert.equal((await put(url, { name: "Shop" }, bearer(staff(sub, domainId)))).status, 403);
    assert.equal((await put(url, { name: "Shop" }, bearer(staff(sub, s.unique("other"), "admin")))).status, 403);
    assert.equal((await put(url, { name: "Shop" }, bearer(staff(sub, domainId, "admin")))).status, 200);
    assert.equal((await get(url, bearer(staff(sub, domainId, "admin")))).json.name, "Shop");
  });
});

describe("a token for some rooms", () => {
  scenario("opens no other", async (s) => {
    const [room, other, sub] = [s.unique("room"), s.unique("room"), s.unique("ann")];
    const ann = await s.member(room, sub, {}, as({ sub, rooms: [room] }));
    await refused(ann, { type: "join-room", roomId: other, userId: sub, userName: "Ann" }, "forbidden");
    await refused(ann, { type: "send-message", roomId: other, userId: sub, userName: "Ann", message: "hello" }, "forbidden");
    await refused(ann, { type: "fetch-history", roomId: other }, "forbidden");
    await refused(ann, { type: "ai-chat", message: "hi", roomId: other }, "forbidden");
    await ann.fence(room);
  });

  scenario("is none for the whole site: no list, search, export, erasure, numbers or watching", async (s) => {
    const [one, two, domainId] = [s.unique("room"), s.unique("room"), s.unique("domain")];
    const vic = await s.member(two, s.unique("vic"), { domainId });
    await say(vic, two, "vic", "between us");
    const agent = { ...staff(s.unique("agent"), domainId), rooms: [one] };
    const [visitor, site] = [`/visitors/${s.unique("vic")}`, `domainId=${domainId}`];
    for (const path of [`/rooms?${site}`, `/search?${site}&q=us`, `${visitor}/export?${site}`, `/stats/domain/${domainId}`, "/stats/domains", `/rooms/${two}`]) {
      const reply = await get(s.url(path), bearer(agent));
      assert.deepEqual([reply.status, reply.json.code], [403, "forbidden"], path);
      assert.match(reply.json.error, /room/, path);
    }
    for (const path of [`${visitor}?${site}`, `/rooms/${two}`]) {
      assert.equal((await request(s.url(path), { method: "DELETE", headers: bearer(agent) })).status, 403, path);
    }
    const client = await s.connect(as(agent));
    await refused(client, { type: "get-domain-stats", domainId }, "forbidden");
    await refused(client, { type: "get-all-domain-stats" }, "forbidden");
    const watching = await s.connect(as(staff(s.unique("agent"), domainId)));
    await watching.domainFence(domainId);
    await vic.ask({ type: "request-human", roomId: two, domainId, userId: "vic" }, "human-requested");
    await watching.next("human-requested");
    await join(client, one, agent.sub);
    client.expectNone("human-requested");
  });
});

describe("a conversation", () => {
  const foreigners = (s) => ({
    "somebody without a token": {},
    "another subject": as({ sub: s.unique("eve") }),
    "an agent of another domain": as(staff(s.unique("gus"), s.unique("other"))),
  });

  scenario("is its subject's, over any connection and over HTTP", async (s) => {
    provider.play(faulty.answers("Four."));
    const [sub, conversationId] = [s.unique("ann"), s.unique("talk")];
    const ann = await s.connect(as({ sub }));
    await ann.ask({ type: "ai-chat", message: "two and two?", conversationId }, "ai-response");
    const again = await s.connect(as({ sub }));
    assertShape(await again.ask({ type: "ai-chat", message: "sure?", conversationId }, "ai-response"), { contextLength: 3 });
    assert.equal((await post(s.url("/ai/chat"), { message: "really?", conversationId }, bearer({ sub }))).json.contextLength, 5);
  });

  scenario("is nobody else's: asking, reading, ending it", async (s) => {
    provider.play(faulty.answers("Four."));
    const [sub, conversationId, domainId] = [s.unique("ann"), s.unique("talk"), s.unique("domain")];
    const ann = await s.connect(as({ sub, domains: [domainId] }));
    await ann.ask({ type: "ai-chat", message: "my word is xylophone", conversationId, domainId }, "ai-response");
    for (const [who, how] of Object.entries(foreigners(s))) {
      const client = await s.connect(how);
      for (const type of ["ai-chat", "ai-stream", "ai-resume", "ai-cancel"]) {
        const error = await refused(client, { type, message: "which number?", conversationId }, "not_found");
        assert.doesNotMatch(error.message, /xylophone/, who);
        if (type === "ai-resume" || type === "ai-cancel") {
          const nowhere = s.unique("talk");
          const none = await refused(client, { type, conversationId: nowhere }, "not_found");
          assert.equal(error.message.replace(conversationId, "?"), none.message.replace(nowhere, "?"), `${who} can tell that there is one`);
        }
      }
    }
    const eve = bearer({ sub: s.unique("eve") });
    for (const headers of [{}, eve]) {
      assert.equal((await post(s.url("/ai/chat"), { message: "which?", conversationId }, headers)).status, 404);
      assert.equal((await post(s.url("/ai/stream"), { message: "which?", conversationId }, headers)).status, 404);
      assert.equal((await get(s.url(`/ai/stream/${conversationId}/stream`), headers)).status, 204, "as if there were none");
    }
    assert.equal((await get(s.url(`/ai/stream/${conversationId}/stream`), bearer({ sub, domains: [domainId] }))).status, 204);
    const gus = s.unique("gus");
    const agent = await s.connect(as(staff(gus, domainId)));
    assertShape(await agent.ask({ type: "ai-chat", message: "which number?", conversationId, domainId }, "ai-response"), { contextLength: 3 });
  });

  scenario("begun without a token is its connection's", async (s) => {
    provider.play(faulty.answers("Four."));
    const conversationId = s.unique("talk");
    const [one, two] = [await s.connect(), await s.connect()];
    await one.ask({ type: "ai-chat", message: "hi", conversationId }, "ai-response");
    assertShape(await one.ask({ type: "ai-chat", message: "hi", conversationId }, "ai-response"), { contextLength: 3 });
    await refused(two, { type: "ai-chat", message: "hi", conversationId }, "not_found");
  });

  scenario("that goes by a user's name is that of whoever proved it", async (s) => {
    provider.play(faulty.answers("Four."));
    const [sub, domainId] = [s.unique("ann"), s.unique("domain")];
    const ann = await s.connect(as({ sub }));
    const own = await ann.ask({ type: "ai-chat", message: "hi", domainId, userId: "somebody" }, "ai-response");
    assert.equal(own.conversationId, `${domainId}-${sub}`);
    const stranger = await s.connect();
    const other = await stranger.ask({ type: "ai-chat", message: "hi", domainId, userId: sub }, "ai-response");
    assert.notEqual(other.conversationId, own.conversationId);
    assert.equal(other.contextLength, 1);
  });

  scenario("that goes by a user's name is given to whoever proves it, without what a stranger said in it", async (s) => {
    provider.play(faulty.answers("Four."));
    const domainId = s.unique("domain");
    const [ann, bob, cleo] = [s.unique("ann"), s.unique("bob"), s.unique("cleo")];
    const named = (sub) => ({ domainId, conversationId: `${domainId}-${sub}` });
    const [stranger, eve] = [await s.connect(), await s.connect(as({ sub: s.unique("eve") }))];
    await stranger.ask({ type: "ai-chat", message: "my word is xylophone", ...named(ann) }, "ai-response");
    await eve.ask({ type: "ai-chat", message: "my word is xylophone", ...named(bob) }, "ai-response");
    await join(stranger, `${domainId}-${cleo}`, s.unique("vic"));
    for (const sub of [ann, bob, cleo]) {
      const owner = await s.connect(as({ sub }));
      assertShape(await owner.ask({ type: "ai-chat", message: "hi", domainId }, "ai-response"), { conversationId: `${domainId}-${sub}`, contextLength: 1 });
      assertShape(await owner.ask({ type: "ai-chat", message: "hi", domainId }, "ai-response"), { contextLength: 3 });
    }
    for (const other of [stranger, eve]) {
      for (const sub of [ann, bob]) await refused(other, { type: "ai-chat", message: "which word?", ...named(sub) }, "not_found");
    }
  });

  scenario("of a room is the room's: whoever is not in it gets nothing of it", async (s) => {
    provider.play(faulty.answers("Four."));
    const room = s.unique("room");
    const vic = await s.member(room, s.unique("vic"));
    await refused(await s.connect(), { type: "ai-chat", message: "what was said?", conversationId: room }, "not_found");
    await vic.ask({ type: "ai-chat", message: "hi", conversationId: room }, "ai-response");
    await refused(await s.connect(), { type: "ai-chat", message: "hi", roomId: room }, "forbidden");
  });
});

describe("the quota of AI requests", () => {
  const { scenario } = suite({ ...provider.env, AUTH_SECRET: SECRET, AI_PER_USER_PER_MIN: "2" });

  scenario("is a subject's, in all of its conversations", async (s) => {
    provider.play(faulty.answers("Four."));
    const sub = s.unique("ann");
    const ask = () => post(s.url("/ai/chat"), { message: "hi", conversationId: s.unique("talk") }, bearer({ sub }));
    assert.deepEqual([(await ask()).status, (await ask()).status, (await ask()).status], [200, 200, 429]);
    const client = await s.connect(as({ sub }));
    await refused(client, { type: "ai-chat", message: "hi" }, "rate_limited");
    const bob = await s.connect(as({ sub: s.unique("bob") }));
    await bob.ask({ type: "ai-chat", message: "hi" }, "ai-response");
  });
});

describe("a token that ends while its connection lives", () => {
  /** Whoever connects and joins, and who is to see it, must be there before. */
  const LASTS_S = 8;

  for (const [name, path] of [["", () => ""], [" in its room", (room) => `roomId=${room}&`]]) {
    scenario(`is told of once, then the connection${name} is closed with 4401`, async (s) => {
      const [room, sub] = [s.unique("room"), s.unique("ann")];
      const ann = await s.connect({ query: `?${path(room)}token=${token({ sub, exp: inSeconds(LASTS_S) })}` });
      await join(ann, room, sub);
      const bob = await s.member(room, s.unique("bob"));
      assertShape(await ann.next("error"), { code: "unauthorized", message: matching(/expired/) });
      assert.equal((await ann.untilClosed()).code, 4401);
      assert.equal(ann.frames.filter((f) => f.type === "error").length, 1);
      assertShape(await bob.next("user-left"), { userId: sub });
    });

    scenario(`is renewed by joining again with another${name}`, async (s) => {
      const [room, sub] = [s.unique("room"), s.unique("ann")];
      const ann = await s.connect({ query: `?${path(room)}token=${token({ sub, exp: inSeconds(LASTS_S) })}` });
      await join(ann, room, sub, { token: token({ sub, exp: inSeconds(600) }) });
      // One whose token ends later is the clock.
      const [elsewhere, bob] = [s.unique("room"), s.unique("bob")];
      const clock = await s.connect({ query: `?${path(elsewhere)}token=${token({ sub: bob, exp: inSeconds(LASTS_S + 1) })}` });
      await join(clock, elsewhere, bob);
      await clock.untilClosed();
      await ann.fence(room);
      assert.equal(ann.closed, null);
    });
  }
});

describe("a public key", () => {
  const keys = ed25519();
  const { scenario } = suite({ ...provider.env, AUTH_PUBLIC_KEY: keys.pem.replaceAll("\n", "\\n") });

  scenario("is all that a service needs to know whom it has before it", async (s) => {
    const [room, sub] = [s.unique("room"), s.unique("ann")];
    const ann = await s.member(room, sub, {}, { query: `?token=${keys.token({ sub })}` });
    assertShape(await sayAs(ann, room), { userId: sub });
  });

  for (const [name, forged] of [["of another pair", ed25519().token()], ["made with the public key as secret", token({}, { secret: keys.pem })], ["of a secret", token()], ["without a signature", unsigned()]]) {
    scenario(`does not take a token ${name}`, async (s) => {
      const refused = await s.connect({ query: `?token=${forged}` }).then(() => assert.fail("let in"), (error) => error);
      assert.equal(refused.status, 401);
    });
  }
});

describe("in open mode", () => {
  const { scenario } = suite();

  scenario("a token is not looked at, and anyone is whoever it says", async (s) => {
    const room = s.unique("room");
    const agent = await s.member(room, "gus", { role: "agent" }, { query: "?token=nonsense" });
    assertShape(await sayAs(agent, room), { userId: "mallory", role: "user" });
  });
});

describe("a start with", { skip: lacks("process") }, () => {
  const bad = {
    "a secret that is too short": [{ AUTH_SECRET: "short" }, "AUTH_SECRET", /32.*openssl rand/],
    "a public key that is none": [{ AUTH_PUBLIC_KEY: "nonsense" }, "AUTH_PUBLIC_KEY", /openssl genpkey/],
    "a public key's file that is not there": [{ AUTH_PUBLIC_KEY_FILE: "/nowhere/key.pem" }, "AUTH_PUBLIC_KEY_FILE", /cannot be read/],
    "two keys": [{ AUTH_SECRET: SECRET, AUTH_PUBLIC_KEY: ed25519().pem }, "AUTH_PUBLIC_KEY", /only one/],
  };
  for (const [name, [env, naming, word]] of Object.entries(bad)) {
    test(`${name} is refused`, () => inTempDir(async (dir) => assert.match(await assertRefusesToStart({ DATA_DIR: dir, ...env }, naming), word)));
  }
});
