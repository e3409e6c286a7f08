/** What is erased is gone everywhere, what is exported is all there is, and what a site does not keep goes by itself. */
import assert from "node:assert/strict";
import { describe } from "node:test";
import { eventually } from "../eventually.js";
import { get, post, request } from "../http.js";
import { say, sayMany, suite } from "../scenario.js";
import { SECRET, token } from "../tokens.js";

const { scenario } = suite();

const remove = (url) => request(url, { method: "DELETE" });
const customer = (domainId) => ({ domainId, role: "customer" });

/** A room of a site with its customer, what the two said, and a file. */
async function conversation(s, { domainId = s.unique("shop"), visitor = s.unique("cleo") } = {}) {
  const roomId = s.unique("room");
  const cleo = await s.member(roomId, visitor, customer(domainId));
  const eve = await s.member(roomId, "eve", { domainId, role: "agent" });
  const file = (await post(s.url(`/files?name=a.txt&roomId=${roomId}&domainId=${domainId}&userId=${visitor}`), "hello", { "content-type": "text/plain" })).json;
  await say(cleo, roomId, visitor, "where is my parcel?", { role: "customer", attachments: [file] });
  await say(eve, roomId, "eve", "on its way", { role: "agent" });
  return { roomId, domainId, visitor, cleo, eve, file };
}

scenario("an erased room is empty for everyone, over a restart, and begins anew under another epoch", async (s) => {
  const { roomId, domainId, cleo, eve, visitor, file } = await conversation(s);
  await eve.ask({ type: "mark-read", roomId, seq: 2 }, "marked-read");
  const { status, json } = await remove(s.url(`/rooms/${roomId}`));
  assert.equal(status, 200, JSON.stringify(json));
  assert.equal(json.roomId, roomId);
  assert.deepEqual([json.removed.messages, json.removed.files, json.removed.readMarks], [2, 1, 1]);
  const erased = await cleo.next("room-erased");
  assert.deepEqual([erased.roomId, erased.seq], [roomId, 0]);
  assert.notEqual(erased.epoch, cleo.joined.epoch);
  await eve.next("room-erased");
  await gone(s, file.url);
  assert.deepEqual((await get(s.url(`/rooms?domainId=${domainId}`))).json.rooms, []);
  for (const rest of ["", "/messages", "/transcript"]) assert.equal((await get(s.url(`/rooms/${roomId}${rest}`))).status, 404, "its members are still there, and nothing else");
  await s.member(roomId, "bob", { domainId });
  assert.equal((await get(s.url(`/rooms/${roomId}`))).status, 404);
  const ack = await say(cleo, roomId, visitor, "hello again", { role: "customer" });
  assert.equal((await get(s.url(`/rooms/${roomId}`))).json.seq, 1);
  assert.deepEqual([ack.seq, ack.id], [1, `${erased.epoch}-1`]);
  await s.host.kill9();
  await s.host.restart();
  const back = await s.connect();
  const joined = await back.ask({ type: "join-room", roomId, userId: visitor, userName: "Cleo", epoch: cleo.joined.epoch, lastSeq: 2 }, "joined-room");
  assert.deepEqual([joined.resumed, joined.epoch, joined.seq], [false, erased.epoch, 1]);
  assert.deepEqual((await back.next("message-history")).messages.map(({ message }) => message), ["hello again"]);
  assert.equal((await remove(s.url(`/rooms/${roomId}`))).json.removed.messages, 1);
  assert.equal((await remove(s.url(`/rooms/${roomId}`))).json.removed.messages, 0);
  assert.equal((await remove(s.url(`/rooms/${s.unique("nowhere")}`))).status, 200, "what was never there is erased, too");
});

scenario("what an AI remembers of a conversation goes with it", async (s) => {
  const conversationId = s.unique("room");
  const ann = await s.connect();
  await ann.ask({ type: "ai-chat", message: "My name is Ann", conversationId }, "ai-response");
  const { json } = await remove(s.url(`/rooms/${conversationId}`));
  assert.deepEqual([json.removed.aiTurns, json.removed.aiAnswers], [2, 1]);
  const { contextLength } = await ann.ask({ type: "ai-chat", message: "Who am I?", conversationId }, "ai-response");
  assert.equal(contextLength, 1);
  const error = await ann.ask({ type: "ai-resume", conversationId: s.unique("none") }, "error");
  assert.equal(error.code, "not_found");
});

