/** The widget as a visitor meets it, on somebody else's site with a strict policy. What goes wrong: widget-trouble.test.js. */
import assert from "node:assert/strict";
import { eventually } from "../../conformance/eventually.js";
import { barriers, picture, scenario, sees } from "./support/stage.js";
import { answered, odyssey, open, operator, roomOf, say, texts, visit } from "./support/widget.js";

scenario("a visitor asks, sees the answer being written, and finds both after a reload", async (stage) => {
  const question = await odyssey(stage);
  const page = await visit(stage);
  await open(page);
  await sees(page, "weeziq-chat .greeting", "Hello! How can we help?");
  await say(page, question);
  await page.locator("weeziq-chat .writing .bubble", { hasText: /\w/ }).waitFor();
  await answered(page);
  await sees(page, "weeziq-chat .mine .mark", "Delivered");
  const before = await texts(page);
  assert.equal(before.length, 2, before.join(" | "));
  assert.equal(before[0], question);
  await picture(page, "widget");

  await page.reload();
  await open(page);
  await answered(page);
  assert.deepEqual(await texts(page), before);
});

scenario("a person comes, writes, and reads", async (stage) => {
  const page = await visit(stage, { data: { domain: "shop.example", ai: "off" } });
  await open(page);
  await say(page, "Is anybody there?");
  await sees(page, "weeziq-chat .mine .mark", "Delivered");
  const roomId = await roomOf(page);
  const ann = await operator(stage, roomId);
  ann.client.send({ type: "toggle-live-agent", roomId, enabled: true });
  await sees(page, "weeziq-chat .note", "Ann is here now");
  ann.client.send({ type: "typing-start", roomId, userId: "ann", userName: "Ann" });
  await sees(page, "weeziq-chat .typing", "Ann is writing");
  const { seq } = await ann.say({ message: "Yes, I am." });
  await sees(page, "weeziq-chat .person .bubble", "Yes, I am.");
  ann.client.send({ type: "mark-read", roomId, seq });
  await sees(page, "weeziq-chat .mine .mark", "Read");
});

scenario("a person is asked for: the inbox hears of it, and the visitor that it was heard", async (stage) => {
  const page = await visit(stage, { data: { domain: "shop.example", ai: "off" } });
  await open(page);
  await say(page, "Is anybody there?");
  await sees(page, "weeziq-chat .mine .mark", "Delivered");
  const roomId = await roomOf(page);
  const dashboard = await stage.client();
  await dashboard.ask({ type: "get-domain-stats", domainId: "shop.example" });
  await page.locator("weeziq-chat header").getByRole("button", { name: "Talk to a person" }).click();
  await dashboard.next({ type: "human-requested", roomId });
  await page.locator("weeziq-chat .note").waitFor();
  const room = await (await fetch(`${stage.host.baseUrl}/rooms/${roomId}`)).json();
  assert.equal(room.state, "waiting");
  assert.equal(room.customer.userId, roomId);
  assert.equal(await page.locator("weeziq-chat .note").count(), 1);
});

scenario("what an answer was made of can be unfolded under it, after a reload too", async (stage) => {
  const about = "# Returns\n\nA bike can be returned within 30 days, unused and with its papers.";
  const path = `${stage.host.baseUrl}/domains/shop.example/knowledge/returns.md`;
  const put = await fetch(path, { method: "PUT", body: about, headers: { "content-type": "text/markdown" } });
  assert.ok(put.ok, await put.text());
  const page = await visit(stage);
  await open(page);
  await say(page, "How long can a bike be returned?");
  await answered(page);
  for (const isAgain of [false, true]) {
    if (isAgain) {
      await page.reload();
      await open(page);
    }
    const sources = page.locator("weeziq-chat .assistant[data-seq] .sources");
    await sources.locator("summary").click();
    await sees(page, "weeziq-chat .sources li", "30 days");
  }
});

