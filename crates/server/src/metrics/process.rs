//! What the system says of this process, under the names that Prometheus' own clients use. Where it says nothing the sample
//! is left out.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use weeziq_core::metrics::Page;

/// Taken when the process starts.
#[derive(Clone, Copy)]
pub(crate) struct Birth(SystemTime);

impl Birth {
    pub(crate) fn now() -> Self {
        Self(SystemTime::now())
    }
}

pub(super) fn write(page: &mut Page, Birth(born): Birth, data_dir: &Path) {
    let since = born.duration_since(UNIX_EPOCH).unwrap_or_default();
    page.gauge("process_start_time_seconds", "When the process started, in seconds since 1970.")
        .is(since.as_secs_f64());
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(kib) = field(&status, "VmRSS:") {
        page.gauge("process_resident_memory_bytes", "Memory that is in use.").is(kib * 1024);
    }
    if let Some(threads) = field(&status, "Threads:") {
        page.gauge("process_threads", "Threads.").is(threads);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        page.gauge("process_open_fds", "Open file descriptors, of which each connection is one.")
            .is(open.count());
    }
    on_unix(page, data_dir);
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(target_os = "linux")]
fn on_unix(page: &mut Page, data_dir: &Path) {
    use rustix::process::{Resource, getrlimit};
    use rustix::time::{ClockId, clock_gettime};

    let used = clock_gettime(ClockId::ProcessCPUTime);
    page.counter("process_cpu_seconds_total", "Time of processors that was used.")
        .is(used.tv_sec as f64 + used.tv_nsec as f64 / 1e9);
    if let Some(most) = getrlimit(Resource::Nofile).current {
        page.gauge("process_max_fds", "Open file descriptors that there may be.").is(most);
    }
    if let Some(free) = crate::disk::free_bytes(data_dir) {
        page.gauge(
            "weeziq_disk_free_bytes",
            "What the service may still write to the disk that DATA_DIR is on.",
        )
        .is(free);
    }
}

#[cfg(not(target_os = "linux"))]
fn on_unix(_page: &mut Page, _data_dir: &Path) {}
