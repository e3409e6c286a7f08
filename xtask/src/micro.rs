//! `cargo xtask micro`: the micro-benchmarks, and the gate on instruction counts that `cargo xtask test` holds.

use std::process::Command;

use crate::{Work, cargo, root, tools};

/// Some twenty seconds for all; enough to see what doubled.
const QUICKLY: [&str; 6] = ["--quick", "--noplot", "--measurement-time", "1", "--warm-up-time", "0.2"];

pub(crate) fn steps(work: &mut Work, args: &[&str]) {
    match args {
        ["gate"] => gate(work),
        ["record"] | ["profile", _] => counting(work, |work| work.step("instruction counts", program(args))),
        _ => {
            let bench = ["bench", "--quiet", "-p", "weeziq-micro", "--bench", "paths", "--"];
            let args = if args.is_empty() { &QUICKLY } else { args };
            work.step("micro-benchmarks", cargo(&[&bench, args].concat()));
        }
    }
}

pub(crate) fn gate(work: &mut Work) {
    counting(work, |work| {
        work.step("instruction counts within their budget", program(&["gate"]));
        work.step("the gate sees what costs more", program(&["self-test"]));
    });
}

fn counting(work: &mut Work, count: impl FnOnce(&mut Work)) {
    if let Err(why) = tools::valgrind() {
        return work.skip("instruction counts", &why);
    }
    work.step(
        "release build of the micro-benchmarks",
        cargo(&["build", "--release", "--quiet", "-p", "weeziq-micro"]),
    );
    count(work);
}

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(root().join("target/release/weeziq-micro"));
    command.args(args).current_dir(root());
    command
}
