//! Runs seeds of the simulation. docs/simulation.md says what is modelled and checked.

mod answers;
mod checks;
mod cli;
mod client;
mod frame;
mod gate;
mod host;
mod link;
mod model;
mod rng;
mod store;
mod trace;
mod view;
mod world;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use cli::{Command, Options};
use world::{Outcome, Tally};

/// How much of the end of a failing run is shown.
const LINES_SHOWN: usize = 60;

fn main() -> ExitCode {
    match cli::parse(std::env::args().skip(1)) {
        Ok(Command::Help) => {
            cli::say(cli::HELP);
            ExitCode::SUCCESS
        }
        Ok(Command::One { seed, verbose, options }) => run_one(seed, verbose, options),
        Ok(Command::Many { from, count, options }) => run_many(from, count, options),
        Err(why) => {
            cli::say(&why);
            ExitCode::from(2)
        }
    }
}

fn run_one(seed: u64, verbose: bool, options: Options) -> ExitCode {
    let lines_max = if verbose { usize::MAX } else { LINES_SHOWN };
    let outcome = world::run(seed, options.steps, lines_max);
    if verbose || outcome.breach.is_some() {
        outcome.lines.iter().for_each(|line| cli::say(line));
    }
    report(seed, &outcome)
}

/// Each seed is a world of its own, so they share the cores without sharing anything else.
fn run_many(from: u64, count: u64, options: Options) -> ExitCode {
    let (begun, next, first_bad) = (Instant::now(), AtomicU64::new(from), AtomicU64::new(u64::MAX));
    let work = || {
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + count || first_bad.load(Ordering::Relaxed) < seed {
                return tally;
            }
            let outcome = world::run(seed, options.steps, 0);
            tally.add(&outcome.tally);
            if outcome.breach.is_some() {
                first_bad.fetch_min(seed, Ordering::Relaxed);
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let tally = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let mut all = Tally::default();
        workers.into_iter().filter_map(|worker| worker.join().ok()).for_each(|tally| all.add(&tally));
        all
    });
    match first_bad.into_inner() {
        u64::MAX => {
            let seconds = begun.elapsed().as_secs_f64();
            cli::say(&format!("{count} seeds from {from} hold; {seconds:.1} s; {tally}"));
            ExitCode::SUCCESS
        }
        seed => run_one(seed, false, options),
    }
}

fn report(seed: u64, outcome: &Outcome) -> ExitCode {
    let Outcome { hash, step, breach, tally, .. } = outcome;
    let Some(breach) = breach else {
        cli::say(&format!("seed {seed} holds; trace {hash:016x}; {tally}"));
        return ExitCode::SUCCESS;
    };
    cli::say(&format!("seed {seed} breaks {:?} at step {step}: {}", breach.checker, breach.what));
    cli::say(&format!("replay: weeziq-simulation --seed {seed} --verbose (with the same --steps)"));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: usize = 150;

    #[test]
    fn promises_hold_over_thirty_seeds() {
        for seed in 0..30 {
            let outcome = world::run(seed, STEPS, LINES_SHOWN);
            let breach = outcome.breach.map(|breach| breach.what);
            assert!(breach.is_none(), "seed {seed}: {breach:?}\n{}", outcome.lines.join("\n"));
        }
    }

    #[test]
    fn a_seed_replays_itself() {
        for seed in 0..6 {
            let hash = |lines| world::run(seed, STEPS, lines).hash;
            assert_eq!(hash(0), hash(LINES_SHOWN), "seed {seed}");
        }
    }
}
