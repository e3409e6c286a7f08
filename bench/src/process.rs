//! What the server costs, read from /proc: CPU of the whole process tree, resident memory.

use std::fs;

use weeziq_rig::{Failure, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pid(pub(crate) u32);

/// CPU used so far by a process, its live descendants, and those that they have already waited for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    /// utime + stime; the kernel reports it in ticks, usually of 10 ms.
    pub(crate) ticks_us: u64,
    /// The scheduler's own account of the live threads, in ns: finer, but a thread that ended takes its share along.
    pub(crate) scheduled_ns: u64,
}

impl Cpu {
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            ticks_us: self.ticks_us.saturating_sub(earlier.ticks_us),
            scheduled_ns: self.scheduled_ns.saturating_sub(earlier.scheduled_ns),
        }
    }
}

impl Pid {
    pub(crate) fn own() -> Self {
        Self(std::process::id())
    }

    /// An error if the process itself is gone; a descendant that ends meanwhile is just left out.
    pub(crate) fn cpu(self) -> Result<Cpu> {
        let gone = || Failure::Server(format!("process {} is gone", self.0));
        let mut sum = cpu_of(self).ok_or_else(gone)?;
        for pid in self.tree().into_iter().skip(1) {
            let cpu = cpu_of(pid).unwrap_or_default();
            sum.ticks_us += cpu.ticks_us;
            sum.scheduled_ns += cpu.scheduled_ns;
        }
        Ok(sum)
    }

    /// Without the descendants: in `all` the server under test is one of ours.
    pub(crate) fn cpu_alone(self) -> Result<Cpu> {
        cpu_of(self).ok_or_else(|| Failure::Machine(format!("process {} is not in /proc", self.0)))
    }

    pub(crate) fn resident_bytes(self) -> u64 {
        self.tree().into_iter().filter_map(resident_bytes_of).sum()
    }

    /// The process and its descendants, itself first.
    fn tree(self) -> Vec<Self> {
        let mut all = vec![self];
        let mut next = 0;
        while let Some(pid) = all.get(next).copied() {
            for task in tasks(pid) {
                let children = fs::read_to_string(format!("{task}/children")).unwrap_or_default();
                all.extend(children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid));
            }
            next += 1;
        }
        all
    }
}

fn tasks(pid: Pid) -> Vec<String> {
    let folder = format!("/proc/{}/task", pid.0);
    let Ok(entries) = fs::read_dir(&folder) else {
        return Vec::new();
    };
    entries.flatten().filter_map(|entry| Some(format!("{folder}/{}", entry.file_name().to_str()?))).collect()
}

fn cpu_of(pid: Pid) -> Option<Cpu> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.0)).ok()?;
    let ticks = ticks_in_stat(&stat)?;
    let scheduled = |task: String| {
        let text = fs::read_to_string(format!("{task}/schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    Some(Cpu {
        ticks_us: ticks * 1_000_000 / rustix::param::clock_ticks_per_second().max(1),
        scheduled_ns: tasks(pid).into_iter().filter_map(scheduled).sum(),
    })
}

/// utime, stime, cutime and cstime, which are fields 14 to 17; the name before may hold spaces and parentheses.
fn ticks_in_stat(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields = after_name.split_ascii_whitespace().skip(11).take(4);
    let ticks: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
    (ticks.len() == 4).then(|| ticks.iter().sum())
}

fn resident_bytes_of(pid: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.0)).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_a_name_with_parentheses() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 11 22 3 4 20 0 1 0 5";
        assert_eq!(ticks_in_stat(stat), Some(40));
        assert_eq!(ticks_in_stat("7 (a) S 1"), None);
    }

    #[test]
    fn a_child_s_cpu_counts_while_it_lives_and_after() {
        let before = Pid::own().cpu().unwrap();
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        std::process::Command::new("sh").args(["-c", busy]).status().unwrap();
        assert!(Pid::own().cpu().unwrap().since(before).ticks_us > 0);
        let mut sleeper = std::process::Command::new("sleep").arg("10").spawn().unwrap();
        assert!(Pid::own().tree().contains(&Pid(sleeper.id())));
        assert!(Pid::own().resident_bytes() > resident_bytes_of(Pid::own()).unwrap() / 2);
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }

    #[test]
    fn what_a_live_child_uses_is_not_our_own() {
        let mut busy = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let child = Pid(busy.id());
        let own_before = Pid::own().cpu_alone().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while child.cpu().unwrap().ticks_us < 500_000 && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let used = child.cpu().unwrap().ticks_us;
        let with_child = Pid::own().cpu().unwrap().ticks_us;
        let alone = Pid::own().cpu_alone().unwrap().ticks_us;
        busy.kill().unwrap();
        busy.wait().unwrap();
        assert!(used >= 500_000 && with_child >= own_before.ticks_us + used && with_child > alone);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(Pid(u32::MAX).cpu().is_err());
    }
}
