"use client";
import { useConnection } from "@weeziq/react";

/** Said only if there is something to be said. */
export function ConnectionNote() {
  const { state, error } = useConnection();
  const note = error?.code === "refused" ? "The server does not let this page in." : "No connection. What you write is sent when it is back.";
  return <p className="note" role="status">{state === "waiting" ? note : ""}</p>;
}
