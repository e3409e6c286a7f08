//! The command line: a command, then `--flag value` pairs. Whatever is not known is refused with a sentence.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::failure::{Failure, Result};
use crate::limits::{
    CONNECTIONS_MAX, IN_FLIGHT_MAX, MESSAGES_MAX, RATE_PER_SEC_MAX, ROUNDS_MAX, SECONDS_MAX,
};
use crate::process::Pid;
use crate::scenario::{Load, Scenario, Senders};
use crate::swarm::Target;

pub(crate) enum Command {
    Help,
    SelfTest,
    One { scenario: Scenario, target: Target, pid: Option<Pid>, json: Option<PathBuf> },
    All(Campaign),
}

/// What `all` runs.
pub(crate) struct Campaign {
    pub(crate) server: Option<PathBuf>,
    pub(crate) peers: Option<PathBuf>,
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) rounds: u32,
    pub(crate) data_root: PathBuf,
    pub(crate) json: Option<PathBuf>,
}

pub(crate) const HELP: &str = "\
weeziq-bench: what a delivery costs the server, how late it is, and whether each arrived exactly once

  weeziq-bench rooms            --url ws://127.0.0.1:PORT/ws [--pid PID]   many small rooms, everyone speaks
  weeziq-bench fanout-paced     --url … [--pid PID]                        one big room, a steady rate
  weeziq-bench fanout-saturated --url … [--pid PID]                        one big room, as fast as it goes
  weeziq-bench idle             --url … [--pid PID]                        joins, and memory while nobody speaks
  weeziq-bench all --server BINARY [--peers]                               everything, each on a fresh server
  weeziq-bench self-test                                                   faults that the checker must see

  one scenario: --rooms N --members N --join-at-once N --seconds N --warmup N --senders N|all
                --rate N (open loop) or --in-flight N (closed loop), --json FILE
  all:          --rounds N --only NAME,NAME --seconds N --peers --peers-dir DIR --data-root DIR --json FILE

Only servers on 127.0.0.1 are accepted. --pid is the server's, and gives CPU and memory. Exit code: 0 all delivered
exactly once, 1 delivery errors, 2 wrong usage, 3 the server failed, 4 this machine failed.";

pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Command> {
    let mut arguments = arguments.peekable();
    let name = arguments.next().unwrap_or_else(|| "help".into());
    let mut flags = Flags::read(arguments)?;
    let command = match name.as_str() {
        "help" | "--help" | "-h" => return Ok(Command::Help),
        "self-test" => Command::SelfTest,
        "all" => Command::All(campaign(&mut flags)?),
        name => one(name, &mut flags)?,
    };
    flags.finish(&name)?;
    Ok(command)
}

fn one(name: &str, flags: &mut Flags) -> Result<Command> {
    let scenario = customized(preset(name)?, flags)?;
    let url = flags.text("url").ok_or_else(|| usage("--url ws://127.0.0.1:PORT/ws is needed"))?;
    let pid = flags.number("pid", 1, u64::from(u32::MAX))?.map(|pid| Pid(pid as u32));
    Ok(Command::One { scenario, target: target(&url)?, pid, json: flags.text("json").map(PathBuf::from) })
}

fn campaign(flags: &mut Flags) -> Result<Campaign> {
    let only = flags.text("only").unwrap_or_else(|| "rooms,fanout-paced,fanout-saturated,idle".into());
    let seconds = flags.number("seconds", 1, SECONDS_MAX)?;
    let mut scenarios = Vec::new();
    for name in only.split(',') {
        let mut scenario = preset(name)?;
        if let Some(seconds) = seconds {
            scenario.load = scenario.load.lasting(seconds);
        }
        scenarios.push(scenario);
    }
    let with_peers = flags.switch("peers")?;
    let peers = flags.text("peers-dir").unwrap_or_else(|| "bench/peers".into());
    let campaign = Campaign {
        server: flags.text("server").map(PathBuf::from),
        peers: with_peers.then(|| PathBuf::from(peers)),
        scenarios,
        rounds: flags.number("rounds", 1, ROUNDS_MAX)?.unwrap_or(1) as u32,
        data_root: flags.text("data-root").map_or_else(std::env::temp_dir, PathBuf::from),
        json: flags.text("json").map(PathBuf::from),
    };
    if campaign.server.is_none() && campaign.peers.is_none() {
        return Err(usage("--server BINARY or --peers is needed, else there is nothing to measure"));
    }
    Ok(campaign)
}

