//! The machine under both: what it is, and who else was using it while something was measured.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::{Cpu, Pid};
use weeziq_rig::Result;

/// All processors' time up to a moment.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    at: Instant,
    busy: Duration,
    stolen: Duration,
}

/// Shares of the whole machine during a measurement, in per cent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Disturbance {
    /// Used by neither the server nor this tool.
    pub(crate) others_percent: f64,
    /// Wanted by this machine and given by its host to another.
    pub(crate) stolen_percent: f64,
}

impl Disturbance {
    /// From here on times are not worth quoting, and CPU per delivery only with its range.
    pub(crate) fn spoils(self) -> bool {
        self.others_percent > 10.0 || self.stolen_percent > 5.0
    }
}

impl Usage {
    pub(crate) fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let (busy, stolen) = busy_and_stolen_ticks(&stat).unwrap_or_default();
        let time =
            |ticks: u64| Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second().max(1));
        Self { at: Instant::now(), busy: time(busy), stolen: time(stolen) }
    }

    /// What was used since `earlier`, besides what the measured processes used.
    pub(crate) fn disturbance_since(self, earlier: Self, measured: &[Cpu]) -> Disturbance {
        let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let whole = self.at.duration_since(earlier.at).as_secs_f64() * processors;
        let ours: u64 = measured.iter().map(|cpu| cpu.ticks_us).sum();
        let others = self.busy.saturating_sub(earlier.busy).saturating_sub(Duration::from_micros(ours));
        let stolen = self.stolen.saturating_sub(earlier.stolen);
        let percent = |part: Duration| part.as_secs_f64() * 100.0 / whole.max(f64::MIN_POSITIVE);
        Disturbance { others_percent: percent(others), stolen_percent: percent(stolen) }
    }
}

/// What one frame costs on this machine with no server at all: the least that a delivery without company can cost.
/// Two small virtual machines were seen to differ threefold in it, so absolute figures mean little without it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floor {
    pub(crate) send_us: f64,
    pub(crate) receive_us: f64,
}

impl Floor {
    /// About a second: every sender writes once, then every receiver reads once, and again.
    pub(crate) fn measure() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let mut pairs = Vec::new();
        for _ in 0..FLOOR_PAIRS {
            let receiver = TcpStream::connect(listener.local_addr()?)?;
            let (sender, _) = listener.accept()?;
            sender.set_nodelay(true)?;
            pairs.push((sender, receiver));
        }
        let (mut sending_ns, mut receiving_ns) = (0, 0);
        let mut buffer = [0; 4096];
        for _ in 0..FLOOR_ROUNDS {
            let start = Pid::own().cpu_alone()?.scheduled_ns;
            for (sender, _) in &mut pairs {
                sender.write_all(&[0; FLOOR_FRAME_BYTES])?;
            }
            let middle = Pid::own().cpu_alone()?.scheduled_ns;
            for (_, receiver) in &mut pairs {
                receiver.read_exact(buffer.get_mut(..FLOOR_FRAME_BYTES).unwrap_or_default())?;
            }
            sending_ns += middle.saturating_sub(start);
            receiving_ns += Pid::own().cpu_alone()?.scheduled_ns.saturating_sub(middle);
        }
        let each = |ns: u64| ns as f64 / 1000.0 / (FLOOR_PAIRS * FLOOR_ROUNDS) as f64;
        Ok(Self { send_us: each(sending_ns), receive_us: each(receiving_ns) })
    }
}

const FLOOR_PAIRS: usize = 500;
const FLOOR_ROUNDS: usize = 100;
/// As long as a `new-message` frame.
const FLOOR_FRAME_BYTES: usize = 270;

/// Of the line `cpu  user nice system idle iowait irq softirq steal …`. Interrupts are left out: on loopback they are
/// mostly the measured traffic's own, and no process is charged with them.
fn busy_and_stolen_ticks(stat: &str) -> Option<(u64, u64)> {
    let fields: Vec<u64> =
        stat.lines().next()?.split_ascii_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, _irq, _softirq, steal, ..] = fields.as_slice() else {
        return None;
    };
    Some((user + nice + system, *steal))
}

pub(crate) fn description() -> Value {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let value_of = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    json!({
        "cpu": value_of(&read("/proc/cpuinfo"), "model name"),
        "cpus": std::thread::available_parallelism().map(usize::from).ok(),
        "memory": value_of(&read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "tcpCongestionControl": read("/proc/sys/net/ipv4/tcp_congestion_control").trim(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_more_than_nothing_and_less_than_a_millisecond() {
        let floor = Floor::measure().unwrap();
        for us in [floor.send_us, floor.receive_us] {
            assert!(us > 0.0 && us < 1000.0, "{floor:?}");
        }
    }

    #[test]
    fn what_neither_server_nor_tool_used_is_a_disturbance() {
        assert_eq!(busy_and_stolen_ticks("cpu  10 1 5 900 7 3 4 2 0 0\ncpu0 1"), Some((16, 2)));
        assert_eq!(busy_and_stolen_ticks("cpu 1 2"), None);
        let at = Instant::now();
        let before = Usage { at, busy: Duration::from_secs(5), stolen: Duration::ZERO };
        let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let later = Usage { at: at + Duration::from_secs(10), busy: Duration::from_secs(15), ..before };
        let measured =
            [Cpu { ticks_us: 6_000_000, scheduled_ns: 0 }, Cpu { ticks_us: 3_000_000, scheduled_ns: 0 }];
        let disturbance = later.disturbance_since(before, &measured);
        assert!((disturbance.others_percent - 10.0 / processors).abs() < 0.01);
        assert_eq!(
            later.disturbance_since(before, &[Cpu { ticks_us: 99_000_000, scheduled_ns: 0 }]),
            Disturbance::default()
        );
        assert!(Disturbance { others_percent: 40.0, stolen_percent: 0.0 }.spoils());
        assert!(!Disturbance::default().spoils());
    }
}
