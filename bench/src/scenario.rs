//! What is measured: who sits where, what they do, and the course of one run against one server.

use std::time::{Duration, Instant};

use crate::histogram::Histogram;
use crate::hostile::{Siege, Tally};
use crate::ledger::Errors;
use crate::limits::{DESCRIPTORS_SPARE, IDLE_SETTLE};
use crate::machine::{Disturbance, Usage};
use crate::process::{Cpu, Pid};
use crate::provider::Provider;
use crate::streams::{Flow, Streams};
use crate::swarm::{Swarm, Target};
use crate::traffic::{Talk, Traffic};
use crate::wire::RunId;
use weeziq_rig::{Failure, Result};

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
    /// Nobody says anything: joins and memory are measured.
    Idle,
    /// Likewise, and how long each took to get in; all come at once.
    Storm,
    Talk(Talk),
    /// The same talk twice: in peace, then among so many hostile clients of each kind.
    Besieged {
        talk: Talk,
        of_each: u32,
    },
    /// Everyone hears an answer of the AI.
    Streams(Flow),
}

#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) errors: Errors,
    pub(crate) first_trouble: Option<String>,
    pub(crate) joins: Joins,
    pub(crate) traffic: Option<Traffic>,
    pub(crate) siege: Option<Besieged>,
    pub(crate) streams: Option<Streams>,
}

/// What `traffic` is held against in a run with hostile clients.
pub(crate) struct Besieged {
    pub(crate) calm: Traffic,
    pub(crate) tallies: Vec<Tally>,
}

#[derive(Default)]
pub(crate) struct Joins {
    pub(crate) connections: u32,
    pub(crate) elapsed: Duration,
    /// From before the first connect until the presence frames are through; `None` without a process to look at.
    pub(crate) cpu: Option<Cpu>,
    pub(crate) generator_cpu: Cpu,
    pub(crate) disturbance: Option<Disturbance>,
    /// From the connect to the answer to the join.
    pub(crate) time: Histogram,
    /// How much the resident memory grew; read only in an idle run.
    pub(crate) resident_bytes: Option<u64>,
}

impl Load {
    /// Whether the server has to be started with the generator's own model.
    pub(crate) fn needs_provider(self) -> bool {
        matches!(self, Self::Streams(_))
    }

    /// Whether it asks for what only WeeziQ has, or promises.
    pub(crate) fn is_ours_alone(self) -> bool {
        matches!(self, Self::Streams(_) | Self::Besieged { .. })
    }

    /// Whether the limit on events of a connection is part of what is measured.
    pub(crate) fn keeps_limits(self) -> bool {
        matches!(self, Self::Besieged { .. })
    }
}

impl Scenario {
    pub(crate) fn connections(&self) -> u32 {
        self.rooms * self.members
    }

    /// What this process needs for it; the model's side of a stream is ours too.
    pub(crate) fn descriptors(&self) -> u64 {
        let sides = if self.load.needs_provider() { 2 } else { 1 };
        u64::from(self.connections()) * sides + DESCRIPTORS_SPARE
    }

    /// One run against a server that is up. Without a pid its cost stays unknown.
    pub(crate) fn run(
        &self,
        target: &Target,
        pid: Option<Pid>,
        provider: Option<&mut Provider>,
    ) -> Result<Outcome> {
        raise_descriptor_limit(self.descriptors())?;
        let run = RunId(fresh_id());
        let mut swarm = Swarm::new(target, run, self.rooms, self.members)?;
        let joins = self.join(&mut swarm, pid)?;
        let mut outcome = Outcome { joins, ..Outcome::default() };
        self.load(&mut swarm, target, pid, provider, &mut outcome).map_err(|failure| {
            match swarm.inbox().first_trouble() {
                Some(trouble) => failure.at(trouble),
                None => failure,
            }
        })?;
        let inbox = swarm.inbox();
        outcome.errors = inbox.errors();
        outcome.first_trouble = inbox.first_trouble().map(str::to_owned);
        Ok(outcome)
    }

    fn load(
        &self,
        swarm: &mut Swarm,
        target: &Target,
        pid: Option<Pid>,
        provider: Option<&mut Provider>,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let connections = self.connections();
        match self.load {
            Load::Idle | Load::Storm => {}
            Load::Talk(talk) => outcome.traffic = Some(Traffic::measure(swarm, talk, connections, pid)?),
            Load::Besieged { talk, of_each } => {
                let calm = Traffic::measure(swarm, talk, connections, pid)?;
                let siege = Siege::lay(target, of_each);
                outcome.traffic = Some(Traffic::measure(swarm, talk, connections, pid)?);
                outcome.siege = Some(Besieged { calm, tallies: siege.lift()? });
            }
            Load::Streams(flow) => {
                let missing = || Failure::Usage("streams need a model: --provider-port PORT".into());
                let provider = provider.ok_or_else(missing)?;
                outcome.streams = Some(Streams::measure(swarm, provider, flow, connections, pid)?);
            }
        }
        Ok(())
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
        let generator_cpu = Pid::own().cpu_alone()?.since(own_before);
        let disturbance = cpu.map(|cpu| Usage::now().disturbance_since(usage_before, &[cpu, generator_cpu]));
        let mut resident_bytes = None;
        if self.load == Load::Idle {
            swarm.listen_for(IDLE_SETTLE)?;
            let now = pid.map(Pid::resident_bytes);
            resident_bytes = now.zip(resident_before).map(|(now, before)| now.saturating_sub(before));
        }
        let time = std::mem::take(&mut swarm.inbox_mut().join_time);
        let connections = self.connections();
        Ok(Joins { connections, elapsed, cpu, generator_cpu, disturbance, time, resident_bytes })
    }
}

pub(crate) fn cpu(pid: Option<Pid>) -> Result<Option<Cpu>> {
    pid.map(Pid::cpu).transpose()
}

pub(crate) fn since(now: Option<Cpu>, before: Option<Cpu>) -> Option<Cpu> {
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
