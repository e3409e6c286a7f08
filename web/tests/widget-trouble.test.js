/** The widget where things go wrong: on the way, on the page around it, in what it is sent. */
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { SECRET, inSeconds, token } from "../../conformance/tokens.js";
import { site } from "./support/site.js";
import { HOSTILE, assertNoSidewaysScroll, picture, scenario, sees } from "./support/stage.js";
import { answered, odyssey, open, operator, roomOf, say, texts, visit } from "./support/widget.js";

const SITE = "shop.example";
const PEOPLE = { domain: SITE, ai: "off" };
const CUT = /WebSocket connection to|ERR_(CONNECTION|EMPTY|INCOMPLETE|FAILED)/;
const LOADER_BYTES_MAX = 5_000;
const APP_BYTES_MAX = 25_000;

scenario("an answer goes on after the connection is cut in the middle, and after a reload there", async (stage) => {
  stage.expected.push(CUT);
  let cuts = 0;
  const page = await visit(stage, {
    prepare: (page) =>
      page.routeWebSocket(/\/ws/, (socket) => {
        const server = socket.connectToServer();
        let chunks = 0;
        server.onMessage((frame) => {
          socket.send(frame);
          if (!String(frame).includes("ai-stream-chunk") || ++chunks < 4 || cuts > 0) return;
          cuts += 1;
          server.close();
          socket.close();
        });
      }),
  });
  await open(page);
  await say(page, "Does a crash lose messages?");
  await answered(page);
  assert.equal(cuts, 1);
  await say(page, await odyssey(stage));
  await page.locator("weeziq-chat .writing .bubble", { hasText: /\w/ }).waitFor();
  await page.reload();
  await open(page);
  await page.locator("weeziq-chat .message.assistant[data-seq]").nth(1).waitFor();
  const said = await texts(page);
  assert.equal(said.length, 4, said.join(" | "));
  await page.locator("weeziq-chat .writing").waitFor({ state: "detached" });
});

scenario("what is written while the server is away is kept, over a reload too, and arrives once", async (stage) => {
  stage.expected.push(CUT);
  const page = await visit(stage, { data: PEOPLE });
  await open(page);
  await say(page, "before");
  await page.locator("weeziq-chat .mine[data-seq]").waitFor();
  const { port } = new URL(stage.host.baseUrl);
  await stage.host.kill9();
  await sees(page, "weeziq-chat .state", "No connection");
  await say(page, "meanwhile");
  await sees(page, "weeziq-chat .pending .mark", "Sending");
  await stage.host.restart({ PORT: port });
  await page.reload();
  await open(page);
  await page.locator("weeziq-chat .mine[data-seq]").nth(1).waitFor();
  await say(page, "after");
  await page.locator("weeziq-chat .mine[data-seq]").nth(2).waitFor();
  assert.deepEqual(await texts(page), ["before", "meanwhile", "after"]);
});

scenario("a page whose server is down loses nothing but its widget; one that dies before it is opened says so", async (stage) => {
  stage.expected.push(CUT, /WeeziQ: TypeError: Failed to fetch/);
  const page = await visit(stage, { data: PEOPLE });
  const { port } = new URL(stage.host.baseUrl);
  await page.route("**/widget/app.js*", (route) => route.abort());
  await page.locator("weeziq-chat .launcher").click();
  await page.getByRole("button", { name: "cannot be loaded right now" }).waitFor();
  await page.unroute("**/widget/app.js*");
  await open(page);
  await stage.host.kill9();
  await page.reload();
  await sees(page, "h1", "Shoes");
  assert.equal(await page.locator("weeziq-chat").count(), 0);
  await stage.host.restart({ PORT: port });
});

