/** The operator console as an agent meets it. What it does with large numbers: console-load.test.js. */
import assert from "node:assert/strict";
import { eventually } from "../../conformance/eventually.js";
import { HOSTILE, assertNoSidewaysScroll, assertNothingRan, barriers, picture, scenario, sees, wasTold } from "./support/stage.js";

const SITE = "shop.example";
const FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0";

/** @param {string} view @param {string} [id] */
const at = (view, id) => `/console#/${SITE}/${view}${id === undefined ? "" : `/${encodeURIComponent(id)}`}`;

/** @param {import("./support/stage.js").Stage} stage @param {string} visitorId @param {object} [visitorData] */
async function visitor(stage, visitorId, visitorData) {
  const client = await stage.client();
  const data = { userAgent: FIREFOX, url: "https://shop.example/bikes", title: "All bikes", referrer: "https://search.example/?q=bikes", language: "en", ...visitorData };
  await client.ask({ type: "visitor-joined-domain", domainId: SITE, visitorId, visitorData: data });
  return client;
}

/** @param {import("../../conformance/client.js").Client} client @param {string} roomId @param {string} userName @param {string} message */
async function asks(client, roomId, userName, message) {
  const who = { roomId, userId: `${userName.toLowerCase()}-1`, userName, role: "user", domainId: SITE };
  await client.ask({ type: "join-room", ...who });
  await client.ask({ type: "send-message", ...who, message });
  return who;
}

