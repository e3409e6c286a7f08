//! What an operator asks about the traffic of a site. Every count of distinct visitors says how it was made.

use std::collections::BTreeMap;

use serde::Serialize;

use super::traffic::{DAY_MS, HOUR_MS, Hour, Top, begin_of};
use super::{Turn, Visitors};
use crate::Caller;
use crate::ids::DomainId;
use crate::limits::{REPORT_BUCKETS_MAX, REPORT_DAYS_MAX};
use crate::protocol::error::ClientError;
use crate::protocol::event::Event;
use crate::protocol::query::Query;
use crate::store::SqlError;
use crate::time::UnixMs;

/// What is asked for, and of when. What is left out the time of the answer decides.
pub struct ReportQuery {
    kind: Kind,
    from: Option<UnixMs>,
    to: Option<UnixMs>,
}

#[derive(Clone, Copy)]
enum Kind {
    Series(Length),
    Pages,
    Dropped,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Length {
    Hour,
    Day,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    domain_id: DomainId,
    from: UnixMs,
    to: UnixMs,
    #[serde(flatten)]
    what: What,
}

#[derive(Clone, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum What {
    Series { bucket: Length, unique: Unique, buckets: Vec<Bucket> },
    Pages(Box<Pages>),
    Dropped { dropped: BTreeMap<String, u64> },
}

/// How distinct visitors were counted.
#[derive(Clone, Serialize)]
struct Unique {
    /// Of those who bring an id.
    method: &'static str,
    /// Of those who do not: by a hash of their address and browser under a salt that is thrown away with its day.
    anonymous: &'static str,
    /// Whoever comes in two of them counts in both: sums over several are no count of people.
    window: Length,
}

#[derive(Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Bucket {
    start: UnixMs,
    visitors: u64,
    /// Those of them who brought no id.
    anonymous: u64,
    sessions: u64,
    views: u64,
    messages: u64,
    ai_replies: u64,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Pages {
    pages: Vec<PageViews>,
    pages_other: u64,
    referrers: Vec<Visits>,
    referrers_other: u64,
    campaigns: Vec<Visits>,
    browsers: BTreeMap<String, u64>,
    systems: BTreeMap<String, u64>,
    devices: BTreeMap<String, u64>,
    countries: Vec<Visits>,
    countries_other: u64,
}

#[derive(Clone, Serialize)]
struct PageViews {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    views: u64,
}

#[derive(Clone, Serialize)]
#[serde(untagged)]
enum Visits {
    Referrer { referrer: String, visits: u64 },
    Campaign { campaign: String, visits: u64 },
    Country { country: String, visits: u64 },
}

impl ReportQuery {
    /// `kind` is the end of the route: `series`, `pages` or `dropped`.
    pub fn parse(kind: &str, query: &str) -> Result<Self, ClientError> {
        let query = Query::parse(query);
        let kind = match (kind, query.get("bucket")) {
            ("pages", _) => Kind::Pages,
            ("dropped", _) => Kind::Dropped,
            (_, None | Some("hour")) => Kind::Series(Length::Hour),
            (_, Some("day")) => Kind::Series(Length::Day),
            _ => return Err(ClientError::invalid("bucket", "must be hour or day")),
        };
        let (from, to) = (moment(&query, "from")?, moment(&query, "to")?);
        if let Some((from, to)) = from.zip(to) {
            check(kind, from, to)?;
        }
        Ok(Self { kind, from, to })
    }

    /// Whole buckets: the one that a moment lies in, with both ends.
    fn span(&self, now: UnixMs) -> Result<(UnixMs, UnixMs), ClientError> {
        let (length, usual) = match self.kind {
            Kind::Series(Length::Hour) => (HOUR_MS, 24 * HOUR_MS),
            Kind::Series(Length::Day) => (DAY_MS, 30 * DAY_MS),
            Kind::Pages | Kind::Dropped => (HOUR_MS, 7 * DAY_MS),
        };
        let last = self.to.unwrap_or(now);
        let from = self.from.unwrap_or(last.plus(length - usual));
        check(self.kind, from, last)?;
        Ok((begin_of(from, length), begin_of(last, length).plus(length)))
    }
}

fn moment(query: &Query<'_>, name: &str) -> Result<Option<UnixMs>, ClientError> {
    let rule = "must be a time like 2026-01-31T00:00:00Z";
    let parse = |text: &str| UnixMs::parse(text).ok_or_else(|| ClientError::invalid(name, rule));
    query.get(name).map(parse).transpose()
}

