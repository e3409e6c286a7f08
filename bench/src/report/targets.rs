//! What the service is held to, and whether this run meets it. Absolute times depend on the machine, so most targets are
//! ratios to a peer of the same run.

use super::figures::{Figures, rounded};

pub(super) const OURS: &str = "weeziq normal";
pub(super) const BUN: &str = "bun";
pub(super) const WS: &str = "ws (node)";
pub(super) const SOCKET_IO: &str = "socket.io (node)";

struct Target {
    what: &'static str,
    scenario: &'static str,
    pointer: &'static str,
    most: Most,
}

/// What the median may be at most.
#[derive(Clone, Copy)]
enum Most {
    Times(f64, &'static str),
    Value(f64, &'static str),
}

const CPU: &str = "/traffic/cpuUsPerDelivery";
const RSS: &str = "/joins/residentBytesEach";

const TARGETS: [Target; 14] = [
    target("1,000 rooms of two, CPU per delivery", "rooms", CPU, Most::Times(1.5, BUN)),
    target("1,000 rooms of two, CPU per delivery", "rooms", CPU, Most::Times(0.5, SOCKET_IO)),
    target("one room of 500, 100 messages/s, CPU per delivery", "fanout-paced", CPU, Most::Times(1.1, BUN)),
    target(
        "one room of 500, 100 messages/s, CPU per delivery",
        "fanout-paced",
        CPU,
        Most::Times(0.3, SOCKET_IO),
    ),
    target("one room of 500, saturated, CPU per delivery", "fanout-saturated", CPU, Most::Times(0.9, BUN)),
    target("resident memory of an idle connection", "idle", RSS, Most::Value(2_048.0, "B")),
    target("resident memory of an idle connection", "idle", RSS, Most::Times(0.8, BUN)),
    target("CPU per join", "idle", "/joins/cpuUsEach", Most::Times(0.9, BUN)),
    target("CPU per join in a storm", "storm", "/joins/cpuUsEach", Most::Times(0.9, BUN)),
    target(
        "one room of 10,000, last member, p99",
        "big-room",
        "/traffic/lastMemberUs/p99",
        Most::Value(50_000.0, "µs"),
    ),
    target(
        "AI, 200 streams, added latency of tokens that need not wait for the roll-up, p99 (30 tokens/s)",
        "ai-streams-apart",
        "/streams/freeUs/p99",
        Most::Value(1_000.0, "µs"),
    ),
    target(
        "AI, 200 streams at 50 tokens/s, added beyond the roll-up, p99",
        "ai-streams",
        "/streams/beyondRollUpUs/p99",
        Most::Value(1_000.0, "µs"),
    ),
    target(
        "AI, 200 streams at 50 tokens/s, added with the roll-up, p99 (25 ms of it are the roll-up's)",
        "ai-streams",
        "/streams/addedUs/p99",
        Most::Value(26_000.0, "µs"),
    ),
    target(
        "others' p99 among hostile clients, to theirs without",
        "hostile",
        "/siege/p99Ratio",
        Most::Value(1.5, ""),
    ),
];

const fn target(what: &'static str, scenario: &'static str, pointer: &'static str, most: Most) -> Target {
    Target { what, scenario, pointer, most }
}

pub(super) fn table(figures: &Figures<'_>) -> String {
    let mut text = String::from("| target | at most | measured | met |\n|---|---|---|---|\n");
    for target in &TARGETS {
        text.push_str(&target.row(figures));
    }
    let servers = [OURS, "weeziq full"].map(|server| figures.errors(server));
    let failures = figures.failures();
    let errors =
        if servers.iter().all(|errors| errors == "none") { "none".into() } else { servers.join("; ") };
    let met = errors == "none" && failures == 0;
    text.push_str(&format!(
        "| every delivery once, in order, in its room; no run failed | none | {errors}; {failures} runs failed | {} |\n",
        verdict(met)
    ));
    text
}

impl Target {
    fn row(&self, figures: &Figures<'_>) -> String {
        let ours = figures.figure(self.scenario, OURS, self.pointer);
        let (limit, measured) = match self.most {
            Most::Value(most, unit) => (
                format!("{} {unit}", rounded(most)),
                ours.map(|ours| (format!("{ours} {unit}"), ours.median <= most)),
            ),
            Most::Times(most, peer) => {
                let theirs = figures.figure(self.scenario, peer, self.pointer);
                let both = ours.zip(theirs).filter(|(_, theirs)| theirs.median > 0.0);
                let measured = both.map(|(ours, theirs)| {
                    let ratio = ours.median / theirs.median;
                    let shown = format!("{} / {} = {ratio:.2}", rounded(ours.median), rounded(theirs.median));
                    (shown, ratio <= most)
                });
                (format!("{most} × {peer}"), measured)
            }
        };
        let (shown, met) =
            measured.map_or(("–".into(), "not measured"), |(shown, met)| (shown, verdict(met)));
        format!("| {} | {} | {} | {met} |\n", self.what, limit.trim(), shown.trim())
    }
}

fn verdict(met: bool) -> &'static str {
    if met { "yes" } else { "**no**" }
}

/// Server CPU and memory of ours as a share of each peer's.
pub(super) fn ratios(figures: &Figures<'_>) -> String {
    let peers = [BUN, WS, SOCKET_IO];
    let mut text = format!("| {OURS} to | {} |\n|---|---|---|---|\n", peers.join(" | "));
    for (what, scenario, pointer) in RATIOS {
        let ours = figures.figure(scenario, OURS, pointer);
        let cells = peers.map(|peer| {
            let theirs = figures.figure(scenario, peer, pointer).filter(|theirs| theirs.median > 0.0);
            let ratio = ours.zip(theirs).map(|(ours, theirs)| ours.median / theirs.median);
            ratio.map_or("–".into(), |ratio| format!("{ratio:.2}"))
        });
        text.push_str(&format!("| {what} | {} |\n", cells.join(" | ")));
    }
    text
}

const RATIOS: [(&str, &str, &str); 8] = [
    ("1,000 rooms of two, CPU per delivery", "rooms", CPU),
    ("one room of 500, 100 messages/s, CPU per delivery", "fanout-paced", CPU),
    ("one room of 500, saturated, CPU per delivery", "fanout-saturated", CPU),
    ("one room of 10,000, CPU per delivery", "big-room", CPU),
    ("one room of 10,000, last member p99", "big-room", "/traffic/lastMemberUs/p99"),
    ("join, CPU", "idle", "/joins/cpuUsEach"),
    ("join in a storm, CPU", "storm", "/joins/cpuUsEach"),
    ("idle connection, resident memory", "idle", RSS),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::tests::recorded;

    #[test]
    fn a_target_is_met_or_not_or_was_not_measured() {
        let all = recorded();
        let figures = Figures::of(&all);
        let text = table(&figures);
        assert!(text.contains("| 1.5 × bun | 44.0 / 50.0 = 0.88 | yes |"), "{text}");
        assert!(text.contains("| 0.5 × socket.io (node) | – | not measured |"), "{text}");
        assert!(text.contains("lost 1; none; 1 runs failed | **no** |"), "{text}");
        assert!(ratios(&figures).contains("CPU per delivery | 0.88 | – | – |"));
    }
}
