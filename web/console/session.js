/** Who works here, and the two ways to the server: HTTP, and the one connection. */
import { WeeziqError, connect } from "/client/index.js";
import { keep, kept, randomId } from "./browser.js";

/** @import { Weeziq } from "/client/index.js" */

/**
 * @typedef {object} Agent
 * @property {string} userId
 * @property {string} userName
 * @property {string} role agent or admin
 * @property {string[]} [domains] the sites that the token is for; absent: all
 * @property {boolean} isOpen anyone may, as nobody has set AUTH_SECRET
 *
 * @typedef {object} Call
 * @property {"GET" | "POST" | "PUT" | "DELETE"} [method]
 * @property {unknown} [json]
 * @property {BodyInit} [body]
 * @property {string} [type] of the body
 */

const TOKEN = "weeziq-token";
const NAME = "weeziq-agent";
const REPLY_WITHIN_MS = 20_000;

/** An HTTP reply that is none of success; its code is the server's. */
export class Refusal extends Error {
  /** @param {number} status @param {string} code @param {string} message */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export class Session {
  /** @type {string | undefined} */
  #token = kept(TOKEN) ?? undefined;
  /** asks for a token and shows why @type {(why: string) => Promise<{token: string, remember: boolean}>} */
  #ask;
  /** while somebody is being asked @type {Promise<string> | undefined} */
  #asking;
  /** @type {Agent} */
  agent = openAgent();
  /** @type {Weeziq} */
  #weeziq = /** @type {any} */ (undefined);

  /** @param {(why: string) => Promise<{token: string, remember: boolean}>} ask */
  constructor(ask) {
    this.#ask = ask;
  }

  /** @returns {Weeziq} */
  get weeziq() {
    return this.#weeziq;
  }

  /** Who is it, and may they? Returns once they may. */
  async begin() {
    await this.#probe().catch((refusal) => {
      // A server that is down is the connection's to tell; it comes back by itself.
      if (refusal instanceof Refusal && refusal.status === 403) throw refusal;
    });
    this.agent = this.#bearer ?? openAgent();
    this.#weeziq = connect("/ws", { token: () => this.#current() });
    // A browser does not say why a handshake was refused; the same token over HTTP does.
    this.#weeziq.on("status", ({ error }) => /^(refused|unauthorized)$/.test(error?.code ?? "") && this.#probe().catch(() => {}));
  }

  get #bearer() {
    return this.#token ? agentOf(this.#token) : undefined;
  }

  /** What any agent may ask, of a site that this one is for. */
  #probe() {
    return this.api(() => `/rooms?${new URLSearchParams({ domainId: this.#bearer?.domains?.[0] ?? location.host, limit: "1" })}`);
  }

  /** What a new connection may use; while somebody signs in, it waits. */
  async #current() {
    return this.#asking ?? this.#token;
  }

  /** One question, however many notice at once that it is to be put. @param {string} why @returns {Promise<string>} */
  #renew(why) {
    this.#asking ??= this.#ask(why).then(({ token, remember }) => {
      this.#token = token;
      keep(TOKEN, token, remember);
      this.agent = agentOf(token) ?? this.agent;
      this.#asking = undefined;
      this.#weeziq?.wake();
      return token;
    });
    return this.#asking;
  }

  /**
   * @param {string | (() => string)} path made anew for each token @param {Call} [call]
   * @returns {Promise<any>} the JSON of the reply; undefined if there is none
   */
  async api(path, call) {
    const reply = await this.#fetch(path, call);
    return reply.json().catch(() => undefined);
  }

  /** Not by a link: that would have no token. @param {string} path */
  async file(path) {
    const reply = await this.#fetch(path);
    return reply.blob();
  }

  /** @param {string | (() => string)} path @param {Call} [call] @returns {Promise<Response>} one of success */
  async #fetch(path, { method = "GET", json, body = json === undefined ? undefined : JSON.stringify(json), type = "application/json" } = {}) {
    for (;;) {
      const token = this.#token;
      /** @type {Record<string, string>} */
      const headers = { accept: "application/json, */*;q=0.5" };
      if (token) headers.authorization = `Bearer ${token}`;
      if (body !== undefined) headers["content-type"] = type;
      const reply = await fetch(typeof path === "string" ? path : path(), { method, headers, body, cache: "no-store", signal: AbortSignal.timeout(REPLY_WITHIN_MS) });
      if (reply.ok) return reply;
      const said = await reply.json().catch(() => undefined);
      // Without a token one is a visitor, who may not; with one, its bearer may not.
      const mayAsk = reply.status === 401 || (reply.status === 403 && !token);
      if (!mayAsk) throw new Refusal(reply.status, said?.code ?? "internal", said?.error ?? `the server answered with ${reply.status}`);
      await this.#renew(token ? "Your token has expired, or is none of this server’s." : "");
    }
  }

  get token() {
    return this.#token;
  }

  /** In open mode a name is whatever one says. @param {string} userName */
  rename(userName) {
    keep(NAME, JSON.stringify({ userId: this.agent.userId, userName }), true);
    this.agent = { ...this.agent, userName };
  }

  signOut() {
    keep(TOKEN, null, true);
    location.reload();
  }
}

/** @returns {Agent} */
function openAgent() {
  try {
    const { userId, userName } = JSON.parse(kept(NAME) ?? "");
    if (userId && userName) return { userId, userName, role: "agent", isOpen: true };
  } catch {
    // Nobody was here before.
  }
  const agent = { userId: `agent-${randomId()}`, userName: "Operator" };
  keep(NAME, JSON.stringify(agent), true);
  return { ...agent, role: "agent", isOpen: true };
}

/** What a token says of itself; whether it is true is the server's to judge. @param {string} token @returns {Agent | undefined} */
export function agentOf(token) {
  try {
    const claims = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(claims), (char) => char.charCodeAt(0));
    const { sub, name, role, domains } = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof sub !== "string") return undefined;
    const isOfAll = !Array.isArray(domains) || domains.includes("*");
    return { userId: sub, userName: String(name ?? sub), role: String(role ?? "visitor"), domains: isOfAll ? undefined : domains, isOpen: false };
  } catch {
    return undefined;
  }
}

/** What went wrong, as a person may read it. @param {unknown} error */
export function reason(error) {
  if (error instanceof Refusal || error instanceof WeeziqError) return error.message;
  return "The server does not answer.";
}
