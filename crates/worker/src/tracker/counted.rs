//! The numbers of the whole deployment: what all isolates have counted, and what the directory knows by itself.

use weeziq_core::ai::breaker::Figures;
use weeziq_core::metrics::families::{self, Family};
use weeziq_core::metrics::{CONTENT_TYPE, Page, sample};
use weeziq_core::store::{Sql, SqlError, Value};
use worker::{Error, Request, Response, ResponseBuilder, Result};

use super::{Tracker, directory};
use crate::counts::{self, Samples};
use crate::settings::Settings;
use crate::store::{Store, transact};

/// One row, since each row that is written is billed.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS counted (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    samples TEXT NOT NULL
) STRICT";

/// In the order of the page.
const COUNTED: [&Family; 14] = [
    &families::CONNECTIONS,
    &families::CONNECTIONS_CLOSED,
    &families::EVENTS,
    &families::EVENTS_REFUSED,
    &families::DELIVERIES,
    &families::REPLIES,
    &families::RESUMES,
    &families::COMMITS_FAILED,
    &families::HTTP_REQUESTS,
    &families::AI_QUESTIONS,
    &families::AI_ATTEMPTS,
    &families::AI_FAILURES,
    &families::AI_REFUSED,
    &families::AI_BREAKER_OPENED,
];

impl Tracker {
    pub(super) async fn add_counted(&self, mut request: Request) -> Result<Response> {
        let more: Samples = serde_json::from_str(&request.text().await?)?;
        let added = transact(&self.state.storage(), move |sql| {
            let mut samples = read(sql)?;
            counts::merge(&mut samples, more);
            let text = serde_json::to_string(&samples).map_err(|error| SqlError(error.to_string()))?;
            sql.run(
                "INSERT INTO counted (id, samples) VALUES (1, ?)
                    ON CONFLICT (id) DO UPDATE SET samples = excluded.samples",
                &[Value::Text(&text)],
            )
        });
        added.map_err(|failed| Error::RustError(failed.to_string()))?;
        Response::ok("")
    }

    pub(super) fn tell_counted(&self) -> Result<Response> {
        let settings = self.settings.as_ref().map_err(|why| Error::RustError(why.clone()))?;
        let mut sql = Store::new(&self.state.storage());
        let counted = read(&mut sql).map_err(directory::failed)?;
        let mut samples = zeros(settings);
        counts::merge(&mut samples, counted);
        let (domains, visitors) = directory::totals(&mut sql).map_err(directory::failed)?;

        let mut page = Page::default();
        page.of(&families::BUILD_INFO).with(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        page.of(&families::DOMAINS).is(domains);
        page.of(&families::VISITORS).is(visitors);
        for family in COUNTED.into_iter().chain([&families::AI_FIRST_TOKEN]) {
            let mut told = page.of(family);
            for (sample, value) in samples.iter().filter(|(sample, _)| is_of(family, sample)) {
                told.known(sample, value);
            }
        }
        let response = ResponseBuilder::new()
            .with_header("content-type", CONTENT_TYPE)?
            .with_header("cache-control", "no-store")?;
        Ok(response.fixed(page.into_text().into_bytes()))
    }
}

fn is_of(family: &Family, sample: &str) -> bool {
    let name = sample.split('{').next().unwrap_or_default();
    let part = name.strip_prefix(family.name);
    part.is_some_and(|part| {
        part.is_empty() || (family.kind == "summary" && matches!(part, "_sum" | "_count"))
    })
}

/// What may be alarmed at is told as zero before it happens: of a number that appears as 1 nobody sees that it rose.
fn zeros(settings: &Settings) -> Samples {
    let mut zeros = Samples::new();
    for (family, labels) in [
        (&families::CONNECTIONS_CLOSED, &[("reason", "policy")][..]),
        (&families::RESUMES, &[("result", "resumed")]),
        (&families::RESUMES, &[("result", "history")]),
        (&families::COMMITS_FAILED, &[]),
        (&families::DELIVERIES, &[]),
        (&families::REPLIES, &[]),
    ] {
        zeros.insert(sample(family.name, labels), 0.0);
    }
    let none = Figures::default();
    for (endpoint, url) in settings.providers.base_urls() {
        zeros.extend(counts::figures(endpoint, url, &none, &none));
    }
    zeros
}

fn read(sql: &mut Store) -> std::result::Result<Samples, SqlError> {
    sql.run(TABLE, &[])?;
    let mut samples = Samples::new();
    sql.query("SELECT samples FROM counted", &[], &mut |row| {
        samples = serde_json::from_str(row.text(0)).unwrap_or_default();
    })?;
    Ok(samples)
}
