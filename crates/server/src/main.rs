//! `weeziq`: the native host. HTTP on a small runtime, everything else on shards.

mod ai;
mod backup;
mod check;
mod disk;
mod doctor;
mod domains;
mod export;
mod files;
mod geoip;
mod http;
mod logging;
mod metrics;
mod progress;
mod proven;
mod retention;
mod salt;
mod serve;
mod settings;
mod shard;
mod socketio;
mod store;
mod token;
mod websocket;
mod zones;

use std::process::ExitCode;

use clap::Parser;
use progress::Progress;
use settings::{Cli, Command};

/// Handshakes are many small blocks made on one thread and freed on another, which this allocator is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    keep_pages_small();
    if let Err(error) = dotenvy::dotenv()
        && !error.not_found()
    {
        return Err(format!(".env cannot be read: {error}"));
    }
    let cli = Cli::parse();
    let command = cli.command.unwrap_or(Command::Serve);
    if !matches!(command, Command::Doctor { .. }) {
        cli.settings.check()?;
    }
    match command {
        Command::Doctor { ready } => {
            say(&if ready { doctor::is_ready(&cli.settings) } else { doctor::examine(&cli.settings) }?);
            Ok(())
        }
        Command::Serve => {
            logging::start(&cli.settings);
            serve::run(&cli.settings)
        }
        Command::Check => {
            say(&check::all(&cli.settings.data_dir)?);
            Ok(())
        }
        Command::Token(wanted) => {
            let token = wanted.mint(&cli.settings, shard::wall_clock())?;
            say(&format!("{token}\n"));
            Ok(())
        }
        Command::Backup { target } => {
            say(&backup::backup(&cli.settings.data_dir, &target)?);
            Ok(())
        }
        Command::Restore { from } => {
            say(&backup::restore(&from, &cli.settings.data_dir)?);
            Ok(())
        }
        Command::Export { target, from, remote } => {
            say(&match from {
                Some(from) => export::remote::export(&from, &remote, &target),
                None => export::export(&cli.settings, &target),
            }?);
            Ok(())
        }
        Command::Import { from, to, remote } => {
            say(&match to {
                Some(to) => export::remote::import(&from, &to, &remote),
                None => export::import(&cli.settings, &from),
            }?);
            Ok(())
        }
        Command::Config => {
            say(&cli.settings.to_string());
            Ok(())
        }
    }
}

/// The allocator asks for pages of 2 MiB, which stay resident when a few small blocks are left in each: with ten thousand
/// idle connections that was half of all memory, and turns were no shorter for it.
fn keep_pages_small() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "large pages cannot be declined");
    }
}

#[expect(clippy::print_stdout, reason = "a command's answer is its output")]
fn say(text: &str) {
    Progress::over();
    print!("{text}");
}

/// Before logs exist, and for people either way.
#[expect(clippy::print_stderr, reason = "the reason why nothing starts belongs on standard error")]
fn complain(why: &str) {
    Progress::over();
    eprintln!("weeziq: {why}");
}
