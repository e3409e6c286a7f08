//! Results: Markdown tables for people, one JSON file for scripts, and whether the targets are met.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::dialect::Peer;
use crate::ledger::Verdict;
use crate::machine;
use weeziq_rig::{Failure, Result};

/// A column's name and what stands in it.
pub(crate) type Cell = (&'static str, String);

pub(crate) struct Outcome {
    pub(crate) rig: &'static str,
    pub(crate) peer: Peer,
    pub(crate) verdict: Verdict,
    pub(crate) cells: Vec<Cell>,
    pub(crate) targets: Vec<Target>,
    pub(crate) json: Value,
    /// Others used the machine meanwhile, so its times are not worth quoting.
    pub(crate) disturbed: bool,
}

/// What WeeziQ promises. Peers are held to nothing: they promise something else.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    what: &'static str,
    met: bool,
    /// A time depends on the machine, so it is not judged where only counts are.
    timed: bool,
}

impl Target {
    pub(crate) fn count(what: &'static str, met: bool) -> Self {
        Self { what, met, timed: false }
    }

    pub(crate) fn time(what: &'static str, met: bool) -> Self {
        Self { what, met, timed: true }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({"what": self.what, "met": self.met, "timed": self.timed})
    }
}

#[derive(Default)]
pub(crate) struct Report {
    outcomes: Vec<Outcome>,
    pub(crate) versions: Vec<(String, String)>,
    counts_only: bool,
}

impl Report {
    pub(crate) fn new(counts_only: bool) -> Self {
        Self { counts_only, ..Self::default() }
    }

    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    /// Targets of WeeziQ's that are not met, one line each.
    pub(crate) fn missed(&self) -> Vec<String> {
        let judged = self.outcomes.iter().filter(|outcome| outcome.peer == Peer::Weeziq);
        let lines = judged.flat_map(|outcome| {
            let missed =
                outcome.targets.iter().filter(|target| !(target.met || target.timed && self.counts_only));
            missed.map(|target| format!("{}: missed: {}", outcome.rig, target.what))
        });
        lines.collect()
    }

    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        let mut last: Option<(&str, Vec<&str>)> = None;
        for outcome in &self.outcomes {
            let heads: Vec<&str> = outcome.cells.iter().map(|(head, _)| *head).collect();
            let same = last.as_ref().is_some_and(|(rig, known)| *rig == outcome.rig && *known == heads);
            if !same {
                let _ = writeln!(text, "\n| {} | {} |", outcome.rig, heads.join(" | "));
                let _ = writeln!(text, "|---|{}", "---|".repeat(heads.len()));
            }
            let cells: Vec<&str> = outcome.cells.iter().map(|(_, cell)| cell.as_str()).collect();
            let _ = writeln!(text, "| {} | {} |", outcome.peer.name(), cells.join(" | "));
            last = Some((outcome.rig, heads));
        }
        text.push('\n');
        for outcome in &self.outcomes {
            let place = format!("{} on {}", outcome.rig, outcome.peer.name());
            if outcome.verdict.foreign > 0 {
                let _ =
                    writeln!(text, "note: {place}: {} deliveries that nobody sent", outcome.verdict.foreign);
            }
            if outcome.disturbed {
                let _ = writeln!(
                    text,
                    "note: {place}: others used this machine meanwhile; its times are not worth quoting"
                );
            }
        }
        for line in self.missed() {
            let _ = writeln!(text, "{line}");
        }
        text.trim().to_owned()
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let all = json!({
            "tool": concat!("weeziq-reliability ", env!("CARGO_PKG_VERSION")),
            "command": command_line(),
            "unixTime": std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH).map(|time| time.as_secs()).unwrap_or_default(),
            "machine": machine::description(),
            "versions": self.versions.iter().map(|(name, version)| (name.clone(), json!(version)))
                .collect::<serde_json::Map<_, _>>(),
            "missed": self.missed(),
            "runs": self.outcomes.iter().map(|outcome| &outcome.json).collect::<Vec<_>>(),
        });
        std::fs::write(path, folded(&format!("{all:#}\n")))
            .map_err(|error| Failure::Usage(format!("--out {}: {error}", path.display())))
    }
}

/// Without the paths of this machine.
fn command_line() -> String {
    let bare = |argument: String| match argument.rsplit_once('/') {
        Some((_, name)) if argument.starts_with('/') => name.to_owned(),
        _ => argument,
    };
    std::env::args().map(bare).collect::<Vec<_>>().join(" ")
}

/// Series on one line each: a number a line makes files that nobody reads.
fn folded(pretty: &str) -> String {
    let mut text = String::with_capacity(pretty.len());
    let mut in_numbers = false;
    for line in pretty.lines() {
        let bare = line.trim();
        let number = bare.trim_end_matches(',').parse::<f64>().is_ok();
        if number || (in_numbers && bare.starts_with(']')) {
            text.truncate(text.trim_end().len());
            if in_numbers && number {
                text.push(' ');
            }
            text.push_str(bare);
        } else {
            text.push_str(line);
        }
        in_numbers = number;
        text.push('\n');
    }
    text
}

pub(crate) fn ms(value: f64) -> String {
    if value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.0}", bytes as f64 / 1_048_576.0)
}

#[expect(clippy::print_stdout, reason = "the table is this program's output")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "progress and complaints belong on standard error")]
pub(crate) fn complain(text: &str) {
    eprintln!("weeziq-reliability: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(peer: Peer, targets: Vec<Target>) -> Outcome {
        let cells = vec![("lost", "0".to_owned())];
        let json = Value::Null;
        Outcome { rig: "jitter", peer, verdict: Verdict::default(), cells, targets, json, disturbed: false }
    }

    #[test]
    fn only_our_own_targets_count_and_times_only_where_they_are_asked_for() {
        let missed = || vec![Target::count("none lost", false), Target::time("p99 under 1 s", false)];
        let mut report = Report::new(false);
        report.add(outcome(Peer::Socketio, missed()));
        assert!(report.missed().is_empty());
        report.add(outcome(Peer::Weeziq, missed()));
        assert_eq!(report.missed().len(), 2);
        report.counts_only = true;
        assert_eq!(report.missed(), ["jitter: missed: none lost"]);
        assert_eq!(report.table().matches("| jitter |").count(), 1);
    }

    #[test]
    fn a_series_stands_on_one_line_and_means_the_same() {
        let value =
            json!({"series": [1, 2.5, -3], "empty": [], "words": ["a", "b"], "n": 7, "deep": [[1], [2]]});
        let text = folded(&format!("{value:#}\n"));
        assert!(text.contains("[1, 2.5, -3]"), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