scenario("where the server has each message answered, the widget asks nobody a second time", async (stage) => {
  const { baseUrl } = stage.host;
  const settings = { ai: { autoReply: true } };
  const put = await fetch(`${baseUrl}/domains/shop.example`, { method: "PUT", body: JSON.stringify(settings), headers: { "content-type": "application/json" } });
  assert.ok(put.ok, await put.text());
  /** @type {string[]} */
  const sent = [];
  /** @type {() => void} */
  let letTell = () => {};
  const asked = new Promise((resolve) => (letTell = () => resolve(undefined)));
  const page = await visit(stage, {
    prepare: async (page) => {
      page.on("websocket", (socket) => socket.on("framesent", ({ payload }) => sent.push(String(payload))));
      // What the server says of the domain comes after the first question, however long that takes here.
      await page.addInitScript(() => (AbortSignal.timeout = () => new AbortController().signal));
      await page.route("**/domains/*/widget", (route) => asked.then(() => route.continue()));
    },
  });
  await open(page);
  for (const question of ["Does a crash lose messages?", "Is my data safe?"]) {
    const before = await page.locator("weeziq-chat .assistant[data-seq]").count();
    await say(page, question);
    await sees(page, "weeziq-chat .mine .bubble", question);
    letTell();
    await page.locator("weeziq-chat .assistant[data-seq]").nth(before).waitFor();
  }
  const kinds = sent.filter((frame) => frame.startsWith("{")).map((frame) => JSON.parse(frame).type);
  assert.equal(kinds.filter((kind) => kind === "send-message").length, 2, kinds.join());
  assert.ok(!kinds.includes("ai-stream"), kinds.join());
  const { messages } = await (await fetch(`${baseUrl}/rooms/${await roomOf(page)}/messages`)).json();
  assert.deepEqual(messages.map((/** @type {{role: string}} */ { role }) => role), ["customer", "assistant", "customer", "assistant"]);
});

scenario("unread messages are counted on the closed widget, and a rating is kept", async (stage) => {
  const page = await visit(stage, { data: { domain: "shop.example", ai: "off" } });
  await open(page);
  await say(page, "Hello");
  await sees(page, "weeziq-chat .mine .mark", "Delivered");
  await page.keyboard.press("Escape");
  const roomId = await roomOf(page);
  const ann = await operator(stage, roomId);
  await ann.say({ message: "One" });
  await ann.say({ message: "Two" });
  await sees(page, "weeziq-chat .badge", "2");
  await page.reload();
  await sees(page, "weeziq-chat .badge", "2");
  await page.getByRole("button", { name: "Open chat, 2 unread" }).click();
  await sees(page, "weeziq-chat .bubble", "Two");
  await page.locator("weeziq-chat .badge").waitFor({ state: "hidden" });

  await page.getByRole("button", { name: "More" }).click();
  await page.getByRole("button", { name: "Rate this conversation" }).click();
  await page.getByRole("radio", { name: "4 of 5" }).check();
  await page.getByRole("button", { name: "Send rating" }).click();
  await sees(page, "weeziq-chat .note", "Thank you.");
  const room = await (await fetch(`${stage.host.baseUrl}/rooms/${roomId}`)).json();
  assert.equal(room.rating.score, 4);
});

scenario("files by button, drop and paste; one that is removed says so", async (stage) => {
  stage.expected.push(/404 \(Not Found\) \S*\/files\//, /410 \(Gone\)/);
  const page = await visit(stage, { data: { domain: "shop.example", ai: "off" } });
  await open(page);
  const png = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "base64");
  await page.locator("weeziq-chat input[type=file]").setInputFiles({ name: "dot.png", mimeType: "image/png", buffer: png });
  await page.locator("weeziq-chat .upload.done").waitFor();
  for (const kind of ["drop", "paste"]) {
    await page.evaluate((kind) => {
      const shadow = document.querySelector("weeziq-chat")?.shadowRoot;
      const data = new DataTransfer();
      data.items.add(new File(["text"], `${kind}.txt`, { type: "text/plain" }));
      const event = kind === "drop" ? new DragEvent("drop", { dataTransfer: data, bubbles: true }) : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
      shadow?.querySelector("textarea")?.dispatchEvent(event);
    }, kind);
  }
  await page.locator("weeziq-chat .upload.done").nth(2).waitFor();
  await say(page, "Look at these");
  await page.locator("weeziq-chat .message[data-seq] .attachment").nth(2).waitFor();
  assert.deepEqual(await page.locator("weeziq-chat .attachment .name").allInnerTexts(), ["dot.png", "drop.txt", "paste.txt"]);
  const picture = page.locator("weeziq-chat .picture img");
  await picture.waitFor();
  const address = await picture.getAttribute("src");
  const removed = await fetch(address ?? "", { method: "DELETE" });
  assert.ok(removed.ok, `${removed.status}`);
  await page.reload();
  await open(page);
  await sees(page, "weeziq-chat .gone", "no longer there");
});

scenario("it leaves one name on the page, and no machine finds a fault with it, light and dark", async (stage) => {
  for (const isDark of [false, true]) {
    // axe itself writes styles that a strict policy refuses.
    const page = await visit(stage, { isLax: true, isDark, isStill: true, width: isDark ? 320 : 1440, height: 720 });
    assert.deepEqual(await barriers(page, "closed"), []);
    await open(page);
    await say(page, "Is my data safe?");
    await answered(page);
    assert.deepEqual(await barriers(page, "with an answer"), []);
    await page.getByRole("button", { name: "More" }).click();
    await page.getByRole("button", { name: "Rate this conversation" }).click();
    assert.deepEqual(await barriers(page, "rating"), []);
    await picture(page, isDark ? "widget-phone-dark" : "widget-rating");
    const globals = await page.evaluate(() => Object.keys(globalThis).filter((name) => /weez/i.test(name)));
    assert.deepEqual(globals, ["WeeziQ"]);
  }
});

