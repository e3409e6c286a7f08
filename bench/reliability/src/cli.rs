//! The command line, and the plan that it makes: each rig has sizes of its own, which flags replace.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::dialect::Peer;
use weeziq_rig::{Failure, Program, Result};

/// Cut connections, restarts, crashes and stalled readers, with every (client, message) pair counted.
///
/// Starts the servers itself, on 127.0.0.1 and nowhere else. Exit code: 0 WeeziQ met its targets, 1 it missed one,
/// 2 wrong usage, 3 a server failed, 4 this machine did.
#[derive(Parser)]
#[command(name = "weeziq-reliability", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Plant a fault of each kind in what the checkers are told, and show that each is seen
    #[arg(long)]
    pub(crate) self_test: bool,
    #[command(subcommand)]
    pub(crate) rig: Option<Rig>,
}

#[derive(Subcommand)]
pub(crate) enum Rig {
    /// Every client's connection is cut about every 15 s, stays away 2 s and resumes, under constant load
    Jitter {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        jitter: JitterFlags,
    },
    /// The server is stopped under load and started again; all clients return at once
    Storm {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        storm: StormFlags,
    },
    /// kill -9 under load at random moments, again and again
    CrashLoop {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        crash: CrashFlags,
    },
    /// A thousand readers that do not read, beside healthy ones
    Stalled {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        stalled: StalledFlags,
    },
    /// All of them, the storm both by SIGTERM and by kill -9
    All {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        jitter: JitterFlags,
        #[command(flatten)]
        storm: StormFlags,
        #[command(flatten)]
        crash: CrashFlags,
        #[command(flatten)]
        stalled: StalledFlags,
    },
}

#[derive(Clone, Args)]
pub(crate) struct Common {
    /// Which servers
    #[arg(long, value_enum, default_value = "weeziq")]
    peer: Which,
    /// Clients [2000; crash-loop 1000; stalled 400, the healthy ones]
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    clients: Option<u32>,
    /// Rooms that they are dealt out to [a twentieth of the clients]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    rooms: Option<u32>,
    /// Messages a second in total; each goes to all of its room [150; stalled 20, in the other rooms]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: Option<u32>,
    /// The measured part [jitter 60; storm 6 of load before each stop; stalled 20]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: Option<u64>,
    /// Names the run: who is cut when, who speaks when, when the server is killed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// WeeziQ's DURABILITY
    #[arg(long, value_enum, default_value = "full")]
    durability: Durability,
    /// WeeziQ's binary
    #[arg(long, default_value = "target/release/weeziq")]
    server: PathBuf,
    /// The folder of socketio.mjs and its node_modules
    #[arg(long, default_value = "bench/peers")]
    peers_dir: PathBuf,
    /// Where the servers' data goes, and is removed again [the system's folder for temporary files]
    #[arg(long)]
    data_root: Option<PathBuf>,
    /// Characters of a message, but for the stalled readers' room
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(32..=16_000))]
    text_bytes: u32,
    /// Raw results, as JSON
    #[arg(long)]
    out: Option<PathBuf>,
    /// Small sizes, all four rigs within a minute; only counts are judged, no times
    #[arg(long)]
    quick: bool,
    /// Judge lost, duplicates, gaps and who is back, but no times
    #[arg(long)]
    counts_only: bool,
}

#[derive(Clone, Args)]
pub(crate) struct JitterFlags {
    /// Each connection is cut after half to one and a half times this [15000]
    #[arg(long)]
    cut_every_ms: Option<u64>,
    /// How long a client stays away
    #[arg(long, default_value_t = 2_000)]
    away_ms: u64,
}

#[derive(Clone, Args)]
pub(crate) struct StormFlags {
    /// kill -9 in place of SIGTERM
    #[arg(long)]
    pub(crate) kill: bool,
    /// How often [3]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Between the end of the old process and the start of the new one
    #[arg(long, default_value_t = 500)]
    down_ms: u64,
}

