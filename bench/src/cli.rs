//! The command line: a command, then `--flag value` pairs. Whatever is not known is refused with a sentence.

use std::path::PathBuf;

use crate::dialect::Dialect;
use crate::flags::{Flags, usage};
use crate::limits::{ROUNDS_MAX, SECONDS_MAX};
use crate::presets::{self, customized, preset};
use crate::process::Pid;
use crate::report::Outputs;
use crate::scenario::Scenario;
use crate::swarm::Target;
use weeziq_rig::Result;

pub(crate) enum Command {
    Help,
    SelfTest,
    One {
        scenario: Scenario,
        target: Target,
        pid: Option<Pid>,
        provider_port: Option<u16>,
        outputs: Outputs,
    },
    All(Campaign),
    /// Page and plot anew, from the figures of a recorded run.
    Report {
        json: PathBuf,
        outputs: Outputs,
    },
}

/// What `all` runs.
pub(crate) struct Campaign {
    pub(crate) server: Option<PathBuf>,
    pub(crate) peers: Option<PathBuf>,
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) rounds: u32,
    pub(crate) data_root: PathBuf,
    pub(crate) outputs: Outputs,
}

pub(crate) const HELP: &str = "\
weeziq-bench: what a delivery costs the server, how late it is, and whether each arrived exactly once

  weeziq-bench rooms            --url ws://127.0.0.1:PORT/ws [--pid PID]   many small rooms, everyone speaks
  weeziq-bench fanout-paced     --url … [--pid PID]                        one big room, a steady rate
  weeziq-bench fanout-saturated --url … [--pid PID]                        one big room, as fast as it goes
  weeziq-bench big-room         --url … [--pid PID]                        one room of 10,000, a message a second
  weeziq-bench idle             --url … [--pid PID]                        joins, and memory while nobody speaks
  weeziq-bench storm            --url … [--pid PID]                        all join at once
  weeziq-bench hostile          --url … [--pid PID]                        rooms, in peace and under attack
  weeziq-bench ai-streams       --url … --provider-port PORT [--pid PID]   AI answers; start the server with
  weeziq-bench ai-streams-apart --url … --provider-port PORT [--pid PID]   OPENAI_BASE_URL=http://127.0.0.1:PORT/v1
  weeziq-bench all --server BINARY [--peers]                               everything, each on a fresh server
  weeziq-bench report --json FILE [--docs FILE] [--plot FILE]              page and plot from recorded figures
  weeziq-bench self-test                                                   faults that the checker must see

  one scenario: --rooms N --members N --join-at-once N --seconds N --warmup N --senders N|all
                --rate N (open loop; tokens a second of a stream) or --in-flight N (closed loop)
                --hostile N (of each kind) --dialect plain|socketio
  all:          --rounds N --only NAME,NAME --seconds N --peers --peers-dir DIR --data-root DIR
  both:         --json FILE --docs FILE --plot FILE

Only servers on 127.0.0.1 are accepted; {room} in the URL stands for the name of each connection's room. --pid is the
server's, and gives CPU and memory. Exit code: 0 all delivered exactly once, 1 delivery errors, 2 wrong usage, 3 the
server failed, 4 this machine failed.";

pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Command> {
    let mut arguments = arguments.peekable();
    let name = arguments.next().unwrap_or_else(|| "help".into());
    let mut flags = Flags::read(arguments)?;
    let command = match name.as_str() {
        "help" | "--help" | "-h" => return Ok(Command::Help),
        "self-test" => Command::SelfTest,
        "all" => Command::All(campaign(&mut flags)?),
        "report" => {
            let outputs = outputs(&mut flags);
            let json =
                outputs.json.clone().ok_or_else(|| usage("--json FILE is needed: what shall be told?"))?;
            Command::Report { json, outputs }
        }
        name => one(name, &mut flags)?,
    };
    flags.finish(&name)?;
    Ok(command)
}