scenario("a room that is erased while many write is one log before and another one behind it", async (s) => {
  const roomId = s.unique("room");
  const [ann, bob] = [await s.member(roomId, "ann"), await s.member(roomId, "bob")];
  const writing = sayMany(ann, roomId, "ann", 90);
  const { json } = await remove(s.url(`/rooms/${roomId}`));
  const acks = await writing;
  const { epoch } = await bob.next("room-erased");
  const behind = acks.filter((ack) => ack.id.startsWith(epoch));
  assert.equal(json.removed.messages, acks.length - behind.length);
  assert.deepEqual(behind.map((ack) => ack.seq), behind.map((_, n) => n + 1));
});

scenario("an erased visitor is nowhere: not on the site, not in a room of theirs, not by name in a room of others", async (s) => {
  const { roomId, domainId, visitor, cleo, file } = await conversation(s);
  await cleo.ask({ type: "visitor-joined-domain", domainId, visitorId: visitor, visitorData: { url: "https://shop.example/" } }, "visitor-joined-domain");
  await cleo.ask({ type: "ai-chat", message: "My name is Cleo", domainId, userId: visitor }, "ai-response");
  const others = await conversation(s, { domainId });
  await say(cleo, others.roomId, visitor, "I am here, too", { role: "customer" });
  const query = `?domainId=${domainId}`;
  await listed(s, domainId, 2);
  const { status, json } = await remove(s.url(`/visitors/${visitor}${query}`));
  assert.equal(status, 200, JSON.stringify(json));
  assert.deepEqual([json.visitorId, json.domainId, json.rooms], [visitor, domainId, [roomId]]);
  assert.deepEqual([json.removed.visitors, json.removed.messages, json.removed.messagesAnonymised, json.removed.files, json.removed.aiTurns], [1, 2, 1, 1, 2]);
  const stats = (await get(s.url(`/stats/domain/${domainId}`))).json;
  assert.deepEqual([stats.activeVisitors, stats.visitors], [0, []]);
  await gone(s, file.url);
  const { messages } = (await get(s.url(`/rooms/${others.roomId}/messages`))).json;
  assert.deepEqual(messages.map(({ userId, message }) => [userId, message]), [[others.visitor, "where is my parcel?"], ["eve", "on its way"], ["deleted", "I am here, too"]]);
  const found = async () => (await get(s.url(`/search${query}&q=parcel`))).json.results.map(({ roomId }) => roomId);
  assert.deepEqual(await eventually(found, (rooms) => rooms.includes(others.roomId)), [others.roomId], "what others said is found as before");
  const again = (await remove(s.url(`/visitors/${visitor}${query}`))).json;
  assert.deepEqual([again.rooms, again.removed.visitors, again.removed.messagesAnonymised], [[], 0, 0]);
});

scenario("an export of a visitor has what is known of them, and nobody else's", async (s) => {
  const { roomId, domainId, visitor, cleo } = await conversation(s);
  const others = await conversation(s, { domainId });
  await say(cleo, others.roomId, visitor, "I am here, too", { role: "customer" });
  await cleo.ask({ type: "visitor-joined-domain", domainId, visitorId: visitor, visitorData: { url: "https://shop.example/a" } }, "visitor-joined-domain");
  await listed(s, domainId, 2);
  // On Cloudflare what was said elsewhere is looked up in the site's copy, which is told of a busy room once a second.
  const exported = () => get(s.url(`/visitors/${visitor}/export?domainId=${domainId}`));
  const { status, json } = await eventually(exported, (reply) => reply.json.elsewhere?.length > 0);
  assert.equal(status, 200, JSON.stringify(json));
  assert.equal(json.visitor.visitorData.url, "https://shop.example/a");
  assert.deepEqual(json.rooms.map(({ room }) => room.roomId), [roomId]);
  assert.deepEqual(json.rooms[0].messages.map(({ message }) => message), ["where is my parcel?", "on its way"]);
  assert.deepEqual(json.elsewhere.map(({ roomId, messages }) => [roomId, messages.map(({ message }) => message)]), [[others.roomId, ["I am here, too"]]]);
  const nobody = (await get(s.url(`/visitors/nobody/export?domainId=${domainId}`))).json;
  assert.deepEqual([nobody.visitor, nobody.rooms, nobody.elsewhere], [null, [], []]);
});

