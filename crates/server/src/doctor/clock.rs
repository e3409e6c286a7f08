//! The time of day: messages are dated with it, tokens expire by it, certificates are judged by it.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Finding;

const ABOUT: &str = "clock";
/// This release was made after the first, and should be replaced long before the second.
const YEARS: (u64, u64) = (2026, 2100);
const SECONDS_A_YEAR: u64 = 31_556_952;
/// Long enough to see a clock that is being moved, short enough for a person who waits.
const WATCHED: Duration = Duration::from_millis(200);
const DRIFT_MAX: Duration = Duration::from_millis(20);
const AHEAD_MAX: Duration = Duration::from_secs(5);

pub(super) fn examine(data_dir: &Path) -> Vec<Finding> {
    let now = SystemTime::now();
    let year = 1970 + now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / SECONDS_A_YEAR;
    let mut findings = Vec::new();
    if year < YEARS.0 || year > YEARS.1 {
        findings.push(Finding::broken(
            ABOUT,
            format!("the year is {year}; set the time, and let chrony or systemd-timesyncd keep it"),
        ));
    }
    if let Some(ahead) =
        newest(data_dir).and_then(|newest| newest.duration_since(now).ok()).filter(|ahead| *ahead > AHEAD_MAX)
    {
        findings.push(Finding::broken(
            ABOUT,
            format!(
                "{} was written {} s from now: the clock has been set back; check its synchronisation",
                data_dir.display(),
                ahead.as_secs()
            ),
        ));
    }
    let began = Instant::now();
    std::thread::sleep(WATCHED);
    let drift = now.elapsed().map_or(WATCHED, |wall| wall.abs_diff(began.elapsed()));
    if drift > DRIFT_MAX {
        findings.push(Finding::doubtful(ABOUT, format!("the time of day is being moved: by {drift:.0?} in {WATCHED:.0?}; wait until it is synchronised")));
    }
    if findings.is_empty() {
        findings.push(Finding::well(ABOUT, format!("it is {year}, and time passes evenly")));
    }
    findings
}

/// When something of the service's was last written.
fn newest(data_dir: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(data_dir).ok()?;
    entries.filter_map(|entry| entry.ok()?.metadata().ok()?.modified().ok()).max()
}