fn preset(name: &str) -> Result<Scenario> {
    let warmup = Duration::from_secs(1);
    let (rooms, members, join_at_once, load) = match name {
        "rooms" => {
            let time = Duration::from_secs(10);
            (1_000, 2, 256, Load::Open { rate_per_sec: 4_000, senders: Senders::All, warmup, time })
        }
        "fanout-paced" => {
            let time = Duration::from_secs(10);
            (1, 500, 16, Load::Open { rate_per_sec: 100, senders: Senders::First(2), warmup, time })
        }
        "fanout-saturated" => {
            let time = Duration::from_secs(5);
            (1, 500, 16, Load::Closed { in_flight: 16, senders: Senders::First(2), warmup, time })
        }
        "idle" => (5_000, 2, 256, Load::Idle),
        other => {
            return Err(usage(&format!(
                "there is no command or scenario \"{other}\"; see weeziq-bench help"
            )));
        }
    };
    Ok(Scenario { name: name.into(), rooms, members, join_at_once, load })
}

fn customized(preset: Scenario, flags: &mut Flags) -> Result<Scenario> {
    let rooms = flags.number("rooms", 1, CONNECTIONS_MAX)?.unwrap_or(u64::from(preset.rooms));
    let members = flags.number("members", 1, CONNECTIONS_MAX)?.unwrap_or(u64::from(preset.members));
    if rooms * members > CONNECTIONS_MAX {
        return Err(usage(&format!("{rooms} x {members} connections are more than {CONNECTIONS_MAX}")));
    }
    let at_once = flags.number("join-at-once", 1, 4_096)?.unwrap_or(u64::from(preset.join_at_once));
    let load = customized_load(preset.load, flags)?;
    Ok(Scenario {
        rooms: rooms as u32,
        members: members as u32,
        join_at_once: at_once as u32,
        load,
        ..preset
    })
}

fn customized_load(load: Load, flags: &mut Flags) -> Result<Load> {
    match load {
        Load::Idle => Ok(load),
        Load::Open { rate_per_sec, senders, warmup, time } => {
            let rate = flags.number("rate", 1, RATE_PER_SEC_MAX)?.unwrap_or(u64::from(rate_per_sec));
            let (senders, warmup, time) = customized_course(senders, warmup, time, flags)?;
            if rate * (warmup + time).as_secs() > MESSAGES_MAX {
                return Err(usage(&format!("that is more than {MESSAGES_MAX} messages")));
            }
            Ok(Load::Open { rate_per_sec: rate as u32, senders, warmup, time })
        }
        Load::Closed { in_flight, senders, warmup, time } => {
            let in_flight =
                flags.number("in-flight", 1, IN_FLIGHT_MAX)?.unwrap_or(u64::from(in_flight)) as u32;
            let (senders, warmup, time) = customized_course(senders, warmup, time, flags)?;
            Ok(Load::Closed { in_flight, senders, warmup, time })
        }
    }
}

fn customized_course(
    senders: Senders,
    warmup: Duration,
    time: Duration,
    flags: &mut Flags,
) -> Result<(Senders, Duration, Duration)> {
    let senders = match flags.text("senders").as_deref() {
        None => senders,
        Some("all") => Senders::All,
        Some(text) => Senders::First(bounded("senders", text, 1, CONNECTIONS_MAX)? as u32),
    };
    let seconds = |given: Option<u64>, preset| given.map_or(preset, Duration::from_secs);
    let warmup = seconds(flags.number("warmup", 0, 60)?, warmup);
    let time = seconds(flags.number("seconds", 1, SECONDS_MAX)?, time);
    Ok((senders, warmup, time))
}

impl Load {
    fn lasting(self, seconds: u64) -> Self {
        let time = Duration::from_secs(seconds);
        match self {
            Self::Idle => Self::Idle,
            Self::Open { rate_per_sec, senders, warmup, .. } => {
                Self::Open { rate_per_sec, senders, warmup, time }
            }
            Self::Closed { in_flight, senders, warmup, .. } => {
                Self::Closed { in_flight, senders, warmup, time }
            }
        }
    }
}

/// `ws://127.0.0.1:PORT/path`, and nothing else: this tool must not become a weapon by a typing error.
fn target(url: &str) -> Result<Target> {
    let refused = || usage(&format!("\"{url}\" is refused: only ws://127.0.0.1:PORT/PATH is measured"));
    let rest = url.strip_prefix("ws://127.0.0.1:").ok_or_else(refused)?;
    let (port, path) = rest.split_once('/').unwrap_or((rest, ""));
    let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(refused)?;
    let plain = path.len() <= 1_000 && path.bytes().all(|byte| byte.is_ascii_graphic());
    if plain { Ok(Target { port, path: format!("/{path}") }) } else { Err(refused()) }
}

