/** What the tests' shop has set. */
export const SETTINGS = {
  name: "Robin",
  welcomeMessage: "Hello! Ask me about our bikes.",
  ai: { autoReply: true, sharePage: true },
  helpdesk: [{ question: "How long can I return a bike?", answer: "You can return a bike within 30 days, unused and with its papers." }],
  cannedReplies: [{ shortcut: "hello", text: "Hello, this is Ann. I have read what you wrote." }],
};
