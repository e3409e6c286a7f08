import { DefaultChatTransport, type UIMessage } from "ai";
import { DOMAIN } from "./site";

/** The AI SDK's own transport: the server reads what it posts, and answers in its UI message stream. */
export const aiTransport = (server: string) =>
  new DefaultChatTransport<UIMessage>({ api: new URL("/ai/stream", server).href, body: { domainId: DOMAIN } });

export const textOf = (message?: UIMessage) => message?.parts.map((part) => (part.type === "text" ? part.text : "")).join("") ?? "";

/** `stop()` only ends this page's reading: the answer would go on, for whoever comes back to it. */
export const endAnswer = (server: string, chatId: string) =>
  fetch(new URL(`/ai/stream/${encodeURIComponent(chatId)}/stream`, server), { method: "DELETE" }).catch(() => {});
