//! Copying: databases page by page as they were at one moment, everything else as it is.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::moment::Moment;
use crate::progress::Progress;
use crate::store::databases_in;

/// What was copied, and how.
pub(super) struct Taken {
    pub(super) at: SystemTime,
    /// For how long writers had to wait.
    pub(super) held: Duration,
}

const PAGES_PER_STEP: i32 = 1_024;

pub(super) fn all(data_dir: &Path, into: &Path) -> Result<Taken, String> {
    let databases = databases_in(data_dir)?;
    let moment = Moment::of(&databases)?;
    let taken = Taken { at: SystemTime::now(), held: moment.held };
    for (database, db) in databases.iter().zip(moment.readers) {
        let name = database.file_name().unwrap_or_default();
        Progress::say(&format!("copying {}", name.display()));
        database_into(&db, &into.join(name))
            .map_err(|error| format!("{} was not copied: {error}", database.display()))?;
    }
    // After the databases: what those speak of was there before.
    Progress::say("copying the files");
    folder(data_dir, into, &is_copied_as_it_is)?;
    Ok(taken)
}

/// The lock is the running service's, and a database's log is of no use without the very file that it belongs to.
fn is_copied_as_it_is(name: &str) -> bool {
    name != "lock" && !name.ends_with(".db") && !name.ends_with(".db-wal") && !name.ends_with(".db-shm")
}

fn database_into(from: &Connection, into: &Path) -> rusqlite::Result<()> {
    let mut copy = Connection::open(into)?;
    // It is synced as a whole afterwards; until then nobody relies on it.
    copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
    let backup = Backup::new(from, &mut copy)?;
    while backup.step(PAGES_PER_STEP)? != StepResult::Done {
        let progress = backup.progress();
        let pages = |count: i32| u64::try_from(count).unwrap_or_default();
        Progress::at(pages(progress.pagecount - progress.remaining), pages(progress.pagecount));
    }
    Ok(())
}

/// All of a folder, as far as it is wanted by name. A file that goes meanwhile was not needed any more.
pub(super) fn folder(from: &Path, into: &Path, is_wanted: &dyn Fn(&str) -> bool) -> Result<(), String> {
    let failed = |path: &Path, error: &io::Error| format!("{} was not copied: {error}", path.display());
    for entry in std::fs::read_dir(from).map_err(|error| failed(from, &error))? {
        let entry = entry.map_err(|error| failed(from, &error))?;
        let (path, name) = (entry.path(), entry.file_name());
        if !is_wanted(&name.to_string_lossy()) {
            continue;
        }
        let copy = into.join(&name);
        if path.is_dir() {
            std::fs::create_dir_all(&copy).map_err(|error| failed(&copy, &error))?;
            folder(&path, &copy, is_wanted)?;
        } else if let Err(error) = std::fs::copy(&path, &copy)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(failed(&path, &error));
        }
    }
    Ok(())
}

/// Every file below, relative to the folder, in the order of their names.
pub(super) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(inner) = folders.pop() {
        for entry in std::fs::read_dir(folder.join(&inner))? {
            let entry = entry?;
            let path = inner.join(entry.file_name());
            match entry.file_type()?.is_dir() {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// On disk with all that is in it.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    for file in files(folder)? {
        File::open(folder.join(file))?.sync_all()?;
    }
    File::open(folder)?.sync_all()
}

/// The folder that holds `path`, so that its name is on disk too.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

pub(super) fn pack(folder: &Path, target: &Path) -> Result<(), String> {
    let mut partial = target.as_os_str().to_owned();
    partial.push(".writing");
    let write = || {
        let mut tar = tar::Builder::new(io::BufWriter::new(File::create(&partial)?));
        tar.append_dir_all("", folder)?;
        tar.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&partial, target)?;
        sync_folder_of(target)
    };
    write().map_err(|error| {
        let _ = std::fs::remove_file(&partial);
        format!("{} cannot be written: {error}", target.display())
    })
}

pub(super) fn unpack(tar: &Path, into: &Path) -> Result<(), String> {
    let unpacked = File::open(tar).and_then(|file| tar::Archive::new(io::BufReader::new(file)).unpack(into));
    unpacked.map_err(|error| format!("{} cannot be unpacked: {error}", tar.display()))
}
