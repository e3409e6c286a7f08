/** The pages of a fresh server, as a newcomer meets them. The widget: widget.test.js. */
import assert from "node:assert/strict";
import { readmePicture } from "./support/looks.js";
import { GUARD_MS, assertNoSidewaysScroll, barriers, picture, scenario, sees } from "./support/stage.js";
import { answered, texts } from "./support/widget.js";

const PAGES = ["/", "/components", "/docs"];

scenario("a newcomer without a key sees that it runs, asks, and finds the console", async (stage) => {
  const page = await stage.window({ path: "/" });
  await sees(page, "#health", "Running and well, version");
  await page.getByRole("button", { name: "Does a crash lose messages?" }).click();
  await answered(page);
  assert.equal((await texts(page)).length, 2);
  await sees(page, "#visitors-now", /^1$/);
  await readmePicture(page, "start");
  const other = await stage.window({ path: "/" });
  await sees(page, "#visitors-now", /^2$/);
  await other.close();
  // Whoever goes has a grace of 15 s to come back by the next page of the site.
  await page.locator("#visitors-now", { hasText: /^1$/ }).waitFor({ timeout: 2 * GUARD_MS });
  assert.match((await page.getByRole("link", { name: "Open the console" }).getAttribute("href")) ?? "", /^\/console#/);
});

scenario("the server is killed and comes back: the page says both, and what was typed arrives once", async (stage) => {
  stage.expected.push(/WebSocket connection to|ERR_(CONNECTION|EMPTY|INCOMPLETE)/);
  const page = await stage.window({ path: "/" });
  await sees(page, "#health", "Running and well");
  await page.locator("weeziq-chat .composer").waitFor();
  const { port } = new URL(stage.host.baseUrl);
  await stage.host.kill9();
  await sees(page, "#health", "does not answer");
  await page.locator("weeziq-chat textarea").fill("meanwhile");
  await page.keyboard.press("Enter");
  await sees(page, "weeziq-chat .pending .mark", "Sending");
  await stage.host.restart({ PORT: port });
  await sees(page, "#health", "Running and well");
  await page.locator("weeziq-chat .mine[data-seq]").waitFor();
  assert.deepEqual((await texts(page)).filter((text) => text === "meanwhile").length, 1);
});

scenario("no machine finds a fault with any page, light or dark, and none scrolls sideways on a phone", async (stage) => {
  for (const isDark of [false, true]) {
    const page = await stage.window({ isDark, isStill: true, width: isDark ? 320 : 1440, height: 900 });
    for (const path of PAGES) {
      await page.goto(`${stage.host.baseUrl}${path}`);
      await page.waitForLoadState("networkidle");
      assert.deepEqual(await barriers(page, `${path}${isDark ? ", dark" : ""}`), []);
      await assertNoSidewaysScroll(page, path);
      await picture(page, `page${path.replace("/", "-")}${isDark ? "-phone-dark" : ""}`);
    }
  }
  // axe itself writes styles that the policy of these pages refuses.
  stage.expected.push(/Applying inline style/);
});

scenario("a page may run only what comes as a file from its own server", async ({ host }) => {
  for (const path of PAGES) {
    const reply = await fetch(`${host.baseUrl}${path}`, { headers: { accept: "text/html" } });
    const policy = reply.headers.get("content-security-policy") ?? "";
    assert.match(policy, /(default|script)-src 'self'/);
    assert.doesNotMatch(policy, /unsafe-|\*/);
    assert.doesNotMatch(await reply.text(), /<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc="\/)/);
  }
});

scenario("a page that is known is not sent again", async ({ host }) => {
  const first = await fetch(`${host.baseUrl}/tokens.css`);
  const tag = first.headers.get("etag");
  assert.ok(tag);
  const again = await fetch(`${host.baseUrl}/tokens.css`, { headers: { "if-none-match": tag } });
  assert.equal(again.status, 304);
});
