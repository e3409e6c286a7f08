//! What the objects and Workers of an isolate count, on its way to the directory, which adds up what all isolates tell it
//! (`tracker/counted.rs`).
//!
//! An isolate is one of many and may be gone at any moment, so it keeps its counts for some seconds only. Each telling is
//! a request and a row, so nothing is counted unless `METRICS` is on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use weeziq_core::ai::breaker::Figures;
use weeziq_core::ai::models::EndpointId;
use weeziq_core::metrics::families::{self, Family};
use weeziq_core::metrics::{Labels, sample};
use weeziq_core::protocol::routes::pattern_of;
use worker::{Delay, Env, console_warn};

use crate::places::Place;

/// By name and labels, as the page has them.
pub(crate) type Samples = BTreeMap<String, f64>;

thread_local! {
    static HERE: RefCell<Counts> = RefCell::default();
}

#[derive(Default)]
struct Counts {
    is_on: bool,
    samples: Samples,
    told_at: i64,
    /// Somebody has promised to tell by then. Whoever it is may be gone without a word.
    promised_until: i64,
}

/// What comes together with the first is told with it.
const SOON_MS: i64 = 1_000;
const EVERY_MS: i64 = 10_000;
/// A promise that is so late is not kept any more.
const LATE_MS: i64 = 10_000;

pub(crate) fn switch(is_on: bool) {
    HERE.with_borrow_mut(|counts| counts.is_on = is_on);
}

pub(crate) fn one(family: &Family, label: &'static str, value: &str) {
    add(family, &[(label, value)], 1);
}

pub(crate) fn add(family: &Family, labels: Labels<'_>, n: usize) {
    HERE.with_borrow_mut(|counts| {
        if counts.is_on && n > 0 {
            *counts.samples.entry(sample(family.name, labels)).or_default() += n as f64;
        }
    });
}

/// What a request over HTTP came to. One that became a socket is a connection, and no request.
pub(crate) fn request(path: &str, method: &str, status: u16) {
    if status == 101 {
        return one(&families::CONNECTIONS, "transport", "websocket");
    }
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"];
    // Whoever asks may name a method as they like, and each name would be kept.
    let method = known.into_iter().find(|known| *known == method).unwrap_or("other");
    let labels =
        [("route", pattern_of(path).unwrap_or("none")), ("method", method), ("status", &status.to_string())];
    add(&families::HTTP_REQUESTS, &labels, 1);
}

/// What has come of an endpoint in between.
pub(crate) fn model(endpoint: EndpointId, url: &str, before: &Figures, after: &Figures) {
    HERE.with_borrow_mut(|counts| {
        if counts.is_on {
            let grown = figures(endpoint, url, before, after).into_iter().filter(|(_, by)| *by > 0.0);
            merge(&mut counts.samples, grown);
        }
    });
}

pub(crate) fn figures(
    endpoint: EndpointId,
    url: &str,
    before: &Figures,
    after: &Figures,
) -> Vec<(String, f64)> {
    let number = endpoint.number().to_string();
    let labels = [("endpoint", number.as_str()), ("url", url)];
    let named = |name: &str| sample(name, &labels);
    let by = |of: fn(&Figures) -> u64| of(after).saturating_sub(of(before)) as f64;
    let first_token = |part| named(&format!("{}_{part}", families::AI_FIRST_TOKEN.name));
    let mut grown = vec![
        (named(families::AI_ATTEMPTS.name), by(|figures| figures.attempts)),
        (named(families::AI_REFUSED.name), by(|figures| figures.refused)),
        (named(families::AI_BREAKER_OPENED.name), by(|figures| figures.opened)),
        (first_token("sum"), by(|figures| figures.first_token_ms_sum) / 1e3),
        (first_token("count"), by(|figures| figures.first_tokens)),
    ];
    for ((reason, before), (_, after)) in before.failures().into_iter().zip(after.failures()) {
        let labels = [labels[0], labels[1], ("reason", reason)];
        grown.push((sample(families::AI_FAILURES.name, &labels), after.saturating_sub(before) as f64));
    }
    grown
}

pub(crate) fn merge(samples: &mut Samples, more: impl IntoIterator<Item = (String, f64)>) {
    for (sample, by) in more {
        *samples.entry(sample).or_default() += by;
    }
}

/// To be kept alive by whoever is awake anyway. None: nothing is counted, or somebody has promised already.
pub(crate) fn telling(env: &Env) -> Option<impl Future<Output = ()> + use<>> {
    let wait_ms = HERE.with_borrow_mut(|counts| {
        let now = now();
        if !counts.is_on || now < counts.promised_until {
            return None;
        }
        let wait_ms = (counts.told_at + EVERY_MS - now).clamp(SOON_MS, EVERY_MS);
        counts.promised_until = now + wait_ms + LATE_MS;
        Some(wait_ms)
    })?;
    let env = env.clone();
    Some(async move {
        Delay::from(Duration::from_millis(wait_ms as u64)).await;
        let counted = HERE.with_borrow_mut(|counts| {
            (counts.told_at, counts.promised_until) = (now(), 0);
            std::mem::take(&mut counts.samples)
        });
        if counted.is_empty() {
            return;
        }
        let body = serde_json::to_string(&counted).unwrap_or_default();
        match Place::Directory.post(&env, "/counted", &body).await {
            Ok(response) if response.status_code() == 200 => {}
            _ => {
                console_warn!("the directory does not take what was counted; it is told again");
                HERE.with_borrow_mut(|counts| merge(&mut counts.samples, counted));
            }
        }
    })
}

fn now() -> i64 {
    worker::Date::now().as_millis() as i64
}
