//! What each operation may cost, as it is recorded in the repository.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use weeziq_micro::{Failure, Result};

/// Instructions an operation, by its name.
pub(crate) type Counts = BTreeMap<String, u64>;

pub(crate) struct Budget {
    /// Compiler, C library and processor; other ones choose other instructions for the same work.
    recorded_with: String,
    tolerance_percent: f64,
    instructions: Counts,
}

/// What became of an operation.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    Within,
    Grew,
    /// By so much that the budget would not see it grow back.
    Shrank,
    /// There is no budget for it.
    New,
    /// There is a budget, and no such operation.
    Gone,
}

/// One operation, held against its budget.
pub(crate) struct Line {
    name: String,
    counted: Option<u64>,
    allowed: Option<u64>,
    pub(crate) verdict: Verdict,
}

const TOLERANCE_PERCENT: f64 = 5.0;

impl Budget {
    pub(crate) fn of(counts: Counts, recorded_with: String) -> Self {
        Self { recorded_with, tolerance_percent: TOLERANCE_PERCENT, instructions: counts }
    }

    pub(crate) fn read(file: &Path) -> Result<Self> {
        let named = |why: String| Failure(format!("{}: {why}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| named(error.to_string()))?;
        Self::parse(&text).map_err(named)
    }

    fn parse(text: &str) -> std::result::Result<Self, String> {
        let budget: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let field = |name: &str| budget.get(name).ok_or_else(|| format!("{name} is missing"));
        let instructions = field("instructions")?.as_object().ok_or("instructions must be an object")?;
        let count = |(name, count): (&String, &Value)| {
            let count = count.as_u64().ok_or_else(|| format!("{name} must be a number of instructions"))?;
            Ok((name.clone(), count))
        };
        Ok(Self {
            recorded_with: field("recordedWith")?.as_str().unwrap_or_default().to_owned(),
            tolerance_percent: field("tolerancePercent")?
                .as_f64()
                .ok_or("tolerancePercent must be a number")?,
            instructions: instructions.iter().map(count).collect::<std::result::Result<_, String>>()?,
        })
    }

    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let budget = json!({
            "recordedWith": self.recorded_with,
            "tolerancePercent": self.tolerance_percent,
            "instructions": self.instructions,
        });
        Ok(std::fs::write(file, format!("{budget:#}\n"))?)
    }

    /// As if each operation had been recorded when it cost that much less.
    pub(crate) fn lowered(mut self, percent: u64) -> Self {
        for count in self.instructions.values_mut() {
            *count = *count * (100 - percent) / 100;
        }
        self
    }

    pub(crate) fn hold(&self, counts: &Counts) -> Vec<Line> {
        let known = self.instructions.keys().filter(|name| !counts.contains_key(*name));
        let mut names: Vec<&String> = counts.keys().chain(known).collect();
        names.sort_unstable();
        names.into_iter().map(|name| self.line(name, counts.get(name).copied())).collect()
    }

    fn line(&self, name: &str, counted: Option<u64>) -> Line {
        let allowed = self.instructions.get(name).copied();
        let verdict = match (counted, allowed) {
            (Some(counted), Some(allowed)) => match growth_percent(counted, allowed) {
                percent if percent > self.tolerance_percent => Verdict::Grew,
                percent if percent < -self.tolerance_percent => Verdict::Shrank,
                _ => Verdict::Within,
            },
            (Some(_), None) => Verdict::New,
            (None, _) => Verdict::Gone,
        };
        Line { name: name.to_owned(), counted, allowed, verdict }
    }

    /// The table, and what is to be done about it. Fails if anything cost more than it may.
    pub(crate) fn judge(&self, lines: &[Line], measured_with: &str) -> std::result::Result<String, String> {
        let mut told = format!("{:<20} {:>12} {:>12} {:>8}\n", "", "instructions", "budget", "");
        told.extend(lines.iter().map(|line| line.told() + "\n"));
        let any = |verdict: &[Verdict]| lines.iter().any(|line| verdict.contains(&line.verdict));
        if any(&[Verdict::Shrank]) {
            told += "\nWhat shrank is won; keep it: `cargo xtask micro record` writes the lower budget.\n";
        }
        if !any(&[Verdict::Grew, Verdict::New, Verdict::Gone]) {
            return Ok(told);
        }
        told += &format!(
            "\nOver {} % more than recorded, or recorded no more. `cargo xtask micro profile NAME` shows where an \
             operation spends it. If it is worth that, `cargo xtask micro record` writes a new budget: commit it \
             with the change that needs it, and say why there.\n",
            self.tolerance_percent
        );
        if self.recorded_with != measured_with {
            let (recorded, here) = (&self.recorded_with, measured_with);
            told += &format!("recorded with {recorded}\nhere:         {here}\n");
        }
        Err(told)
    }
}

impl Line {
    fn told(&self) -> String {
        let number = |count: Option<u64>| count.map_or("-".into(), |count| count.to_string());
        let change =
            self.counted.zip(self.allowed).map(|(counted, allowed)| growth_percent(counted, allowed));
        let change = change.map_or(String::new(), |percent| format!("{percent:+.1} %"));
        let word = match self.verdict {
            Verdict::Within => "",
            Verdict::Grew => "  GREW",
            Verdict::Shrank => "  shrank",
            Verdict::New => "  HAS NO BUDGET",
            Verdict::Gone => "  IS GONE",
        };
        format!(
            "{:<20} {:>12} {:>12} {change:>8}{word}",
            self.name,
            number(self.counted),
            number(self.allowed)
        )
    }
}

fn growth_percent(counted: u64, allowed: u64) -> f64 {
    (counted as f64 - allowed as f64) * 100.0 / (allowed as f64).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counts: &[(&str, u64)]) -> Counts {
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    fn judge(counted: &[(&str, u64)], recorded: &[(&str, u64)]) -> std::result::Result<String, String> {
        let budget = Budget::of(counts(recorded), "this".into());
        budget.judge(&budget.hold(&counts(counted)), "this")
    }

    #[test]
    fn what_grew_is_named_with_by_how_much_and_what_to_do() {
        let told = judge(&[("join", 1_000), ("message", 1_060)], &[("join", 1_000), ("message", 1_000)]);
        let told = told.unwrap_err();
        let line = told.lines().find(|line| line.starts_with("message")).unwrap();
        assert!(line.contains("1060") && line.contains("+6.0 %") && line.contains("GREW"), "{told}");
        assert!(told.contains("micro record") && told.contains("micro profile"), "{told}");
        assert!(!told.lines().any(|line| line.starts_with("join") && line.contains("GREW")), "{told}");
    }

    #[test]
    fn the_tolerance_is_allowed_and_no_more() {
        assert!(judge(&[("a", 1_050)], &[("a", 1_000)]).is_ok());
        assert!(judge(&[("a", 1_051)], &[("a", 1_000)]).is_err());
        assert!(!judge(&[("a", 950)], &[("a", 1_000)]).unwrap().contains("shrank"));
    }

    #[test]
    fn what_shrank_is_well_and_asks_for_a_lower_budget() {
        let told = judge(&[("a", 900)], &[("a", 1_000)]).unwrap();
        assert!(
            told.contains("-10.0 %") && told.contains("shrank") && told.contains("micro record"),
            "{told}"
        );
    }

    #[test]
    fn nothing_is_counted_without_a_budget_nor_budgeted_without_a_count() {
        assert!(judge(&[("a", 1), ("b", 1)], &[("a", 1)]).unwrap_err().contains("HAS NO BUDGET"));
        assert!(judge(&[("a", 1)], &[("a", 1), ("b", 1)]).unwrap_err().contains("IS GONE"));
    }

    #[test]
    fn another_machine_is_named_where_something_grew() {
        let budget = Budget::of(counts(&[("a", 1_000)]), "one".into());
        let told = budget.judge(&budget.hold(&counts(&[("a", 2_000)])), "another").unwrap_err();
        assert!(told.contains("recorded with one") && told.contains("another"), "{told}");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let file = std::env::temp_dir().join(format!("weeziq-budget-{}.json", std::process::id()));
        Budget::of(counts(&[("a", 1_000)]), "one".into()).lowered(10).write(&file).unwrap();
        let read = Budget::read(&file);
        std::fs::remove_file(&file).unwrap();
        let read = read.unwrap();
        assert_eq!((read.instructions, read.recorded_with.as_str()), (counts(&[("a", 900)]), "one"));
        for broken in ["", "{}", r#"{"recordedWith":"x","tolerancePercent":5,"instructions":{"a":-1}}"#] {
            assert!(Budget::parse(broken).is_err(), "{broken}");
        }
    }
}