#[derive(Clone, Args)]
pub(crate) struct CrashFlags {
    /// How often [20]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    kills: Option<u32>,
}

#[derive(Clone, Args)]
pub(crate) struct StalledFlags {
    /// Readers that join and never read [1000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    stalled: Option<u32>,
    /// Messages a second in their room [15]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    stalled_rate: Option<u32>,
    /// Characters of a message there
    #[arg(long, default_value_t = 8_192, value_parser = clap::value_parser!(u32).range(32..=16_000))]
    stalled_text_bytes: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Weeziq,
    Socketio,
    Both,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Durability {
    Full,
    Normal,
}

/// One rig's sizes, with every default filled in.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) clients: u32,
    pub(crate) rooms: u32,
    pub(crate) rate: u32,
    pub(crate) time: Duration,
    pub(crate) seed: u64,
    pub(crate) text_bytes: usize,
    pub(crate) data_root: PathBuf,
    durability: Durability,
    server: PathBuf,
    peers_dir: PathBuf,
    own: Value,
}

/// What a rig runs with if nothing is said.
struct Preset {
    clients: u32,
    rate: u32,
    seconds: u64,
}

impl Common {
    pub(crate) fn peers(&self) -> Vec<Peer> {
        match self.peer {
            Which::Weeziq => vec![Peer::Weeziq],
            Which::Socketio => vec![Peer::Socketio],
            Which::Both => vec![Peer::Weeziq, Peer::Socketio],
        }
    }

    pub(crate) fn out(&self) -> Option<&Path> {
        self.out.as_deref()
    }

    pub(crate) fn counts_only(&self) -> bool {
        self.quick || self.counts_only
    }

    pub(crate) fn server(&self) -> &Path {
        &self.server
    }

    pub(crate) fn peers_dir(&self) -> &Path {
        &self.peers_dir
    }

    fn plan(&self, full: Preset, quick: Preset, own: Value) -> Plan {
        let preset = if self.quick { quick } else { full };
        let clients = self.clients.unwrap_or(preset.clients);
        Plan {
            clients,
            rooms: self.rooms.unwrap_or(clients / 20).clamp(1, clients),
            rate: self.rate.unwrap_or(preset.rate),
            time: Duration::from_secs(self.seconds.unwrap_or(preset.seconds)),
            seed: self.seed,
            text_bytes: self.text_bytes as usize,
            data_root: self.data_root.clone().unwrap_or_else(std::env::temp_dir),
            durability: self.durability,
            server: self.server.clone(),
            peers_dir: self.peers_dir.clone(),
            own,
        }
    }
}

impl JitterFlags {
    pub(crate) fn plan(&self, common: &Common) -> (Plan, Duration, Duration) {
        let every = self.cut_every_ms.unwrap_or(if common.quick { 3_000 } else { 15_000 }).max(100);
        let own = json!({"cutEveryMs": every, "awayMs": self.away_ms});
        let plan = common.plan(
            Preset { clients: 2_000, rate: 150, seconds: 60 },
            Preset { clients: 200, rate: 50, seconds: 5 },
            own,
        );
        (plan, Duration::from_millis(every), Duration::from_millis(self.away_ms))
    }
}

impl StormFlags {
    pub(crate) fn plan(&self, common: &Common, kill: bool) -> (Plan, u32, Duration) {
        let rounds = self.rounds.unwrap_or(if common.quick { 1 } else { 3 });
        let own =
            json!({"signal": if kill { "KILL" } else { "TERM" }, "rounds": rounds, "downMs": self.down_ms});
        let plan = common.plan(
            Preset { clients: 2_000, rate: 150, seconds: 6 },
            Preset { clients: 200, rate: 50, seconds: 1 },
            own,
        );
        (plan, rounds, Duration::from_millis(self.down_ms))
    }
}