scenario("what an AI remembers of a visitor is exported and erased under whatever name the conversation goes", async (s) => {
  const { roomId, domainId, visitor, cleo } = await conversation(s);
  const [own, shared] = [s.unique("talk"), s.unique("talk")];
  const ask = (message, conversationId, userId = visitor) => cleo.ask({ type: "ai-chat", message, domainId, userId, ...(conversationId && { conversationId }) }, "ai-response");
  await ask("My name is Cleo");
  await ask("I like hats", own);
  await ask("and shoes", own);
  await ask("My name is Bob", shared, "bob");
  await listed(s, domainId, 1);
  const path = `/visitors/${visitor}`;
  const { conversations, rooms } = (await get(s.url(`${path}/export?domainId=${domainId}`))).json;
  const said = Object.fromEntries(conversations.map(({ conversationId, aiTurns }) => [conversationId, aiTurns.filter(({ role }) => role === "user").map(({ text }) => text)]));
  assert.deepEqual(said, { [`${domainId}-${visitor}`]: ["My name is Cleo"], [own]: ["I like hats", "and shoes"] });
  const [{ timestamp, role, ...turn }] = conversations[0].aiTurns;
  assert.deepEqual([role, Object.keys(turn)], ["user", ["text"]]);
  assert.ok(Math.abs(Date.parse(timestamp) - Date.now()) < 600_000);
  assert.deepEqual(rooms.map(({ aiTurns }) => aiTurns), [[]]);
  const { json } = await remove(s.url(`${path}?domainId=${domainId}`));
  assert.deepEqual(json.conversations.sort(), [`${domainId}-${visitor}`, own].sort(), "a receipt names them");
  assert.deepEqual([json.rooms, json.removed.aiTurns, json.removed.aiAnswers], [[roomId], 6, 3]);
  const after = (await get(s.url(`${path}/export?domainId=${domainId}`))).json;
  assert.deepEqual([after.rooms, after.conversations], [[], []]);
  assert.equal((await ask("What do I like?", own)).contextLength, 1);
  const bobs = (await get(s.url(`/visitors/bob/export?domainId=${domainId}`))).json;
  assert.deepEqual(bobs.conversations.map(({ conversationId }) => conversationId), [shared], "and another visitor's are as they were");
});

scenario("a name that reads alike on another site is another's: nothing of theirs is exported or erased", async (s) => {
  const site = s.unique("acme");
  const ann = { domainId: `${site}-eu`, userId: "ann" };
  assert.equal((await post(s.url("/ai/chat"), { ...ann, message: "My name is Ann" })).status, 200);
  const alike = s.url(`/visitors/eu-ann`);
  assert.deepEqual((await get(`${alike}/export?domainId=${site}`)).json.conversations, []);
  assert.deepEqual((await remove(`${alike}?domainId=${site}`)).json.conversations, []);
  assert.equal((await post(s.url("/ai/chat"), { ...ann, message: "Who am I?" })).json.contextLength, 3);
});

scenario("rooms without a domain are looked through too", async (s) => {
  const [visitor, domainId, own, others, elsewhere] = ["cleo", "shop", "room", "room", "room"].map((kind) => s.unique(kind));
  const [client, room] = [await s.connect(), (roomId) => get(s.url(`/rooms/${roomId}/messages`))];
  await say(client, own, visitor, "mine", { role: "customer" });
  await say(client, others, "bob", "not mine", { role: "customer" });
  await say(client, others, visitor, "me too", { role: "customer" });
  await say(client, elsewhere, visitor, "another site's", { role: "customer", domainId: s.unique("other") });
  const exported = (await get(s.url(`/visitors/${visitor}/export?domainId=${domainId}`))).json;
  const { json } = await remove(s.url(`/visitors/${visitor}?domainId=${domainId}`));
  const authors = async (roomId) => (await room(roomId)).json.messages.map(({ userId }) => userId);
  assert.deepEqual([json.unsearched, exported.unsearched], [[], []]);
  assert.deepEqual(exported.rooms.map(({ room, messages }) => [room.roomId, messages.map(({ message }) => message)]), [[own, ["mine"]]]);
  assert.deepEqual(exported.elsewhere.map(({ roomId, messages }) => [roomId, messages.map(({ message }) => message)]), [[others, ["me too"]]]);
  assert.deepEqual([json.rooms, json.removed.messages, json.removed.messagesAnonymised], [[own], 1, 1]);
  assert.deepEqual([(await room(own)).status, await authors(others)], [404, ["bob", "deleted"]]);
  assert.deepEqual(await authors(elsewhere), [visitor], "another site's is another site's");
});

scenario("what is erased just after it was said is in no list and in no index", async (s) => {
  const domainId = s.unique("shop");
  const cleo = await s.connect();
  const secrets = Array.from({ length: 8 }, (_, n) => `secret${n}`);
  await Promise.all(secrets.map(async (secret) => {
    const roomId = s.unique("room");
    await say(cleo, roomId, "cleo", secret, { role: "customer", domainId });
    await say(cleo, roomId, "cleo", `${secret} again`, { role: "customer", domainId });
    assert.equal((await remove(s.url(`/rooms/${roomId}`))).json.removed.messages, 2);
  }));
  // A room that is told of later than all of them.
  await say(cleo, s.unique("room"), "cleo", "the last word", { role: "customer", domainId });
  const search = async (word) => (await get(s.url(`/search?domainId=${domainId}&q=${word}`))).json.results.length;
  await eventually(() => search("last"));
  for (const secret of secrets) assert.equal(await search(secret), 0, secret);
  const { rooms } = (await get(s.url(`/rooms?domainId=${domainId}`))).json;
  assert.deepEqual(rooms.map(({ lastMessage }) => lastMessage.message), ["the last word"]);
});

