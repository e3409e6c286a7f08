//! When somebody is there: hours of the week in the site's own time zone.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::reader::Node;
use crate::limits::OPENINGS_A_DAY_MAX;
use crate::protocol::error::ClientError;
use crate::time::UnixMs;

/// The time zones of the world, which a host brings: the data has no place in a Worker that can ask its platform.
pub trait Zones {
    /// Seconds east of UTC at that place and time. None: there is no such place.
    fn offset_s(&self, zone: &str, at: UnixMs) -> Option<i32>;
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BusinessHours {
    /// An IANA name.
    pub time_zone: Box<str>,
    week: Week,
}

/// From Monday on; each day's in order, none over another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Week([Vec<Hours>; 7]);

/// Minutes since midnight; `to` is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hours {
    from: u16,
    to: u16,
}

/// Whether somebody is there now, and if not, when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    pub is_open: bool,
    /// None if it is open, or never again.
    pub opens_at: Option<UnixMs>,
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;

impl Default for Opening {
    /// Of a site that keeps no hours.
    fn default() -> Self {
        Self { is_open: true, opens_at: None }
    }
}

impl BusinessHours {
    pub(super) fn read(node: &Node<'_>) -> Result<Option<Self>, ClientError> {
        node.check_object()?;
        if node.is_unset() {
            return Ok(None);
        }
        let zone = node.at("timeZone");
        let time_zone = zone.label()?.ok_or_else(|| zone.missing())?;
        if !is_zone_name(&time_zone) {
            return Err(zone.invalid("must be a time zone's IANA name such as Europe/Berlin"));
        }
        let days = node.at("week");
        days.check_object()?;
        if let Some(unknown) = days.names().find(|name| !DAYS.contains(name)) {
            return Err(days.at(unknown).invalid("is no day; days are mon, tue, wed, thu, fri, sat and sun"));
        }
        let mut week = Week::default();
        for (day, name) in week.0.iter_mut().zip(DAYS) {
            *day = read_day(&days.at(name))?;
        }
        Ok(Some(Self { time_zone, week }))
    }

    /// A zone that the host does not know (any more) closes nobody's doors.
    pub fn opening(&self, now: UnixMs, zones: &impl Zones) -> Opening {
        let Some(offset) = zones.offset_s(&self.time_zone, now) else { return Opening::default() };
        let local = now.0 + i64::from(offset) * 1_000;
        let (today, minute) = (local.div_euclid(DAY_MS), (local.rem_euclid(DAY_MS) / MINUTE_MS) as u16);
        if self.week.on(today).iter().any(|hours| (hours.from..hours.to).contains(&minute)) {
            return Opening { is_open: true, opens_at: None };
        }
        // To the same day of next week, whose hours may all have been before this minute.
        let openings = (today..=today + 7).flat_map(|day| {
            let at = move |hours: &Hours| day * DAY_MS + i64::from(hours.from) * MINUTE_MS;
            self.week.on(day).iter().map(at)
        });
        let opens_at = openings.map(|local| self.instant(local, offset, zones)).find(|at| *at > now);
        Opening { is_open: false, opens_at }
    }

    /// When the clocks there show it. They may be changed between now and then, so the offset there and then counts.
    fn instant(&self, local_ms: i64, offset_now: i32, zones: &impl Zones) -> UnixMs {
        let at = |offset: i32| UnixMs(local_ms - i64::from(offset) * 1_000);
        at(zones.offset_s(&self.time_zone, at(offset_now)).unwrap_or(offset_now))
    }
}

