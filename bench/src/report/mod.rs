//! Results: a Markdown table of medians for people, the raw figures as JSON for scripts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::failure::{Failure, Result};
use crate::histogram::Histogram;
use crate::ledger::Errors;
use crate::machine::{self, Disturbance, Floor};
use crate::process::Cpu;
use crate::scenario::{Joins, Outcome, Scenario, Traffic};

/// One run of one scenario on one server.
pub(crate) struct Record {
    scenario: String,
    target: String,
    round: u32,
    result: Result<Outcome>,
}

impl Record {
    pub(crate) fn of(scenario: &Scenario, target: &str, round: u32, result: Result<Outcome>) -> Self {
        Self { scenario: scenario.name.clone(), target: target.into(), round, result }
    }

    fn failed(&self) -> bool {
        !self.result.as_ref().is_ok_and(|outcome| outcome.errors == Errors::default())
    }

    fn to_json(&self) -> Value {
        let mut all = json!({"scenario": self.scenario, "target": self.target, "round": self.round});
        match &self.result {
            Err(failure) => merge(&mut all, json!({"failure": failure.to_string()})),
            Ok(outcome) => {
                let errors: BTreeMap<_, _> = outcome.errors.named().into_iter().collect();
                merge(&mut all, json!({"errors": errors, "firstTrouble": outcome.first_trouble}));
                merge(&mut all, json!({"joins": joins_json(&outcome.joins)}));
                merge(&mut all, json!({"traffic": outcome.traffic.as_ref().map(traffic_json)}));
            }
        }
        all
    }
}

#[derive(Default)]
pub(crate) struct Report {
    records: Vec<Record>,
    notes: Vec<String>,
    readiness: BTreeMap<String, String>,
    floor: Option<Floor>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn add(&mut self, record: Record) {
        let place = format!("{} on {}, round {}", record.scenario, record.target, record.round);
        match &record.result {
            Err(failure) => self.note(&failure.to_string()),
            Ok(outcome) => {
                if let Some(trouble) = &outcome.first_trouble {
                    self.note(&format!("{place}: {trouble}"));
                }
                if let Some(disturbance) = outcome.disturbance().filter(|disturbance| disturbance.spoils()) {
                    self.note(&format!(
                        "{place} was disturbed: others used {:.0} % of the machine, {:.0} % was stolen by its host",
                        disturbance.others_percent, disturbance.stolen_percent
                    ));
                }
            }
        }
        self.records.push(record);
    }

    pub(crate) fn note(&mut self, note: &str) {
        if !self.notes.iter().any(|known| known == note) {
            self.notes.push(note.into());
        }
    }

    pub(crate) fn floor(&mut self, floor: Floor) {
        self.floor = Some(floor);
    }

    pub(crate) fn readiness(&mut self, target: &str, said: &str) {
        self.readiness.insert(target.into(), said.into());
    }

    /// Prints the table, writes the file, and turns errors into an exit code.
    pub(crate) fn finish(&self, json: Option<&Path>) -> Result<ExitCode> {
        say(&self.table());
        if let Some(path) = json {
            let text = format!("{:#}\n", self.to_json());
            std::fs::write(path, text)
                .map_err(|error| Failure::Usage(format!("--json {}: {error}", path.display())))?;
        }
        let failure = self.records.iter().find_map(|record| record.result.as_ref().err());
        let code = match failure {
            Some(failure) => failure.exit_code(),
            None => u8::from(self.records.iter().any(Record::failed)),
        };
        Ok(ExitCode::from(code))
    }