fn one(name: &str, flags: &mut Flags) -> Result<Command> {
    let scenario = customized(preset(name)?, flags)?;
    let url = flags.text("url").ok_or_else(|| usage("--url ws://127.0.0.1:PORT/ws is needed"))?;
    let dialect = flags.text("dialect").map_or(Some(Dialect::Plain), |name| Dialect::named(&name));
    let dialect = dialect.ok_or_else(|| usage("--dialect is plain or socketio"))?;
    let pid = flags.number("pid", 1, u64::from(u32::MAX))?.map(|pid| Pid(pid as u32));
    let provider_port = flags.number("provider-port", 1, u64::from(u16::MAX))?.map(|port| port as u16);
    let target = target(&url, dialect)?;
    Ok(Command::One { scenario, target, pid, provider_port, outputs: outputs(flags) })
}

fn outputs(flags: &mut Flags) -> Outputs {
    let mut path = |name| flags.text(name).map(PathBuf::from);
    Outputs { json: path("json"), docs: path("docs"), plot: path("plot") }
}

fn campaign(flags: &mut Flags) -> Result<Campaign> {
    let only = flags.text("only").unwrap_or_else(|| presets::NAMES.join(","));
    let seconds = flags.number("seconds", 1, SECONDS_MAX)?;
    let mut scenarios = Vec::new();
    for name in only.split(',') {
        let mut scenario = preset(name)?;
        if let Some(seconds) = seconds {
            scenario.load = presets::lasting(scenario.load, seconds);
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
        outputs: outputs(flags),
    };
    if campaign.server.is_none() && campaign.peers.is_none() {
        return Err(usage("--server BINARY or --peers is needed, else there is nothing to measure"));
    }
    Ok(campaign)
}

/// `ws://127.0.0.1:PORT/path`, and nothing else: this tool must not become a weapon by a typing error.
fn target(url: &str, dialect: Dialect) -> Result<Target> {
    let refused = || usage(&format!("\"{url}\" is refused: only ws://127.0.0.1:PORT/PATH is measured"));
    let rest = url.strip_prefix("ws://127.0.0.1:").ok_or_else(refused)?;
    let (port, path) = rest.split_once('/').unwrap_or((rest, ""));
    let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(refused)?;
    let plain = path.len() <= 1_000 && path.bytes().all(|byte| byte.is_ascii_graphic());
    if plain { Ok(Target { port, path: format!("/{path}"), dialect }) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::scenario::Load;
    use crate::swarm::ROOM;
    use crate::traffic::TalkPace;
    use weeziq_rig::Failure;

    fn parsed(line: &str) -> Result<Command> {
        parse(line.split_ascii_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_scenario_is_a_preset_with_changes() {
        let line = "rooms --url ws://127.0.0.1:9000/ws --pid 7 --rooms 10 --rate=50 --seconds 2";
        let Ok(Command::One { scenario, target, pid, provider_port: None, .. }) = parsed(line) else {
            panic!("not parsed")
        };
        assert_eq!((scenario.rooms, scenario.members), (10, 2));
        let expected = Target { port: 9000, path: "/ws".into(), dialect: Dialect::Plain };
        assert_eq!((target, pid), (expected, Some(Pid(7))));
        let Load::Talk(talk) = scenario.load else { panic!("no talk") };
        assert_eq!(talk.pace, TalkPace::Open { rate_per_sec: 50 });
        assert_eq!(talk.time, Duration::from_secs(2));
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
            assert!(matches!(target(url, Dialect::Plain), Err(Failure::Usage(_))), "{url} was accepted");
        }
        assert_eq!(target("ws://127.0.0.1:80", Dialect::Plain).unwrap().path, "/");
        let direct = target("ws://127.0.0.1:80/ws?roomId={room}", Dialect::Plain).unwrap();
        assert_eq!(direct.path, format!("/ws?roomId={ROOM}"));
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
            ("rooms --url ws://127.0.0.1:1/ --dialect morse", "--dialect"),
            ("ai-streams --url ws://127.0.0.1:1/ --seconds 60", "seconds"),
            ("report --docs x", "--json"),
            ("all", "--server"),
            ("all --peers yes", "--peers"),
            ("all --peers --only rooms,dance", "dance"),
        ] {
            let Err(Failure::Usage(why)) = parsed(line) else { panic!("{line} passed") };
            assert!(why.contains(part), "{line}: {why}");
        }
    }
}
