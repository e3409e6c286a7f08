//! The scenarios by name, and what of them may be changed.

use std::time::Duration;

use crate::flags::{Flags, bounded, usage};
use crate::limits::{
    CONNECTIONS_MAX, HOSTILE_MAX, IN_FLIGHT_MAX, MESSAGES_MAX, RATE_PER_SEC_MAX, SECONDS_MAX,
    STREAM_SECONDS_MAX, TOKENS_PER_SEC_MAX,
};
use crate::scenario::{Load, Scenario};
use crate::streams::Flow;
use crate::traffic::{Senders, Talk, TalkPace};
use weeziq_rig::Result;

/// In the order in which `all` runs them.
pub(crate) const NAMES: [&str; 9] = [
    "rooms",
    "fanout-paced",
    "fanout-saturated",
    "big-room",
    "idle",
    "storm",
    "ai-streams",
    "ai-streams-apart",
    "hostile",
];

pub(crate) fn preset(name: &str) -> Result<Scenario> {
    let (rooms, members, join_at_once, load) = match name {
        "rooms" => (1_000, 2, 256, Load::Talk(open(4_000, Senders::All, 6))),
        "fanout-paced" => (1, 500, 16, Load::Talk(open(100, Senders::First(2), 6))),
        "fanout-saturated" => {
            let pace = TalkPace::Closed { in_flight: 16 };
            (1, 500, 16, Load::Talk(Talk { pace, ..open(1, Senders::First(2), 4) }))
        }
        "big-room" => (1, 10_000, 256, Load::Talk(open(1, Senders::First(1), 10))),
        "idle" => (5_000, 2, 256, Load::Idle),
        "storm" => (2_500, 2, 5_000, Load::Storm),
        "ai-streams" => (200, 1, 64, Load::Streams(flow(50))),
        // Further apart than one frame's time: no token waits for another.
        "ai-streams-apart" => (200, 1, 64, Load::Streams(flow(30))),
        // Long enough that the one who never reads is cut: the kernel takes its first megabytes.
        "hostile" => (1_000, 2, 256, Load::Besieged { talk: open(4_000, Senders::All, 15), of_each: 1 }),
        other => {
            return Err(usage(&format!(
                "there is no command or scenario \"{other}\"; see weeziq-bench help"
            )));
        }
    };
    Ok(Scenario { name: name.into(), rooms, members, join_at_once, load })
}

const WARMUP: Duration = Duration::from_secs(1);

fn open(rate_per_sec: u32, senders: Senders, seconds: u64) -> Talk {
    let pace = TalkPace::Open { rate_per_sec };
    Talk { pace, senders, warmup: WARMUP, time: Duration::from_secs(seconds) }
}

fn flow(tokens_per_sec: u32) -> Flow {
    Flow { tokens_per_sec, warmup: WARMUP, time: Duration::from_secs(6) }
}

pub(crate) fn lasting(load: Load, seconds: u64) -> Load {
    let time = Duration::from_secs(seconds);
    match load {
        Load::Idle | Load::Storm => load,
        Load::Talk(talk) => Load::Talk(Talk { time, ..talk }),
        Load::Besieged { talk, of_each } => Load::Besieged { talk: Talk { time, ..talk }, of_each },
        Load::Streams(flow) => Load::Streams(Flow { time: time.min(stream_time_max()), ..flow }),
    }
}

fn stream_time_max() -> Duration {
    Duration::from_secs(STREAM_SECONDS_MAX)
}

pub(crate) fn customized(preset: Scenario, flags: &mut Flags) -> Result<Scenario> {
    let rooms = flags.number("rooms", 1, CONNECTIONS_MAX)?.unwrap_or(u64::from(preset.rooms));
    let members = flags.number("members", 1, CONNECTIONS_MAX)?.unwrap_or(u64::from(preset.members));
    if rooms * members > CONNECTIONS_MAX {
        return Err(usage(&format!("{rooms} x {members} connections are more than {CONNECTIONS_MAX}")));
    }
    let at_once = flags.number("join-at-once", 1, CONNECTIONS_MAX)?.unwrap_or(u64::from(preset.join_at_once));
    let load = match preset.load {
        load @ (Load::Idle | Load::Storm) => load,
        Load::Talk(talk) => Load::Talk(customized_talk(talk, flags)?),
        Load::Besieged { talk, of_each } => {
            let of_each = flags.number("hostile", 1, HOSTILE_MAX)?.unwrap_or(u64::from(of_each)) as u32;
            Load::Besieged { talk: customized_talk(talk, flags)?, of_each }
        }
        Load::Streams(flow) => Load::Streams(customized_flow(flow, flags)?),
    };
    Ok(Scenario {
        rooms: rooms as u32,
        members: members as u32,
        join_at_once: at_once as u32,
        load,
        ..preset
    })
}

fn customized_talk(talk: Talk, flags: &mut Flags) -> Result<Talk> {
    let senders = match flags.text("senders").as_deref() {
        None => talk.senders,
        Some("all") => Senders::All,
        Some(text) => Senders::First(bounded("senders", text, 1, CONNECTIONS_MAX)? as u32),
    };
    let (warmup, time) = customized_times(talk.warmup, talk.time, SECONDS_MAX, flags)?;
    let pace = match talk.pace {
        TalkPace::Open { rate_per_sec } => {
            let rate = flags.number("rate", 1, RATE_PER_SEC_MAX)?.unwrap_or(u64::from(rate_per_sec));
            if rate * (warmup + time).as_secs() > MESSAGES_MAX {
                return Err(usage(&format!("that is more than {MESSAGES_MAX} messages")));
            }
            TalkPace::Open { rate_per_sec: rate as u32 }
        }
        TalkPace::Closed { in_flight } => {
            let given = flags.number("in-flight", 1, IN_FLIGHT_MAX)?;
            TalkPace::Closed { in_flight: given.unwrap_or(u64::from(in_flight)) as u32 }
        }
    };
    Ok(Talk { pace, senders, warmup, time })
}

fn customized_flow(flow: Flow, flags: &mut Flags) -> Result<Flow> {
    let rate = flags.number("rate", 1, TOKENS_PER_SEC_MAX)?.unwrap_or(u64::from(flow.tokens_per_sec));
    let (warmup, time) = customized_times(flow.warmup, flow.time, STREAM_SECONDS_MAX, flags)?;
    if warmup + time > stream_time_max() {
        return Err(usage(&format!(
            "an answer is over after {STREAM_SECONDS_MAX} seconds, warm-up included"
        )));
    }
    Ok(Flow { tokens_per_sec: rate as u32, warmup, time })
}

fn customized_times(
    warmup: Duration,
    time: Duration,
    seconds_max: u64,
    flags: &mut Flags,
) -> Result<(Duration, Duration)> {
    let seconds = |given: Option<u64>, preset| given.map_or(preset, Duration::from_secs);
    let warmup = seconds(flags.number("warmup", 0, 60)?, warmup);
    Ok((warmup, seconds(flags.number("seconds", 1, seconds_max)?, time)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_scenario_within_the_limits() {
        for name in NAMES {
            let scenario = preset(name).unwrap();
            assert_eq!(scenario.name, name);
            assert!(u64::from(scenario.connections()) <= CONNECTIONS_MAX);
        }
    }
}
