//! Messages in rooms, due at fixed times or as fast as they come back, and what they cost.

use std::time::{Duration, Instant};

use crate::histogram::Histogram;
use crate::limits::{MESSAGES_MAX, SETTLE};
use crate::machine::{Disturbance, Usage};
use crate::process::{Cpu, Pid};
use crate::scenario::{cpu, since};
use crate::swarm::{Swarm, TURN_MAX};
use crate::wire::Member;
use weeziq_rig::Result;

/// Who sends how, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Talk {
    pub(crate) pace: TalkPace,
    pub(crate) senders: Senders,
    pub(crate) warmup: Duration,
    pub(crate) time: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TalkPace {
    /// Messages are due at fixed times, whether or not the server keeps up. All rooms together.
    Open { rate_per_sec: u32 },
    /// Each sender keeps this many on their way.
    Closed { in_flight: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Senders {
    All,
    /// The first so many connections.
    First(u32),
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
    /// Of each message, until the last member of its room had it.
    pub(crate) last_member: Histogram,
    pub(crate) ack_latency: Histogram,
    /// How late the generator itself was: if this is not far below the latency, it measured itself.
    pub(crate) send_lag: Histogram,
}

impl Traffic {
    pub(crate) fn measure(swarm: &mut Swarm, talk: Talk, connections: u32, pid: Option<Pid>) -> Result<Self> {
        let mut send_lag = Histogram::new();
        let order = talk.senders.in_random_order(connections);
        if !talk.warmup.is_zero() {
            talk.pace.drive(swarm, &order, talk.warmup, &mut send_lag)?;
            swarm.drain()?;
            swarm.listen_for(SETTLE)?;
        }
        send_lag.clear();
        swarm.inbox_mut().start_measuring();
        let usage_before = Usage::now();
        let cpu_before = cpu(pid)?;
        let own_before = Pid::own().cpu_alone()?;
        let start_ns = swarm.clock().now_ns();
        let messages = talk.pace.drive(swarm, &order, talk.time, &mut send_lag)?;
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
            latency: std::mem::take(&mut inbox.latency),
            last_member: std::mem::take(&mut inbox.last_member),
            ack_latency: std::mem::take(&mut inbox.ack_latency),
            send_lag,
        })
    }
}

impl TalkPace {
    /// Sends for the given time; returns how many messages.
    fn drive(self, swarm: &mut Swarm, order: &[Member], time: Duration, lag: &mut Histogram) -> Result<u64> {
        match self {
            Self::Open { rate_per_sec } => drive_open(swarm, rate_per_sec, order, time, lag),
            Self::Closed { in_flight } => drive_closed(swarm, in_flight, order, time),
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
