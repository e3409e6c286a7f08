/** The console of a server that knows who is who. */
import assert from "node:assert/strict";
import { SECRET, inSeconds, token } from "../../conformance/tokens.js";
import { barriers, picture, scenario, sees, wasTold } from "./support/stage.js";

const SITE = "shop.example";
const SECURE = { AUTH_SECRET: SECRET };
/** Long enough to sign in and write half a sentence, short enough to wait for. */
const SHORT_S = 15;

/** @param {object} [claims] */
const ofAnn = (claims) => token({ sub: "ann", name: "Ann", role: "agent", domains: [SITE], ...claims });

/** @param {import("./support/stage.js").Page} page @param {string} value */
async function signIn(page, value) {
  await page.locator("#sign-in[open]").waitFor();
  await page.fill("#sign-in-token", value);
  await page.press("#sign-in-token", "Enter");
}

scenario("nobody gets in without a token, and with one to where they were going", async (stage) => {
  stage.expected = [...stage.expected, /\((Unauthorized|Forbidden)\)/];
  const agent = await stage.window({ path: `/console#/${SITE}/visitors` });
  await sees(agent, "#sign-in-title", "Sign in");
  assert.deepEqual(await barriers(agent, "sign in"), []);
  await picture(agent, "console-sign-in");
  assert.equal(await agent.locator("#console").isVisible(), false);
  await signIn(agent, "nonsense");
  await sees(agent, "#sign-in-why", "no token");
  await signIn(agent, token({ sub: "mira" }));
  await sees(agent, "#sign-in-why", "visitor’s");
  await signIn(agent, ofAnn({ exp: inSeconds(-1) }));
  await sees(agent, "#sign-in-why", "expired");
  await signIn(agent, ofAnn());
  await sees(agent, "h1", /Visitors|on the site/);
  await sees(agent, ".me-name", "Ann");
  assert.equal(await agent.locator("#open-note").isVisible(), false);
  // For this window alone, as nobody asked to remember it.
  assert.equal(await agent.evaluate(() => localStorage.getItem("weeziq-token")), null);
  await agent.getByRole("button", { name: "Sign out" }).click();
  await sees(agent, "#sign-in-title", "Sign in");
}, SECURE);

scenario("a token expires in the middle of a sentence, and the sentence is still there", async (stage) => {
  stage.expected = [...stage.expected, /\((Unauthorized|Forbidden)\)/, /WebSocket connection to/];
  const visitor = await stage.client(`?token=${token({ sub: "mira", name: "Mira" })}`);
  const room = { roomId: "room-1", userId: "mira", userName: "Mira", role: "user", domainId: SITE };
  await visitor.ask({ type: "join-room", ...room });
  await visitor.ask({ type: "send-message", ...room, message: "Hello?" });

  const agent = await stage.window({ path: `/console#/${SITE}/inbox/room-1` });
  await signIn(agent, ofAnn({ exp: inSeconds(SHORT_S) }));
  await sees(agent, ".message .bubble", "Hello?");
  await agent.fill("#reply", "I have looked it up, and");
  await agent.locator("#sign-in[open]").waitFor({ timeout: 60_000 });
  await sees(agent, "#sign-in-why", "expired");
  assert.equal(await agent.inputValue("#reply"), "I have looked it up, and");
  await signIn(agent, ofAnn());
  await sees(agent, "#link", "Connected");
  await agent.locator("#reply").pressSequentially(" it is in stock.");
  await agent.press("#reply", "Enter");
  const answer = await visitor.next({ type: "new-message", message: "I have looked it up, and it is in stock." });
  assert.equal(answer.userName, "Ann");
}, SECURE);

scenario("an agent reads the settings, and an admin changes them", async (stage) => {
  stage.expected = [...stage.expected, /\((Unauthorized|Forbidden|Bad Request)\)/];
  const agent = await stage.window({ path: `/console#/${SITE}/settings` });
  await signIn(agent, ofAnn());
  await sees(agent, ".settings-form .note", "admin’s token");
  assert.equal(await agent.getByLabel("Name of the assistant").isDisabled(), true);

  const admin = await stage.window({ path: `/console#/${SITE}/settings` });
  await signIn(admin, ofAnn({ sub: "ada", name: "Ada", role: "admin" }));
  await admin.getByLabel("Name of the assistant").fill("Robin");
  await admin.getByRole("button", { name: "Add a question" }).click();
  await admin.getByLabel("Question", { exact: true }).fill("Do you ship?");
  await admin.getByRole("button", { name: "Save", exact: true }).click();
  // The server names what is missing, and the place is shown.
  await sees(admin, ".save-bar .complaint", "helpdesk[0].answer");
  assert.equal(await admin.getByLabel("Answer", { exact: true }).getAttribute("aria-invalid"), "true");
  await admin.getByLabel("Answer", { exact: true }).fill("Yes, everywhere.");
  await admin.getByRole("button", { name: "Save", exact: true }).click();
  await wasTold(admin, "Saved");
  await admin.reload();
  await admin.getByLabel("Question", { exact: true }).waitFor();
  assert.equal(await admin.getByLabel("Name of the assistant").inputValue(), "Robin");
}, SECURE);
