"use client";
import type { Visitor } from "@weeziq/client";
import { WeeziqProvider, useRoom, useVisitors } from "@weeziq/react";
import { useState } from "react";
import { AGENT, DOMAIN, roomOf } from "../lib/site";
import { Composer } from "./Composer";
import { ConnectionNote } from "./ConnectionNote";
import { Messages } from "./Messages";

/** A connection is in 64 rooms at most; this desk is in the room of each visitor that it lists. */
const LISTED_MAX = 50;

/** Who is on the site, what they say, and a way to step in. */
export function AgentDesk({ server }: { server: string }) {
  return (
    <WeeziqProvider url={server}>
      <Desk />
    </WeeziqProvider>
  );
}

function Desk() {
  const { visitors, activeVisitors, totalVisitors } = useVisitors(DOMAIN);
  const [chosen, choose] = useState<string>();
  return (
    <div className="desk">
      <section className="card" aria-label="Visitors">
        <h2>{activeVisitors} here now <small>{totalVisitors} ever</small></h2>
        <ul className="visitors">
          {visitors.slice(-LISTED_MAX).reverse().map((visitor) => (
            <VisitorRow key={visitor.id} visitor={visitor} isChosen={visitor.id === chosen} onChoose={() => choose(visitor.id)} />
          ))}
        </ul>
        {visitors.length === 0 && <p className="empty">Nobody yet. Open the support page in another window.</p>}
        <ConnectionNote />
      </section>
      {chosen === undefined ? <p className="card empty">Choose a visitor to see the conversation.</p> : <Conversation key={chosen} visitorId={chosen} />}
    </div>
  );
}

type RowProps = { visitor: Visitor; isChosen: boolean; onChoose: () => void };

function VisitorRow({ visitor: { id, browser, os, url }, isChosen, onChoose }: RowProps) {
  const { messages, writing, liveAgent } = useRoom(roomOf(id), AGENT);
  const last = messages.at(-1)?.message ?? "has not written yet";
  return (
    <li>
      <button type="button" className="visitor" aria-pressed={isChosen} onClick={onChoose}>
        <span className="name">{browser ?? "A browser"}{os && ` on ${os}`}</span>
        {liveAgent && <span className="badge">with a person</span>}
        <span className="page">{url && new URL(url).pathname}</span>
        <span className="last">{writing ? "The assistant is writing…" : last}</span>
      </button>
    </li>
  );
}

function Conversation({ visitorId }: { visitorId: string }) {
  const room = useRoom(roomOf(visitorId), AGENT);
  const { liveAgent, setLiveAgent, send, notifyTyping } = room;
  return (
    <section className="card" aria-label="Conversation with the visitor">
      <div className="who">
        <p role="status">{liveAgent ? "You answer. The assistant is silent." : "The assistant answers."}</p>
        <button type="button" onClick={() => setLiveAgent(!liveAgent)}>{liveAgent ? "Hand back" : "Take over"}</button>
      </div>
      <Messages room={room} me={AGENT.userId} />
      {liveAgent && <Composer label="Your reply" onSend={(text) => void send(text)} onTyping={() => notifyTyping()} />}
    </section>
  );
}
