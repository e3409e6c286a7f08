//! The salt of the day, under which visitors who bring no id are told apart. It stands in a file of its own, so that a restart
//! within the day does not count anybody twice; the next day's takes its place, and no backup and no export has it: once a day
//! is over, nobody can say whom one of its hashes stood for.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use weeziq_core::time::UnixMs;
use weeziq_core::visitors::whence::Salt;

use crate::shard::wall_clock;

pub(crate) struct DailySalt {
    file: PathBuf,
    today: Mutex<Option<Salt>>,
}

const FILE: &str = "salt";
/// A clock that was set by hand, or a machine that slept, is seen by then.
const LOOKED_AFTER_EVERY: Duration = Duration::from_secs(10 * 60);

impl DailySalt {
    pub(crate) fn open(data_dir: &Path) -> Self {
        let salt = Self { file: data_dir.join(FILE), today: Mutex::default() };
        salt.of(wall_clock());
        salt
    }

    /// The one of that day; made if there is none.
    pub(crate) fn of(&self, now: UnixMs) -> Salt {
        let mut today = self.today.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(salt) = today.as_ref().filter(|salt| salt.is_of(now)) {
            return salt.clone();
        }
        let kept = std::fs::read_to_string(&self.file).ok().and_then(|text| Salt::of_stored(&text));
        let salt = kept.filter(|salt| salt.is_of(now)).unwrap_or_else(|| {
            let salt = Salt::new(now, random());
            if let Err(error) = self.keep(&salt) {
                tracing::warn!(%error, file = %self.file.display(), "the salt of the day is not kept: after a restart visitors without an id count again");
            }
            salt
        });
        today.insert(salt).clone()
    }

    /// Whole, or as it was before; for nobody else to read.
    fn keep(&self, salt: &Salt) -> std::io::Result<()> {
        let partial = self.file.with_extension("partial");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(salt.to_stored().as_bytes())?;
        std::fs::rename(&partial, &self.file)
    }

    /// Throws each day's away when it is over, though nobody comes. Ends with the process.
    pub(crate) async fn look_after(&self) {
        loop {
            let left = self.of(wall_clock()).ends_at().since(wall_clock()).max(0) as u64;
            tokio::time::sleep(Duration::from_millis(left).min(LOOKED_AFTER_EVERY)).await;
        }
    }
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    // Without randomness from the system nothing here could be started in the first place.
    let filled = getrandom::fill(&mut bytes);
    debug_assert!(filled.is_ok(), "the system has randomness");
    bytes
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;

    const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

    #[test]
    fn a_salt_survives_a_restart_and_not_its_day() {
        let folder = std::env::temp_dir().join(format!("weeziq-salt-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let open = || DailySalt { file: folder.join(FILE), today: Mutex::default() };
        let now = UnixMs(20_000 * DAY_MS + 5);
        let first = open().of(now).to_stored();
        assert_eq!(open().of(now.plus(DAY_MS - 6)).to_stored(), first);
        let kept = || std::fs::read_to_string(folder.join(FILE)).unwrap();
        assert_eq!(kept(), first);
        let next = open().of(now.plus(DAY_MS)).to_stored();
        assert_ne!(next, first);
        assert_eq!(kept(), next, "yesterday's is nowhere any more");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