fn check(kind: Kind, from: UnixMs, to: UnixMs) -> Result<(), ClientError> {
    let most = match kind {
        Kind::Series(Length::Hour) => REPORT_BUCKETS_MAX * HOUR_MS,
        Kind::Series(Length::Day) => REPORT_BUCKETS_MAX * DAY_MS,
        Kind::Pages | Kind::Dropped => REPORT_DAYS_MAX * DAY_MS,
    };
    if to < from {
        return Err(ClientError::invalid("to", "must not be before from"));
    }
    if to.since(from) >= most {
        return Err(ClientError::invalid("from", "lies too far before to for one answer"));
    }
    Ok(())
}

impl Visitors {
    pub(super) fn report(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        query: &ReportQuery,
    ) -> Result<(), SqlError> {
        let (begin, end) = match query.span(turn.cx.now) {
            Ok(span) => span,
            Err(error) => {
                let event = Event::error(&error, turn.cx.now);
                turn.reply(from, event);
                return Ok(());
            }
        };
        let hours = self.traffic_between(turn, begin, end)?;
        let what = match query.kind {
            Kind::Series(length) => series(length, (begin, end), &hours),
            Kind::Pages => What::Pages(Box::new(pages(&hours))),
            Kind::Dropped => What::Dropped { dropped: dropped(&hours) },
        };
        let report = Report { domain_id: self.id.clone(), from: begin, to: end, what };
        turn.reply(from, Event::Report(Box::new(report)));
        Ok(())
    }
}

fn series(length: Length, (begin, end): (UnixMs, UnixMs), hours: &[(UnixMs, Hour)]) -> What {
    let length_ms = if length == Length::Hour { HOUR_MS } else { DAY_MS };
    let mut buckets: BTreeMap<i64, Bucket> = BTreeMap::new();
    let mut start = begin;
    while start < end {
        buckets.insert(start.0, Bucket { start, ..Bucket::default() });
        start = start.plus(length_ms);
    }
    for (at, hour) in hours {
        let Some(bucket) = buckets.get_mut(&begin_of(*at, length_ms).0) else { continue };
        let (visitors, anonymous) = match length {
            Length::Hour => (hour.visitors, hour.nameless),
            Length::Day => (hour.first_today, hour.nameless_first_today),
        };
        bucket.visitors += visitors;
        bucket.anonymous += anonymous;
        bucket.sessions += hour.sessions;
        bucket.views += hour.views;
        bucket.messages += hour.messages;
        bucket.ai_replies += hour.answers;
    }
    let unique = Unique { method: "exact", anonymous: "daily-salt", window: length };
    What::Series { bucket: length, unique, buckets: buckets.into_values().collect() }
}

fn pages(hours: &[(UnixMs, Hour)]) -> Pages {
    let all = |of: fn(&Hour) -> &Top| {
        let mut sum = Top::default();
        hours.iter().for_each(|(_, hour)| sum.merge(of(hour)));
        sum
    };
    let (pages, referrers) = (all(|hour| &hour.pages), all(|hour| &hour.referrers));
    let countries = all(|hour| &hour.countries);
    let views = |(url, views): (&str, u64)| PageViews {
        title: pages.titles.get(url).cloned(),
        url: url.into(),
        views,
    };
    let referrer = |(name, visits): (&str, u64)| Visits::Referrer { referrer: name.into(), visits };
    let country = |(name, visits): (&str, u64)| Visits::Country { country: name.into(), visits };
    let campaign = |(name, visits): (&str, u64)| Visits::Campaign { campaign: name.into(), visits };
    Pages {
        pages: pages.sorted().into_iter().map(views).collect(),
        pages_other: pages.other,
        referrers: referrers.sorted().into_iter().map(referrer).collect(),
        referrers_other: referrers.other,
        campaigns: all(|hour| &hour.campaigns).sorted().into_iter().map(campaign).collect(),
        browsers: all(|hour| &hour.browsers).counts,
        systems: all(|hour| &hour.systems).counts,
        devices: all(|hour| &hour.devices).counts,
        countries: countries.sorted().into_iter().map(country).collect(),
        countries_other: countries.other,
    }
}

fn dropped(hours: &[(UnixMs, Hour)]) -> BTreeMap<String, u64> {
    let mut sum = BTreeMap::new();
    for (reason, count) in hours.iter().flat_map(|(_, hour)| &hour.dropped) {
        *sum.entry(reason.clone()).or_default() += count;
    }
    sum
}
