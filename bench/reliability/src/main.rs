//! The reliability rigs: they start servers, run thousands of clients against them, break things, and count every
//! (client, message) pair. README.md says what each does and what its numbers mean.
//!
//! One thread runs all clients; what decides what a client says (`dialect`) and what is right (`ledger`, `audit`) knows
//! no socket and is tested without one.

mod audit;
mod cli;
mod client;
mod dialect;
mod fleet;
mod ledger;
mod machine;
mod mark;
mod process;
mod report;
mod rigs;
mod self_test;
mod server;
mod socket;
mod stage;
mod world;

use std::future::Future;
use std::process::{Command, ExitCode};

use clap::Parser as _;

use cli::{Cli, Common, Rig};
use dialect::Peer;
use report::{Outcome, Report};
use rigs::{crash_loop, jitter, stalled, storm};
use weeziq_rig::Result;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(failure) => {
            report::complain(&failure.to_string());
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode> {
    if cli.self_test {
        let (text, passed) = self_test::run(1);
        report::say(&text);
        if !passed {
            return Ok(ExitCode::from(1));
        }
    }
    let Some(rig) = &cli.rig else { return Ok(ExitCode::SUCCESS) };
    let common = rig.common();
    let mut report = Report::new(common.counts_only());
    let outcome = play(rig, common, &mut report);
    // What has been measured is shown even if a later rig could not be run.
    report.versions = versions(common);
    report::say(&report.table());
    if let Some(path) = common.out() {
        report.write(path)?;
    }
    outcome?;
    Ok(ExitCode::from(u8::from(!report.missed().is_empty())))
}

fn play(rig: &Rig, common: &Common, report: &mut Report) -> Result<()> {
    for peer in common.peers() {
        match rig {
            Rig::Jitter { jitter, .. } => report.add(on_one_thread(jitter::run(common, jitter, peer))?),
            Rig::Storm { storm, .. } => {
                report.add(on_one_thread(storm::run(common, storm, peer, storm.kill))?);
            }
            Rig::CrashLoop { crash, .. } => report.add(on_one_thread(crash_loop::run(common, crash, peer))?),
            Rig::Stalled { stalled, .. } => report.add(on_one_thread(stalled::run(common, stalled, peer))?),
            Rig::All { .. } => {}
        }
    }
    // Rig by rig through all peers, so that a noisy minute hits all of them.
    if let Rig::All { jitter, storm, crash, stalled, .. } = rig {
        let peers = common.peers();
        for peer in &peers {
            report.add(on_one_thread(jitter::run(common, jitter, *peer))?);
        }
        for kill in [false, true] {
            for peer in &peers {
                report.add(on_one_thread(storm::run(common, storm, *peer, kill))?);
            }
        }
        for peer in &peers {
            report.add(on_one_thread(crash_loop::run(common, crash, *peer))?);
        }
        for peer in &peers {
            report.add(on_one_thread(stalled::run(common, stalled, *peer))?);
        }
    }
    Ok(())
}

/// A runtime for each run: what is left of it ends with it.
fn on_one_thread(run: impl Future<Output = Result<Outcome>>) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let clients = tokio::task::LocalSet::new();
    clients.block_on(&runtime, run)
}

fn versions(common: &Common) -> Vec<(String, String)> {
    let asked = |program: &std::ffi::OsStr| {
        let output = Command::new(program).arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let mut all = Vec::new();
    for peer in common.peers() {
        match peer {
            Peer::Weeziq => {
                all.extend(asked(common.server().as_os_str()).map(|said| ("weeziq".to_owned(), said)));
            }
            Peer::Socketio => {
                all.extend(asked("node".as_ref()).map(|said| ("node".to_owned(), said)));
                let manifest = common.peers_dir().join("node_modules/socket.io/package.json");
                let manifest = std::fs::read(manifest).unwrap_or_default();
                let version = serde_json::from_slice::<serde_json::Value>(&manifest)
                    .ok()
                    .and_then(|manifest| Some(manifest.get("version")?.as_str()?.to_owned()));
                all.extend(version.map(|version| ("socket.io".to_owned(), version)));
            }
        }
    }
    all
}

impl Rig {
    fn common(&self) -> &Common {
        match self {
            Self::Jitter { common, .. }
            | Self::Storm { common, .. }
            | Self::CrashLoop { common, .. }
            | Self::Stalled { common, .. }
            | Self::All { common, .. } => common,
        }
    }
}
