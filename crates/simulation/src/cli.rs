//! What the binary is asked for, and what it says.

use std::io::Write;

use crate::answers::Read;
use crate::world::Tally;

pub(crate) const HELP: &str = "weeziq-simulation --seeds COUNT [--from SEED] [--steps N]
weeziq-simulation --seed SEED [--verbose] [--steps N]";

pub(crate) enum Command {
    Help,
    One { seed: u64, verbose: bool, options: Options },
    Many { from: u64, count: u64, options: Options },
}

#[derive(Clone, Copy)]
pub(crate) struct Options {
    pub(crate) steps: usize,
}

const SEEDS: u64 = 2_000;
const STEPS: usize = 400;

pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Command, String> {
    let (mut from, mut count, mut one, mut verbose) = (0, SEEDS, None, false);
    let mut options = Options { steps: STEPS };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            "--verbose" => verbose = true,
            "--seeds" => count = number(&arg, args.next())?,
            "--from" => from = number(&arg, args.next())?,
            "--seed" => one = Some(number(&arg, args.next())?),
            "--steps" => options.steps = number(&arg, args.next())? as usize,
            unknown => return Err(format!("{unknown:?} is not known\n\n{HELP}")),
        }
    }
    Ok(match one {
        Some(seed) => Command::One { seed, verbose, options },
        None => Command::Many { from, count, options },
    })
}

fn number(name: &str, value: Option<String>) -> Result<u64, String> {
    let value = value.unwrap_or_default();
    value.parse().map_err(|_| format!("{name} needs a number, not {value:?}"))
}

/// Whoever reads only the first lines has closed the pipe; that is no failure.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { frames, events, crashes, evictions, failed_turns, asked, read } = self;
        let Read { answers, cancelled, interrupted, resumed } = read;
        write!(
            f,
            "{events} events, {frames} frames, {crashes} crashes, {evictions} evictions, {failed_turns} failed turns; {asked} answers, \
             {answers} of them read to an end and the same to the byte ({cancelled} cancelled, {interrupted} interrupted, {resumed} read over a cut)"
        )
    }
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.events += other.events;
        self.crashes += other.crashes;
        self.evictions += other.evictions;
        self.failed_turns += other.failed_turns;
        self.asked += other.asked;
        self.read.add(other.read);
    }
}
