import { TextStreamChatTransport, type UIMessage } from "ai";
import { DOMAIN } from "./site";

/**
 * The AI SDK's requests in the form of `POST /ai/stream`: the last question and the conversation's name, as the memory is the
 * server's. The answer comes as plain text, chunk by chunk.
 */
export const aiTransport = (server: string) =>
  new TextStreamChatTransport<UIMessage>({
    api: new URL("/ai/stream", server).href,
    prepareSendMessagesRequest: ({ id, messages }) => ({
      body: { message: textOf(messages.at(-1)), conversationId: id, domainId: DOMAIN },
    }),
  });

export const textOf = (message?: UIMessage) => message?.parts.map((part) => (part.type === "text" ? part.text : "")).join("") ?? "";
