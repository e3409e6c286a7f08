//! What a site's visitors came to, hour by hour: counts, and the pages, referrers and browsers that were most frequent.
//!
//! Nobody is recorded: a page that is looked at is a number that grows. Who was counted already is known from when they
//! were last here, which stands in their row anyway, so that a count of distinct visitors is exact for an hour and for a
//! day, and costs no row of its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::user_agent::{self, Bot};
use super::whence::{Country, is_nameless};
use super::{Known, Turn, Visitors};
use crate::ids::VisitorId;
use crate::limits::{TRAFFIC_KEY_CHARS_MAX, TRAFFIC_KEYS_MAX, TRAFFIC_STORED_EVERY_MS};
use crate::protocol::command::Page;
use crate::store::erasure::Removed;
use crate::store::{SqlError, traffic as rows};
use crate::time::UnixMs;

pub const HOUR_MS: i64 = 3_600_000;
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// One hour of a site, in UTC.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Hour {
    /// Distinct ones in this hour, and those of them who had not been here on that day.
    pub visitors: u64,
    pub first_today: u64,
    /// Of both, who brought no id and is known for a day only.
    pub nameless: u64,
    pub nameless_first_today: u64,
    /// Visits that began.
    pub sessions: u64,
    pub views: u64,
    /// Said in rooms of the site, and of these what the AI said.
    pub messages: u64,
    pub answers: u64,
    pub pages: Top,
    pub referrers: Top,
    pub campaigns: Top,
    pub browsers: Top,
    pub systems: Top,
    pub devices: Top,
    pub countries: Top,
    /// Not counted in any of these, by why.
    pub dropped: BTreeMap<String, u64>,
}

/// Counts by name, the first so many names; the rest together.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Top {
    pub counts: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub titles: BTreeMap<String, String>,
    pub other: u64,
}

/// The hour that is being counted.
#[derive(Default)]
pub(super) struct Traffic {
    /// Its beginning, and what has been counted so far, once it is known what was stored of it.
    hour: Option<(UnixMs, Box<Hour>)>,
    /// When it is to be stored.
    store_at: Option<UnixMs>,
    has_table: bool,
}

impl Traffic {
    pub(super) fn due(&self) -> Option<UnixMs> {
        self.store_at
    }
}

impl Top {
    pub fn add(&mut self, name: &str, count: u64) {
        if name.is_empty() {
            return;
        }
        let name: String = name.chars().take(TRAFFIC_KEY_CHARS_MAX).collect();
        if self.counts.len() < TRAFFIC_KEYS_MAX || self.counts.contains_key(&name) {
            *self.counts.entry(name).or_default() += count;
        } else {
            self.other += count;
        }
    }

    pub fn merge(&mut self, other: &Self) {
        other.counts.iter().for_each(|(name, count)| self.add(name, *count));
        self.titles.extend(other.titles.iter().map(|(name, title)| (name.clone(), title.clone())));
        self.other += other.other;
    }

    /// The most frequent first.
    pub fn sorted(&self) -> Vec<(&str, u64)> {
        let mut sorted: Vec<(&str, u64)> =
            self.counts.iter().map(|(name, count)| (&**name, *count)).collect();
        sorted.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        sorted
    }
}

pub fn begin_of(at: UnixMs, length_ms: i64) -> UnixMs {
    UnixMs(at.0 - at.0.rem_euclid(length_ms))
}

impl Visitors {
    /// Somebody arrives who was last here then: anew, or in another tab.
    pub(super) fn count(
        &mut self,
        turn: &mut Turn<'_>,
        id: &VisitorId,
        (data, country): (&RawValue, Option<Country>),
        last_at: Option<UnixMs>,
    ) -> Result<(), SqlError> {
        let known = Known::of(data);
        let Some(visitor) = self.here.get(id) else {
            let country = country.or_else(|| known.country());
            return self.count_arrival(turn, (id, &known), country, last_at);
        };
        if visitor.counts {
            let is_another = Self::is_another(&visitor.page, known.url.0.as_deref());
            self.count_presence(turn, id, last_at)?;
            if is_another {
                return self.count_view(turn, known.url.0.as_deref(), known.title.0.as_deref());
            }
        }
        Ok(())
    }

    pub(super) fn count_activity(
        &mut self,
        turn: &mut Turn<'_>,
        id: &VisitorId,
        page: &Page,
    ) -> Result<(), SqlError> {
        let Some(visitor) = self.here.get(id).filter(|visitor| visitor.counts) else { return Ok(()) };
        let (last_at, is_another) = (visitor.last_at, Self::is_another(&visitor.page, page.url.as_deref()));
        self.count_presence(turn, id, Some(last_at))?;
        match is_another {
            true => self.count_view(turn, page.url.as_deref(), page.title.as_deref()),
            false => Ok(()),
        }
    }

    /// A visit begins; `last_at` is when this visitor was last here, if ever.
    fn count_arrival(
        &mut self,
        turn: &mut Turn<'_>,
        (id, known): (&VisitorId, &Known),
        country: Option<Country>,
        last_at: Option<UnixMs>,
    ) -> Result<(), SqlError> {
        let agent = known.user_agent.0.as_deref().unwrap_or_default();
        if let Some(bot) = user_agent::bot(agent) {
            let name = bot.name().to_owned();
            *self.hour(turn)?.dropped.entry(name).or_default() += 1;
            return Ok(());
        }
        let class = user_agent::classify(agent);
        let (url, referrer) = (known.url.0.as_deref().unwrap_or_default(), known.referrer.0.as_deref());
        let hour = self.hour(turn)?;
        hour.sessions += 1;
        hour.browsers.add(class.browser, 1);
        hour.systems.add(class.os, 1);
        hour.devices.add(class.device, 1);
        hour.countries.add(country.as_ref().map_or("", Country::as_str), 1);
        hour.campaigns.add(&campaign(url), 1);
        let from = host(referrer.unwrap_or_default());
        if from != host(url) {
            hour.referrers.add(&from, 1);
        }
        self.count_presence(turn, id, last_at)?;
        self.count_view(turn, known.url.0.as_deref(), known.title.0.as_deref())
    }