fn bounded(name: &str, text: &str, least: u64, most: u64) -> Result<u64> {
    let value = text.parse::<u64>().ok().filter(|value| (least..=most).contains(value));
    value.ok_or_else(|| usage(&format!("--{name} is a whole number from {least} to {most}, not \"{text}\"")))
}

fn usage(why: &str) -> Failure {
    Failure::Usage(why.into())
}

/// The flags given and not yet asked for.
struct Flags {
    given: BTreeMap<String, Option<String>>,
}

impl Flags {
    fn read(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut given = BTreeMap::new();
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            let Some(name) = argument.strip_prefix("--") else {
                return Err(usage(&format!("\"{argument}\" stands where a --flag should be")));
            };
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, arguments.next_if(|next| !next.starts_with("--"))),
            };
            if given.insert(name.to_owned(), value).is_some() {
                return Err(usage(&format!("--{name} is given twice")));
            }
        }
        match given.iter().find(|(name, value)| value.is_none() && *name != "peers") {
            Some((name, _)) => Err(usage(&format!("--{name} needs a value"))),
            None => Ok(Self { given }),
        }
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.given.remove(name).flatten()
    }

    fn switch(&mut self, name: &str) -> Result<bool> {
        match self.given.remove(name) {
            Some(Some(value)) => Err(usage(&format!("--{name} takes no value, and \"{value}\" is given"))),
            given => Ok(given.is_some()),
        }
    }

    fn number(&mut self, name: &str, least: u64, most: u64) -> Result<Option<u64>> {
        self.text(name).map(|text| bounded(name, &text, least, most)).transpose()
    }

    fn finish(self, command: &str) -> Result<()> {
        match self.given.keys().next() {
            Some(name) => Err(usage(&format!("{command} has no flag --{name}; see weeziq-bench help"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command> {
        parse(line.split_ascii_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_scenario_is_a_preset_with_changes() {
        let line = "rooms --url ws://127.0.0.1:9000/ws --pid 7 --rooms 10 --rate=50 --seconds 2";
        let Ok(Command::One { scenario, target, pid, json: None }) = parsed(line) else {
            panic!("not parsed")
        };
        assert_eq!((scenario.rooms, scenario.members), (10, 2));
        assert_eq!((target, pid), (Target { port: 9000, path: "/ws".into() }, Some(Pid(7))));
        let Load::Open { rate_per_sec: 50, time, .. } = scenario.load else { panic!("not paced") };
        assert_eq!(time, Duration::from_secs(2));
    }

    #[test]
    fn other_machines_are_refused() {
        for url in [
            "ws://example.com:80/ws",
            "ws://localhost:80/ws",
            "ws://127.0.0.1:80@example.com/",
            "wss://127.0.0.1:443/",
            "ws://127.0.0.1.example.com:80/",
            "ws://127.0.0.1/ws",
            "ws://127.0.0.1:0/",
            "ws://10.0.0.1:80/",
            "ws://127.0.0.1:80/a\r\nHost:x",
        ] {
            assert!(matches!(target(url), Err(Failure::Usage(_))), "{url} was accepted");
        }
        assert_eq!(target("ws://127.0.0.1:80").unwrap().path, "/");
    }

    #[test]
    fn mistakes_are_named() {
        for (line, part) in [
            ("rooms", "--url"),
            ("dance", "dance"),
            ("rooms --url ws://127.0.0.1:1/ --rate 0", "--rate"),
            ("rooms --url ws://127.0.0.1:1/ --rate", "--rate"),
            ("rooms --url ws://127.0.0.1:1/ --in-flight 3", "--in-flight"),
            ("rooms --url ws://127.0.0.1:1/ --rooms 20000 --members 2", "connections"),
            ("rooms --url ws://127.0.0.1:1/ --rate 100000 --seconds 300", "messages"),
            ("rooms --url ws://127.0.0.1:1/ --url x", "twice"),
            ("all", "--server"),
            ("all --peers yes", "--peers"),
            ("all --peers --only rooms,dance", "dance"),
        ] {
            let Err(Failure::Usage(why)) = parsed(line) else { panic!("{line} passed") };
            assert!(why.contains(part), "{line}: {why}");
        }
    }
}
