//! The time zones of the world: the system's data, which is kept up to date, or what the binary brings where there is none.

use weeziq_core::domains::hours::Zones;
use weeziq_core::time::UnixMs;

pub(crate) struct TimeZones;

impl Zones for TimeZones {
    fn offset_s(&self, zone: &str, at: UnixMs) -> Option<i32> {
        let zone = jiff::tz::db().get(zone).ok()?;
        let at = jiff::Timestamp::from_millisecond(at.0).ok()?;
        Some(zone.to_offset(at).seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_its_own_time() {
        let (winter, summer) = (UnixMs(1_767_268_800_000), UnixMs(1_782_907_200_000)); // of 2026
        for (zone, at, hours) in [
            ("Europe/Berlin", winter, 1),
            ("Europe/Berlin", summer, 2),
            ("UTC", summer, 0),
            ("America/New_York", winter, -5),
        ] {
            assert_eq!(TimeZones.offset_s(zone, at), Some(hours * 3_600), "{zone}");
        }
        assert_eq!(TimeZones.offset_s("Asia/Kathmandu", winter), Some(20_700));
        assert_eq!(TimeZones.offset_s("Mars/Olympus", winter), None);
        assert_eq!(TimeZones.offset_s("../etc/passwd", winter), None);
    }
}