impl Week {
    /// The first of January 1970 was a Thursday.
    fn on(&self, days_since_1970: i64) -> &[Hours] {
        let weekday = (days_since_1970 + 3).rem_euclid(7) as usize;
        self.0.get(weekday).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Serialize for Week {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let open = DAYS.iter().zip(&self.0).filter(|(_, hours)| !hours.is_empty());
        let mut map = serializer.serialize_map(None)?;
        for (day, hours) in open {
            let hours: Vec<_> = hours.iter().map(|hours| [shown(hours.from), shown(hours.to)]).collect();
            map.serialize_entry(day, &hours)?;
        }
        map.end()
    }
}

fn read_day(node: &Node<'_>) -> Result<Vec<Hours>, ClientError> {
    if node.len() > OPENINGS_A_DAY_MAX {
        return Err(node.invalid(&format!("must have {OPENINGS_A_DAY_MAX} pairs at most")));
    }
    let mut day: Vec<Hours> = Vec::new();
    for pair in node.entries()? {
        let times: Vec<Node<'_>> = pair.entries()?.collect();
        let [from, to] = times.as_slice() else {
            return Err(pair.invalid("must be a pair of times such as [\"09:00\", \"17:30\"]"));
        };
        let hours = Hours { from: read_time(from)?, to: read_time(to)? };
        if hours.from >= hours.to {
            return Err(pair.invalid("must end after it begins; what goes past midnight is two days'"));
        }
        if day.last().is_some_and(|before| before.to > hours.from) {
            return Err(pair.invalid("must begin after the one before it ends"));
        }
        day.push(hours);
    }
    Ok(day)
}

/// `00:00` to `24:00`.
fn read_time(node: &Node<'_>) -> Result<u16, ClientError> {
    let text = node.label()?.ok_or_else(|| node.missing())?;
    let digits = |part: &str| match part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()) {
        true => part.parse::<u16>().ok(),
        false => None,
    };
    let time = text.split_once(':').and_then(|(hour, minute)| digits(hour).zip(digits(minute)));
    match time {
        Some((hour, minute)) if minute < 60 && hour * 60 + minute <= 24 * 60 => Ok(hour * 60 + minute),
        _ => Err(node.invalid("must be a time of day from 00:00 to 24:00")),
    }
}

fn shown(minutes: u16) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// By its form only. Some platforms know offsets such as +02:00 as zones, which the others would not read.
fn is_zone_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'+' | b'-'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use serde_json::json;

    use super::*;

    /// Two hours east in summer, one in winter: the clocks are changed on 2026-03-29 and 2026-10-25 at 01:00 UTC.
    struct Berlin;

    impl Zones for Berlin {
        fn offset_s(&self, zone: &str, at: UnixMs) -> Option<i32> {
            let is_summer = (1_774_746_000_000..1_792_890_000_000).contains(&at.0);
            (zone == "Europe/Berlin").then_some(if is_summer { 7_200 } else { 3_600 })
        }
    }

    fn check(week: &serde_json::Value, now: &str, expected: Option<&str>) {
        let json = json!({ "timeZone": "Europe/Berlin", "week": week });
        let hours = BusinessHours::read(&Node::root(&json)).unwrap().unwrap();
        let now: UnixMs = serde_json::from_value(json!(now)).unwrap();
        let opening = hours.opening(now, &Berlin);
        let opens_at = opening.opens_at.map(|at| at.to_string());
        assert_eq!(opens_at.as_deref(), expected.filter(|it| *it != "now"), "{json} at {now}");
        assert_eq!(opening.is_open, expected == Some("now"), "{json} at {now}");
    }

    #[test]
    fn a_site_opens_by_its_own_clock() {
        let nine_to_five =
            json!({ "mon": [["09:00", "12:00"], ["13:00", "17:00"]], "sat": [["00:00", "24:00"]] });
        let check = |now, expected| check(&nine_to_five, now, expected);
        check("2026-06-01T07:00:00.000Z", Some("now")); // a Monday, nine o'clock in Berlin
        check("2026-06-01T06:59:59.999Z", Some("2026-06-01T07:00:00.000Z"));
        check("2026-06-01T10:00:00.000Z", Some("2026-06-01T11:00:00.000Z"));
        check("2026-06-01T15:00:00.000Z", Some("2026-06-05T22:00:00.000Z"));
        check("2026-06-06T21:59:59.000Z", Some("now"));
        check("2026-06-06T22:00:00.000Z", Some("2026-06-08T07:00:00.000Z"));
    }

    #[test]
    fn clocks_that_are_changed_in_between_count() {
        let mondays = json!({ "mon": [["09:00", "17:00"]] });
        check(&mondays, "2026-10-23T12:00:00.000Z", Some("2026-10-26T08:00:00.000Z"));
        check(&mondays, "2026-03-27T12:00:00.000Z", Some("2026-03-30T07:00:00.000Z"));
        check(&mondays, "2026-06-01T16:00:00.000Z", Some("2026-06-08T07:00:00.000Z"));
        check(&json!({}), "2026-06-01T16:00:00.000Z", None);
    }

    #[test]
    fn a_zone_that_is_not_known_any_more_closes_nothing() {
        let json = json!({ "timeZone": "Mars/Olympus", "week": {} });
        let hours = BusinessHours::read(&Node::root(&json)).unwrap().unwrap();
        assert_eq!(hours.opening(UnixMs(0), &Berlin), Opening::default());
    }
}
