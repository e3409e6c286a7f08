//! What is measured: who sits where, who sends how, and the course of one run against one server.

use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};
use crate::histogram::Histogram;
use crate::ledger::Errors;
use crate::limits::{DESCRIPTORS_SPARE, IDLE_SETTLE, MESSAGES_MAX, SETTLE};
use crate::machine::{Disturbance, Usage};
use crate::process::{Cpu, Pid};
use crate::swarm::{Swarm, TURN_MAX, Target};
use crate::wire::{Member, RunId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) rooms: u32,
    pub(crate) members: u32,
    pub(crate) join_at_once: u32,
    pub(crate) load: Load,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Nobody says anything: only joins and memory are measured.
    Idle,
    /// Messages are due at fixed times, whether or not the server keeps up. All rooms together.
    Open { rate_per_sec: u32, senders: Senders, warmup: Duration, time: Duration },
    /// Each sender keeps this many on their way.
    Closed { in_flight: u32, senders: Senders, warmup: Duration, time: Duration },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Senders {
    All,
    /// The first so many connections.
    First(u32),
}

pub(crate) struct Outcome {
    pub(crate) errors: Errors,
    pub(crate) first_trouble: Option<String>,
    pub(crate) joins: Joins,
    /// `None` in an idle run.
    pub(crate) traffic: Option<Traffic>,
}

pub(crate) struct Joins {
    pub(crate) connections: u32,
    pub(crate) elapsed: Duration,
    /// From before the first connect until the presence frames are through; `None` without a process to look at.
    pub(crate) cpu: Option<Cpu>,
    pub(crate) disturbance: Option<Disturbance>,
    /// How much the resident memory grew; read only in an idle run.
    pub(crate) resident_bytes: Option<u64>,
}

pub(crate) struct Traffic {
    pub(crate) messages: u64,
    pub(crate) deliveries: u64,
    /// From the first send to the last delivery.
    pub(crate) elapsed: Duration,
    pub(crate) cpu: Option<Cpu>,
    pub(crate) generator_cpu: Cpu,
    pub(crate) disturbance: Option<Disturbance>,
    pub(crate) latency: Histogram,
    pub(crate) ack_latency: Histogram,
    /// How late the generator itself was: if this is not far below the latency, it measured itself.
    pub(crate) send_lag: Histogram,
}

impl Scenario {
    pub(crate) fn connections(&self) -> u32 {
        self.rooms * self.members
    }

    /// One run against a server that is up. Without a pid its cost stays unknown.
    pub(crate) fn run(&self, target: &Target, pid: Option<Pid>) -> Result<Outcome> {
        raise_descriptor_limit(u64::from(self.connections()) + DESCRIPTORS_SPARE)?;
        let run = RunId(fresh_id());
        let mut swarm = Swarm::new(target, run, self.rooms, self.members)?;
        let joins = self.join(&mut swarm, pid)?;
        let traffic = match self.load {
            Load::Idle => None,
            load => Some(Traffic::measure(&mut swarm, load, self.connections(), pid).map_err(|failure| {
                match swarm.inbox().first_trouble() {
                    Some(trouble) => failure.at(trouble),
                    None => failure,
                }
            })?),
        };
        let inbox = swarm.inbox();
        Ok(Outcome {
            errors: inbox.errors(),
            first_trouble: inbox.first_trouble().map(str::to_owned),
            joins,
            traffic,
        })
    }

    fn join(&self, swarm: &mut Swarm, pid: Option<Pid>) -> Result<Joins> {
        let usage_before = Usage::now();
        let cpu_before = cpu(pid)?;
        let own_before = Pid::own().cpu_alone()?;
        let resident_before = pid.map(Pid::resident_bytes);
        let start = Instant::now();
        swarm.join_all(self.join_at_once)?;
        let elapsed = start.elapsed();
        swarm.wait_quiet()?;
        let cpu = since(cpu(pid)?, cpu_before);
        let own = Pid::own().cpu_alone()?.since(own_before);
        let disturbance = cpu.map(|cpu| Usage::now().disturbance_since(usage_before, &[cpu, own]));
        let mut resident_bytes = None;
        if self.load == Load::Idle {
            swarm.listen_for(IDLE_SETTLE)?;
            let now = pid.map(Pid::resident_bytes);
            resident_bytes = now.zip(resident_before).map(|(now, before)| now.saturating_sub(before));
        }
        Ok(Joins { connections: self.connections(), elapsed, cpu, disturbance, resident_bytes })
    }
}

impl Traffic {
    fn measure(swarm: &mut Swarm, load: Load, connections: u32, pid: Option<Pid>) -> Result<Self> {
        let mut send_lag = Histogram::new();
        let warmup = match load {
            Load::Idle => Duration::ZERO,
            Load::Open { warmup, .. } | Load::Closed { warmup, .. } => warmup,
        };
        if !warmup.is_zero() {
            drive(swarm, load, connections, warmup, &mut send_lag)?;
            swarm.drain()?;
            swarm.listen_for(SETTLE)?;
        }
        send_lag.clear();
        swarm.inbox_mut().start_measuring();
        let usage_before = Usage::now();
        let cpu_before = cpu(pid)?;
        let own_before = Pid::own().cpu_alone()?;
        let start_ns = swarm.clock().now_ns();
        let time = match load {
            Load::Idle => Duration::ZERO,
            Load::Open { time, .. } | Load::Closed { time, .. } => time,
        };
        let messages = drive(swarm, load, connections, time, &mut send_lag)?;
        swarm.drain()?;
        let generator_cpu = Pid::own().cpu_alone()?.since(own_before);
        swarm.listen_for(SETTLE)?;
        let cpu = since(cpu(pid)?, cpu_before);
        let disturbance = cpu.map(|cpu| Usage::now().disturbance_since(usage_before, &[cpu, generator_cpu]));
        let inbox = swarm.inbox_mut();
        Ok(Self {
            messages,
            deliveries: inbox.deliveries,
            elapsed: Duration::from_nanos(inbox.last_delivery_ns.saturating_sub(start_ns)),
            cpu,
            generator_cpu,
            disturbance,
            latency: std::mem::replace(&mut inbox.latency, Histogram::new()),
            ack_latency: std::mem::replace(&mut inbox.ack_latency, Histogram::new()),
            send_lag,
        })
    }
}

