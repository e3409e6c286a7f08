//! The machine under both: what it is, who else was using it, and how many descriptors it gives.

use std::fs;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use weeziq_rig::{Failure, Result};

/// Descriptors that are no client: the runtime's, logs, probes.
const DESCRIPTORS_SPARE: u64 = 128;

/// Raises the soft limit as far as it may be raised. The child inherits it.
pub(crate) fn raise_descriptors(clients: u32) -> Result<()> {
    let wanted = u64::from(clients) + DESCRIPTORS_SPARE;
    let limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    if wanted > hard {
        return Err(Failure::Machine(format!(
            "{clients} clients need {wanted} descriptors, and the hard limit is {hard}; see ulimit -Hn"
        )));
    }
    if hard > soft {
        setrlimit(Resource::Nofile, Rlimit { current: Some(hard), maximum: limit.maximum })?;
    }
    Ok(())
}

pub(crate) fn description() -> Value {
    let value_of = |path: &str, name: &str| {
        let text = read(path);
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    json!({
        "cpu": value_of("/proc/cpuinfo", "model name"),
        "cpus": std::thread::available_parallelism().map(usize::from).ok(),
        "memory": value_of("/proc/meminfo", "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    })
}

/// Of the last minute.
pub(crate) fn load() -> f64 {
    read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default()
}

/// All processors' time up to a moment, in ticks.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    at: Instant,
    busy: u64,
    stolen: u64,
}

impl Usage {
    pub(crate) fn now() -> Self {
        let (busy, stolen) = busy_and_stolen(&read("/proc/stat")).unwrap_or_default();
        Self { at: Instant::now(), busy, stolen }
    }

    /// Per cent of the machine since `earlier`: used by others than the rig and its server, and kept by its host.
    pub(crate) fn disturbance_since(self, earlier: Self, ours: u64) -> (f64, f64) {
        let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let ticks_per_sec = rustix::param::clock_ticks_per_second().max(1) as f64;
        let whole = self.at.duration_since(earlier.at).as_secs_f64() * processors * ticks_per_sec;
        let others = (self.busy - earlier.busy.min(self.busy)).saturating_sub(ours);
        let stolen = self.stolen - earlier.stolen.min(self.stolen);
        let percent = |ticks: u64| ticks as f64 * 100.0 / whole.max(1.0);
        (percent(others), percent(stolen))
    }
}

/// Of `cpu  user nice system idle iowait irq softirq steal …`. Interrupts are left out: on loopback they are mostly the
/// measured traffic's own, and no process is charged with them.
fn busy_and_stolen(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?;
    let fields: Vec<u64> =
        line.split_ascii_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, _irq, _softirq, steal, ..] = fields.as_slice() else {
        return None;
    };
    Some((user + nice + system, *steal))
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_is_a_disturbance() {
        assert_eq!(busy_and_stolen("cpu  10 1 5 900 7 3 4 2 0 0\ncpu0 1"), Some((16, 2)));
        assert_eq!(busy_and_stolen("cpu 1 2"), None);
        let earlier = Usage { at: Instant::now(), busy: 0, stolen: 0 };
        let later = Usage { at: earlier.at + std::time::Duration::from_secs(10), busy: 300, ..earlier };
        assert!(later.disturbance_since(earlier, 100).0 > later.disturbance_since(earlier, 200).0);
        assert_eq!(later.disturbance_since(earlier, 400), (0.0, 0.0));
    }
}