    fn table(&self) -> String {
        let mut text = String::new();
        self.section(&mut text, &TRAFFIC_COLUMNS, |outcome| outcome.traffic.is_some());
        self.section(&mut text, &JOIN_COLUMNS, |outcome| outcome.traffic.is_none());
        if let Some(Floor { send_us, receive_us }) = self.floor {
            let (send, receive) = (rounded(send_us), rounded(receive_us));
            let _ = writeln!(
                text,
                "floor of this machine: {send} µs CPU to send one frame, {receive} µs to receive it"
            );
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text.trim_end().to_owned()
    }

    /// One row for each scenario and target with a fitting outcome, in the order of their first run.
    fn section(&self, text: &mut String, columns: &[Column], fits: impl Fn(&Outcome) -> bool) {
        let mut rows: Vec<(&str, &str, Vec<&Outcome>)> = Vec::new();
        for record in &self.records {
            let Some(outcome) = record.result.as_ref().ok().filter(|outcome| fits(outcome)) else {
                continue;
            };
            let key = (record.scenario.as_str(), record.target.as_str());
            match rows.iter_mut().find(|(scenario, target, _)| (*scenario, *target) == key) {
                Some((_, _, outcomes)) => outcomes.push(outcome),
                None => rows.push((key.0, key.1, vec![outcome])),
            }
        }
        if rows.is_empty() {
            return;
        }
        let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
        let _ = writeln!(text, "| scenario | server | {} | errors |", names.join(" | "));
        let _ = writeln!(text, "|---|---|{}---|", "---|".repeat(columns.len()));
        for (scenario, target, outcomes) in rows {
            let cells: Vec<String> = columns.iter().map(|column| column.cell(&outcomes)).collect();
            let errors = sum(&outcomes);
            let _ = writeln!(text, "| {scenario} | {target} | {} | {errors} |", cells.join(" | "));
        }
        text.push('\n');
    }

    fn to_json(&self) -> Value {
        json!({
            "tool": concat!("weeziq-bench ", env!("CARGO_PKG_VERSION")),
            "machine": machine::description(),
            "unixTime": std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH).map(|time| time.as_secs()).unwrap_or_default(),
            "floor": self.floor.map(|floor| json!({"sendUs": floor.send_us, "receiveUs": floor.receive_us})),
            "readyz": self.readiness,
            "notes": self.notes,
            "runs": self.records.iter().map(Record::to_json).collect::<Vec<_>>(),
        })
    }
}

/// A figure of a run, if that run has it.
struct Column {
    name: &'static str,
    figure: fn(&Outcome) -> Option<f64>,
}

impl Column {
    /// The median, with the range if there are several rounds.
    fn cell(&self, outcomes: &[&Outcome]) -> String {
        let mut figures: Vec<f64> = outcomes.iter().filter_map(|outcome| (self.figure)(outcome)).collect();
        figures.sort_by(f64::total_cmp);
        let (Some(low), Some(high)) = (figures.first(), figures.last()) else {
            return "–".into();
        };
        let middle = median(&figures);
        if figures.len() == 1 {
            return rounded(middle);
        }
        format!("{} ({}–{})", rounded(middle), rounded(*low), rounded(*high))
    }
}

const TRAFFIC_COLUMNS: [Column; 9] = [
    Column { name: "deliveries/s", figure: |o| o.traffic.as_ref().map(Traffic::deliveries_per_sec) },
    Column {
        name: "CPU µs/delivery", figure: |o| o.traffic.as_ref().and_then(Traffic::cpu_us_per_delivery)
    },
    Column { name: "p50 µs", figure: |o| o.traffic.as_ref().map(|t| us(t.latency.quantile(500))) },
    Column { name: "p99 µs", figure: |o| o.traffic.as_ref().map(|t| us(t.latency.quantile(990))) },
    Column { name: "p99.9 µs", figure: |o| o.traffic.as_ref().map(|t| us(t.latency.quantile(999))) },
    Column { name: "ack p50 µs", figure: |o| o.traffic.as_ref().map(|t| us(t.ack_latency.quantile(500))) },
    Column { name: "own lag p99 µs", figure: |o| o.traffic.as_ref().map(|t| us(t.send_lag.quantile(990))) },
    Column { name: "own CPU µs/delivery", figure: |o| o.traffic.as_ref().map(Traffic::own_us_per_delivery) },
    OTHERS,
];

const JOIN_COLUMNS: [Column; 5] = [
    Column { name: "connections", figure: |o| Some(f64::from(o.joins.connections)) },
    Column { name: "joins/s", figure: |o| Some(o.joins.per_sec()) },
    Column { name: "CPU µs/join", figure: |o| o.joins.cpu_us_each() },
    Column { name: "RSS B/connection", figure: |o| o.joins.resident_bytes_each() },
    OTHERS,
];

/// Who reads a figure must see beside it whether it was measured in peace.
const OTHERS: Column =
    Column { name: "others' CPU %", figure: |o| o.disturbance().map(|d| d.others_percent) };

