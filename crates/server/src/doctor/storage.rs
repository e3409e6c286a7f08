//! The folder, the disk under it, and the databases in it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Finding, shown};
use crate::settings::Settings;
use crate::store::{databases_in, log_path};
use crate::{check, disk};

const ABOUT: &str = "storage";
/// A service that writes is full before anybody has looked.
const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;
const FREE_BYTES_WISHED: u64 = 1024 * 1024 * 1024;
/// The service begins the log anew at 64 MiB; one far beyond that is held by somebody who reads and reads.
const LOG_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// With DURABILITY=full each acknowledgement waits for one of these.
const SYNC_WITHIN: Duration = Duration::from_millis(50);
/// The slowest of so many counts.
const SYNCS: u32 = 5;

pub(super) fn examine(settings: &Settings) -> Vec<Finding> {
    let folder = &settings.data_dir;
    if !folder.exists() {
        return vec![of_no_folder(folder)];
    }
    let mut findings = vec![writing(folder)];
    findings.extend(room(folder));
    findings.extend(databases(folder));
    findings
}

fn of_no_folder(folder: &Path) -> Finding {
    let shown = folder.display();
    let above = folder.ancestors().find(|above| above.exists() || above.as_os_str().is_empty());
    let above = above.filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match time_syncs(above) {
        Ok(_) => Finding::well(ABOUT, format!("DATA_DIR {shown} is not there yet; the first start makes it")),
        Err(error) => Finding::broken(
            ABOUT,
            format!(
                "DATA_DIR {shown} cannot be made in {}: {error}; make it, owned by the service's user",
                above.display()
            ),
        ),
    }
}

fn writing(folder: &Path) -> Finding {
    let shown = folder.display();
    match time_syncs(folder) {
        Ok(took) if took <= SYNC_WITHIN => {
            Finding::well(ABOUT, format!("DATA_DIR {shown} can be written; a sync takes {took:.1?} at most"))
        }
        Ok(took) => Finding::doubtful(
            ABOUT,
            format!(
                "a sync of DATA_DIR {shown} took {took:.1?}; acknowledgements wait for one, so use a local SSD, or DURABILITY=normal if a power cut may cost the last second"
            ),
        ),
        Err(error) => Finding::broken(
            ABOUT,
            format!(
                "DATA_DIR {shown} cannot be written: {error}; check its owner and whether the disk is mounted read-only"
            ),
        ),
    }
}

/// Writes a file as the service would, and removes it.
fn time_syncs(folder: &Path) -> io::Result<Duration> {
    let path = folder.join(format!(".doctor-{}", std::process::id()));
    let write = || {
        let mut file = File::create_new(&path)?;
        let mut slowest = Duration::ZERO;
        for _ in 0..SYNCS {
            file.write_all(&[0; 4096])?;
            let began = Instant::now();
            file.sync_data()?;
            slowest = slowest.max(began.elapsed());
        }
        Ok(slowest)
    };
    let took = write();
    let removed = fs::remove_file(&path);
    took.and_then(|took| removed.map(|()| took))
}

fn room(folder: &Path) -> Option<Finding> {
    let free = disk::free_bytes(folder)?;
    let says = format!("{} free for {}", shown(free), folder.display());
    Some(match free {
        FREE_BYTES_WISHED.. => Finding::well(ABOUT, says),
        FREE_BYTES_MIN.. => Finding::doubtful(ABOUT, format!("only {says}; make room before there is none")),
        _ => Finding::broken(ABOUT, format!("only {says}; without room nothing can be said, make some now")),
    })
}

fn databases(folder: &Path) -> Vec<Finding> {
    let databases = match databases_in(folder) {
        Ok(databases) => databases,
        Err(why) => return vec![Finding::broken(ABOUT, why)],
    };
    let mut findings = Vec::new();
    for database in &databases {
        if let Err(why) = check::can_be_opened(database) {
            findings.push(Finding::broken(ABOUT, why));
        }
        let log = fs::metadata(log_path(database)).map_or(0, |log| log.len());
        if log > LOG_BYTES_MAX {
            let says = format!(
                "the log of {} has {}; end what reads it for long (a backup, a sqlite3 shell), or restart the service",
                database.display(),
                shown(log)
            );
            findings.push(Finding::doubtful(ABOUT, says));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::well(
            ABOUT,
            format!("{} databases can be opened; `weeziq check` reads them to their end", databases.len()),
        ));
    }
    findings
}

/// Whether a service has the folder now.
pub(super) fn is_in_use(folder: &Path) -> bool {
    let lock = File::options().write(true).open(folder.join("lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}
