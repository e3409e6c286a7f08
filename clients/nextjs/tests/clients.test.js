/** Both files, each over its transport, with the same scenarios: what existing applications call, and when they call it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeServer } from "../../js/tests/support/fake-server.js";
import { scenario } from "../../js/tests/support/play.js";
import { seen } from "../../js/tests/support/seen.js";
import { load, openPage } from "./load.js";
import { SocketIoServer } from "./socket-io-server.js";

const METHODS = ["joinRoom", "leaveRoom", "sendMessage", "startTyping", "stopTyping", "setUserOnline", "joinDomainAsVisitor", "leaveDomainAsVisitor", "sendVisitorActivity", "requestDomainStats", "requestAllDomainStats", "notifyAdminCustomerJoined", "getSocket", "getConnectionStatus", "disconnect", "reconnect"];
const EVENTS = ["NewMessage", "UserJoined", "UserLeft", "UserTyping", "UserPresence", "RoomUsers", "CustomerJoinedRoom", "AllDomainStats", "VisitorJoinedDomain", "VisitorLeftDomain"];
const wireName = (event) => event.replace(/(?<!^)[A-Z]/g, "-$&").toLowerCase();

test("on a server both files load, and every call is taken and does nothing", async () => {
  for (const env of [{ NODE_ENV: "development" }, { NODE_ENV: "production" }]) {
    const client = await load("socketClient", env);
    client.joinRoom("room", "ann", "Ann");
    client.sendMessage("room", "Hello", "ann", "Ann", "user");
    client.joinDomainAsVisitor("shop", "v", { userAgent: "", timestamp: new Date() });
    client.onNewMessage(() => {});
    client.requestAllDomainStats();
    assert.equal(client.getSocket(), null);
    assert.deepEqual(client.getConnectionStatus(), { isConnected: false, reconnectAttempts: 0 });
    client.disconnect();
    client.reconnect();
  }
  assert.deepEqual(process.getActiveResourcesInfo().filter((kind) => /Timeout|TCP/.test(kind)), []);
  openPage();
});

for (const [transport, Server, variables] of [
  ["WebSocket", FakeServer, (url) => ({ NODE_ENV: "production", NEXT_PUBLIC_WS_URL: url })],
  ["Socket.IO", SocketIoServer, (url) => ({ NODE_ENV: "development", NEXT_PUBLIC_SOCKET_URL: url })],
]) {
  /** @param {string} name @param {(s: any, server: any, client: any) => Promise<void>} play */
  const over = (name, play) =>
    scenario(`${transport}: ${name}`, async (s) => {
      const server = await Server.start();
      s.after(() => server.stop());
      const client = await load("socketClient", variables(server.url));
      s.after(() => client.disconnect());
      await play(s, server, client);
    });
  const heard = (client, event) => {
    const list = seen();
    client[`on${event}`]((data) => list.add(data));
    return list;
  };

  over("every call that there was is there", async (_s, _server, client) => {
    for (const name of [...METHODS, ...EVENTS.flatMap((event) => [`on${event}`, `off${event}`])]) assert.equal(typeof client[name], "function", name);
  });

  over("what is called before the socket is open goes out, in order, as it always did", async (_s, server, client) => {
    const messages = heard(client, "NewMessage");
    client.joinDomainAsVisitor("shop", "v", { socketId: client.getSocket()?.id, userAgent: "Firefox", timestamp: new Date(0) });
    client.notifyAdminCustomerJoined("room", "ann", "Ann");
    client.joinRoom("room", "ann", "Ann");
    client.startTyping("room", "ann", "Ann");
    client.sendMessage("room", "one", "ann", "Ann", "user");
    client.sendMessage("room", "two", "ann", "Ann", "assistant");
    client.sendMessage("elsewhere", "three", "bob", "Bob", "assistant");
    client.requestAllDomainStats();
    client.requestDomainStats("shop");
    assert.equal(client.getConnectionStatus().isConnected, false);
    const two = await messages.next({ message: "two" });
    assert.deepEqual([two.type, two.roomId, two.seq > 1], ["new-message", "room", true]);
    const { visitorData } = await server.frames.next({ type: "visitor-joined-domain", domainId: "shop", visitorId: "v" });
    assert.deepEqual([visitorData.userAgent, visitorData.timestamp], ["Firefox", new Date(0).toISOString()]);
    const of = (type) => server.frames.all.filter((frame) => frame.type === type);
    assert.deepEqual(of("customer-joined-room").map(({ roomId, customerId, customerName }) => [roomId, customerId, customerName]), [["room", "ann", "Ann"]]);
    assert.deepEqual(of("join-room").map(({ roomId, userId, userName, role }) => [roomId, userId, userName, role]), [["room", "ann", "Ann", undefined]]);
    assert.deepEqual([...new Set(of("send-message").map(({ roomId, message, userId, role }) => [roomId, message, userId, role].join()))].sort(), ["elsewhere,three,bob,assistant", "room,one,ann,user", "room,two,ann,assistant"]);
    assert.equal(of("get-all-domain-stats").length + of("get-domain-stats").length, 2);
    assert.deepEqual(client.getConnectionStatus(), { isConnected: true, reconnectAttempts: 0 });
    assert.ok(client.getSocket());
  });

  over("callbacks stay over lost connections, nothing is heard twice, and what was said meanwhile is stored once", async (_s, server, client) => {
    const messages = heard(client, "NewMessage");
    client.joinRoom("room", "ann", "Ann");
    client.joinDomainAsVisitor("shop", "v", { userAgent: "", timestamp: new Date() });
    client.requestAllDomainStats();
    client.sendMessage("room", "1", "ann", "Ann", "user");
    await messages.next({ message: "1" });
    for (const n of [2, 4, 6]) {
      server.cut();
      server.log.push({ type: "new-message", roomId: "room", id: `m${n}`, seq: server.log.length + 1, message: `${n}` });
      client.sendMessage("room", `${n + 1}`, "ann", "Ann", "user");
      await messages.next({ message: `${n + 1}` });
    }
    assert.deepEqual(messages.all.map(({ message }) => message), ["1", "2", "3", "4", "5", "6", "7"]);
    const joins = server.frames.all.filter(({ type }) => type === "join-room");
    assert.deepEqual(joins.slice(1).map(({ epoch, lastSeq }) => [epoch, lastSeq]), [["epoch-1", 1], ["epoch-1", 3], ["epoch-1", 5]]);
    for (const type of ["visitor-joined-domain", "get-all-domain-stats"]) assert.equal(server.frames.all.filter((frame) => frame.type === type).length, 4, type);
  });

  over("each pair of on and off names its event; off with a callback takes that one, without one all", async (_s, server, client) => {
    const done = seen();
    client.on("done", () => done.add(1));
    await server.sockets.next();
    for (const event of EVENTS) {
      const [one, two] = [seen(), seen()];
      const [first, second] = [one, two].map((list) => (data) => list.add(data));
      client[`on${event}`](first);
      client[`on${event}`](second);
      const tell = async () => {
        server.tell({ type: wireName(event), roomId: "r", domainId: "d" });
        server.tell({ type: "done" });
        await done.next();
      };
      await tell();
      client[`off${event}`](first);
      await tell();
      client[`off${event}`]();
      await tell();
      assert.deepEqual([one.all.length, two.all.length], [1, 2], event);
    }
  });

  over("leaving waits for what was said; joining again afterwards is a join", async (_s, server, client) => {
    client.joinRoom("room", "ann", "Ann");
    client.sendMessage("room", "bye", "ann", "Ann", "user");
    client.leaveRoom("room");
    await server.frames.next({ type: "send-message" });
    await server.frames.next({ type: "leave-room" });
    client.joinRoom("room", "ann", "Ann");
    await server.frames.next({ type: "join-room" });
  });

  over("disconnect keeps callbacks and what was not sent, for reconnect", async (_s, server, client) => {
    const messages = heard(client, "NewMessage");
    client.joinRoom("room", "ann", "Ann");
    client.sendMessage("room", "one", "ann", "Ann", "user");
    await messages.next({ message: "one" });
    server.cut();
    client.joinDomainAsVisitor("shop", "v", { userAgent: "", timestamp: new Date() });
    client.sendMessage("room", "two", "ann", "Ann", "user");
    client.disconnect();
    assert.equal(client.getSocket(), null);
    server.log.push({ type: "new-message", roomId: "room", id: "m", seq: 2, message: "missed" });
    client.reconnect();
    await messages.next({ message: "two" });
    await server.frames.next({ type: "visitor-joined-domain" });
    assert.deepEqual(messages.all.map(({ message }) => message), ["one", "missed", "two"]);
  });

  over("a message for a room that nobody joined is asked again until it is stored, and stored once", async (_s, server, client) => {
    let refusals = 1;
    server.answers["send-message"] = ({ clientMessageId, message }, reply) => {
      if ((refusals -= 1) >= 0) return reply({ type: "error", code: "rate_limited", message: "slowly", retryAfterMs: 1 });
      if (server.log.every((frame) => frame.clientMessageId !== clientMessageId)) server.say(message, { clientMessageId, roomId: "elsewhere" });
      server.cut();
      server.answers["send-message"] = undefined;
    };
    client.sendMessage("elsewhere", "one", "ann", "Ann", "user");
    for (let n = 1; n <= 3; n += 1) await server.frames.next({ type: "send-message", message: "one" });
    assert.deepEqual(server.log.map(({ message }) => message), ["one"]);
  });

  over("a message that the server will not have is an error event with a code", async (_s, server, client) => {
    const errors = seen();
    client.on("error", (error) => errors.add(error));
    server.answers["send-message"] = (_frame, reply) => reply({ type: "error", code: "too_large", message: "16 KiB" });
    client.joinRoom("room", "ann", "Ann");
    for (const room of ["room", "elsewhere"]) {
      client.sendMessage(room, "x", "ann", "Ann", "user");
      assert.equal((await errors.next()).code, "too_large");
    }
  });

  over("a callback that throws harms no other", async (s, server, client) => {
    s.after(silence());
    const users = seen();
    client.onUserTyping(() => {
      throw new Error("planted");
    });
    client.onUserTyping((data) => users.add(data));
    await server.sockets.next();
    server.tell({ type: "user-typing", roomId: "room", userId: "bob", isTyping: true });
    assert.equal((await users.next()).userId, "bob");
  });
}