scenario("whoever erases has to say of which site, and whom", async (s) => {
  const refused = async (response, word) => {
    const { status, json } = await response;
    assert.deepEqual([status, json.code], [400, "invalid_request"]);
    assert.match(json.error, word);
  };
  await refused(remove(s.url("/visitors/ann")), /domainId/);
  await refused(remove(s.url(`/visitors/${"x".repeat(200)}?domainId=a`)), /visitorId/);
  await refused(get(s.url("/visitors/ann/export")), /domainId/);
  await refused(remove(s.url(`/rooms/${"x".repeat(200)}`)), /roomId/);
});

/** The list of a site hears of a room within a second. */
const listed = (s, domainId, count) => eventually(() => get(s.url(`/rooms?domainId=${domainId}`)), ({ json }) => json.rooms.length >= count);

const gone = (s, url) => eventually(() => get(s.url(url)), ({ status }) => status === 404);

describe("with tokens", () => {
  const { scenario } = suite({ AUTH_SECRET: SECRET });
  const by = (claims) => ({ authorization: `Bearer ${token(claims)}` });
  const ask = (s, method, path, claims) => request(s.url(path), { method, headers: claims ? by(claims) : {} });

  scenario("only the staff of a site erases and exports there, and a file is its room's", async (s) => {
    const [domain, room, sub] = [s.unique("shop"), s.unique("room"), s.unique("ann")];
    const ann = { sub, name: "Ann", role: "visitor", domains: [domain], rooms: [room] };
    const agent = { sub: "eve", name: "Eve", role: "agent", domains: [domain] };
    const stranger = { sub: "mallory", name: "Mallory", role: "agent", domains: ["other.example"] };
    const put = (claims, query) => request(s.url(`/files?${query}`), { method: "POST", body: "hello", headers: { "content-type": "text/plain", ...by(claims) } });
    const uploaded = await put(ann, `name=a.txt&roomId=${room}&domainId=${domain}&userId=somebody-else`);
    assert.equal(uploaded.status, 201, uploaded.text);
    assert.equal((await put(ann, `name=a.txt&roomId=${s.unique("room")}`)).status, 403, "not into a room of others");
    assert.equal((await put(ann, "name=a.txt")).status, 403, "nor to the site");
    const { url } = uploaded.json;
    assert.equal((await ask(s, "GET", url, ann)).status, 200);
    assert.equal((await ask(s, "GET", url)).status, 200, "a picture in a page brings no token: its key is the right to it");
    assert.equal((await ask(s, "GET", url, stranger)).status, 404);
    assert.equal((await ask(s, "DELETE", url)).status, 403);
    assert.equal((await ask(s, "DELETE", url, stranger)).status, 404);
    await s.member(room, sub, { token: token(ann), domainId: domain });
    const into = (claims) => put(claims, `name=a.txt&roomId=${room}`);
    assert.equal((await into(stranger)).status, 403, "not into a room of another site, whatever is left unsaid");
    const planted = await request(s.url(`/files?name=a.txt&roomId=${room}&domainId=other.example`), { method: "POST", body: "hello", headers: { "content-type": "text/plain" } });
    assert.equal(planted.status, 201, planted.text);
    assert.equal((await ask(s, "GET", planted.json.url, stranger)).status, 404, "whatever the request says");
    assert.equal((await ask(s, "GET", planted.json.url, agent)).status, 200);
    for (const [method, path] of [["DELETE", `/rooms/${room}`], ["DELETE", `/visitors/${sub}?domainId=${domain}`], ["GET", `/visitors/${sub}/export?domainId=${domain}`]]) {
      const isSites = path.startsWith("/visitors");
      for (const [claims, status] of [[undefined, 403], [ann, 403], [stranger, isSites ? 403 : 404]]) assert.equal((await ask(s, method, path, claims)).status, status, `${method} ${path}`);
    }
    assert.equal((await ask(s, "GET", `/visitors/${sub}/export?domainId=${domain}`, agent)).status, 200);
    assert.equal((await ask(s, "DELETE", url, ann)).status, 200, "who put it there");
    assert.equal((await ask(s, "DELETE", `/rooms/${room}`, agent)).status, 200);
  });
});
