//! `weeziq backup` and `weeziq restore`: a copy of all that DATA_DIR holds, taken while the service goes on, and the way back.
//!
//! The copy is a folder (or a tar file of it): each database whole and checked, the files beside them as they are, and a
//! [`manifest`] with the length and hash of each, written last. It appears under its name only when all of that is so.

mod copy;
mod manifest;
mod moment;
mod restore;

use std::path::{Path, PathBuf};

pub(crate) use restore::restore;

use crate::check;
use crate::progress::Progress;
use crate::store::databases_in;
use manifest::Manifest;

/// What a command has to say when it went well. An error is a sentence for the operator.
type Outcome = Result<String, String>;

/// Copies `data_dir` to `target`, which must not be there yet.
pub(crate) fn backup(data_dir: &Path, target: &Path) -> Outcome {
    if !data_dir.join("shards").exists() {
        return Err(format!("DATA_DIR {} holds no data of WeeziQ's; nothing to back up", data_dir.display()));
    }
    if is_within(target, data_dir) {
        return Err(format!(
            "{} lies in DATA_DIR {}, so the copy would have to hold itself; name a place outside of it, best on another disk",
            target.display(),
            data_dir.display()
        ));
    }
    let is_tar = target.extension().is_some_and(|extension| extension == "tar");
    let staging = Staging::beside(target)?;
    let taken = copy::all(data_dir, staging.path())?;
    Progress::say("checking the copy");
    for database in databases_in(staging.path())? {
        check::copy(&database).map_err(|why| format!("the copy is no good, so there is none: {why}"))?;
    }
    let manifest = Manifest::of(staging.path(), &taken)?;
    manifest.write(staging.path())?;
    let report = format!("{}: {manifest}\n", target.display());
    if is_tar {
        copy::pack(staging.path(), target)?;
    } else {
        staging.become_it(target)?;
    }
    Ok(report)
}

/// Whichever way it is named, and however little of it is there yet.
fn is_within(target: &Path, folder: &Path) -> bool {
    let target = std::path::absolute(target).unwrap_or_else(|_| target.to_owned());
    let there = target.ancestors().skip(1).find_map(|ancestor| ancestor.canonicalize().ok());
    there.zip(folder.canonicalize().ok()).is_some_and(|(there, folder)| there.starts_with(folder))
}

/// A folder that is removed again unless it becomes what it was made for.
struct Staging {
    path: PathBuf,
}

impl Staging {
    fn beside(target: &Path) -> Result<Self, String> {
        if target.exists() {
            return Err(format!("{} is there already; a backup never replaces anything", target.display()));
        }
        let mut path = target.as_os_str().to_owned();
        path.push(".partial");
        let path = PathBuf::from(path);
        match std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))
            .and_then(|()| std::fs::create_dir(&path))
        {
            Ok(()) => Ok(Self { path }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(format!(
                "{} is left from a run that was cut off, or of one that goes on; remove it if none does",
                path.display()
            )),
            Err(error) => Err(format!("{} cannot be made: {error}", path.display())),
        }
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn become_it(self, target: &Path) -> Result<(), String> {
        let renamed = std::fs::rename(&self.path, target).and_then(|()| copy::sync_folder_of(target));
        renamed.map_err(|error| format!("{} cannot be made: {error}", target.display()))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Gone already if it became what it was made for.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_into_what_it_copies_is_refused_however_that_is_named() {
        let root = std::env::temp_dir().join(format!("weeziq-within-{}", std::process::id()));
        let data = root.join("data");
        std::fs::create_dir_all(data.join("files")).unwrap();
        std::fs::write(data.join("shards"), "1").unwrap();
        std::os::unix::fs::symlink(&data, root.join("link")).unwrap();
        for inside in ["data/copy", "data/files/copy.tar", "data/new/copy", "link/copy", "data/../data/copy"]
        {
            let refused = backup(&data, &root.join(inside)).unwrap_err();
            assert!(refused.contains("outside of it"), "{inside}: {refused}");
        }
        assert_eq!(std::fs::read_dir(&data).unwrap().count(), 2, "nothing was made");
        for outside in ["copy", "data-copies/copy"] {
            assert!(!is_within(&root.join(outside), &data), "{outside}");
        }
        std::fs::remove_dir_all(&root).unwrap();
    }
}
