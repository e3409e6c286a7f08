//! `weeziq`: the native host. HTTP on a small runtime, everything else on shards.

mod ai;
mod check;
mod domains;
mod http;
mod logging;
mod serve;
mod settings;
mod shard;
mod socketio;
mod store;
mod websocket;

use std::process::ExitCode;

use clap::Parser;
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
    cli.settings.check()?;
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => {
            logging::start(&cli.settings);
            serve::run(&cli.settings)
        }
        Command::Check => {
            say(&check::all(&cli.settings.data_dir)?);
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
    print!("{text}");
}

/// Before logs exist, and for people either way.
#[expect(clippy::print_stderr, reason = "the reason why nothing starts belongs on standard error")]
fn complain(why: &str) {
    eprintln!("weeziq: {why}");
}
