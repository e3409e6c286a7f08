/** A conversation with the AI, question by question. */
import { useCallback, useEffect, useId, useMemo, useRef } from "react";
import { useSession, useStore } from "./provider.js";
import { store } from "./store.js";

/** @import { AnswerStream, Asking, StreamAnswer, WeeziqError } from "@weeziq/client" */
/** @import { Session } from "./session.js" */
/** @import { Store } from "./store.js" */

/**
 * @typedef {object} AiMessage
 * @property {string} id in this conversation, for React's `key`
 * @property {"user" | "assistant"} role
 * @property {string} text so far
 * @property {"waiting" | "writing" | "done" | "failed"} status of a question always `done`
 * @property {StreamAnswer | undefined} answer how it ended; `answer.error` says that no model answered, and `text` is then a sentence to show
 * @property {WeeziqError | undefined} error with `failed`
 *
 * @typedef {object} AiState
 * @property {AiMessage[]} messages
 * @property {"ready" | "waiting" | "writing"} status of the newest answer that is not there yet
 * @property {WeeziqError | undefined} error of the newest question
 *
 * @typedef {object} AiActions the same functions as long as the conversation is the same
 * @property {(question: string) => Promise<StreamAnswer>} send resolves with the whole answer. A question may follow before that: the
 *   server answers one after the other
 * @property {() => void} stop ends what is being written
 *
 * @typedef {AiState & AiActions} AiChat
 *
 * @typedef {Store<AiState> & {ask: (question: string, asking: Asking) => Promise<StreamAnswer>, stop: () => void}} Conversation
 */

/** @type {AiState} */
const BEGIN = { messages: [], status: "ready", error: undefined };

/**
 * The conversation is the provider's, not the component's: an answer goes on while no component shows it, and whoever shows the
 * same conversation later finds it.
 * @param {Asking} [asking] read at each question. `conversationId`, or else `domainId` and `userId`, name the conversation; without
 *   either it is the component's own
 * @returns {AiChat}
 */
export function useAiChat(asking = {}) {
  const session = useSession();
  const own = useId();
  const { conversationId, domainId, userId } = asking;
  const name = conversationId ?? (userId === undefined ? { own } : { domainId, userId });
  const conversation = session.shared(`ai ${JSON.stringify(name)}`, () => conversationStore(session));
  const state = useStore(conversation);
  const latest = useRef(asking);
  useEffect(() => {
    latest.current = asking;
  });
  const send = useCallback((/** @type {string} */ question) => conversation.ask(question, latest.current), [conversation]);
  return useMemo(() => ({ ...state, send, stop: conversation.stop }), [state, send, conversation]);
}

/** @param {Session} session @returns {Conversation} */
function conversationStore(session) {
  /** @type {Set<AnswerStream>} */
  const running = new Set();
  let count = 0;
  /** given by the client with the first question, if the caller gave none @type {string | undefined} */
  let named;

  const looked = store(BEGIN, () => {
    const release = session.hold();
    // So that the first question finds a connection.
    session.open();
    return { stop: release };
  });
  const { current, change } = looked;

  /** @param {string} id @param {(message: AiMessage) => Partial<AiMessage>} next */
  const update = (id, next) => {
    const messages = current().messages.map((one) => (one.id === id ? { ...one, ...next(one) } : one));
    const unfinished = messages.filter(({ status }) => status === "waiting" || status === "writing").at(-1);
    change({ messages, status: /** @type {AiState["status"]} */ (unfinished?.status ?? "ready") });
  };

  /** @type {Conversation["ask"]} */
  const ask = (question, asking) => {
    // It is written to its end, also if nobody looks any more.
    const release = session.hold();
    const stream = session.open().ai.stream(question, { conversationId: named, ...asking });
    if (!asking.conversationId && asking.userId === undefined) named = stream.conversationId;
    running.add(stream);
    const id = `answer-${(count += 1)}`;
    const ended = { answer: undefined, error: undefined };
    /** @type {AiMessage[]} */
    const turn = [
      { id: `question-${count}`, role: "user", text: question, status: "done", ...ended },
      { id, role: "assistant", text: "", status: "waiting", ...ended },
    ];
    change({ messages: [...current().messages, ...turn], status: "waiting", error: undefined });

    const answered = (async () => {
      try {
        for await (const text of stream) update(id, (message) => ({ text: message.text + text, status: "writing" }));
        const answer = await stream.answer;
        update(id, () => ({ text: answer.fullResponse, status: "done", answer }));
        return answer;
      } catch (thrown) {
        const error = /** @type {WeeziqError} */ (thrown);
        update(id, () => ({ status: "failed", error }));
        change({ error });
        throw error;
      } finally {
        running.delete(stream);
        release();
      }
    })();
    // A component that looks at `error` does not wait for this.
    answered.catch(() => {});
    return answered;
  };

  return {
    ...looked,
    ask,
    stop() {
      for (const stream of running) stream.cancel();
    },
  };
}