function silence() {
  const { error } = console;
  console.error = () => {};
  return () => (console.error = error);
}

for (const [variable, suffix] of [["NEXT_PUBLIC_WS_URL", "/ws"], ["NEXT_PUBLIC_WS_URL", ""], ["NEXT_PUBLIC_SOCKET_URL", ""], ["NEXT_PUBLIC_AI_API_URL", ""]]) {
  scenario(`in production ${variable} leads to the server, written with “${suffix}”`, async (s) => {
    const server = await s.serve();
    const scheme = variable === "NEXT_PUBLIC_WS_URL" ? "ws" : "http";
    const client = await load("socketClient", { NODE_ENV: "production", [variable]: `${scheme}://127.0.0.1:${server.port}${suffix}` });
    s.after(() => client.disconnect());
    client.joinRoom("room", "ann", "Ann");
    await server.frames.next({ type: "join-room" });
    assert.deepEqual(server.paths, ["/ws"]);
  });
}

scenario("in development NEXT_PUBLIC_WS_URL with /ws names a Socket.IO server too", async (s) => {
  const server = await SocketIoServer.start();
  s.after(() => server.stop());
  const client = await load("socketClient", { NODE_ENV: "development", NEXT_PUBLIC_WS_URL: `${server.url.replace("http", "ws")}/ws` });
  s.after(() => client.disconnect());
  client.joinRoom("room", "ann", "Ann");
  await server.frames.next({ type: "join-room" });
  assert.equal(typeof client.getSocket().id, "string");
});