/// Sends for the given time; returns how many messages.
fn drive(
    swarm: &mut Swarm,
    load: Load,
    connections: u32,
    time: Duration,
    lag: &mut Histogram,
) -> Result<u64> {
    match load {
        Load::Idle => Ok(0),
        Load::Open { rate_per_sec, senders, .. } => {
            let order = senders.in_random_order(connections);
            drive_open(swarm, rate_per_sec, &order, time, lag)
        }
        Load::Closed { in_flight, senders, .. } => {
            drive_closed(swarm, in_flight, &senders.in_random_order(connections), time)
        }
    }
}

fn drive_open(
    swarm: &mut Swarm,
    rate: u32,
    order: &[Member],
    time: Duration,
    lag: &mut Histogram,
) -> Result<u64> {
    let total = time.as_nanos() as u64 * u64::from(rate) / NS_PER_SEC;
    let interval = Duration::from_nanos(NS_PER_SEC / u64::from(rate.max(1)));
    let clock = swarm.clock();
    let start_ns = clock.now_ns() + interval.as_nanos() as u64;
    swarm.pacer().every(interval, interval)?;
    let mut sent_since_turn = 0;
    let mut sent = 0;
    for (index, sender) in (0..total).zip(order.iter().cycle()) {
        let due_ns = start_ns + index * NS_PER_SEC / u64::from(rate.max(1));
        if sent_since_turn == SENDS_A_TURN_MAX {
            swarm.turn(Duration::ZERO)?;
            sent_since_turn = 0;
        }
        let mut now_ns = clock.now_ns();
        while now_ns < due_ns {
            swarm.turn(TURN_MAX)?;
            sent_since_turn = 0;
            now_ns = clock.now_ns();
        }
        sent_since_turn += 1;
        lag.record(now_ns - due_ns);
        swarm.send(*sender, due_ns);
        sent += 1;
        if swarm.inbox().disconnected() >= u64::from(DISCONNECTED_MAX) {
            break;
        }
    }
    swarm.pacer().stop()?;
    Ok(sent)
}

fn drive_closed(swarm: &mut Swarm, in_flight: u32, senders: &[Member], time: Duration) -> Result<u64> {
    let deadline = Instant::now() + time;
    let mut sent = 0;
    while Instant::now() < deadline && sent < MESSAGES_MAX && swarm.inbox().disconnected() == 0 {
        for sender in senders {
            while swarm.inbox().in_flight(*sender) < u64::from(in_flight) {
                let now_ns = swarm.clock().now_ns();
                swarm.send(*sender, now_ns);
                sent += 1;
            }
        }
        swarm.turn(TURN_MAX)?;
    }
    Ok(sent)
}

/// An open-loop run with so many broken connections has lost its meaning, and need not be waited for.
const DISCONNECTED_MAX: u32 = 100;

/// A generator that is behind must still read, or it would blame its own deafness on the server.
const SENDS_A_TURN_MAX: u32 = 32;

const NS_PER_SEC: u64 = 1_000_000_000;

impl Senders {
    /// Always the same shuffle: neighbours in time are not neighbours in a room, and runs stay comparable.
    fn in_random_order(self, connections: u32) -> Vec<Member> {
        let count = match self {
            Self::All => connections,
            Self::First(count) => count.min(connections),
        };
        let mut order: Vec<Member> = (0..count).map(Member).collect();
        let mut state = 0x2545_f491_4f6c_dd1du64;
        for end in (1..order.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            order.swap(end, (state >> 33) as usize % (end + 1));
        }
        order
    }
}

fn cpu(pid: Option<Pid>) -> Result<Option<Cpu>> {
    pid.map(Pid::cpu).transpose()
}

fn since(now: Option<Cpu>, before: Option<Cpu>) -> Option<Cpu> {
    now.zip(before).map(|(now, before)| now.since(before))
}

/// Raises the soft limit to the hard one, which the server inherits if we start it.
pub(crate) fn raise_descriptor_limit(needed: u64) -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    }
    match limit.maximum {
        Some(maximum) if maximum < needed => Err(Failure::Machine(format!(
            "{needed} file descriptors are needed and the hard limit is {maximum} (raise it with ulimit -Hn)"
        ))),
        _ => Ok(()),
    }
}

fn fresh_id() -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (now.as_nanos() as u32).rotate_left(7) ^ std::process::id()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shuffle_keeps_everyone_once_and_is_the_same_each_time() {
        let order = Senders::All.in_random_order(100);
        assert_eq!(order, Senders::All.in_random_order(100));
        assert_ne!(order, (0..100).map(Member).collect::<Vec<_>>());
        let mut sorted = order;
        sorted.sort();
        assert_eq!(sorted, (0..100).map(Member).collect::<Vec<_>>());
        assert_eq!(Senders::First(2).in_random_order(500).len(), 2);
    }
}
