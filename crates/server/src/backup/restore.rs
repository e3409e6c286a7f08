//! The way back, into a folder that holds nothing yet.

use std::path::Path;

use weeziq_core::store::log::renew_epochs;

use super::manifest::{self, Manifest};
use super::{Outcome, Staging, copy};
use crate::check;
use crate::progress::Progress;
use crate::store::{Store, databases_in, unusable};

/// Puts a backup, a folder or a tar file, where `weeziq` finds it. Nothing is there before all has been held against the
/// backup's own word and read to its end.
pub(crate) fn restore(from: &Path, data_dir: &Path) -> Outcome {
    if std::fs::read_dir(data_dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(format!(
            "DATA_DIR {} is not empty; move what is there away first, a restore never replaces anything",
            data_dir.display()
        ));
    }
    // An empty one may be a mount point or a service's own folder, which has to stay what it is.
    let target = if data_dir.exists() { data_dir.join("restoring") } else { data_dir.to_owned() };
    let staging = Staging::beside(&target)?;
    if from.is_dir() {
        Progress::say("copying the backup");
        copy::folder(from, staging.path(), &|_| true)?;
    } else {
        Progress::say("unpacking the backup");
        copy::unpack(from, staging.path())?;
    }
    let manifest = Manifest::read(staging.path())?;
    Progress::say("holding it against its manifest");
    manifest.verify(staging.path())?;
    let salt = getrandom::u64().map_err(|error| format!("no random number is to be had: {error}"))?;
    for database in databases_in(staging.path())? {
        Progress::say(&format!("checking {}", database.display()));
        check::copy(&database)?;
        begin_new_logs(&database, salt)?;
    }
    let remove =
        std::fs::remove_file(staging.path().join(manifest::NAME)).and_then(|()| copy::sync(staging.path()));
    remove.map_err(|error| format!("{} cannot be written: {error}", staging.path().display()))?;
    if target == data_dir {
        staging.become_it(data_dir)?;
    } else {
        move_into(staging.path(), data_dir)?;
    }
    Ok(format!(
        "{}: {manifest}\nrestored; every room begins a new epoch, so clients that come back read its history anew\n",
        data_dir.display()
    ))
}

/// What happened after the backup is lost, and its places in the rooms' logs will be taken by something else. Under a new
/// epoch no client takes the one for the other.
fn begin_new_logs(database: &Path, salt: u64) -> Result<(), String> {
    let failed = |error| unusable(database, &error);
    let mut store = Store::open_synced(database).map_err(failed)?;
    if !store.has_table("room").map_err(failed)? {
        return Ok(());
    }
    renew_epochs(&mut store, salt).and_then(|()| store.commit()).map_err(failed)
}

/// The number of shards is what makes a folder one of WeeziQ's, so it comes last.
fn move_into(staging: &Path, data_dir: &Path) -> Result<(), String> {
    let failed =
        |error: std::io::Error| format!("DATA_DIR {} cannot be written: {error}", data_dir.display());
    let mut entries: Vec<_> = std::fs::read_dir(staging).and_then(Iterator::collect).map_err(failed)?;
    entries.sort_by_key(|entry| entry.file_name() == "shards");
    for entry in entries {
        std::fs::rename(entry.path(), data_dir.join(entry.file_name())).map_err(failed)?;
    }
    copy::sync_folder_of(&data_dir.join("shards")).map_err(failed)
}