scenario("no text becomes HTML: messages, names, files, sources, settings", async (stage) => {
  const put = await fetch(`${stage.host.baseUrl}/domains/${SITE}`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ name: HOSTILE, welcomeMessage: HOSTILE }),
  });
  assert.equal(put.status, 200);
  const page = await visit(stage, { data: PEOPLE });
  await open(page);
  await sees(page, "weeziq-chat .greeting", "<img");
  await say(page, HOSTILE);
  await page.locator("weeziq-chat input[type=file]").setInputFiles({ name: '"><img src=x onerror=document.title=1>.txt', mimeType: "text/plain", buffer: Buffer.from("x") });
  await page.locator("weeziq-chat .upload.done").waitFor();
  await page.locator("weeziq-chat .send").click();
  await page.locator("weeziq-chat .mine[data-seq]").nth(1).waitFor();
  const ann = await operator(stage, await roomOf(page), { userName: HOSTILE });
  const links = "[a](javascript:document.title='run') [b](data:text/html,x) [c](JaVaScRiPt:alert(1)) [good](https://example.com/a_(b)) ![p](https://evil.example/p.png)";
  const attachments = [{ name: HOSTILE, url: "javascript:alert(1)", size: 1 }];
  await ann.say({ message: `${HOSTILE}\n\n${links}\n\n\`${HOSTILE}\`\n\n| ${HOSTILE} |\n|---|\n| x |`, attachments });
  await sees(page, "weeziq-chat .person .bubble", "good");
  const found = await page.locator("weeziq-chat").evaluate((host) => {
    const all = [...(host.shadowRoot?.querySelectorAll(".panel *") ?? [])];
    return {
      made: all.filter((one) => /^(B|SCRIPT|IFRAME|OBJECT)$/.test(one.tagName)).length,
      pictures: all.filter((one) => one.tagName === "IMG").length,
      links: all.flatMap((one) => (one instanceof HTMLAnchorElement ? [`${one.protocol} ${one.rel}`] : [])),
      handlers: all.flatMap((one) => one.getAttributeNames()).filter((name) => /^on|style/.test(name)),
    };
  });
  assert.equal(found.made + found.pictures + found.handlers.length, 0, JSON.stringify(found));
  assert.ok(found.links.length >= 2 && found.links.every((link) => /^https?: .*noopener/.test(link)), JSON.stringify(found.links));
  assert.equal(await page.title(), "Shop");
});

scenario("a page with hostile CSS, without storage, in the wrong century", async (stage) => {
  const hostile = "html { font-size: 5px } * { display: none !important; color: red !important; all: unset !important; transform: none } weeziq-chat { opacity: 0 !important; --accent: red } body { display: block !important; transform: scale(0.1) }";
  const page = await visit(stage, {
    isLax: true,
    head: `<style>${hostile}</style>`,
    data: PEOPLE,
    prepare: (page) =>
      page.addInitScript(() => {
        for (const name of ["localStorage", "sessionStorage", "indexedDB"]) {
          Object.defineProperty(globalThis, name, { get: () => { throw new DOMException("no", "SecurityError"); } });
        }
        const skewMs = -30 * 365 * 86_400_000;
        const now = Date.now.bind(Date);
        Date.now = () => now() + skewMs;
      }),
  });
  const box = await page.locator("weeziq-chat .launcher").boundingBox();
  assert.equal(box?.width, 60);
  await open(page);
  await say(page, "Hello");
  await page.locator("weeziq-chat .mine[data-seq]").waitFor();
  const style = await page.locator("weeziq-chat .bubble").last().evaluate((bubble) => [getComputedStyle(bubble).fontSize, getComputedStyle(bubble).color]);
  assert.deepEqual([style[0], style[1] === "rgb(255, 0, 0)"], ["15.5008px", false]);
  await sees(page, "weeziq-chat .mine .mark", "Delivered");
});

scenario("16 KiB without a space fit, one byte more is refused before it is sent", async (stage) => {
  const page = await visit(stage, { data: PEOPLE, width: 320, height: 640 });
  await open(page);
  await say(page, "x".repeat(16 * 1024));
  await page.locator("weeziq-chat .mine[data-seq]").waitFor();
  const [inside, view] = await page.locator("weeziq-chat .scroll").evaluate((scroll) => [scroll.scrollWidth, scroll.clientWidth]);
  assert.ok(inside <= view, `${inside} in ${view}`);
  await assertNoSidewaysScroll(page, "a long word");
  await page.locator("weeziq-chat .composer textarea").fill(`é${"x".repeat(16 * 1024 - 1)}`);
  await sees(page, "weeziq-chat .complaint", "Too long");
  await page.keyboard.press("Enter");
  assert.equal(await page.locator("weeziq-chat .mine").count(), 1);
});

scenario("right to left, with code from the left", async (stage) => {
  const page = await visit(stage, { lang: "ar", data: PEOPLE, width: 390, height: 700 });
  await open(page);
  await sees(page, "weeziq-chat .greeting", "مرحبًا");
  await say(page, "كيف أضيف السطر؟");
  await page.locator("weeziq-chat .mine[data-seq]").waitFor();
  const ann = await operator(stage, await roomOf(page), { userName: "آن" });
  await ann.say({ message: "أضف هذا السطر إلى الصفحة، قبل `</body>`:\n\n```html\n<script src=\"widget.js\" defer></script>\n```\n\n1. احفظ\n2. أعد التحميل" });
  await page.locator("weeziq-chat pre").waitFor();
  const sides = await page.locator("weeziq-chat").evaluate(({ shadowRoot }) => {
    const of = (/** @type {string} */ selector) => {
      const found = /** @type {Element} */ (shadowRoot?.querySelector(selector));
      return { x: found.getBoundingClientRect().x, direction: getComputedStyle(found).direction };
    };
    return { panel: of(".panel").direction, pre: of("pre").direction, theirs: of(".person .bubble").x, mine: of(".mine .bubble").x };
  });
  assert.deepEqual([sides.panel, sides.pre], ["rtl", "ltr"]);
  assert.ok(sides.mine < sides.theirs, "one's own are on the left");
  await picture(page, "widget-arabic");
});

