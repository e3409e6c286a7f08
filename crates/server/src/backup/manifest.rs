//! What a backup says of itself: enough to tell whether it is whole without knowing what it was taken of.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use weeziq_core::time::UnixMs;

use super::copy::{self, Taken};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    format: u32,
    /// The release that took it; an older one may not know the schema.
    pub(super) version: String,
    pub(super) taken_at: String,
    /// For how long the service could not write.
    writers_waited_ms: f64,
    files: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    name: String,
    bytes: u64,
    sha256: String,
}

pub(super) const NAME: &str = "backup.json";
const FORMAT: u32 = 1;
/// A hundred thousand files of some hundred bytes each are told of in less.
const BYTES_MAX: u64 = 256 * 1024 * 1024;

impl Manifest {
    pub(super) fn of(folder: &Path, taken: &Taken) -> Result<Self, String> {
        let describe = || -> io::Result<Vec<Entry>> {
            let files = copy::files(folder)?;
            files.iter().map(|file| Entry::of(folder, file)).collect()
        };
        let files = describe().map_err(|error| format!("{} cannot be read: {error}", folder.display()))?;
        let since = taken.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let taken_at = UnixMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        Ok(Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").into(),
            taken_at: serde_json::to_value(taken_at)
                .ok()
                .and_then(|at| at.as_str().map(String::from))
                .unwrap_or_default(),
            writers_waited_ms: taken.held.as_micros() as f64 / 1e3,
            files,
        })
    }

    /// And with it everything to disk: it is what says that the rest is whole.
    pub(super) fn write(&self, folder: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        let written = std::fs::write(folder.join(NAME), text + "\n").and_then(|()| copy::sync(folder));
        written.map_err(|error| format!("{} cannot be written: {error}", folder.display()))
    }

    pub(super) fn read(folder: &Path) -> Result<Self, String> {
        let path = folder.join(NAME);
        let no_backup = |why: String| format!("{} is no backup of WeeziQ's: {why}", folder.display());
        let mut text = String::new();
        let file = File::open(&path).map_err(|error| no_backup(format!("{NAME}: {error}")))?;
        file.take(BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|error| no_backup(format!("{NAME}: {error}")))?;
        let manifest: Self =
            serde_json::from_str(&text).map_err(|error| no_backup(format!("{NAME}: {error}")))?;
        if manifest.format != FORMAT {
            return Err(no_backup(format!("format {} is a newer release's; use that one", manifest.format)));
        }
        if let Some(entry) = manifest.files.iter().find(|entry| !entry.is_within()) {
            return Err(no_backup(format!("{} leads out of it", entry.name)));
        }
        Ok(manifest)
    }

    /// That each file is there as it was, to the last byte, and no other.
    pub(super) fn verify(&self, folder: &Path) -> Result<(), String> {
        let damaged =
            |what: &str| format!("the backup {} is damaged: {what}; take another one", folder.display());
        for known in &self.files {
            let found = Entry::of(folder, Path::new(&known.name));
            let found = found.map_err(|error| damaged(&format!("{}: {error}", known.name)))?;
            if found.sha256 != known.sha256 {
                return Err(damaged(&format!("{} is not what was written", known.name)));
            }
        }
        let there = copy::files(folder).map_err(|error| damaged(&error.to_string()))?;
        let known: HashSet<&Path> =
            self.files.iter().map(|known| Path::new(&known.name)).chain([Path::new(NAME)]).collect();
        match there.iter().find(|file| !known.contains(file.as_path())) {
            Some(file) => Err(damaged(&format!("{} does not belong to it", file.display()))),
            None => Ok(()),
        }
    }
}

impl Entry {
    fn of(folder: &Path, file: &Path) -> io::Result<Self> {
        let mut source = File::open(folder.join(file))?;
        let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 64 * 1024]);
        loop {
            let read = source.read(&mut buffer)?;
            let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
            hash.update(piece);
            bytes += piece.len() as u64;
        }
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { name: file.to_string_lossy().into_owned(), bytes, sha256 })
    }

    fn is_within(&self) -> bool {
        Path::new(&self.name).components().all(|part| matches!(part, Component::Normal(_)))
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: u64 = self.files.iter().map(|file| file.bytes).sum();
        write!(
            f,
            "{} files, {bytes} bytes, all as of {} (writers waited {} ms for it); checked",
            self.files.len(),
            self.taken_at,
            self.writers_waited_ms
        )
    }
}
