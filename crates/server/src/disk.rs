//! The disk that the data is on.

use std::path::Path;

/// What this user may still write there; None where the system does not say.
#[cfg(target_os = "linux")]
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn free_bytes(_folder: &Path) -> Option<u64> {
    None
}
