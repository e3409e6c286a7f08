//! What the service is held to, and whether this run meets it. Absolute times depend on the machine, so most targets are
//! ratios to a peer of the same run.

use super::figures::{Figures, rounded};

pub(super) const OURS: &str = "weeziq normal";
pub(super) const SYNCED: &str = "weeziq full";
pub(super) const BUN: &str = "bun";
pub(super) const WS: &str = "ws (node)";
pub(super) const SOCKET_IO: &str = "socket.io (node)";

struct Target {
    what: &'static str,
    scenario: &'static str,
    server: &'static str,
    pointer: &'static str,
    most: Most,
    /// What bounds it, to be told where it is not met.
    bound: &'static str,
}

/// What the median may be at most.
#[derive(Clone, Copy)]
enum Most {
    Times(f64, &'static str),
    Value(f64, &'static str),
    /// So much more than the least of all servers, which no server of this machine goes below.
    Beyond(f64, &'static str),
}

const CPU: &str = "/traffic/cpuUsPerDelivery";
const P50: &str = "/traffic/latencyUs/p50";
const P99: &str = "/traffic/latencyUs/p99";
const RSS: &str = "/joins/residentBytesEach";
const JOIN: &str = "/joins/cpuUsEach";

const MACHINE: &str = "the bound is from a machine whose send costs 2.4 µs; compare the ratio";
const KERNEL: &str = "two thirds of it are the kernel's time (accept, sends), three quarters of Socket.IO's are JavaScript's, \
    which a kernel this slow does not slow down";
const SENDS: &str = "10,000 sends one after the other, see the floor above: 92 % of the time is in `send`";
const STREAMS: &str = "a token is a receive (17 % of the time), a wake-up (21 %) and a send (13 %) of its own; the rest is \
    user code, most of it on the thread that reads HTTP and server-sent events";
const COMMIT: &str = "two sends take 38 % of the time, waking up 12 %, storing 28 % (SQLite 12 %, writing its log 16 %), \
    our own code 18 %";
const SYNC: &str =
    "hardly more than `normal` has here, which waits for no disk: the machine's tail, see the notes";
const STALLS: &str = "whole time slices are taken from this machine by its host, see the notes";
const TAIL: &str = "half take 0.2 ms; server, model and reader need 160 µs a token together, on two processors of which the \
    host takes whole time slices, see the notes";
const TAIL_AT_50: &str = "server, model and reader need 120 µs a token together, on two processors of which the host takes \
    whole time slices, see the notes";

const TARGETS: [Target; 22] = [
    target("one room of 500, 100 messages/s, CPU per delivery", "fanout-paced", CPU, Most::Times(1.05, BUN)),
    target("one room of 500, saturated, CPU per delivery", "fanout-saturated", CPU, Most::Times(0.9, BUN)),
    target("the same", "fanout-saturated", CPU, Most::Times(1.0 / 30.0, SOCKET_IO)),
    target("1,000 rooms of two, CPU per delivery", "rooms", CPU, Most::Times(1.4, BUN)),
    target("the same", "rooms", CPU, Most::Times(0.4, SOCKET_IO)).bounded(COMMIT),
    target("1,000 rooms of two, p99", "rooms", P99, Most::Beyond(1_000.0, "µs")).bounded(STALLS),
    target("1,000 rooms of two, `full`, p50", "rooms", P50, Most::Value(3_000.0, "µs")).synced(),
    target("1,000 rooms of two, `full`, p99", "rooms", P99, Most::Value(8_000.0, "µs")).synced(),
    target("resident memory of an idle connection", "idle", RSS, Most::Value(2_500.0, "B")),
    target("the same", "idle", RSS, Most::Times(1.0, BUN)),
    target("CPU per join, room created and stored", "idle", JOIN, Most::Value(25.0, "µs")).bounded(MACHINE),
    target("the same: 25 µs are 1.39 times Bun's 18 there", "idle", JOIN, Most::Times(25.0 / 18.0, BUN)),
    target("the same", "idle", JOIN, Most::Times(25.0 / 312.0, SOCKET_IO)).bounded(KERNEL),
    target("CPU per join in a storm", "storm", JOIN, Most::Times(25.0 / 18.0, BUN)),
    target("one room of 10,000, last member, p99", "big-room", LAST_P99, Most::Value(50_000.0, "µs"))
        .bounded(SENDS),
    target("the same", "big-room", LAST_P99, Most::Times(1.0, BUN)),
    target(
        "AI, 200 streams, added latency of tokens that need not wait for the roll-up, p99 (30 tokens/s)",
        "ai-streams-apart",
        "/streams/freeUs/p99",
        Most::Value(1_000.0, "µs"),
    )
    .bounded(TAIL),
    target(
        "AI, 200 streams at 50 tokens/s, added beyond the roll-up, p99",
        "ai-streams",
        "/streams/beyondRollUpUs/p99",
        Most::Value(1_000.0, "µs"),
    )
    .bounded(TAIL_AT_50),
    target(
        "the same with the roll-up, p99 (25 ms of it are the roll-up's)",
        "ai-streams",
        "/streams/addedUs/p99",
        Most::Value(26_000.0, "µs"),
    )
    .bounded(TAIL_AT_50),
    target("AI, CPU per token and reader", "ai-streams", TOKEN, Most::Value(10.0, "µs")).bounded(STREAMS),
    target("the same (30 tokens/s)", "ai-streams-apart", TOKEN, Most::Value(10.0, "µs")).bounded(STREAMS),
    target(
        "others' p99 among hostile clients, to theirs without",
        "hostile",
        "/siege/p99Ratio",
        Most::Value(1.5, ""),
    ),
];

const LAST_P99: &str = "/traffic/lastMemberUs/p99";
const TOKEN: &str = "/streams/cpuUsPerToken";

const fn target(what: &'static str, scenario: &'static str, pointer: &'static str, most: Most) -> Target {
    Target { what, scenario, server: OURS, pointer, most, bound: "" }
}

pub(super) fn table(figures: &Figures<'_>) -> String {
    let mut text =
        String::from("| target | at most | measured | met | what bounds it |\n|---|---|---|---|---|\n");
    for target in &TARGETS {
        text.push_str(&target.row(figures));
    }
    let servers = [OURS, SYNCED].map(|server| figures.errors(server));
    let failures = figures.failures();
    let errors =
        if servers.iter().all(|errors| errors == "none") { "none".into() } else { servers.join("; ") };
    let met = errors == "none" && failures == 0;
    text.push_str(&format!(
        "| every delivery once, in order, in its room; no run failed | none | {errors}; {failures} runs failed | {} | |\n",
        verdict(met)
    ));
    text
}

impl Target {
    const fn bounded(self, bound: &'static str) -> Self {
        Self { bound, ..self }
    }

    const fn synced(self) -> Self {
        Self { server: SYNCED, bound: SYNC, ..self }
    }

    fn row(&self, figures: &Figures<'_>) -> String {
        let ours = figures.figure(self.scenario, self.server, self.pointer);
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
                (format!("{} × {peer}", rounded(most)), measured)
            }
            Most::Beyond(most, unit) => {
                let all = [OURS, SYNCED, BUN, WS, SOCKET_IO];
                let theirs =
                    all.iter().filter_map(|server| figures.figure(self.scenario, server, self.pointer));
                let least = theirs.map(|figure| figure.median).reduce(f64::min);
                let measured = ours.zip(least).map(|(ours, least)| {
                    let shown = format!("{} − {} {unit}", rounded(ours.median), rounded(least));
                    (shown, ours.median - least <= most)
                });
                (format!("{} {unit} above the least of all", rounded(most)), measured)
            }
        };
        let (shown, met) =
            measured.map_or(("–".into(), "not measured"), |(shown, met)| (shown, verdict(met)));
        let bound = if met == verdict(false) { self.bound } else { "" };
        format!("| {} | {} | {} | {met} | {bound} |\n", self.what, limit.trim(), shown.trim())
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
        assert!(text.contains("| 1.40 × bun | 44.0 / 50.0 = 0.88 | yes |  |"), "{text}");
        assert!(text.contains("| 0.400 × socket.io (node) | – | not measured |  |"), "{text}");
        assert!(text.contains("lost 1; none; 1 runs failed | **no** | |"), "{text}");
        assert!(ratios(&figures).contains("CPU per delivery | 0.88 | – | – |"));
    }
}