scenario("a flood into the open conversation leaves it usable and short", async (stage) => {
  const page = await visit(stage, { data: PEOPLE });
  await open(page);
  await say(page, "Hello");
  await page.locator("weeziq-chat .mine[data-seq]").waitFor();
  const roomId = await roomOf(page);
  const ann = await operator(stage, roomId);
  const flood = (async () => {
    for (let n = 0; n < 1_500; n += 1) {
      ann.client.send({ type: "send-message", roomId, userId: "ann", userName: "Ann", role: "agent", message: `Message ${n} with **some** words` });
      // 500 a second: that pace is what is tried, and nothing waits for it.
      if (n % 25 === 24) await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })();
  // While it lasts what is typed goes out and comes back.
  await say(page, "Stop please");
  await flood;
  await sees(page, "weeziq-chat .bubble", "Message 1499");
  assert.ok((await page.locator("weeziq-chat .log > li").count()) <= 201);
  await page.getByRole("button", { name: "Earlier messages" }).click();
  await sees(page, "weeziq-chat .bubble", "Message 1290 ");
  // All that is shown stands in its order, and nothing twice or left out.
  const seqs = (await page.locator("weeziq-chat .message[data-seq]").evaluateAll((all) => all.map((one) => Number(/** @type {HTMLElement} */ (one).dataset.seq))));
  assert.deepEqual(seqs, seqs.map((_, place) => (seqs[0] ?? 0) + place));
  const said = await page.locator("weeziq-chat .mine[data-seq] .bubble").allInnerTexts();
  assert.ok(said.every((text) => text === "Stop please" || text === "Hello"), said.join(" | "));
}, { EVENTS_PER_SEC: "0" });

/** @param {number} seconds from now */
const mira = (seconds) => token({ sub: "mira", name: "Mira", domains: [SITE], exp: inSeconds(seconds) });

scenario("a token brings the history to another device; an expired one is said, and a fresh one goes on", async (stage) => {
  stage.expected.push(/401|WebSocket connection to/);
  const first = await visit(stage, { data: { ...PEOPLE, token: mira(600) } });
  await open(first);
  await say(first, "From the first device");
  await first.locator("weeziq-chat .mine[data-seq]").waitFor();
  const second = await visit(stage, { data: { ...PEOPLE, token: mira(-60) }, prepare: (page) => page.addInitScript(() => addEventListener("weeziq:unauthorized", () => (document.title = "unauthorized"))) });
  await open(second);
  await sees(second, "weeziq-chat .state", "signed out");
  await second.waitForFunction(() => document.title === "unauthorized");
  await second.evaluate((token) => globalThis.WeeziQ.identify({ token }), mira(600));
  await sees(second, "weeziq-chat .mine .bubble", "From the first device");
}, { AUTH_SECRET: SECRET });

scenario("the budgets hold, in bytes as they are sent", async (stage) => {
  const page = await stage.window();
  /** @type {Map<string, number>} */
  const fetched = new Map();
  /** @type {Promise<void>[]} */
  const weighed = [];
  page.on("response", (response) => {
    const { pathname } = new URL(response.url());
    const weigh = async () => void fetched.set(pathname, gzipSync(await response.body(), { level: 9 }).length);
    if (/\.(js|css)$/.test(pathname)) weighed.push(weigh());
  });
  await page.goto(await site(stage.host.baseUrl, { data: PEOPLE }));
  await open(page);
  await page.locator("weeziq-chat .greeting").waitFor();
  await Promise.all(weighed);
  const sum = (/** @type {(path: string) => boolean} */ matches) => [...fetched].reduce((total, [path, bytes]) => total + (matches(path) ? bytes : 0), 0);
  const isLoader = (/** @type {string} */ path) => /^\/(widget\.js|widget\/(launcher|element|options|words|words\/en)\.js)$/.test(path);
  const scripts = sum((path) => path.endsWith(".js"));
  const loader = sum(isLoader);
  console.log(`loader ${loader}, all scripts ${scripts}, styles ${sum((path) => path.endsWith(".css"))} bytes gzipped, in ${fetched.size} files`);
  assert.ok(loader <= LOADER_BYTES_MAX, `loader: ${loader}`);
  assert.ok(scripts - loader <= APP_BYTES_MAX, `app: ${scripts - loader}`);
});
