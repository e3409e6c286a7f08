//! Counting instructions: each operation in a process of its own under callgrind, so that none finds the memory as
//! another left it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use weeziq_micro::{Failure, Operation, Result};

use crate::budget::Counts;

/// Where collecting begins and ends.
const TOGGLE: &str = "--toggle-collect=*operation::counted*";
/// Units, of each operation. What comes before is not counted: statements are prepared, buffers get their size.
const UNCOUNTED: u32 = 64;
const COUNTED_UNITS: u32 = 256;
const FUNCTIONS_TOLD: usize = 40;

/// As many at a time as there are cores: what is counted does not depend on who else runs.
pub(crate) fn count_each(operations: &[Operation]) -> Result<Counts> {
    let (left, counts) = (Mutex::new(operations.iter()), Mutex::new(Vec::new()));
    let next = || left.lock().ok().and_then(|mut left| left.next().copied());
    let worker = || {
        while let Some(operation) = next() {
            let count = count(operation).map(|count| (operation.name().to_owned(), count));
            if let Ok(mut counts) = counts.lock() {
                counts.push(count);
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(worker))));
    counts.into_inner().unwrap_or_default().into_iter().collect()
}

fn count(operation: Operation) -> Result<u64> {
    let out = Out::of(operation);
    run(operation, &out.0)?;
    let told = std::fs::read_to_string(&out.0)?;
    match total(&told) {
        Some(total) if total > 0 => Ok(total / u64::from(COUNTED_UNITS)),
        _ => Err(Failure(format!("{}: callgrind saw nothing of {TOGGLE}", operation.name()))),
    }
}

/// Where one operation spends its instructions: by function alone, and with all that each calls.
pub(crate) fn profile(operation: Operation) -> Result<String> {
    let out = Out::of(operation);
    run(operation, &out.0)?;
    let own = functions(&out.0, "no", |known, more| known + more)?;
    // A function stands there once for each file that its code was inlined from.
    let whole = functions(&out.0, "yes", u64::max)?;
    Ok(format!(
        "instructions in one {}, by function:\n{own}\nwith what they call:\n{whole}",
        operation.name()
    ))
}

fn functions(out: &Path, inclusive: &str, join: fn(u64, u64) -> u64) -> Result<String> {
    let mut annotate = Command::new("callgrind_annotate");
    annotate.args(["--auto=no", "--threshold=100"]).arg(format!("--inclusive={inclusive}")).arg(out);
    let said = annotate.output().map_err(|error| Failure(format!("callgrind_annotate: {error}")))?;
    let mut counts = Counts::new();
    for (count, function) in String::from_utf8_lossy(&said.stdout).lines().filter_map(function) {
        let known = counts.entry(function.to_owned()).or_default();
        *known = join(*known, count);
    }
    let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
    counts.sort_by(|(_, one), (_, other)| other.cmp(one));
    let told = |(function, count)| format!("{:>9}  {function}\n", count / u64::from(COUNTED_UNITS));
    Ok(counts.into_iter().take(FUNCTIONS_TOLD).map(told).collect())
}

/// `1,234,567 (12.3%)  /a/long/way/to/file.rs:a::function [/the/program]`, save what has all: the way to what is counted.
fn function(line: &str) -> Option<(u64, &str)> {
    let (count, rest) = line.trim_start().split_once(" (")?;
    let count: u64 = count.replace(',', "").parse().ok()?;
    let (percent, place) = rest.split_once("%)  ")?;
    let place = place.rsplit_once(" [").map_or(place, |(place, _)| place);
    let (_, function) = place.split_once(':')?;
    (percent != "100.0").then_some((count, function))
}

fn run(operation: Operation, out: &Path) -> Result<()> {
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--quiet", TOGGLE])
        .arg(format!("--callgrind-out-file={}", out.display()));
    valgrind.arg(std::env::current_exe()?).args(["walk", operation.name()]);
    valgrind.args([UNCOUNTED, COUNTED_UNITS].map(|units| (units / operation.units()).to_string()));
    // What is in the environment moves the stack, and with it what the C library does about alignment.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let said = valgrind.env_clear().env("PATH", path).output();
    let said = said.map_err(|error| Failure(format!("valgrind: {error}")))?;
    if said.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&said.stderr);
    Err(Failure(format!("{} under valgrind: {}\n{}", operation.name(), said.status, why.trim_end())))
}

fn total(told: &str) -> Option<u64> {
    told.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

/// What the counts depend on, beside the code.
pub(crate) fn machine() -> String {
    let said = |program: &str, args: &[&str]| {
        let said = Command::new(program).args(args).output().map(|said| said.stdout).unwrap_or_default();
        String::from_utf8_lossy(&said).lines().next().unwrap_or_default().trim().to_owned()
    };
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let processor = processor.trim_start_matches([' ', '\t', ':']).to_owned();
    let parts = [
        said("rustc", &["--version"]),
        said("valgrind", &["--version"]),
        said("ldd", &["--version"]),
        processor,
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

/// What callgrind writes; goes with its use.
struct Out(PathBuf);

impl Out {
    fn of(operation: Operation) -> Self {
        let name = format!("weeziq-callgrind-{}-{}", std::process::id(), operation.name());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read() {
        assert_eq!(total("events: Ir\nsummary: 12\n\nfn=(1)\n3 4\n\ntotals: 34567\n"), Some(34_567));
        assert_eq!(total("events: Ir\n"), None);
    }

    #[test]
    fn a_line_of_the_profile_is_read() {
        let line =
            "1,964,032 (12.82%)  /home/ann/.cargo/sqlite3/sqlite3.c:walChecksumBytes [/srv/weeziq-micro]";
        assert_eq!(function(line), Some((1_964_032, "walChecksumBytes")));
        let method = "9 (1.00%)  ser.rs:<T as a::B>::c'2 [/srv/weeziq-micro]";
        assert_eq!(function(method), Some((9, "<T as a::B>::c'2")));
        assert_eq!(function("9 (100.0%)  main.rs:weeziq_micro::main"), None);
        assert_eq!(function("Ir                    file:function"), None);
    }

    #[test]
    fn every_operation_does_what_it_is_counted_for() {
        for operation in Operation::ALL {
            assert_eq!(Operation::parse(operation.name()), Some(operation));
            operation.walk(2, 3).unwrap_or_else(|failure| panic!("{}: {failure}", operation.name()));
        }
    }
}
