/** The site whose visitors and conversations these are. */
export const DOMAIN = "bakery.example";

/** A visitor's conversation is found by the visitor alone: no list of rooms has to be kept. */
export const roomOf = (visitorId: string) => `support-${visitorId}`;

/** In earnest, who is an agent is said by a token, and known to the server. */
export const AGENT = { userId: "agent-kim", userName: "Kim", role: "agent", domainId: DOMAIN };