scenario("with the keyboard alone: open, write, close", async (stage) => {
  const page = await visit(stage);
  const focused = () => page.evaluate(() => document.activeElement?.shadowRoot?.activeElement?.getAttribute("aria-label"));
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "Open chat");
  await page.keyboard.press("Enter");
  await page.locator("weeziq-chat .composer").waitFor();
  assert.equal(await focused(), "Your message");
  await page.keyboard.type("Line one");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("line two");
  await page.keyboard.press("Enter");
  await sees(page, "weeziq-chat .mine .bubble", /Line one\s+line two/);
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("weeziq-chat .panel").isVisible(), false);
  assert.equal(await focused(), "Open chat");
});

scenario("two widgets on a page are two conversations", async (stage) => {
  const second = `<script src="${stage.host.baseUrl}/widget.js" data-domain="help.example" data-lang="de" defer></script>`;
  const page = await visit(stage, { body: second });
  await page.locator("weeziq-chat .launcher").nth(1).waitFor();
  await page.evaluate(() => globalThis.WeeziQ.say("Nur hier", "help.example"));
  await page.locator("weeziq-chat[data-domain='help.example'], weeziq-chat").locator(".mine .bubble", { hasText: "Nur hier" }).waitFor();
  await page.evaluate(() => globalThis.WeeziQ.open("shop.example"));
  await page.locator("weeziq-chat .composer").nth(1).waitFor();
  assert.equal(await page.locator("weeziq-chat .mine").count(), 1);
  const boxes = await page.locator("weeziq-chat .launcher").evaluateAll((all) => all.map((one) => one.getBoundingClientRect().x));
  assert.ok(Math.abs((boxes[0] ?? 0) - (boxes[1] ?? 0)) >= 60, boxes.join());
});

scenario("a page that is only looked at has no room; opening the chat makes one, and the next page is in it at once", async (stage) => {
  /** @type {string[]} */
  const sent = [];
  const joins = () => sent.filter((kind) => kind === "join-room").length;
  const page = await visit(stage, {
    prepare: async (page) => {
      page.on("websocket", (socket) => socket.on("framesent", ({ payload }) => String(payload).startsWith("{") && sent.push(JSON.parse(String(payload)).type)));
    },
  });
  const dashboard = await stage.client();
  const stats = async () => (await dashboard.ask({ type: "get-domain-stats", domainId: "shop.example" })).activeVisitors;
  await eventually(stats, (active) => active === 1);
  // Looked at further: the tracker hears of it, and still no room does.
  await page.evaluate(() => {
    history.pushState(null, "", "/cart");
    document.title = "Cart";
  });
  await dashboard.next((frame) => frame.type === "visitor-activity" && frame.title === "Cart");
  await eventually(() => sent.includes("visitor-activity"));
  assert.equal(joins(), 0, sent.join());

  await open(page);
  await page.locator("weeziq-chat .greeting").waitFor();
  await eventually(joins);
  assert.equal(joins(), 1);
  await page.reload();
  await eventually(joins, (count) => count === 2);
});

scenario("somebody who speaks first is heard by a page that was in no room", async (stage) => {
  const page = await visit(stage);
  const visitorId = () => roomOf(page);
  const roomId = await eventually(visitorId);
  const dashboard = await stage.client();
  await eventually(async () => (await dashboard.ask({ type: "get-domain-stats", domainId: "shop.example" })).activeVisitors, (active) => active === 1);
  const ann = await operator(stage, roomId);
  await ann.say({ message: "Shall I help you?" });
  await sees(page, "weeziq-chat .badge", "1");
  await page.getByRole("button", { name: "Open chat, 1 unread" }).click();
  await sees(page, "weeziq-chat .person .bubble", "Shall I help you?");
});

scenario("operators see the page that is looked at, also where pages change without loading", async (stage) => {
  const page = await visit(stage);
  const dashboard = await stage.client();
  const stats = async () => (await dashboard.ask({ type: "get-domain-stats", domainId: "shop.example" })).visitors;
  await stats();
  // The widget connects when the page is idle.
  await open(page);
  await page.locator("weeziq-chat .greeting").waitFor();
  await page.evaluate(() => {
    history.pushState(null, "", "/cart");
    document.title = "Cart";
  });
  const moved = await dashboard.next((frame) => frame.type === "visitor-activity" && frame.title === "Cart");
  assert.match(moved.url, /\/cart$/);
  assert.equal((await stats())[0].title, "Cart");
});
