/** The console where things are not as they should be: the browser's settings, its clock, what it is sent. What it tells nobody's eyes. */
import assert from "node:assert/strict";
import { assertNoSidewaysScroll, scenario, sees, wasTold } from "./support/stage.js";

/** @typedef {import("./support/stage.js").Page} Page */
/** @typedef {import("./support/stage.js").Stage} Stage */

const SITE = "shop.example";
const inbox = (/** @type {string} */ roomId = "") => `/console#/${SITE}/inbox${roomId && `/${roomId}`}`;
const MIRA = { roomId: "room-1", userId: "mira-1", userName: "Mira", role: "user", domainId: SITE };

/** A customer who has asked something. @param {Stage} stage @param {string} message @param {object} [who] */
async function customer(stage, message, who = {}) {
  const client = await stage.client();
  const about = { ...MIRA, ...who };
  await client.ask({ type: "join-room", ...about });
  const say = (/** @type {string} */ text, /** @type {object} */ more = {}) => client.ask({ type: "send-message", ...about, message: text, ...more }, "message-sent");
  await say(message);
  return { client, say, about };
}

/** The system's notifications, written down instead of shown; and a window that can be looked away from. @param {Page} page */
const writeDownNotifications = (page) =>
  page.addInitScript(() => {
    globalThis.told = [];
    globalThis.isAway = false;
    globalThis.Notification = class {
      static permission = "default";
      static async requestPermission() {
        return (Notification.permission = globalThis.decision);
      }
      /** @param {string} title @param {{body: string, tag: string}} about */
      constructor(title, { body, tag }) {
        globalThis.told.push({ title, body, tag, notification: this });
      }
      close() {}
    };
    document.hasFocus = () => !globalThis.isAway;
    for (const [name, value] of [["visibilityState", () => (globalThis.isAway ? "hidden" : "visible")], ["hidden", () => globalThis.isAway]]) {
      Object.defineProperty(document, String(name), { get: /** @type {() => unknown} */ (value) });
    }
    globalThis.lookAway = (isAway) => {
      globalThis.isAway = isAway;
      document.dispatchEvent(new Event("visibilitychange"));
    };
  });

const told = (/** @type {Page} */ page) => page.evaluate(() => globalThis.told.map(({ title, body }) => `${title}: ${body}`));

scenario("the system tells who waits and what is answered, once it may, and only while the window is not looked at", async (stage) => {
  const mira = await customer(stage, "Hello?");
  const page = await stage.window();
  await writeDownNotifications(page);
  await page.addInitScript(() => (globalThis.decision = "granted"));
  await page.goto(`${stage.host.baseUrl}${inbox()}`);
  await sees(page, "a.room", "Hello?");
  const away = (/** @type {boolean} */ isAway) => page.evaluate((isAway) => globalThis.lookAway(isAway), isAway);
  const ask = async (/** @type {string} */ roomId, /** @type {string} */ userName) => {
    const one = await customer(stage, "I have a question.", { roomId, userId: roomId, userName });
    await one.client.ask({ type: "request-human", roomId, userId: roomId, userName, domainId: SITE }, "human-requested");
    await sees(page, "a.room .badge", "Waiting");
    await sees(page, "a.room", userName);
    return one;
  };

  // Nobody has allowed it.
  await away(true);
  await ask("room-2", "Tom");
  assert.deepEqual(await told(page), []);

  await away(false);
  await page.getByRole("button", { name: "Notify me" }).click();
  await wasTold(page, "You are told of new messages");
  assert.equal(await page.getByRole("button", { name: "Notify me" }).isVisible(), false);
  // It is allowed, and the window is looked at.
  await ask("room-3", "Ida");
  await wasTold(page, "Ida asks for a person");
  assert.deepEqual(await told(page), []);

  await away(true);
  await ask("room-4", "Eva");
  await page.waitForFunction(() => globalThis.told.length > 0);
  assert.deepEqual(await told(page), ["Eva asks for a person: I have a question."]);

  // The AI's conversations are the AI's; of those that people have taken over each answer is told.
  await mira.say("One for the AI");
  await sees(page, "a.room", "One for the AI");
  mira.client.send({ type: "toggle-live-agent", roomId: MIRA.roomId, enabled: true });
  const ann = await stage.client();
  const about = { roomId: MIRA.roomId, userId: "ann", userName: "Ann", role: "agent", domainId: SITE };
  await ann.ask({ type: "join-room", ...about });
  ann.send({ type: "toggle-live-agent", roomId: MIRA.roomId, userId: "ann", enabled: true });
  await sees(page, "a.room .badge", "Live");
  await mira.say("One for people");
  await page.waitForFunction(() => globalThis.told.length > 1);
  assert.deepEqual((await told(page)).slice(1), ["Mira: One for people"]);

  // It leads to where it is from.
  await page.evaluate(() => globalThis.told.at(-1).notification.onclick());
  await sees(page, ".message .bubble", "One for people");
  assert.match(page.url(), /inbox\/room-1$/);
});

