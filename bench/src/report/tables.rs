//! Markdown tables of all figures, one for each sort of scenario.

use std::fmt::Write as _;

use serde_json::Value;

use super::figures::{Figures, rounded};

/// Scenarios that have the same columns.
pub(super) struct Section {
    pub(super) title: &'static str,
    scenarios: &'static [&'static str],
    columns: &'static [Column],
}

/// A heading, and where the figure stands in a run.
type Column = (&'static str, &'static str);

impl Section {
    /// `None` if none of its scenarios was run.
    pub(super) fn table(&self, figures: &Figures<'_>) -> Option<String> {
        let mut text = String::new();
        for row in self.scenarios.iter().flat_map(|scenario| figures.rows(scenario)) {
            let cells: Vec<String> = self
                .columns
                .iter()
                .map(|(_, pointer)| row.figure(pointer).map_or("–".into(), |figure| figure.to_string()))
                .collect();
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} |",
                row.scenario,
                row.target,
                cells.join(" | "),
                row.errors()
            );
        }
        if text.is_empty() {
            return None;
        }
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        let rule = "---|".repeat(self.columns.len());
        Some(format!("| scenario | server | {} | errors |\n|---|---|{rule}---|\n{text}", names.join(" | ")))
    }
}

/// Who reads a figure must see beside it whether it was measured in peace.
const OTHERS: &str = "others' CPU %";

pub(super) const SECTIONS: [Section; 6] = [
    Section {
        title: "Delivery",
        scenarios: &["rooms", "fanout-paced", "fanout-saturated"],
        columns: &[
            ("deliveries/s", "/traffic/deliveriesPerSec"),
            ("CPU µs/delivery", "/traffic/cpuUsPerDelivery"),
            ("p50 µs", "/traffic/latencyUs/p50"),
            ("p99 µs", "/traffic/latencyUs/p99"),
            ("p99.9 µs", "/traffic/latencyUs/p999"),
            ("ack p50 µs", "/traffic/ackLatencyUs/p50"),
            ("own lag p99 µs", "/traffic/sendLagUs/p99"),
            ("own CPU µs/delivery", "/traffic/generatorCpuUsPerDelivery"),
            (OTHERS, "/traffic/disturbance/othersPercent"),
        ],
    },
    Section {
        title: "One room of 10,000",
        scenarios: &["big-room"],
        columns: &[
            ("CPU µs/delivery", "/traffic/cpuUsPerDelivery"),
            ("middle member p50 µs", "/traffic/latencyUs/p50"),
            ("last member p50 µs", "/traffic/lastMemberUs/p50"),
            ("last member p99 µs", "/traffic/lastMemberUs/p99"),
            ("own lag p99 µs", "/traffic/sendLagUs/p99"),
            ("own CPU µs/delivery", "/traffic/generatorCpuUsPerDelivery"),
            ("CPU µs/join", "/joins/cpuUsEach"),
            (OTHERS, "/traffic/disturbance/othersPercent"),
        ],
    },
    Section {
        title: "Idle members",
        scenarios: &["idle"],
        columns: &[
            ("connections", "/joins/connections"),
            ("joins/s", "/joins/perSec"),
            ("CPU µs/join", "/joins/cpuUsEach"),
            ("RSS B/connection", "/joins/residentBytesEach"),
            (OTHERS, "/joins/disturbance/othersPercent"),
        ],
    },
    Section {
        title: "A storm of connections",
        scenarios: &["storm"],
        columns: &[
            ("connections", "/joins/connections"),
            ("joins/s", "/joins/perSec"),
            ("CPU µs/join", "/joins/cpuUsEach"),
            ("joined p50 µs", "/joins/timeUs/p50"),
            ("joined p99 µs", "/joins/timeUs/p99"),
            ("own CPU µs/join", "/joins/generatorCpuUsEach"),
            (OTHERS, "/joins/disturbance/othersPercent"),
        ],
    },
    Section {
        title: "AI streams",
        scenarios: &["ai-streams", "ai-streams-apart"],
        columns: &[
            ("tokens/s", "/streams/tokensPerSec"),
            ("tokens/frame", "/streams/tokensPerFrame"),
            ("CPU µs/token and reader", "/streams/cpuUsPerToken"),
            ("added p50 µs", "/streams/addedUs/p50"),
            ("added p99 µs", "/streams/addedUs/p99"),
            ("added p99.9 µs", "/streams/addedUs/p999"),
            ("first of its frame p99 µs", "/streams/leadingUs/p99"),
            ("beyond the roll-up p99 µs", "/streams/beyondRollUpUs/p99"),
            ("free tokens", "/streams/freeUs/count"),
            ("free p50 µs", "/streams/freeUs/p50"),
            ("free p99 µs", "/streams/freeUs/p99"),
            ("free p99.9 µs", "/streams/freeUs/p999"),
            ("own CPU µs/token", "/streams/generatorCpuUsPerToken"),
            (OTHERS, "/streams/disturbance/othersPercent"),
        ],
    },
    Section {
        title: "Among hostile clients",
        scenarios: &["hostile"],
        columns: &[
            ("p50 µs alone", "/siege/calm/latencyUs/p50"),
            ("p50 µs among them", "/traffic/latencyUs/p50"),
            ("p99 µs alone", "/siege/calm/latencyUs/p99"),
            ("p99 µs among them", "/traffic/latencyUs/p99"),
            ("p99 ratio", "/siege/p99Ratio"),
            ("CPU µs/delivery alone", "/siege/calm/cpuUsPerDelivery"),
            ("CPU µs/delivery among them", "/traffic/cpuUsPerDelivery"),
            ("hostile clients cut", "/siege/cuts"),
            (OTHERS, "/traffic/disturbance/othersPercent"),
        ],
    },
];

/// For standard output: the tables, the floor and the notes.
pub(super) fn text(figures: &Figures<'_>) -> String {
    let tables: Vec<String> = SECTIONS.iter().filter_map(|section| section.table(figures)).collect();
    let mut text = tables.join("\n");
    if let Some(floor) = floor(figures) {
        let _ = writeln!(text, "\n{floor}");
    }
    for note in notes(figures) {
        let _ = writeln!(text, "note: {note}");
    }
    text.trim_end().to_owned()
}

pub(super) fn floor(figures: &Figures<'_>) -> Option<String> {
    let at = |pointer| figures.all().pointer(pointer).and_then(Value::as_f64).map(rounded);
    let (send, receive) = at("/floor/sendUs").zip(at("/floor/receiveUs"))?;
    Some(format!("floor of this machine: {send} µs CPU to send one frame, {receive} µs to receive it"))
}

pub(super) fn notes<'a>(figures: &Figures<'a>) -> impl Iterator<Item = &'a str> {
    let notes = figures.all().get("notes").and_then(Value::as_array);
    notes.into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::tests::recorded;

    #[test]
    fn what_was_run_has_a_row_and_what_was_not_has_no_table() {
        let all = recorded();
        let text = text(&Figures::of(&all));
        assert!(text.contains("| rooms | bun | – | 50.0 (41.0–52.0) | – | 800 (800–800) |"), "{text}");
        assert!(text.contains("8.00 µs CPU to send") && text.ends_with("note: a note"), "{text}");
        assert_eq!(text.matches("| scenario |").count(), 1);
    }
}
