//! The page as a whole: what all shards say, what HTTP has answered, what the system says of the process. docs/operations.md
//! explains what to look at.

use std::time::Duration;

use weeziq_core::ai::breaker::Figures;
pub(crate) use weeziq_core::metrics::CONTENT_TYPE;
use weeziq_core::metrics::Page;
use weeziq_core::metrics::families::{self, Family};

use super::counters::{Counters, Tally};
use super::process;
use super::requests::Requests;
use crate::http::App;
use crate::shard::mailbox::{Message, Shards};
use crate::shard::measure::{Gauges, Measured, Measurement, POLLING, SOCKETIO_WEBSOCKET, WEBSOCKET};

/// A shard that has not answered by then is told of as one that does not.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

pub(crate) async fn of(App { shards, watch, environment, .. }: &App) -> String {
    let measured = ask(shards).await;
    let known: Vec<&Measured> = measured.iter().flatten().map(AsRef::as_ref).collect();
    let mut page = Page::default();
    page.of(&families::BUILD_INFO).with(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    of_each_shard(&mut page, &measured);
    of_connections(&mut page, &known);
    of_rooms(&mut page, &known);
    of_storage(&mut page, &measured);
    of_models(&mut page, &environment.asker.figures());
    of_requests(&mut page, &watch.requests);
    process::write(&mut page, watch.born, &watch.data_dir);
    page.into_text()
}

type OfShards = [Option<Box<Measured>>];

async fn ask(shards: &Shards) -> Vec<Option<Box<Measured>>> {
    let ask = |shard| {
        let (measurement, measured) = Measurement::new();
        shards.send(shard, Message::Measure(measurement));
        measured
    };
    let asked: Vec<_> = (0..shards.count()).map(ask).collect();
    let within = tokio::time::Instant::now() + ANSWERS_WITHIN;
    let mut measured = Vec::new();
    for answer in asked {
        measured.push(tokio::time::timeout_at(within, answer).await.ok().and_then(Result::ok));
    }
    measured
}

/// Each with its number, of those that have answered.
fn numbered(shards: &OfShards) -> impl Iterator<Item = (String, &Measured)> {
    shards.iter().enumerate().filter_map(|(n, shard)| Some((n.to_string(), shard.as_deref()?)))
}

fn of_each_shard(page: &mut Page, shards: &OfShards) {
    let mut up = page.gauge("weeziq_shard_up", "Whether a shard turns its loop and answered in time.");
    for (n, shard) in shards.iter().enumerate() {
        up.with(&[("shard", &n.to_string())], u8::from(shard.is_some()));
    }
    let mut turns = page.counter("weeziq_shard_turns_total", "Turns of the loop.");
    for (n, shard) in numbered(shards) {
        turns.with(&[("shard", &n)], shard.counters.turns);
    }
    let mut busy = page.counter(
        "weeziq_shard_busy_seconds_total",
        "Time in which the loop worked; a second a second is all that it can.",
    );
    for (n, shard) in numbered(shards) {
        busy.with(&[("shard", &n)], shard.counters.busy.as_secs_f64());
    }
    let mut wait = page.gauge(
        "weeziq_shard_mailbox_wait_seconds",
        "How long the question for these numbers waited, as any message would have.",
    );
    for (n, shard) in numbered(shards) {
        wait.with(&[("shard", &n)], shard.waited.as_secs_f64());
    }
}

fn of_connections(page: &mut Page, shards: &[&Measured]) {
    let sum = |of: fn(&Gauges) -> usize| shards.iter().map(|shard| of(&shard.gauges)).sum::<usize>();
    page.gauge("weeziq_connections", "Open connections, by transport.")
        .with(&[("transport", WEBSOCKET)], sum(|gauges| gauges.websocket))
        .with(&[("transport", SOCKETIO_WEBSOCKET)], sum(|gauges| gauges.socketio_websocket))
        .with(&[("transport", POLLING)], sum(|gauges| gauges.socketio_polling));
    page.gauge("weeziq_connections_silent", "Accepted connections that have not said what they want.")
        .is(sum(|gauges| gauges.silent));
    page.gauge("weeziq_requests_waiting", "HTTP requests that wait for a shard's answer.")
        .is(sum(|gauges| gauges.requests));
    page.gauge("weeziq_observers", "Connections that watch visitors.").is(sum(|gauges| gauges.observers));
    tally(page, shards, &families::CONNECTIONS, "transport", |c| &c.connected);
    tally(page, shards, &families::CONNECTIONS_CLOSED, "reason", |c| &c.closed);
    tally(page, shards, &families::EVENTS, "kind", |c| &c.events);
    tally(page, shards, &families::EVENTS_REFUSED, "code", |c| &c.refused);
    tally(
        page,
        shards,
        &families::counter("weeziq_frames_dropped_total", "Frames that may be dropped and were, by why."),
        "reason",
        |c| &c.dropped,
    );
    page.gauge("weeziq_slow_readers", "Connections whose sockets take no more for now.")
        .is(sum(|gauges| gauges.slow_readers));
    page.gauge(
        "weeziq_unread_bytes",
        "What is queued for them; frames of rooms are shared and counted for each.",
    )
    .is(sum(|gauges| gauges.unread_bytes));
}

fn of_rooms(page: &mut Page, shards: &[&Measured]) {
    let sum = |of: fn(&Gauges) -> usize| shards.iter().map(|shard| of(&shard.gauges)).sum::<usize>();
    let total = |of: fn(&Counters) -> u64| shards.iter().map(|shard| of(&shard.counters)).sum::<u64>();
    page.gauge("weeziq_rooms", "Rooms in memory.").is(sum(|gauges| gauges.rooms));
    page.gauge("weeziq_members", "Connections in rooms, once for each room.")
        .is(sum(|gauges| gauges.members));
    page.of(&families::DOMAINS).is(sum(|gauges| gauges.domains));
    page.of(&families::VISITORS).is(sum(|gauges| gauges.visitors));
    page.of(&families::DELIVERIES).is(total(|counters| counters.deliveries));
    page.of(&families::REPLIES).is(total(|counters| counters.replies));
    tally(page, shards, &families::RESUMES, "result", |c| &c.resumed);
    tally(
        page,
        shards,
        &families::counter(
            "weeziq_socketio_recoveries_total",
            "The same of Socket.IO's connection state recovery.",
        ),
        "result",
        |c| &c.recovered,
    );
    tally(page, shards, &families::AI_QUESTIONS, "provider", |c| &c.asked);
    page.gauge("weeziq_ai_answers_under_way", "Answers that are being written.")
        .is(sum(|gauges| gauges.answers));
    page.gauge("weeziq_outputs_held", "What waits for its commit to be told.")
        .is(sum(|gauges| gauges.outputs_held));
    page.gauge("weeziq_large_replies_waiting", "Histories and statistics that wait for a turn.")
        .is(sum(|gauges| gauges.large_replies_waiting));
    page.gauge("weeziq_timers", "What is due later.").is(sum(|gauges| gauges.timers));
}

fn of_storage(page: &mut Page, shards: &OfShards) {
    let mut commits = page.histogram("weeziq_commit_seconds", "How long commits that kept something took.");
    numbered(shards).for_each(|(n, shard)| commits.observed(&[("shard", &n)], &shard.counters.commits));
    let mut syncs = page.histogram(
        "weeziq_sync_seconds",
        "With DURABILITY=full: how long outputs waited for the disk after their commit.",
    );
    numbered(shards).for_each(|(n, shard)| syncs.observed(&[("shard", &n)], &shard.counters.syncs));
    let mut failed = page.of(&families::COMMITS_FAILED);
    for (n, shard) in numbered(shards) {
        failed.with(&[("shard", &n)], shard.counters.commits_failed);
    }
    let mut failing =
        page.gauge("weeziq_storage_failing", "Whether a commit has failed and none has succeeded since.");
    for (n, shard) in numbered(shards) {
        failing.with(&[("shard", &n)], u8::from(shard.gauges.is_failing));
    }
    let mut database = page.gauge("weeziq_database_bytes", "The database's file.");
    for (n, shard) in numbered(shards) {
        database.with(&[("shard", &n)], shard.gauges.database_bytes);
    }
    let mut log = page.gauge("weeziq_database_log_bytes", "The write-ahead log's file beside it.");
    for (n, shard) in numbered(shards) {
        log.with(&[("shard", &n)], shard.gauges.log_bytes);
    }
}

/// By endpoint: the number tells two apart that have one address and two keys.
fn of_models(page: &mut Page, endpoints: &[(String, Figures)]) {
    let numbered =
        || endpoints.iter().enumerate().map(|(n, (url, figures))| (n.to_string(), url.as_str(), figures));
    let mut attempts = page.of(&families::AI_ATTEMPTS);
    for (n, url, figures) in numbered() {
        attempts.with(&[("endpoint", &n), ("url", url)], figures.attempts);
    }
    let mut failures = page.of(&families::AI_FAILURES);
    for (n, url, figures) in numbered() {
        for (reason, count) in figures.failures() {
            failures.with(&[("endpoint", &n), ("url", url), ("reason", reason)], count);
        }
    }
    let mut refused = page.of(&families::AI_REFUSED);
    for (n, url, figures) in numbered() {
        refused.with(&[("endpoint", &n), ("url", url)], figures.refused);
    }
    let mut opened = page.of(&families::AI_BREAKER_OPENED);
    for (n, url, figures) in numbered() {
        opened.with(&[("endpoint", &n), ("url", url)], figures.opened);
    }
    let mut open = page.gauge("weeziq_ai_breaker_open", "Whether an endpoint is left alone now.");
    for (n, url, figures) in numbered() {
        open.with(&[("endpoint", &n), ("url", url)], u8::from(figures.open_since.is_some()));
    }
    let mut first = page.of(&families::AI_FIRST_TOKEN);
    for (n, url, figures) in numbered() {
        let seconds = figures.first_token_ms_sum as f64 / 1e3;
        first.summed(&[("endpoint", &n), ("url", url)], seconds, figures.first_tokens);
    }
}

fn of_requests(page: &mut Page, requests: &Requests) {
    let mut family = page.of(&families::HTTP_REQUESTS);
    for (answered, count) in requests.all() {
        let status = answered.status.to_string();
        family.with(&[("route", &answered.route), ("method", answered.method), ("status", &status)], count);
    }
}

fn tally(
    page: &mut Page,
    shards: &[&Measured],
    family: &Family,
    label: &'static str,
    of: fn(&Counters) -> &Tally,
) {
    let mut all = Tally::default();
    shards.iter().for_each(|shard| all.merge(of(&shard.counters)));
    let mut family = page.of(family);
    for (value, count) in all.iter() {
        family.with(&[(label, value)], count);
    }
}
