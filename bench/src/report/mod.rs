//! Results: the raw figures as JSON, and from these alone the tables, the page and the plot, so that a recorded run can
//! be told again.

mod figures;
mod json;
mod page;
mod plot;
mod tables;
mod targets;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::ledger::Errors;
use crate::machine::{self, Disturbance, Floor};
use crate::scenario::{Outcome, Scenario};
use figures::Figures;
use weeziq_rig::{Failure, Result};

/// Where results go besides standard output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outputs {
    pub(crate) json: Option<PathBuf>,
    /// A Markdown page; what stands in it outside of the generated part stays.
    pub(crate) docs: Option<PathBuf>,
    pub(crate) plot: Option<PathBuf>,
}

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
        let head = json!({"scenario": self.scenario, "target": self.target, "round": self.round});
        match &self.result {
            Err(failure) => json::merged(head, json!({"failure": failure.to_string()})),
            Ok(outcome) => json::merged(head, json::outcome(outcome)),
        }
    }
}

#[derive(Default)]
pub(crate) struct Report {
    records: Vec<Record>,
    notes: Vec<String>,
    readiness: BTreeMap<String, String>,
    versions: BTreeMap<String, String>,
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

    pub(crate) fn version(&mut self, target: &str, said: &str) {
        self.versions.insert(target.into(), said.into());
    }

    /// Prints the tables, writes the files, and turns errors into an exit code.
    pub(crate) fn finish(&self, outputs: &Outputs) -> Result<ExitCode> {
        let all = self.to_json();
        if let Some(path) = &outputs.json {
            write(path, &format!("{all:#}\n"))?;
        }
        tell(&all, outputs)?;
        let failure = self.records.iter().find_map(|record| record.result.as_ref().err());
        let code = match failure {
            Some(failure) => failure.exit_code(),
            None => u8::from(self.records.iter().any(Record::failed)),
        };
        Ok(ExitCode::from(code))
    }

    fn to_json(&self) -> Value {
        json!({
            "tool": concat!("weeziq-bench ", env!("CARGO_PKG_VERSION")),
            "machine": machine::description(),
            "unixTime": std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH).map(|time| time.as_secs()).unwrap_or_default(),
            "floor": self.floor.map(|floor| json!({"sendUs": floor.send_us, "receiveUs": floor.receive_us})),
            "readyz": self.readiness,
            "versions": self.versions,
            "notes": self.notes,
            "runs": self.records.iter().map(Record::to_json).collect::<Vec<_>>(),
        })
    }
}

impl Outcome {
    /// Of the part that this run is about. Without the server's pid its share can't be told from that of others.
    fn disturbance(&self) -> Option<Disturbance> {
        match (&self.traffic, &self.streams) {
            (Some(traffic), _) => traffic.disturbance,
            (None, Some(streams)) => streams.disturbance,
            (None, None) => self.joins.disturbance,
        }
    }
}

/// Page and plot from the figures of an earlier run.
pub(crate) fn tell_again(json: &Path, outputs: &Outputs) -> Result<ExitCode> {
    let refused = |why: &dyn std::fmt::Display| Failure::Usage(format!("--json {}: {why}", json.display()));
    let text = std::fs::read_to_string(json).map_err(|error| refused(&error))?;
    let all: Value = serde_json::from_str(&text).map_err(|error| refused(&error))?;
    tell(&all, outputs)?;
    Ok(ExitCode::SUCCESS)
}

fn tell(all: &Value, outputs: &Outputs) -> Result<()> {
    let figures = Figures::of(all);
    say(&tables::text(&figures));
    if let Some(path) = &outputs.plot {
        write(path, &plot::svg(&figures))?;
    }
    if let Some(path) = &outputs.docs {
        let before = std::fs::read_to_string(path).unwrap_or_default();
        let part = page::generated(&figures, outputs, path);
        write(path, &page::with(&before, &part))?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

#[expect(clippy::print_stdout, reason = "the table is this program's output")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "a command's complaint belongs on standard error")]
pub(crate) fn complain(text: &str) {
    eprintln!("weeziq-bench: {text}");
}
