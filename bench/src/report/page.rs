//! The page of the last recorded run. Only what stands between two marks is written; a word added around it stays.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use super::figures::{Figures, rounded};
use super::{Outputs, tables, targets};

const BEGIN: &str = "<!-- weeziq-bench: from here on written by `cargo xtask bench` -->";
const END: &str = "<!-- weeziq-bench: up to here -->";

/// `before` with its generated part replaced; a page without one is begun anew.
pub(super) fn with(before: &str, part: &str) -> String {
    let marked = before.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) = marked.unwrap_or(("# The last recorded run\n\n", "\n"));
    format!("{head}{BEGIN}\n\n{}\n\n{END}{tail}", part.trim())
}

pub(super) fn generated(figures: &Figures<'_>, outputs: &Outputs, page: &Path) -> String {
    let mut text = circumstances(figures);
    if let Some(plot) = outputs.plot.as_deref().and_then(|plot| beside(plot, page)) {
        let _ = write!(text, "\n![Server CPU per unit of work, by scenario and server]({plot})\n");
    }
    let _ = write!(text, "\n## Targets\n\n{TARGETS_READ}\n\n{}", targets::table(figures));
    let _ = write!(text, "\n## Ratios of medians\n\n{RATIOS_READ}\n\n{}", targets::ratios(figures));
    for section in &tables::SECTIONS {
        let Some(table) = section.table(figures) else { continue };
        let title = section.title;
        let _ = write!(text, "\n## {title}\n\n{}{table}", reading(title));
    }
    let notes: Vec<&str> = tables::notes(figures).collect();
    if !notes.is_empty() {
        let _ = write!(text, "\n## Notes of the run\n\n- {}\n", notes.join("\n- "));
    }
    if let Some(json) = outputs.json.as_deref().and_then(|json| beside(json, page)) {
        let _ = write!(text, "\nAll figures of all rounds: [{json}]({json}).\n");
    }
    text
}

/// When, on what, with what, and how far to trust it.
fn circumstances(figures: &Figures<'_>) -> String {
    let machine = |name: &str| figures.text(&format!("/machine/{name}")).to_owned();
    let cpus = figures.all().pointer("/machine/cpus").and_then(Value::as_u64).unwrap_or_default();
    let unix = figures.all().get("unixTime").and_then(Value::as_u64).unwrap_or_default();
    let kib = machine("memory").trim_end_matches(" kB").parse::<f64>().unwrap_or_default();
    let rounds = match figures.rounds() {
        1 => "one round".into(),
        rounds => {
            format!("{rounds} rounds, scenario by scenario through all servers, medians with their range")
        }
    };
    let mut text = format!(
        "{}, `cargo xtask bench`, {rounds}. {cpus} processors ({}), {} GiB, kernel {}, loopback. {}.\n",
        date(unix),
        machine("cpu"),
        rounded(kib / 1024.0 / 1024.0),
        machine("kernel"),
        versions(figures)
    );
    if let Some(floor) = tables::floor(figures) {
        let _ = writeln!(text, "The {floor}; no delivery that cannot share a write can cost less.");
    }
    text.push_str(
        "What each scenario does and how it is measured: [bench/README.md](../bench/README.md).\n\n\
         WeeziQ stores every message, validates every field and tells presence; the peers do none of it.\n",
    );
    text
}

/// Each program once, as it names itself.
fn versions(figures: &Figures<'_>) -> String {
    let mut all = Vec::new();
    let said = |name| figures.all().get(name).and_then(Value::as_object);
    all.extend(
        said("versions").into_iter().flatten().filter_map(|(_, version)| version.as_str()).map(String::from),
    );
    for (_, readiness) in said("readyz").into_iter().flatten() {
        let text = readiness.as_str().unwrap_or_default();
        let object = text.find('{').zip(text.rfind('}')).and_then(|(start, end)| text.get(start..=end));
        let told: Value = serde_json::from_str(object.unwrap_or("null")).unwrap_or_default();
        all.extend(told.get("peer").and_then(Value::as_str).map(String::from));
        all.extend(told.get("node").and_then(Value::as_str).map(|version| format!("Node {version}")));
    }
    all.sort();
    all.dedup();
    all.join(", ")
}