scenario("who refuses notifications is not asked again, and told in the window all the same", async (stage) => {
  const page = await stage.window();
  await writeDownNotifications(page);
  await page.addInitScript(() => (globalThis.decision = "denied"));
  await page.goto(`${stage.host.baseUrl}${inbox()}`);
  const bell = page.getByRole("button", { name: "Notify me" });
  await bell.click();
  await bell.waitFor({ state: "hidden" });
  await page.evaluate(() => globalThis.lookAway(true));
  const { client } = await customer(stage, "Hello?");
  await client.ask({ type: "request-human", ...MIRA }, "human-requested");
  await wasTold(page, "Mira asks for a person");
  assert.deepEqual(await told(page), []);
});

scenario("without storage and years behind the time it works, and counts ages by the server's clock", async (stage) => {
  const mira = await customer(stage, "Hello?");
  await mira.client.ask({ type: "visitor-joined-domain", domainId: SITE, visitorId: "mira-1", visitorData: { url: "https://shop.example/", title: "Start" } });
  const page = await stage.window();
  await page.addInitScript(() => {
    for (const name of ["localStorage", "sessionStorage", "indexedDB"]) {
      Object.defineProperty(globalThis, name, { get: () => { throw new DOMException("no", "SecurityError"); } });
    }
    const now = Date.now.bind(Date);
    Date.now = () => now() - 30 * 365 * 86_400_000;
  });
  await page.goto(`${stage.host.baseUrl}${inbox(MIRA.roomId)}`);
  await sees(page, ".message .bubble", "Hello?");
  await sees(page, "a.room time, a.room .when, a.room", /now|\d s|\d min/);
  await page.fill("#reply", "Hello Mira.");
  await page.getByRole("button", { name: "Take over & send" }).click();
  await mira.client.next({ type: "new-message", message: "Hello Mira." });
  await page.goto(`${stage.host.baseUrl}/console#/${SITE}/visitors`);
  await sees(page, "a.visitor", "Start");
  assert.doesNotMatch(await page.locator("main").innerText(), /\d+ d\b|NaN|Invalid/);
});

scenario("16 KiB without a space, and right to left with code, fit a phone", async (stage) => {
  const { say } = await customer(stage, "x".repeat(16 * 1024));
  await say("أضف هذا السطر <script src=\"widget.js\" defer></script> قبل </body>");
  const page = await stage.window({ width: 320, height: 640, path: inbox(MIRA.roomId) });
  await sees(page, ".message .bubble", "قبل");
  await assertNoSidewaysScroll(page, "a long word");
  const [inside, view] = await page.locator(".log .scroller").evaluate((scroller) => [scroller.scrollWidth, scroller.clientWidth]);
  assert.ok(inside <= view, `${inside} in ${view}`);
  const direction = await page.locator(".message .bubble", { hasText: "قبل" }).evaluate((bubble) => getComputedStyle(bubble).direction);
  assert.equal(direction, "rtl");
});

scenario("a file that is removed leaves its card, and says so", async (stage) => {
  stage.expected.push(/404 \(Not Found\) \S*\/files\//, /410 \(Gone\)/);
  const { say } = await customer(stage, "Look at this");
  const png = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "base64");
  const query = new URLSearchParams({ name: "dot.png", roomId: MIRA.roomId, domainId: SITE, userId: MIRA.userId });
  const file = await (await fetch(`${stage.host.baseUrl}/files?${query}`, { method: "POST", body: png, headers: { "content-type": "image/png" } })).json();
  await say("Here", { attachments: [file] });
  const page = await stage.window({ path: inbox(MIRA.roomId) });
  await page.waitForFunction(() => /** @type {HTMLImageElement | null} */ (document.querySelector(".thumbnail"))?.naturalWidth === 1);
  const removed = await fetch(`${stage.host.baseUrl}/files/${file.key}`, { method: "DELETE" });
  assert.ok(removed.ok, `${removed.status}`);
  await page.reload();
  await sees(page, ".file .file-gone", "no longer there");
  await sees(page, ".file-name", "dot.png");
});
