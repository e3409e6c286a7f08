"use client";
import { WeeziqProvider, useAiChat, useRoom, useVisit } from "@weeziq/react";
import { DOMAIN, roomOf } from "../lib/site";
import { Bubble } from "./Bubble";
import { Composer } from "./Composer";
import { ConnectionNote } from "./ConnectionNote";
import { Messages } from "./Messages";

/** A visitor's conversation: with the AI, until people take over. */
export function SupportChat({ server }: { server: string }) {
  return (
    <WeeziqProvider url={server}>
      <Chat />
    </WeeziqProvider>
  );
}

function Chat() {
  const { visitorId } = useVisit(DOMAIN);
  const roomId = visitorId && roomOf(visitorId);
  const room = useRoom(roomId, { userId: visitorId ?? "", userName: "Visitor", domainId: DOMAIN });
  const ai = useAiChat({ roomId, userId: visitorId, domainId: DOMAIN });

  // The AI publishes the question itself, with its answer; until it has, the question shows as unsent.
  const ask = (text: string) => void (room.liveAgent ? room.send(text) : ai.send(text));
  const asked = ai.messages.filter(({ role }) => role === "user").at(-1);
  const isWaiting = ai.status === "waiting" && !room.messages.some(({ message, userId }) => userId === visitorId && message === asked?.text);

  return (
    <section className="card" aria-label="Support chat">
      <p className="who" role="status">{room.liveAgent ? "You are talking to a person." : "The assistant answers. A person can take over."}</p>
      <Messages room={room} me={visitorId}>
        {isWaiting && asked && <Bubble from="me" name="You" isUnsent>{asked.text}</Bubble>}
      </Messages>
      {ai.error && <p className="note" role="alert">That did not work ({ai.error.code}). Please ask again.</p>}
      <ConnectionNote />
      <Composer label="Your message" onSend={ask} onTyping={() => room.notifyTyping()}>
        {ai.status !== "ready" && <button type="button" onClick={ai.stop}>Stop</button>}
      </Composer>
    </section>
  );
}