    /// A sign of life of somebody who was last seen then.
    fn count_presence(
        &mut self,
        turn: &mut Turn<'_>,
        id: &VisitorId,
        last_at: Option<UnixMs>,
    ) -> Result<(), SqlError> {
        let (now, nameless) = (turn.cx.now, u64::from(is_nameless(id)));
        let is_in = |length| last_at.is_some_and(|last| begin_of(last, length) == begin_of(now, length));
        if !is_in(HOUR_MS) {
            let hour = self.hour(turn)?;
            hour.visitors += 1;
            hour.nameless += nameless;
            if !is_in(DAY_MS) {
                hour.first_today += 1;
                hour.nameless_first_today += nameless;
            }
        }
        Ok(())
    }

    fn count_view(
        &mut self,
        turn: &mut Turn<'_>,
        url: Option<&str>,
        title: Option<&str>,
    ) -> Result<(), SqlError> {
        let Some(url) = url.map(without_query).filter(|url| !url.is_empty()) else { return Ok(()) };
        let hour = self.hour(turn)?;
        hour.views += 1;
        hour.pages.add(url, 1);
        if let Some(title) = title.filter(|_| hour.pages.counts.contains_key(url)) {
            hour.pages.titles.insert(url.into(), title.chars().take(TRAFFIC_KEY_CHARS_MAX).collect());
        }
        Ok(())
    }

    pub(super) fn count_messages(
        &mut self,
        turn: &mut Turn<'_>,
        messages: u64,
        answers: u64,
    ) -> Result<(), SqlError> {
        if messages > 0 {
            let hour = self.hour(turn)?;
            (hour.messages, hour.answers) = (hour.messages + messages, hour.answers + answers);
        }
        Ok(())
    }

    /// Whether a page is another one than before.
    fn is_another(before: &Page, url: Option<&str>) -> bool {
        url.is_some_and(|url| before.url.as_deref().map(without_query) != Some(without_query(url)))
    }

    /// The hour that it is, to be counted in.
    fn hour(&mut self, turn: &mut Turn<'_>) -> Result<&mut Hour, SqlError> {
        let begin = begin_of(turn.cx.now, HOUR_MS);
        if self.traffic.hour.as_ref().is_none_or(|(at, _)| *at != begin) {
            self.store_traffic(turn)?;
            self.open_traffic(turn)?;
            let stored = rows::hour(turn.sql, &self.id, begin)?;
            self.traffic.hour = Some((begin, Box::new(stored.unwrap_or_default())));
        }
        self.traffic.store_at.get_or_insert(turn.cx.now.plus(TRAFFIC_STORED_EVERY_MS));
        Ok(&mut self.traffic.hour.get_or_insert_with(|| (begin, Box::default())).1)
    }

    pub(super) fn store_traffic(&mut self, turn: &mut Turn<'_>) -> Result<(), SqlError> {
        match (&self.traffic.hour, self.traffic.store_at.take()) {
            (Some((begin, hour)), Some(_)) => rows::keep(turn.sql, &self.id, *begin, hour),
            _ => Ok(()),
        }
    }

    /// Hours that were over before a time. One that has not been stored yet is among them if it is so old.
    pub(super) fn forget_traffic(
        &mut self,
        turn: &mut Turn<'_>,
        before: UnixMs,
        removed: &mut Removed,
    ) -> Result<(), SqlError> {
        self.store_traffic(turn)?;
        self.open_traffic(turn)?;
        self.traffic.hour.take_if(|(begin, _)| begin.plus(HOUR_MS) <= before);
        rows::forget_before(turn.sql, &self.id, before, removed)
    }

    fn open_traffic(&mut self, turn: &mut Turn<'_>) -> Result<(), SqlError> {
        if std::mem::replace(&mut self.traffic.has_table, true) { Ok(()) } else { rows::open(turn.sql) }
    }

    /// What was counted and is not stored yet has to be in what a report reads.
    pub(super) fn traffic_between(
        &mut self,
        turn: &mut Turn<'_>,
        from: UnixMs,
        to: UnixMs,
    ) -> Result<Vec<(UnixMs, Hour)>, SqlError> {
        self.store_traffic(turn)?;
        self.open_traffic(turn)?;
        rows::between(turn.sql, &self.id, from, to)
    }
}

impl Bot {
    fn name(self) -> &'static str {
        match self {
            Self::Crawler => "crawler",
            Self::Headless => "headless",
            Self::Tool => "tool",
        }
    }
}

/// A query is who came, and not where to; and there is no end of them.
fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default().to_ascii_lowercase()
}

/// `utm_source / utm_medium / utm_campaign`, as far as they are there.
fn campaign(url: &str) -> String {
    let query = url.split_once('?').map_or("", |(_, query)| query.split('#').next().unwrap_or_default());
    let query = crate::protocol::query::Query::parse(query);
    let parts = ["utm_source", "utm_medium", "utm_campaign"];
    parts
        .iter()
        .filter_map(|name| query.get(name))
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" / ")
}
