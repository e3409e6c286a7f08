//! What the server costs, read from /proc.

use std::fs;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pid(pub(crate) u32);

impl Pid {
    pub(crate) fn own() -> Self {
        Self(std::process::id())
    }

    /// 0 if it is gone.
    pub(crate) fn resident_bytes(self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most that it ever had; no peak falls between two samples. 0 if it is gone.
    pub(crate) fn resident_bytes_max(self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default();
        bytes_in(&status, name).unwrap_or_default()
    }

    /// utime + stime in ticks, of children that were waited for too; 0 if it is gone.
    pub(crate) fn cpu_ticks(self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        ticks_in(&stat).unwrap_or_default()
    }
}

fn bytes_in(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Fields 14 to 17; the name before may hold spaces and parentheses.
fn ticks_in(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let mut field = || fields.next()?.parse::<u64>().ok();
    Some(field()? + field()? + field()? + field()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found() {
        assert_eq!(bytes_in("Name:\tx\nVmRSS:\t    2048 kB\n", "VmRSS:"), Some(2_097_152));
        assert_eq!(ticks_in("7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 11 22 3 4 20"), Some(40));
        assert!(
            Pid::own().resident_bytes() > 0 && Pid::own().resident_bytes_max() >= Pid::own().resident_bytes()
        );
        assert_eq!((Pid(u32::MAX).resident_bytes(), Pid(u32::MAX).cpu_ticks()), (0, 0));
    }
}
