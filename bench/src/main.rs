//! The load generator: one thread, one epoll, its own framing, so that little of what is measured is itself.
//!
//! A message carries who sent it, its number and when it was due; so each delivery can be timed from that moment and
//! checked for loss, repetition, order and room. README.md says what is measured and how.

mod answers;
mod campaign;
mod cli;
mod clock;
mod connection;
mod dialect;
mod flags;
mod histogram;
mod hostile;
mod inbox;
mod ledger;
mod limits;
mod machine;
mod presets;
mod process;
mod provider;
mod report;
mod scenario;
mod self_test;
mod server;
mod streams;
mod swarm;
mod token;
mod traffic;
mod wire;
mod ws;

use std::process::ExitCode;

use cli::Command;
use provider::Provider;
use report::{Record, Report};
use weeziq_rig::Result;

fn main() -> ExitCode {
    match cli::parse(std::env::args().skip(1)).and_then(run) {
        Ok(code) => code,
        Err(failure) => {
            report::complain(&failure.to_string());
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Help => {
            report::say(cli::HELP);
            Ok(ExitCode::SUCCESS)
        }
        Command::SelfTest => {
            let (text, passed) = self_test::run()?;
            report::say(&text);
            Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
        Command::One { scenario, target, pid, provider_port, outputs } => {
            let mut provider = provider_port.map(Provider::open).transpose()?;
            let outcome = scenario.run(&target, pid, provider.as_mut())?;
            let mut report = Report::new();
            report.add(Record::of(&scenario, "server", 1, Ok(outcome)));
            report.finish(&outputs)
        }
        Command::All(campaign) => campaign.run()?.finish(&campaign.outputs),
        Command::Report { json, outputs } => report::tell_again(&json, &outputs),
    }
}
