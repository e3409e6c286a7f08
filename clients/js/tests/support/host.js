/** A real host for the scenarios of a file: the one that `HOST_UNDER_TEST` names. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before } from "node:test";
import { createHost, hostName } from "../../../../conformance/hosts/index.js";
import { Cutter } from "./cutter.js";

/** Limits off: nothing here is about them. */
const UNLIMITED = { EVENTS_PER_SEC: "0", AI_PER_USER_PER_MIN: "0", AI_PER_IP_PER_MIN: "0" };

/** @param {Record<string, string>} [env] */
export function hosted(env = {}) {
  const host = createHost();
  before(() => host.start({ ...UNLIMITED, ...env }));
  after(() => host.dispose());
  return host;
}

export { hostName };

/** A name that no other scenario uses. @param {string} kind */
export const unique = (kind) => `${kind}-${randomUUID().slice(0, 8)}`;

/**
 * What to ask on that site for an answer that takes five seconds to be written: for what has to come in the middle of one.
 * @param {any} host @param {string} domainId
 */
export async function odyssey(host, domainId) {
  const body = `# Odyssey\n\n${"The odyssey went on and on. ".repeat(30)}`;
  const reply = await fetch(`${host.baseUrl}/domains/${domainId}/knowledge/odyssey.md`, { method: "PUT", body, headers: { "content-type": "text/markdown" } });
  assert.ok(reply.ok, await reply.text());
  return "How long was the odyssey?";
}

/** @param {import("./play.js").Scene} s @param {any} host @param {object} [how] */
export async function cutter(s, host, how) {
  const between = await Cutter.start(host.wsUrl, how);
  s.after(() => between.stop());
  return between;
}
