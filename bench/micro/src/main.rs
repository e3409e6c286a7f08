//! The gate on instruction counts: what an operation costs is counted under callgrind and held against what is
//! recorded in the repository. Counts are the same on every run of the same build, so 5 % is a change and not noise.

mod budget;
mod callgrind;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use budget::{Budget, Verdict};
use weeziq_micro::{Failure, Operation, Result};

const HELP: &str = "\
weeziq-micro: what one operation costs between a frame in and a frame out, in instructions

  weeziq-micro gate                counts all and holds them against the budget; 1 if something grew
  weeziq-micro record              counts all and writes them as the new budget
  weeziq-micro profile OPERATION   where it spends them
  weeziq-micro self-test           the gate sees operations that cost more, and less
  weeziq-micro walk OPERATION UNCOUNTED ROUNDS   what callgrind runs

operations: ";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["gate"] => gate(),
        ["record"] => record(),
        ["profile", name] => operation(name).and_then(callgrind::profile),
        ["self-test"] => self_test(),
        ["walk", name, uncounted, rounds] => walk(name, uncounted, rounds),
        _ => Err(usage("")),
    };
    match done {
        Ok(told) => {
            let _ = writeln!(std::io::stdout(), "{}", told.trim_end());
            ExitCode::SUCCESS
        }
        Err(Failure(why)) => {
            let _ = writeln!(std::io::stderr(), "{}", why.trim_end());
            ExitCode::FAILURE
        }
    }
}

fn gate() -> Result<String> {
    let (budget, counts) = (Budget::read(&file())?, callgrind::count_each(&Operation::ALL)?);
    budget.judge(&budget.hold(&counts), &callgrind::machine()).map_err(Failure)
}

fn record() -> Result<String> {
    let budget = Budget::of(callgrind::count_each(&Operation::ALL)?, callgrind::machine());
    budget.write(&file())?;
    Ok(format!("recorded in {}", file().display()))
}

/// What some cost now, against budgets that are 10 % lower and higher than that.
fn self_test() -> Result<String> {
    let some = [Operation::Ping, Operation::Message];
    let (counts, here) = (callgrind::count_each(&some)?, callgrind::machine());
    let sees = |lowered: Budget, expected: Verdict, passes: bool| {
        let lines = lowered.hold(&counts);
        lines.iter().all(|line| line.verdict == expected) && lowered.judge(&lines, &here).is_ok() == passes
    };
    let exact = || Budget::of(counts.clone(), here.clone());
    let higher = counts.iter().map(|(name, count)| (name.clone(), count + count / 10)).collect();
    for (what, seen) in [
        ("costs as much", sees(exact(), Verdict::Within, true)),
        ("costs more", sees(exact().lowered(10), Verdict::Grew, false)),
        ("costs less", sees(Budget::of(higher, here.clone()), Verdict::Shrank, true)),
    ] {
        if !seen {
            return Err(Failure(format!("the gate does not see what {what}")));
        }
    }
    Ok(format!("the gate sees what costs as much, more and less: {}", names(&some)))
}

fn walk(name: &str, uncounted: &str, rounds: &str) -> Result<String> {
    let number = |text: &str| text.parse().map_err(|_| usage(&format!("{text:?} is no number; ")));
    operation(name)?.walk(number(uncounted)?, number(rounds)?)?;
    Ok(String::new())
}

fn operation(name: &str) -> Result<Operation> {
    Operation::parse(name).ok_or_else(|| usage(&format!("{name:?} is none of them; ")))
}

fn usage(what: &str) -> Failure {
    Failure(format!("{what}{HELP}{}", names(&Operation::ALL)))
}

fn names(operations: &[Operation]) -> String {
    operations.iter().map(|operation| operation.name()).collect::<Vec<_>>().join(", ")
}

fn file() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/budget.json"))
}
