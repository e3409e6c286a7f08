/**
 * OpenAI and Gemini as `@copilotkit/aimock` plays them, for the good cases. What it gets right and what it does not is
 * written in README.md beside this file; the bad cases are in faulty.js.
 */
import { LLMock } from "@copilotkit/aimock";

/** Planted values: no reply, frame or log of any test may contain one. */
export const OPENAI_KEY = "sk-planted-openai-5e1f0c";
export const GOOGLE_KEY = "AIza-planted-google-77ab31";

/** aimock cuts by UTF-16 units, so answers given to it stay inside the Basic Multilingual Plane. */
const CHUNK_UNITS = 6;

/**
 * @returns {Promise<{
 *   env: Record<string, string>,
 *   on: (question: string | RegExp | ((request: any) => boolean), answer: any, pace?: {latency?: number, chunkSize?: number}) => void,
 *   requests: () => {path: string, model: string, stream: boolean, messages: {role: string, content: string}[]}[],
 *   requestsAbout: (text: string) => any[],
 *   stop: () => Promise<void>,
 * }>} `env` points a host at the mock. Without a matching `on`, an answer is "You said: <question>". `requests` shows
 *   each upstream request in OpenAI's form, Gemini's `contents` and `systemInstruction` translated into it.
 */
export async function startModels() {
  // With `auth` aimock answers 401 to a missing or wrong key, so that each good answer also proves the right key was sent.
  const mock = new LLMock({ port: 0, host: "127.0.0.1", chunkSize: CHUNK_UNITS, auth: { apiKeys: [OPENAI_KEY, GOOGLE_KEY] } });
  mock.on({}, (request) => ({ content: `You said: ${lastQuestion(request)}`, usage: { prompt_tokens: 11, completion_tokens: 7 } }));
  await mock.start();
  const requests = () =>
    mock.getRequests().map(({ path, body }) => ({ path, model: body.model, stream: body.stream === true, messages: body.messages.map(asText) }));
  return {
    env: {
      OPENAI_API_KEY: OPENAI_KEY,
      GOOGLE_AI_API_KEY: GOOGLE_KEY,
      OPENAI_BASE_URL: `${mock.url}/v1`,
      GOOGLE_AI_BASE_URL: mock.url,
    },
    on: (question, answer, pace = {}) => {
      const match = typeof question === "function" ? { predicate: question } : { userMessage: question };
      mock.prependFixture({ match, response: typeof answer === "string" ? { content: answer } : answer, ...pace });
    },
    requests,
    requestsAbout: (text) => requests().filter(({ messages }) => messages.at(-1)?.content.includes(text)),
    stop: () => mock.stop(),
  };
}

function lastQuestion(request) {
  return asText(request.messages.at(-1)).content;
}

/** A message's content may be a string or a list of parts; both are right upstream. */
function asText({ role, content }) {
  return { role, content: Array.isArray(content) ? content.map((part) => part.text ?? "").join("") : content };
}
