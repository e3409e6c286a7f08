/**
 * A provider that misbehaves on demand, in OpenAI's and in Gemini's dialect (told apart by the path). Written by hand:
 * these are the failures a mock kept for good cases can't be told to make, and they must happen at an exact moment.
 */
import { createServer } from "node:http";
import { OPENAI_KEY, GOOGLE_KEY } from "./models.js";

/** A sentence that a provider's error may contain and a visitor must never read. */
export const RAW_ERROR = "upstream-internal-detail-9c2e";

const GUARD_MS = 30_000;

/** @typedef {(exchange: Exchange) => void | Promise<void>} Behaviour what is done with one upstream request */

/**
 * @returns {Promise<{env: Record<string, string>, url: string, requests: Exchange[], play: (...behaviours: Behaviour[]) => void, request: (n: number) => Promise<Exchange>, requestAbout: (question: string) => Promise<Exchange>, stop: () => Promise<void>}>}
 *   `play` forgets earlier requests and gives each next one the next behaviour, the last for all that follow;
 *   `request(n)` waits for the n-th request, counted from 0; `requestAbout(question)` for the first that ends with it, where several
 *   are under way
 */
export async function startFaultyProvider() {
  /** @type {Behaviour[]} */
  let behaviours = [];
  /** @type {Exchange[]} */
  const requests = [];
  /** @type {Set<() => void>} */
  const waiting = new Set();

  const server = createServer(async (req, res) => {
    // One that is given up before it is whole was never asked.
    const body = await bodyOf(req).catch(() => undefined);
    if (body === undefined) return;
    const exchange = new Exchange(req, res, body);
    const behaviour = behaviours[Math.min(requests.length, behaviours.length - 1)] ?? status(500);
    requests.push(exchange);
    for (const check of [...waiting]) check();
    await behaviour(exchange);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}`;

  return {
    url,
    env: { OPENAI_API_KEY: OPENAI_KEY, GOOGLE_AI_API_KEY: GOOGLE_KEY, OPENAI_BASE_URL: `${url}/v1`, GOOGLE_AI_BASE_URL: url },
    requests,
    play: (...next) => {
      behaviours = next;
      requests.length = 0;
    },
    request: (n) =>
      eventually(waiting, () => requests[n], () => `no upstream request number ${n} (there were ${requests.length})`),
    requestAbout: (question) =>
      eventually(waiting, () => requests.find((one) => one.messages.at(-1)?.content === question), () => `no upstream request about ${question} (there were ${requests.length})`),
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** One upstream request and its reply. */
export class Exchange {
  constructor(req, res, body) {
    this.path = req.url;
    this.headers = req.headers;
    this.body = body;
    this.res = res;
    this.gemini = req.url.includes(":streamGenerateContent") || req.url.includes(":generateContent");
    this.stream = this.gemini ? req.url.includes(":streamGenerateContent") : body?.stream === true;
    /** resolves when the host has dropped the request, or the reply has ended */
    this.gone = new Promise((resolve) => (res.closed ? resolve() : res.once("close", resolve)));
  }

  /** The request's messages in OpenAI's form, the system prompt first. @returns {{role: string, content: string}[]} */
  get messages() {
    const plain = (content) => (Array.isArray(content) ? content.map((part) => part.text ?? "").join("") : content);
    if (!this.gemini) return this.body.messages.map(({ role, content }) => ({ role, content: plain(content) }));
    const system = this.body.systemInstruction ?? this.body.system_instruction;
    const turns = this.body.contents.map(({ role, parts }) => ({ role: role === "model" ? "assistant" : "user", content: plain(parts) }));
    return system ? [{ role: "system", content: plain(system.parts) }, ...turns] : turns;
  }

  /** Sends the head of a stream, as providers do before the first token is there. */
  head() {
    this.res.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" });
    this.res.flushHeaders();
  }

  /** @param {string | Buffer} bytes */
  raw(bytes) {
    if (!this.res.headersSent) this.head();
    this.res.write(bytes);
  }

  token(text) {
    this.raw(`data: ${JSON.stringify(this.gemini ? geminiChunk(text) : openAiChunk({ content: text }))}\n\n`);
  }

  /** Calls a tool in place of an answer, as each provider writes it, and ends. */
  callTool(name, args) {
    const data = JSON.stringify(args);
    const half = Math.floor(data.length / 2);
    const call = (index, fields) => openAiChunk({ tool_calls: [{ index, ...fields }] });
    const records = this.gemini
      ? [{ candidates: [{ content: { role: "model", parts: [{ functionCall: { name, args } }] }, finishReason: "STOP", index: 0 }] }]
      : [
          call(0, { id: "call_1", type: "function", function: { name, arguments: "" } }),
          call(0, { function: { arguments: data.slice(0, half) } }),
          call(0, { function: { arguments: data.slice(half) } }),
          openAiChunk({}, "tool_calls"),
        ];
    for (const record of records) this.raw(`data: ${JSON.stringify(record)}\n\n`);
    this.res.end(this.gemini ? "" : "data: [DONE]\n\n");
  }

  /** The end as the provider writes it: finish reason, usage, and OpenAI's [DONE]. */
  finish(reason = this.gemini ? "STOP" : "stop") {
    const end = this.gemini
      ? [{ candidates: [{ content: { role: "model", parts: [{ text: "" }] }, finishReason: reason, index: 0 }], usageMetadata: { promptTokenCount: 5, candidatesTokenCount: 3, totalTokenCount: 8 } }]
      : [openAiChunk({}, reason), { ...openAiChunk({}), choices: [], usage: { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 } }];
    for (const data of end) this.raw(`data: ${JSON.stringify(data)}\n\n`);
    this.res.end(this.gemini ? "" : "data: [DONE]\n\n");
  }

  /** Breaks the connection, as a provider that dies does. */
  cut() {
    this.res.destroy();
  }

  reply(code, body, headers = {}) {
    const json = typeof body !== "string";
    this.res.writeHead(code, { "content-type": json ? "application/json" : "text/html", ...headers });
    this.res.end(json ? JSON.stringify(body) : body);
  }
}

/** A good answer in the given pieces. @returns {Behaviour} */
export function answers(...pieces) {
  return (exchange) => {
    for (const piece of pieces) exchange.token(piece);
    exchange.finish();
  };
}

/** Takes the request and says nothing, not even a status. @returns {Behaviour} */
export function hangs() {
  return () => {};
}

/** Sends the head of the stream, then nothing. @returns {Behaviour} */
export function hangsAfterHead() {
  return (exchange) => exchange.head();
}

/** @returns {Behaviour} */
export function status(code, headers = {}) {
  return (exchange) => exchange.reply(code, { error: { message: RAW_ERROR, type: "server_error", code: "boom" } }, headers);
}

/** A proxy's error page with status 200. @returns {Behaviour} */
export function answersHtml() {
  return (exchange) => exchange.reply(200, `<html><body>${RAW_ERROR}</body></html>`);
}

/** The right content type and nonsense inside. @returns {Behaviour} */
export function answersGarbage() {
  return (exchange) => {
    exchange.raw(`data: {"${RAW_ERROR}": tru\n\ndata: \u0000\u0001]]\n\n`);
    exchange.res.end();
  };
}

/** Accepts and closes at once. @returns {Behaviour} */
export function cutsAtOnce() {
  return (exchange) => exchange.cut();
}

/** @returns {Behaviour} */
export function cutsAfter(...pieces) {
  return async (exchange) => {
    for (const piece of pieces) exchange.token(piece);
    // The tokens must be on their way before the cut, or the client may see a reset instead of them.
    await new Promise((resolve) => exchange.res.write(": \n\n", resolve));
    exchange.cut();
  };
}

/** Ends the stream in good order but without a finish reason or [DONE]. @returns {Behaviour} */
export function endsEarlyAfter(...pieces) {
  return (exchange) => {
    for (const piece of pieces) exchange.token(piece);
    exchange.res.end();
  };
}

/** An error object inside a stream of status 200, as both providers send it when they overload midway. @returns {Behaviour} */
export function sendsErrorAfter(...pieces) {
  return (exchange) => {
    for (const piece of pieces) exchange.token(piece);
    const error = exchange.gemini
      ? { error: { code: 503, message: RAW_ERROR, status: "UNAVAILABLE" } }
      : { error: { message: RAW_ERROR, type: "server_error", code: null, param: null } };
    exchange.raw(`data: ${JSON.stringify(error)}\n\n`);
    exchange.res.end();
  };
}

/** Gemini's refusal of a prompt: no candidate at all. @returns {Behaviour} */
export function blocksPrompt() {
  return (exchange) => {
    exchange.raw(`data: ${JSON.stringify({ promptFeedback: { blockReason: "SAFETY" }, usageMetadata: { promptTokenCount: 5, totalTokenCount: 5 } })}\n\n`);
    exchange.res.end();
  };
}

/** Leaves everything to the test, which holds the exchange. @returns {Behaviour} */
export const held = hangs;

function openAiChunk(delta, finish_reason = null) {
  // `usage: null` in every chunk but the last is what OpenAI sends when usage was asked for.
  return { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1_700_000_000, model: "gpt-3.5-turbo-0125", service_tier: "default", choices: [{ index: 0, delta, logprobs: null, finish_reason }], usage: null };
}

function geminiChunk(text) {
  return { candidates: [{ content: { parts: [{ text }], role: "model" }, index: 0 }], usageMetadata: { promptTokenCount: 5, totalTokenCount: 5 }, modelVersion: "gemini-2.5-flash", responseId: "r1" };
}

async function bodyOf(req) {
  let text = "";
  // A letter may come in two pieces.
  req.setEncoding("utf8");
  for await (const piece of req) text += piece;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function eventually(waiting, poll, sentence) {
  return new Promise((resolve, reject) => {
    const check = () => {
      const value = poll();
      if (value === undefined) return;
      clearTimeout(timer);
      waiting.delete(check);
      resolve(value);
    };
    const timer = setTimeout(() => {
      waiting.delete(check);
      reject(new Error(`${sentence()} within ${GUARD_MS} ms`));
    }, GUARD_MS);
    waiting.add(check);
    check();
  });
}
