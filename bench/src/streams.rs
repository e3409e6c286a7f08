//! AI answers, many at once: readers over WebSocket on one side of the server, the model on the other, both ours.
//!
//! Counted is each token, from just before the model's write of it to the read that brought it to its reader.

use std::time::{Duration, Instant};

use crate::answers::Heard;
use crate::histogram::Histogram;
use crate::limits::{SETTLE, SILENCE_MAX, STREAMS_ASKED_MAX};
use crate::machine::{Disturbance, Usage};
use crate::process::{Cpu, Pid};
use crate::provider::{Pace, Provider, ask_event};
use crate::scenario::{cpu, since};
use crate::swarm::{Swarm, TURN_MAX};
use crate::wire::Member;
use weeziq_rig::{Failure, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) tokens_per_sec: u32,
    pub(crate) warmup: Duration,
    pub(crate) time: Duration,
}

pub(crate) struct Streams {
    pub(crate) readers: u32,
    pub(crate) tokens_per_sec: u32,
    pub(crate) heard: Heard,
    /// From the end of the warm-up to the last token.
    pub(crate) elapsed: Duration,
    pub(crate) cpu: Option<Cpu>,
    pub(crate) generator_cpu: Cpu,
    pub(crate) disturbance: Option<Disturbance>,
    pub(crate) write_lag: Histogram,
}

impl Streams {
    pub(crate) fn measure(
        swarm: &mut Swarm,
        provider: &mut Provider,
        flow: Flow,
        readers: u32,
        pid: Option<Pid>,
    ) -> Result<Self> {
        let clock = swarm.clock();
        swarm.inbox_mut().answers.expect(readers, clock.now_ns());
        ask(swarm, provider, readers)?;
        let pace = flow.pace(readers, clock.now_ns() + LEAD.as_nanos() as u64);
        provider.begin(pace);
        let between = Duration::from_nanos(pace.interval_ns / u64::from(readers.max(1)));
        swarm.pacer().every(between, between)?;
        let measured_from_ns = pace.start_ns + flow.warmup.as_nanos() as u64;
        while clock.now_ns() < measured_from_ns {
            step(swarm, provider)?;
        }
        let before = (Usage::now(), cpu(pid)?, Pid::own().cpu_alone()?);
        provider.lag.clear();
        swarm.inbox_mut().answers.start_measuring(clock.now_ns());
        listen(swarm, provider, pace, readers)?;
        swarm.pacer().stop()?;
        let generator_cpu = Pid::own().cpu_alone()?.since(before.2);
        swarm.listen_for(SETTLE)?;
        let cpu = since(cpu(pid)?, before.1);
        let disturbance = cpu.map(|cpu| Usage::now().disturbance_since(before.0, &[cpu, generator_cpu]));
        let heard = std::mem::take(&mut swarm.inbox_mut().answers.heard);
        Ok(Self {
            readers,
            tokens_per_sec: flow.tokens_per_sec,
            elapsed: Duration::from_nanos(heard.last_ns.saturating_sub(measured_from_ns)),
            heard,
            cpu,
            generator_cpu,
            disturbance,
            write_lag: std::mem::take(&mut provider.lag),
        })
    }
}

impl Flow {
    fn pace(self, streams: u32, start_ns: u64) -> Pace {
        let interval_ns = 1_000_000_000 / u64::from(self.tokens_per_sec.max(1));
        let tokens = (self.warmup + self.time).as_nanos() as u64 / interval_ns;
        Pace { start_ns, interval_ns, streams, tokens: tokens as u32 }
    }
}

/// Until every reader's question has come to the model.
fn ask(swarm: &mut Swarm, provider: &mut Provider, readers: u32) -> Result<()> {
    let deadline = Instant::now() + STREAMS_ASKED_MAX;
    for reader in (0..readers).map(Member) {
        let event = ask_event(swarm.run(), reader);
        swarm.say(reader, &event);
    }
    swarm.pacer().every(Duration::from_millis(1), Duration::from_millis(1))?;
    while provider.asked() < readers {
        swarm.turn(TURN_MAX)?;
        provider.turn()?;
        let asked = provider.asked();
        if let Some(trouble) = swarm.inbox().first_trouble() {
            return Err(Failure::Server(format!("{asked} of {readers} had asked the model when {trouble}")));
        }
        if Instant::now() > deadline {
            let seconds = STREAMS_ASKED_MAX.as_secs();
            return Err(Failure::Server(format!(
                "the model was asked {asked} questions of {readers} in {seconds} s: is OPENAI_BASE_URL set to it?"
            )));
        }
    }
    Ok(())
}

fn step(swarm: &mut Swarm, provider: &mut Provider) -> Result<()> {
    let clock = swarm.clock();
    provider.speak(clock, &mut swarm.inbox_mut().answers);
    swarm.turn(TURN_MAX)?;
    provider.turn_now_and_then(clock)
}

/// Until all answers are complete, or nothing more comes of them.
fn listen(swarm: &mut Swarm, provider: &mut Provider, pace: Pace, readers: u32) -> Result<()> {
    let clock = swarm.clock();
    let end_ns = pace.start_ns + pace.interval_ns * u64::from(pace.tokens + 1);
    let give_up_ns = end_ns + SILENCE_MAX.as_nanos() as u64;
    while swarm.inbox().answers.completed < readers && clock.now_ns() < give_up_ns {
        step(swarm, provider)?;
    }
    Ok(())
}

/// Between the last question and the first token.
const LEAD: Duration = Duration::from_millis(100);