scenario("an agent sees visitors come, move and go", async (stage) => {
  const agent = await stage.window({ path: at("visitors") });
  await sees(agent, ".empty", "Nobody is on the site now");
  await sees(agent, "#open-note", "anyone");
  const mira = await visitor(stage, "visitor-mira");
  const row = agent.locator("a.visitor");
  await sees(agent, "a.visitor", "All bikes");
  await sees(agent, "a.visitor", "Firefox on Linux");
  await sees(agent, "a.visitor", "search.example");
  await sees(agent, "h1", "1 on the site");

  mira.send({ type: "visitor-activity", domainId: SITE, visitorId: "visitor-mira", url: "https://shop.example/cart", title: "Your basket" });
  await sees(agent, "a.visitor", "Your basket");
  await row.click();
  await sees(agent, ".visitor-detail .trail", "All bikes");
  assert.match(agent.url(), /#\/shop\.example\/visitors\/visitor-mira$/);

  await mira.ask({ type: "visitor-left-domain", domainId: SITE, visitorId: "visitor-mira" });
  await sees(agent, ".visitor-detail", "not on the site any more");
  await agent.goBack();
  await sees(agent, ".empty", "Nobody is on the site now");
  await row.waitFor({ state: "detached" });
});

scenario("an agent opens a conversation by its address, sees the AI write, takes over and answers", async (stage) => {
  const mira = await visitor(stage, "mira-1");
  const who = await asks(mira, "room-1", "Mira", "Is the blue one in stock?");
  const agent = await stage.window({ path: at("inbox", "room-1") });
  await sees(agent, ".talk-title", "Mira");
  await sees(agent, ".message.theirs .bubble", "Is the blue one in stock?");
  await sees(agent, ".profile", "On the site now");

  mira.send({ type: "ai-stream", message: "Does a crash lose messages?", roomId: "room-1", domainId: SITE, userId: who.userId });
  await agent.locator(".message.ai .bubble").first().waitFor();
  await sees(agent, ".said:not(.tail) .message.ai .badge", "AI");

  await agent.getByRole("button", { name: "Take over", exact: true }).click();
  const toggled = await mira.next({ type: "live-agent-toggled" });
  assert.equal(toggled.enabled, true);
  await sees(agent, ".notice", "You took over");
  await agent.fill("#reply", "Yes, three of them.");
  await agent.press("#reply", "Enter");
  const answer = await mira.next({ type: "new-message", message: "Yes, three of them." });
  assert.equal(answer.role, "agent");
  await sees(agent, ".message.mine .bubble", "Yes, three of them.");

  mira.send({ type: "typing-start", ...who });
  await sees(agent, ".typing", "Mira is writing");
  await agent.getByRole("button", { name: "Hand back" }).click();
  assert.equal((await mira.next({ type: "live-agent-toggled", enabled: false })).enabled, false);
  await sees(agent, ".talk-who", "The AI answers");
});

scenario("to write is to take over: nobody hears two at once", async (stage) => {
  const mira = await visitor(stage, "mira-1");
  await asks(mira, "room-1", "Mira", "Hello?");
  const agent = await stage.window({ path: at("inbox", "room-1") });
  await sees(agent, ".message .bubble", "Hello?");
  await agent.fill("#reply", "Hello Mira.");
  await agent.getByRole("button", { name: "Take over & send" }).click();
  const [first, second] = [await mira.next({ type: "live-agent-toggled" }), await mira.next({ type: "new-message", message: "Hello Mira." })];
  assert.ok(first.seq < second.seq);
});

scenario("a deleted conversation is gone for good, from the list and from the server", async (stage) => {
  const mira = await visitor(stage, "mira-1");
  await asks(mira, "room-1", "Mira", "Forget me, please.");
  await asks(mira, "room-2", "Mira", "And this stays.");
  const agent = await stage.window({ path: at("inbox", "room-1") });
  await sees(agent, ".message .bubble", "Forget me, please.");
  const deletes = async () => {
    await agent.getByRole("button", { name: "More about this conversation" }).click();
    await agent.getByRole("button", { name: "Delete for good …" }).click();
  };
  await deletes();
  await agent.getByRole("button", { name: "Cancel" }).click();
  await sees(agent, ".message .bubble", "Forget me, please.");
  await deletes();
  await agent.getByRole("button", { name: "Delete for good", exact: true }).click();
  await wasTold(agent, "Deleted.");
  await agent.locator("a.room").nth(1).waitFor({ state: "detached" });
  await sees(agent, "a.room", "And this stays.");
  // Mira is still in it, and may begin anew.
  assert.equal((await fetch(`${stage.host.baseUrl}/rooms/room-1/messages`)).status, 404);
  await agent.reload();
  await sees(agent, "a.room", "And this stays.");
  assert.equal(await agent.locator("a.room").count(), 1);
});

/** @param {import("./support/stage.js").Stage} stage @returns {Promise<{messages: number}[]>} */
async function series({ host }) {
  return (await (await fetch(`${host.baseUrl}/stats/domain/${SITE}/series`)).json()).buckets;
}

scenario("the overview counts visitors, messages and the AI's answers, and names pages and where visitors come from", async (stage) => {
  const mira = await visitor(stage, "mira-1");
  const who = await asks(mira, "room-1", "Mira", "Hello?");
  mira.send({ type: "ai-stream", message: "Does a crash lose messages?", roomId: "room-1", domainId: SITE, userId: who.userId });
  await mira.next({ type: "new-message", role: "assistant" });
  // A busy room tells its domain once a second.
  await eventually(async () => (await series(stage)).reduce((sum, { messages }) => sum + messages, 0), (messages) => messages === 3);
  const agent = await stage.window({ path: at("overview") });
  /** The last two rows of a chart's table together, as an hour may end at any moment. @param {string} title */
  const last = async (title) => {
    const chart = agent.locator("figure.chart", { has: agent.locator("h2", { hasText: new RegExp(`^${title}$`) }) });
    await chart.locator("svg").waitFor();
    const rows = await chart.locator("tbody tr").evaluateAll((all) => all.slice(-2).map((row) => [...row.querySelectorAll("td")].map(({ textContent }) => Number(textContent))));
    return rows.reduce((sums, row) => row.map((number, place) => number + (sums[place] ?? 0)));
  };
  assert.deepEqual(await last("Visitors"), [1, 1]);
  // What was said, the question and its answer; and of these the answer.
  assert.deepEqual(await last("Messages"), [3, 1]);
  await sees(agent, ".lists tr", "All bikes");
  await sees(agent, ".lists tr", "search.example");
  for (const [span, bars] of [["7 days", 168], ["30 days", 30]]) {
    await agent.getByLabel(String(span)).check({ force: true });
    await agent.waitForFunction((least) => [...document.querySelectorAll("figure.chart")].some((chart) => chart.querySelector("h2")?.textContent === "Messages" && chart.querySelectorAll("tbody tr").length >= least), Number(bars));
    assert.deepEqual(await last("Messages"), [3, 1]);
  }
  await picture(agent, "console-overview-counted");
});

scenario("a draft outlives a reload, and two agents see each other", async (stage) => {
  const mira = await visitor(stage, "mira-1");
  await asks(mira, "room-1", "Mira", "Hello?");
  const ann = await stage.window({ path: at("inbox", "room-1") });
  await sees(ann, ".message .bubble", "Hello?");
  await ann.fill("#my-name", "Ann");
  await ann.press("#my-name", "Tab");
  await ann.fill("#reply", "half a sentence");
  await ann.reload();
  await sees(ann, ".message .bubble", "Hello?");
  assert.equal(await ann.inputValue("#reply"), "half a sentence");
  const bob = await stage.window({ path: at("inbox", "room-1") });
  await sees(bob, ".talk-who", "also here: Ann");
  await ann.locator("#reply").pressSequentially(" more");
  await sees(bob, ".typing", "Ann is writing");
});

scenario("what visitors send is text wherever it is shown", async (stage) => {
  const bad = { url: "javascript:document.title='run'", title: HOSTILE, referrer: "javascript:document.title='run'", userAgent: HOSTILE, language: HOSTILE };
  const mira = await visitor(stage, "mira-1", bad);
  const who = { roomId: "room-1", userId: "mira-1", userName: HOSTILE, role: "user", domainId: SITE };
  await mira.ask({ type: "join-room", ...who });
  const attachments = [{ name: HOSTILE, url: "javascript:document.title='run'", contentType: "image/png", size: 5 }, { name: { toString: "x" }, url: 7 }, null];
  await mira.ask({ type: "send-message", ...who, message: `${HOSTILE} javascript:alert(1) https://shop.example/"><b>x`, attachments });
  mira.send({ type: "typing-start", ...who });

  const agent = await stage.window({ path: at("inbox", "room-1") });
  await sees(agent, ".message .bubble", "<script>");
  await sees(agent, ".talk-title", "<script>");
  await sees(agent, ".file-name", "onerror");
  await assertNothingRan(agent);
  assert.equal(await agent.locator('a[href^="javascript"]').count(), 0);
  await agent.goto(`${stage.host.baseUrl}${at("visitors", "mira-1")}`);
  await sees(agent, ".visitor-detail", "<script>");
  await assertNothingRan(agent);
  assert.equal(await agent.locator('a[href^="javascript"]').count(), 0);
  // A name in the address is the reader's own, and no less a text.
  await agent.goto(`${stage.host.baseUrl}/console#/${encodeURIComponent(HOSTILE)}/install`);
  await sees(agent, ".snippet", "onerror");
  await assertNothingRan(agent);
});

scenario("keys do what the sheet says, and can be switched off", async (stage) => {
  const agent = await stage.window({ path: at("inbox") });
  await sees(agent, "h1", "Inbox");
  // The second has to come soon after the first, so it does not wait for that.
  await Promise.all(["g", "v"].map((key) => agent.keyboard.press(key)));
  await sees(agent, "h1", /Visitors|on the site/);
  await agent.keyboard.press("?");
  await sees(agent, "#keys[open]", "Take over, or hand back");
  await agent.check("#keys-off");
  await agent.click("#keys-close");
  await agent.keyboard.press("g");
  await agent.keyboard.press("i");
  assert.match(agent.url(), /visitors$/);
});

scenario("a cut connection is told, and what was written meanwhile arrives once", async (stage) => {
  stage.expected = [...stage.expected, /ERR_|WebSocket connection to|Failed to load resource/];
  const mira = await visitor(stage, "mira-1");
  await asks(mira, "room-1", "Mira", "Hello?");
  const agent = await stage.window({ path: at("inbox", "room-1") });
  await sees(agent, ".message .bubble", "Hello?");
  const { port } = new URL(stage.host.baseUrl);
  await stage.host.kill9();
  await sees(agent, "#link", /lost|Refused/);
  await agent.fill("#reply", "Are you still there?");
  await agent.press("#reply", "Enter");
  await sees(agent, ".pending .bubble", "Are you still there?");
  await stage.host.restart({ PORT: port });
  await sees(agent, "#link", "Connected");
  await sees(agent, ".said:not(.tail) .mine .bubble", "Are you still there?");
  await agent.reload();
  await sees(agent, ".said:not(.tail) .mine .bubble", "Are you still there?");
  assert.equal(await agent.locator(".mine .bubble").count(), 1);
});

for (const isDark of [false, true]) {
  scenario(`every view is accessible and fits a phone, ${isDark ? "dark" : "light"}`, async (stage) => {
    const mira = await visitor(stage, "mira-1");
    await asks(mira, "room-1", "Mira", `Is this one in stock? ${"https://shop.example/".padEnd(300, "x")}`);
    await visitor(stage, "visitor-tom", { title: "Returns", url: "https://shop.example/help/returns", referrer: "" });
    /** @type {string[]} */
    const found = [];
    for (const [width, height] of [[1440, 900], [768, 1024], [320, 640]]) {
      const agent = await stage.window({ width, height, isDark, isStill: true, path: at("inbox", "room-1") });
      await sees(agent, ".message .bubble", "Is this one in stock?");
      for (const [view, id, sign] of [["inbox", "room-1", ".message .bubble"], ["inbox", undefined, ".inbox .pane h1"], ["visitors", undefined, "a.visitor"], ["visitors", "mira-1", ".visitor-detail .facts"], ["overview", undefined, ".number-card"], ["settings", undefined, ".settings-form fieldset"], ["install", undefined, ".snippet"]]) {
        await agent.goto(`${stage.host.baseUrl}${at(String(view), id)}`);
        await agent.locator(String(sign)).first().waitFor();
        const when = `${view} ${id ?? ""} at ${width} px`;
        found.push(...(await barriers(agent, when)));
        await assertNoSidewaysScroll(agent, when);
        await picture(agent, `console-${view}${id ? "-open" : ""}-${width}${isDark ? "-dark" : ""}`);
      }
      await agent.keyboard.press("?");
      found.push(...(await barriers(agent, `the keys at ${width} px`)));
      await agent.context().close();
    }
    assert.deepEqual(found, []);
  });
}

scenario("the console may run only what comes as a file from its own server", async ({ host }) => {
  const reply = await fetch(`${host.baseUrl}/console`);
  const policy = reply.headers.get("content-security-policy") ?? "";
  assert.match(policy, /(default|script)-src 'self'/);
  assert.doesNotMatch(policy, /unsafe-|\*/);
  assert.match(reply.headers.get("content-type") ?? "", /^text\/html/);
  assert.doesNotMatch(await reply.text(), /<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc="\/)/);
});
