//! The families that both hosts tell, under one name and with one meaning.

/// A name, its type, and what it says.
pub struct Family {
    pub name: &'static str,
    pub kind: &'static str,
    pub help: &'static str,
}

/// What only grows. Its name ends in `_total`.
pub const fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: "counter", help }
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: "gauge", help }
}

pub const BUILD_INFO: Family = gauge("weeziq_build_info", "What runs here.");
pub const DOMAINS: Family =
    gauge("weeziq_domains", "Sites: natively those in memory, on Cloudflare all that had a visitor.");
pub const VISITORS: Family = gauge("weeziq_visitors", "Visitors who are on the sites now.");

pub const CONNECTIONS: Family = counter("weeziq_connections_total", "Connections that began, by transport.");
pub const CONNECTIONS_CLOSED: Family = counter(
    "weeziq_connections_closed_total",
    "Connections that were closed by the service or said goodbye, by why; too-slow is a reader that was let go (4008).",
);
pub const EVENTS: Family = counter("weeziq_events_total", "What clients said, by kind.");
pub const EVENTS_REFUSED: Family =
    counter("weeziq_events_refused_total", "What was refused unhandled, by code.");
pub const DELIVERIES: Family =
    counter("weeziq_deliveries_total", "Events of rooms times the members who were told them.");
pub const REPLIES: Family = counter("weeziq_replies_total", "Events to one connection alone.");
pub const RESUMES: Family = counter(
    "weeziq_resumes_total",
    "Joins that said where they stood, by how they went on: resumed with what was missed, or with a history.",
);
pub const COMMITS_FAILED: Family =
    counter("weeziq_commits_failed_total", "Transactions that came to nothing.");
pub const HTTP_REQUESTS: Family =
    counter("weeziq_http_requests_total", "HTTP requests, by route, method and status.");

pub const AI_QUESTIONS: Family = counter("weeziq_ai_questions_total", "Questions to models, by provider.");
pub const AI_ATTEMPTS: Family = counter("weeziq_ai_attempts_total", "Requests to models.");
pub const AI_FAILURES: Family = counter("weeziq_ai_failures_total", "Those that failed, by why.");
pub const AI_REFUSED: Family =
    counter("weeziq_ai_refused_total", "Attempts that were not made, as the breaker was open.");
pub const AI_BREAKER_OPENED: Family =
    counter("weeziq_ai_breaker_opened_total", "How often an endpoint was given up for a while.");
/// Without quantiles: sums and counts, which give means.
pub const AI_FIRST_TOKEN: Family = Family {
    name: "weeziq_ai_first_token_seconds",
    kind: "summary",
    help: "How long answers took to begin.",
};