impl Outcome {
    /// Of the part that this run is about. Without the server's pid its share can't be told from that of others.
    fn disturbance(&self) -> Option<Disturbance> {
        match &self.traffic {
            Some(traffic) => traffic.disturbance,
            None => self.joins.disturbance,
        }
    }
}

impl Traffic {
    fn deliveries_per_sec(&self) -> f64 {
        self.deliveries as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn cpu_us_per_delivery(&self) -> Option<f64> {
        let cpu = self.cpu?;
        (self.deliveries > 0).then(|| cpu.ticks_us as f64 / self.deliveries as f64)
    }

    fn own_us_per_delivery(&self) -> f64 {
        us(self.generator_cpu.scheduled_ns) / (self.deliveries.max(1)) as f64
    }
}

impl Joins {
    fn per_sec(&self) -> f64 {
        f64::from(self.connections) / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn cpu_us_each(&self) -> Option<f64> {
        self.cpu.map(|cpu| cpu.ticks_us as f64 / f64::from(self.connections))
    }

    fn resident_bytes_each(&self) -> Option<f64> {
        self.resident_bytes.map(|bytes| bytes as f64 / f64::from(self.connections))
    }
}

fn traffic_json(traffic: &Traffic) -> Value {
    json!({
        "messages": traffic.messages,
        "deliveries": traffic.deliveries,
        "elapsedMs": traffic.elapsed.as_millis() as u64,
        "deliveriesPerSec": traffic.deliveries_per_sec(),
        "disturbance": disturbance_json(traffic.disturbance),
        "cpu": traffic.cpu.map(cpu_json),
        "cpuUsPerDelivery": traffic.cpu_us_per_delivery(),
        "generatorCpu": cpu_json(traffic.generator_cpu),
        "latencyUs": quantiles_json(&traffic.latency),
        "ackLatencyUs": quantiles_json(&traffic.ack_latency),
        "sendLagUs": quantiles_json(&traffic.send_lag),
    })
}

fn joins_json(joins: &Joins) -> Value {
    json!({
        "connections": joins.connections,
        "elapsedMs": joins.elapsed.as_millis() as u64,
        "perSec": joins.per_sec(),
        "disturbance": disturbance_json(joins.disturbance),
        "cpu": joins.cpu.map(cpu_json),
        "cpuUsEach": joins.cpu_us_each(),
        "residentBytesEach": joins.resident_bytes_each(),
    })
}

fn disturbance_json(disturbance: Option<Disturbance>) -> Value {
    disturbance.map_or(
        Value::Null,
        |d| json!({"othersPercent": d.others_percent, "stolenPercent": d.stolen_percent}),
    )
}

fn cpu_json(cpu: Cpu) -> Value {
    json!({"ticksUs": cpu.ticks_us, "scheduledUs": us(cpu.scheduled_ns)})
}

fn quantiles_json(histogram: &Histogram) -> Value {
    let at = |per_mille| us(histogram.quantile(per_mille));
    json!({
        "count": histogram.count(),
        "p10": at(100), "p50": at(500), "p90": at(900), "p95": at(950), "p99": at(990), "p999": at(999),
        "max": us(histogram.highest()),
    })
}

fn sum(outcomes: &[&Outcome]) -> Errors {
    outcomes.iter().map(|outcome| outcome.errors).fold(Errors::default(), Errors::plus)
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

fn median(sorted: &[f64]) -> f64 {
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { at(half) } else { (at(half.saturating_sub(1)) + at(half)) / 2.0 }
}

fn us(ns: u64) -> f64 {
    ns as f64 / 1000.0
}

/// Three digits that mean something, thousands apart.
fn rounded(value: f64) -> String {
    match value {
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

#[expect(clippy::print_stdout, reason = "the table is this program's output")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "a command's complaint belongs on standard error")]
pub(crate) fn complain(text: &str) {
    eprintln!("weeziq-bench: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        let shown: Vec<String> = [0.1057, 2.876, 42.42, 1234.5, 1_234_567.0].map(rounded).to_vec();
        assert_eq!(shown, ["0.106", "2.88", "42.4", "1,235", "1,234,567"]);
        assert_eq!((median(&[1.0, 2.0, 9.0]), median(&[1.0, 3.0])), (2.0, 2.0));
    }
}