const TARGETS_READ: &str = "\
Medians of `weeziq normal` (a message survives a crash of the process; `full` asks the disk too), against fixed bounds\nor \
against a peer of the same run.";

const RATIOS_READ: &str = "Below 1, WeeziQ needs less.";

fn reading(title: &str) -> &'static str {
    match title {
        "AI streams" => AI_READ,
        "Among hostile clients" => HOSTILE_READ,
        _ => "",
    }
}

const AI_READ: &str = "\
A token's latency runs from just before the model's write to the read at the reader. An answer is told in at most one\n\
frame in 25 ms, so at 50 tokens a second, one each 20 ms, nearly every token waits for its frame: *added* has that wait\n\
in it, *first of its frame* is the token that waited longest. *Beyond the roll-up* begins when the rule let the token go,\n\
which is the last frame's own time plus 25 ms; that time is in whole milliseconds, so this column is up to 1 ms too high.\n\
*Free* are tokens that came when nothing held them. At 30 tokens a second (`ai-streams-apart`) all are free: what is\n\
left is what the server takes. At 50 hardly one is, and mostly one that came while the server or the machine stood still. Lost, doubled and changed text are errors: every answer is compared byte by byte.\n\n";

const HOSTILE_READ: &str = "\
The load of `rooms`, measured twice on one server: alone, and beside one client of each kind: one that writes a byte at a\n\
time, one that talks and never reads, one that sends 10,000 tiny frames a second, one whose message in fragments of\n\
60 KiB never ends, one that announces a terabyte. Who is cut comes back. The generator's own work for them, on the same\n\
processors, is in the figures too.\n\n";

/// A link from the page, if the file lies in its folder or below.
fn beside(file: &Path, page: &Path) -> Option<String> {
    let folder = page.parent().unwrap_or(Path::new(""));
    file.strip_prefix(folder).ok().map(|path| path.display().to_string())
}

/// Days since 1970 to a date, after Howard Hinnant's `civil_from_days`.
fn date(unix_seconds: u64) -> String {
    let days = unix_seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let name = MONTHS.get(month as usize - 1).copied().unwrap_or_default();
    format!("{day} {name} {year}")
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::tests::recorded;

    #[test]
    fn dates() {
        for (unix, expected) in [
            (0, "1 January 1970"),
            (951_782_400, "29 February 2000"),
            (1_795_392_000, "23 November 2026"),
            (1_798_675_200, "31 December 2026"),
        ] {
            assert_eq!(date(unix), expected);
        }
    }

    #[test]
    fn only_the_generated_part_of_a_page_changes() {
        let first = with("", "one");
        assert!(first.starts_with("# The last recorded run\n\n<!--"), "{first}");
        let kept = first.replace("# The last", "# Our last") + "\nA word of ours.\n";
        let second = with(&kept, "two");
        assert!(second.starts_with("# Our last") && second.ends_with("\nA word of ours.\n"), "{second}");
        assert!(second.contains("two") && !second.contains("one"), "{second}");
    }

    #[test]
    fn the_page_tells_circumstances_targets_and_figures() {
        let all = recorded();
        let outputs = Outputs {
            json: Some("docs/benchmarks.json".into()),
            docs: None,
            plot: Some("docs/benchmarks.svg".into()),
        };
        let text = generated(&Figures::of(&all), &outputs, Path::new("docs/benchmarks.md"));
        for part in [
            "23 November 2026",
            "3 rounds",
            "Test CPU",
            "weeziq 0.1.0",
            "](benchmarks.svg)",
            "](benchmarks.json)",
            "## Delivery",
            "- a note",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(!text.contains("## AI streams"));
    }
}
