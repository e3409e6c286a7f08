"use client";
import { useChat } from "@ai-sdk/react";
import { useState } from "react";
import { aiTransport, endAnswer, textOf } from "../lib/aiTransport";
import { Bubble } from "./Bubble";
import { Composer } from "./Composer";
import { Log } from "./Messages";

/** A conversation with the AI through the AI SDK. */
export function Assistant({ server }: { server: string }) {
  const [transport] = useState(() => aiTransport(server));
  const { id, messages, sendMessage, status, stop, error } = useChat({ transport });
  const isBusy = status === "submitted" || status === "streaming";
  const end = () => {
    void stop();
    void endAnswer(server, id);
  };
  return (
    <section className="card" aria-label="Assistant">
      <Log label="Conversation">
        {messages.map((message) => (
          <Bubble key={message.id} from={message.role === "user" ? "me" : "ai"} name={message.role === "user" ? "You" : "Assistant"}>
            {textOf(message)}
          </Bubble>
        ))}
        {status === "submitted" && <li className="typing">The assistant is thinking…</li>}
      </Log>
      {error && <p className="note" role="alert">That did not work. Please ask again in a moment.</p>}
      <Composer label="Your question" onSend={(text) => void sendMessage({ text })}>
        {isBusy && <button type="button" onClick={end}>Stop</button>}
      </Composer>
    </section>
  );
}