impl CrashFlags {
    pub(crate) fn plan(&self, common: &Common) -> (Plan, u32) {
        let kills = self.kills.unwrap_or(if common.quick { 4 } else { 20 });
        let full = Preset { clients: 1_000, rate: 150, seconds: 1 };
        let plan = common.plan(full, Preset { clients: 200, rate: 50, seconds: 1 }, json!({"kills": kills}));
        (plan, kills)
    }
}

pub(crate) struct StalledPlan {
    pub(crate) stalled: u32,
    pub(crate) rate: u32,
    pub(crate) text_bytes: usize,
    /// Without stalled readers, for comparison.
    pub(crate) before: Duration,
}

impl StalledFlags {
    pub(crate) fn plan(&self, common: &Common) -> (Plan, StalledPlan) {
        let stalled = self.stalled.unwrap_or(if common.quick { 100 } else { 1_000 });
        let own = StalledPlan {
            stalled,
            rate: self.stalled_rate.unwrap_or(if common.quick { 40 } else { 15 }),
            text_bytes: self.stalled_text_bytes as usize,
            before: Duration::from_secs(if common.quick { 2 } else { 10 }),
        };
        let json = json!({
            "stalled": own.stalled, "stalledRoomRate": own.rate, "stalledRoomTextBytes": own.text_bytes,
            "secondsBefore": own.before.as_secs(),
        });
        let full = Preset { clients: 400, rate: 20, seconds: 20 };
        (common.plan(full, Preset { clients: 60, rate: 20, seconds: 7 }, json), own)
    }
}

impl Plan {
    pub(crate) fn program(&self, peer: Peer) -> Result<Program> {
        let absolute = |path: &Path| {
            path.canonicalize().map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
        };
        Ok(match peer {
            Peer::Weeziq => {
                let durability = if self.durability == Durability::Full { "full" } else { "normal" };
                Program {
                    path: absolute(&self.server)?,
                    arguments: Vec::new(),
                    environment: vec![("DURABILITY", durability.to_owned())],
                }
            }
            Peer::Socketio => {
                let folder = &self.peers_dir;
                if !folder.join("node_modules/socket.io").is_dir() {
                    let hint = format!("socket.io is missing; run: npm ci --prefix {}", folder.display());
                    return Err(Failure::Usage(hint));
                }
                let script = absolute(&folder.join("socketio.mjs"))?;
                Program {
                    path: PathBuf::from("node"),
                    arguments: vec![script.into()],
                    environment: Vec::new(),
                }
            }
        })
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut all = json!({
            "clients": self.clients, "rooms": self.rooms, "ratePerSec": self.rate, "seconds": self.time.as_secs(),
            "seed": self.seed, "textBytes": self.text_bytes,
            "durability": if self.durability == Durability::Full { "full" } else { "normal" },
        });
        if let (Some(all), Some(own)) = (all.as_object_mut(), self.own.as_object()) {
            all.extend(own.clone());
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Cli {
        Cli::try_parse_from(line.split(' ')).unwrap()
    }

    #[test]
    fn flags_replace_the_rig_s_own_sizes() {
        let Some(Rig::CrashLoop { common, crash }) = parsed("r crash-loop --kills 3 --rate 9").rig else {
            panic!("not parsed")
        };
        let (plan, kills) = crash.plan(&common);
        assert_eq!((plan.clients, plan.rooms, plan.rate, kills), (1_000, 50, 9, 3));
        let Some(Rig::Jitter { common, jitter }) = parsed("r jitter --quick --clients 40").rig else {
            panic!("not parsed")
        };
        assert!(common.counts_only());
        assert_eq!((jitter.plan(&common).0.clients, jitter.plan(&common).0.rooms), (40, 2));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in
            ["r", "r dance", "r jitter --clients 0", "r jitter --kills 3", "r storm --durability some"]
        {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
        assert!(parsed("r --self-test").self_test);
    }
}
