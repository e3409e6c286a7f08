//! The figures of all rounds, read back from the results' JSON: medians with their range.

use std::collections::BTreeMap;

use serde_json::Value;

pub(super) struct Figures<'a> {
    all: &'a Value,
    rows: Vec<Row<'a>>,
}

/// The runs of one scenario on one server.
pub(super) struct Row<'a> {
    pub(super) scenario: &'a str,
    pub(super) target: &'a str,
    runs: Vec<&'a Value>,
}

/// A median and what it lies between.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figure {
    pub(super) median: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    rounds: usize,
}

impl<'a> Figures<'a> {
    /// In the order of the first run of each; runs that failed have no figures.
    pub(super) fn of(all: &'a Value) -> Self {
        let mut rows: Vec<Row<'a>> = Vec::new();
        let runs = all.get("runs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for run in runs.iter().filter(|run| run.get("joins").is_some()) {
            let (scenario, target) = (text(run, "/scenario"), text(run, "/target"));
            match rows.iter_mut().find(|row| (row.scenario, row.target) == (scenario, target)) {
                Some(row) => row.runs.push(run),
                None => rows.push(Row { scenario, target, runs: vec![run] }),
            }
        }
        Self { all, rows }
    }

    pub(super) fn all(&self) -> &'a Value {
        self.all
    }

    pub(super) fn rows(&self, scenario: &str) -> impl Iterator<Item = &Row<'a>> {
        self.rows.iter().filter(move |row| row.scenario == scenario)
    }

    pub(super) fn figure(&self, scenario: &str, target: &str, pointer: &str) -> Option<Figure> {
        self.rows(scenario).find(|row| row.target == target)?.figure(pointer)
    }

    pub(super) fn text(&self, pointer: &str) -> &'a str {
        text(self.all, pointer)
    }

    pub(super) fn rounds(&self) -> usize {
        self.rows.iter().map(|row| row.runs.len()).max().unwrap_or(0)
    }

    /// Over all runs of a server, named as the ledger names them.
    pub(super) fn errors(&self, target: &str) -> String {
        errors(self.rows.iter().filter(|row| row.target == target).flat_map(|row| row.runs.iter().copied()))
    }

    pub(super) fn failures(&self) -> usize {
        let runs = self.all.get("runs").and_then(Value::as_array);
        runs.map_or(0, |runs| runs.iter().filter(|run| run.get("failure").is_some()).count())
    }
}

impl Row<'_> {
    pub(super) fn figure(&self, pointer: &str) -> Option<Figure> {
        let mut values: Vec<f64> =
            self.runs.iter().filter_map(|run| run.pointer(pointer)).filter_map(Value::as_f64).collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        Some(Figure { median: median(&values), low, high, rounds: values.len() })
    }

    pub(super) fn errors(&self) -> String {
        errors(self.runs.iter().copied())
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { median, low, high, rounds } = *self;
        match rounds {
            1 => write!(f, "{}", rounded(median)),
            _ => write!(f, "{} ({}–{})", rounded(median), rounded(low), rounded(high)),
        }
    }
}

fn errors<'a>(runs: impl Iterator<Item = &'a Value>) -> String {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, count) in runs.filter_map(|run| run.get("errors")?.as_object()).flatten() {
        *sums.entry(name).or_default() += count.as_u64().unwrap_or(0);
    }
    let named: Vec<String> =
        sums.iter().filter(|(_, count)| **count > 0).map(|(name, count)| format!("{name} {count}")).collect();
    if named.is_empty() { "none".into() } else { named.join(", ") }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn median(sorted: &[f64]) -> f64 {
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { at(half) } else { (at(half.saturating_sub(1)) + at(half)) / 2.0 }
}

/// Three digits that mean something, thousands apart.
pub(super) fn rounded(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        v if v < 1.0 => format!("{v:.3}"),
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => thousands(v.round() as u64),
    }
}

fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// Three rounds of one scenario on two servers.
    pub(in crate::report) fn recorded() -> Value {
        let run = |target: &str, round: u32, cpu: f64| {
            json!({"scenario": "rooms", "target": target, "round": round, "errors": {"lost": round / 3},
                "joins": {"cpuUsEach": 9.0}, "traffic": {"cpuUsPerDelivery": cpu, "latencyUs": {"p99": 800.0}}})
        };
        json!({
            "unixTime": 1_795_392_000, "machine": {"cpu": "Test CPU", "cpus": 2, "kernel": "6.1"},
            "versions": {"weeziq": "weeziq 0.1.0"}, "notes": ["a note"], "floor": {"sendUs": 8.0, "receiveUs": 6.0},
            "runs": [
                run("weeziq normal", 1, 60.0), run("bun", 1, 50.0), run("weeziq normal", 2, 40.0),
                run("bun", 2, 52.0), run("weeziq normal", 3, 44.0), run("bun", 3, 41.0),
                {"scenario": "rooms", "target": "bun", "round": 4, "failure": "it ended"},
            ],
        })
    }

    #[test]
    fn figures_read_well() {
        let shown: Vec<String> = [0.0, 0.1057, 2.876, 42.42, 1234.5, 1_234_567.0].map(rounded).to_vec();
        assert_eq!(shown, ["0", "0.106", "2.88", "42.4", "1,235", "1,234,567"]);
        assert_eq!((median(&[1.0, 2.0, 9.0]), median(&[1.0, 3.0])), (2.0, 2.0));
    }

    #[test]
    fn rounds_become_a_median_with_its_range() {
        let all = recorded();
        let figures = Figures::of(&all);
        let ours = figures.figure("rooms", "weeziq normal", "/traffic/cpuUsPerDelivery").unwrap();
        assert_eq!(ours.to_string(), "44.0 (40.0–60.0)");
        assert_eq!(figures.figure("rooms", "bun", "/traffic/nothing"), None);
        assert_eq!(figures.errors("bun"), "lost 1");
        assert_eq!((figures.rounds(), figures.failures()), (3, 1));
    }
}
