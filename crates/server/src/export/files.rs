//! The bytes of files, out of wherever they are kept and back.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use futures_util::StreamExt;
use weeziq_core::files::FileKey;

use crate::files::{Files, Writing};
use crate::progress::Progress;

const CHUNK_BYTES: usize = 256 * 1024;

/// Returns how many there were. One whose bytes are missing is told of and passed over: the rest is worth having.
pub(super) fn write(files: &Files, keys: &[FileKey], into: &Path) -> Result<usize, String> {
    let runtime = runtime()?;
    let mut copied = 0;
    for (at, key) in keys.iter().enumerate() {
        Progress::at(at as u64, keys.len() as u64);
        let failed = |error: &dyn std::fmt::Display| format!("file {}: {error}", key.as_str());
        let found = runtime.block_on(files.read(key, None)).map_err(|error| failed(&error))?;
        let Some(mut bytes) = found else {
            Progress::say(&format!("file {} has lost its bytes", key.as_str()));
            continue;
        };
        let mut file = File::create(into.join(key.as_str())).map_err(|error| failed(&error))?;
        while let Some(chunk) = runtime.block_on(bytes.next()) {
            let chunk = chunk.map_err(|error| failed(&error))?;
            file.write_all(&chunk).map_err(|error| failed(&error))?;
        }
        file.sync_all().map_err(|error| failed(&error))?;
        copied += 1;
    }
    Progress::at(1, 1);
    Ok(copied)
}

pub(super) fn read(files: &Files, from: &Path) -> Result<usize, String> {
    let runtime = runtime()?;
    let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}", from.display());
    let entries: Vec<_> = std::fs::read_dir(from).and_then(Iterator::collect).map_err(unreadable)?;
    let (mut copied, all) = (0, entries.len());
    for entry in entries {
        Progress::at(copied as u64, all as u64);
        let path = entry.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let key = FileKey::parse(&name).ok_or_else(|| format!("{} is no file's key", path.display()))?;
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let mut file = File::open(&path).map_err(|error| failed(&error))?;
        let (mut writing, mut chunk) = (Writing::new(files, &key), vec![0; CHUNK_BYTES]);
        loop {
            let len = file.read(&mut chunk).map_err(|error| failed(&error))?;
            let Some(bytes) = chunk.get(..len).filter(|bytes| !bytes.is_empty()) else { break };
            runtime.block_on(writing.write(bytes)).map_err(|error| failed(&error))?;
        }
        runtime.block_on(writing.complete()).map_err(|error| failed(&error))?;
        copied += 1;
    }
    Progress::at(1, 1);
    Ok(copied)
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, String> {
    // Fails only if a provider was installed before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| format!("no threads: {error}"))
}
