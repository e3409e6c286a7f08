/** Questions to the AI: answered whole, or as the answer is written. */
import { randomId } from "./emitter.js";
import { WeeziqError, deferred } from "./errors.js";

/** @import { Connection } from "./connection.js" */
/** @import { Settle } from "./requests.js" */
/** @import { ChatAnswer, Frame, StreamAnswer } from "./wire.js" */

/**
 * @typedef {object} Asking
 * @property {string} [conversationId] names the memory. Without one it is the user's on the domain; without a user, a fresh one
 * @property {string} [userId]
 * @property {string} [domainId]
 * @property {string} [model]
 * @property {string} [systemPrompt]
 * @property {string} [roomId] publishes question and answer there
 *
 * @typedef {object} AnswerStream the texts of an answer, one after the other, to be read once
 * @property {string} conversationId
 * @property {number} index of the last chunk that came; -1 before the first
 * @property {Promise<StreamAnswer>} answer how it ended
 * @property {() => void} cancel ends it here at once; `answer` then has what was written so far, with finishReason `cancelled`.
 *   A server that does not know `ai-cancel` writes on, for itself
 */

/**
 * @typedef {object} Ai
 * @property {(message: string, asking?: Asking) => Promise<ChatAnswer>} chat resolves also if no model answers: `error` is then true and
 *   `message` a sentence to show. A connection that is lost meanwhile rejects with `interrupted`; the answer is written and remembered all the same
 * @property {(message: string, asking?: Asking & {signal?: AbortSignal}) => AnswerStream & AsyncIterable<string>} stream the answer as it is written.
 *   Goes on after a lost connection where the server can (`ai-resume`); elsewhere it then throws `interrupted`. Leaving the loop cancels, and
 *   so does the signal
 * @property {(conversationId: string, from?: {afterIndex?: number, signal?: AbortSignal}) => AnswerStream & AsyncIterable<string>} resume an
 *   answer that an earlier life of this page asked for. `afterIndex`: the last chunk that is there already
 */

/** The server gives up on a model after a minute, but questions of a conversation wait for each other. */
const SILENCE_MS_MAX = 150_000;

/** @param {Connection} connection @returns {Ai} */
export const ai = (connection) => ({
  chat: (message, asking = {}) => connection.request({ type: "ai-chat", message, ...named(asking) }, { ms: SILENCE_MS_MAX }),
  stream: (message, { signal, ...asking } = {}) => answerStream(connection, { type: "ai-stream", message, ...named(asking) }, -1, signal),
  resume: (conversationId, { afterIndex = -1, signal } = {}) => answerStream(connection, resuming(conversationId, afterIndex), afterIndex, signal),
});

/** @param {Connection} connection @param {Frame} question @param {number} from @param {AbortSignal} [signal] */
function answerStream({ ask, request }, question, from, signal) {
  /** @type {string[]} */
  let unread = [];
  let text = "";
  let isOver = false;
  let isResumed = question.type === "ai-resume";
  let wake = () => {};
  /** @type {ReturnType<typeof deferred<any>>} */
  const whole = deferred();

  /** @param {WeeziqError | null} error @param {object} [answer] */
  const end = (error, answer) => {
    isOver = true;
    if (error) whole.reject(error);
    else whole.resolve(answer);
    wake();
  };

  /** @type {Settle} */
  const settle = (error, reply) => {
    // Whoever resumes may hear that the server has forgotten it, or cannot do this.
    if (error) return end(isResumed ? new WeeziqError("interrupted", error.message, { cause: error }) : error);
    const { type, index, chunk, fullResponse } = reply;
    if (type === "ai-stream-complete") {
      // Whatever was not told in chunks: all of it, if no model answered.
      const rest = from < 0 && fullResponse.slice(text.length);
      if (rest) unread.push(rest);
      return end(null, reply);
    }
    if (index > stream.index) {
      stream.index = index;
      text += chunk;
      if (chunk) unread.push(chunk);
      wake();
    }
    return true;
  };

  const stream = {
    /** @type {string} */
    conversationId: question.conversationId,
    index: from,
    /** @type {Promise<StreamAnswer>} */
    answer: whole.promise,
    cancel() {
      if (isOver) return;
      const { conversationId } = stream;
      // Where the server does not know it, there is nothing to be done about that.
      request({ type: "ai-cancel", conversationId });
      forget();
      unread = [];
      end(null, { fullResponse: text, finishReason: "cancelled", conversationId });
    },
    async *[Symbol.asyncIterator]() {
      try {
        for (;;) {
          const next = unread.shift();
          if (next) yield next;
          else if (isOver) return void (await whole.promise);
          else await new Promise((seen) => (wake = () => seen(0)));
        }
      } finally {
        stream.cancel();
      }
    },
  };
  const again = () => {
    isResumed = true;
    return resuming(stream.conversationId, stream.index);
  };
  const forget = ask(question, settle, { again, ms: SILENCE_MS_MAX });
  if (signal?.aborted) stream.cancel();
  signal?.addEventListener("abort", stream.cancel);
  return stream;
}

/** @param {string} conversationId @param {number} afterIndex */
const resuming = (conversationId, afterIndex) => ({ type: "ai-resume", conversationId, afterIndex: afterIndex < 0 ? undefined : afterIndex });

/** Named as the server would, so that a lost connection leaves a name to ask for. @param {Asking} asking */
const named = (asking) => {
  const { userId, domainId = "default" } = asking;
  return { conversationId: userId ? `${domainId}-${userId}` : randomId(), ...asking };
};
