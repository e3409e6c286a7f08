"use client";
import type { RoomState } from "@weeziq/react";
import { useEffect, useRef, type ReactNode } from "react";
import { AGENT } from "../lib/site";
import { Bubble } from "./Bubble";

type Props = { room: RoomState; me: string | undefined; children?: ReactNode };

/** A room's log, and what is being said in it at this moment. */
export function Messages({ room: { messages, pending, typing, writing }, me, children }: Props) {
  return (
    <Log label="Conversation">
      {messages.map(({ id, message, role, userId, userName }) => (
        <Bubble key={id} from={userId === me ? "me" : role === "assistant" ? "ai" : "them"} name={userId === me ? "You" : nameOf(role, userName)}>
          {message}
        </Bubble>
      ))}
      {writing && <Bubble from="ai" name="Assistant">{writing.text || "…"}</Bubble>}
      {pending.map(({ clientMessageId, message }) => <Bubble key={clientMessageId} from="me" name="You" isUnsent>{message}</Bubble>)}
      {children}
      {typing.map(({ userId, userName }) => <li key={userId} className="typing">{nameOf("user", userName)} is typing…</li>)}
    </Log>
  );
}

/** A visitor has but an id. */
const nameOf = (role: string, userName: string) => (role === "assistant" ? "Assistant" : userName === AGENT.userName ? userName : "Visitor");

/** Its end stays in view. */
export function Log({ label, children }: { label: string; children: ReactNode }) {
  const end = useRef<HTMLOListElement>(null);
  useEffect(() => {
    end.current?.scrollTo({ top: end.current.scrollHeight });
  });
  return <ol className="log" role="log" aria-label={label} ref={end} tabIndex={0}>{children}</ol>;
}
