//! `cargo xtask bench`: the load benchmark on release builds, beside its peers. A whole run is recorded in `docs/`; one
//! with arguments that make it less than that is only printed.

use std::process::Command;

use crate::{Work, cargo, npm, root, tools};

/// Where a whole run is recorded.
const RECORD: [&str; 6] =
    ["--json", "docs/benchmarks.json", "--docs", "docs/benchmarks.md", "--plot", "docs/benchmarks.svg"];
const ROUNDS: [&str; 2] = ["--rounds", "5"];
/// With any of these it is not the whole run, or the caller says where it goes.
const NOT_FOR_THE_RECORD: [&str; 6] = ["--only", "--seconds", "--rounds", "--json", "--docs", "--plot"];

pub(crate) fn steps(work: &mut Work, args: &[&str]) {
    work.step(
        "release build",
        cargo(&["build", "--release", "--quiet", "-p", "weeziq-server", "-p", "weeziq-bench"]),
    );
    let mut bench = Command::new(root().join("target/release/weeziq-bench"));
    bench.args(["all", "--server", "target/release/weeziq"]).args(args).current_dir(root());
    let recorded = is_whole(args);
    match tools::node() {
        Ok(()) => {
            let install = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
            work.step("npm packages of the peers", npm(&install, "bench/peers"));
            bench.arg("--peers");
            if recorded {
                bench.args(ROUNDS).args(RECORD);
            }
        }
        Err(why) => work.skip("peers, and with them the record in docs/", &why),
    }
    if !recorded {
        println!(
            "\n=== not recorded in docs/: that takes a run without arguments, or --json, --docs and --plot"
        );
    }
    work.step("bench", bench);
}

fn is_whole(args: &[&str]) -> bool {
    let names = |flag: &&str, arg: &str| arg == *flag || arg.starts_with(&format!("{flag}="));
    !args.iter().any(|arg| NOT_FOR_THE_RECORD.iter().any(|flag| names(flag, arg)))
}

/// How often documents are found, on public questions, with them and without.
pub(crate) fn recall(work: &mut Work, args: &[&str]) {
    work.step("release build", cargo(&["build", "--release", "--quiet", "-p", "weeziq-server"]));
    if let Err(why) = tools::node() {
        return work.skip("recall", &why);
    }
    work.step(
        "npm packages of the mocks",
        npm(&["ci", "--no-audit", "--no-fund", "--loglevel=error"], "conformance"),
    );
    let mut recall = Command::new("node");
    recall.arg("bench/retrieval/recall.mjs").args(args).current_dir(root());
    if args.is_empty() {
        recall.args(["--docs", "docs/knowledge.md", "--json", "docs/recall.json"]);
    }
    work.step("recall", recall);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_a_part_is_not_recorded() {
        assert!(is_whole(&[]) && is_whole(&["--data-root", "target"]));
        assert!(
            !is_whole(&["--only", "rooms"]) && !is_whole(&["--seconds=2"]) && !is_whole(&["--json", "x"])
        );
    }
}
