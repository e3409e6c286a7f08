//! Where the bytes of files are: a folder on this machine, or a bucket that speaks S3. Which files there are, and whose, is
//! rows of the shards.

pub(crate) mod bodies;
mod places;
pub(crate) mod sweeper;
mod writing;

use std::path::{Path as Folder, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, GetOptions, ObjectStore, ObjectStoreExt};
use tokio::sync::Notify;
use weeziq_core::files::serving::Span;
use weeziq_core::files::{FileKey, Rules};

use crate::settings::Settings;
use places::Places;
pub(crate) use writing::Writing;

pub(crate) struct Files {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// What is gathered before it is written: S3 takes no smaller part, save the last.
    part_bytes: usize,
    pub(crate) rules: Rules,
    /// Seconds that a file may wait for a message.
    pub(crate) unused_s: u32,
    pub(crate) places: Arc<Places>,
    /// Rung when there are bytes to delete.
    pub(crate) sweep: Notify,
}

const S3_PART_BYTES: usize = 5 * 1024 * 1024;
const LOCAL_PART_BYTES: usize = 256 * 1024;
/// Each holds at most one part in memory.
const S3_UPLOADS_MAX: usize = 16;
const LOCAL_UPLOADS_MAX: usize = 64;
/// A bucket that has not answered by then is told of at the start.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

impl Files {
    pub(crate) fn open(settings: &Settings) -> Result<Self, String> {
        let url = settings.file_storage_url.as_deref().filter(|url| !url.is_empty());
        let local = match url.map(folder_of) {
            None => Some(settings.data_dir.join("files")),
            Some(local) => local?,
        };
        let (store, prefix, part_bytes, uploads_max) = match url.filter(|_| local.is_none()) {
            Some(url) => {
                let (store, prefix) = bucket(url)?;
                (store, prefix, S3_PART_BYTES, S3_UPLOADS_MAX)
            }
            None => {
                (folder(&local.unwrap_or_default())?, Path::default(), LOCAL_PART_BYTES, LOCAL_UPLOADS_MAX)
            }
        };
        Ok(Self {
            store,
            prefix,
            part_bytes,
            rules: Rules {
                bytes_max: settings.file_bytes_max,
                types: settings.file_types.clone().unwrap_or_default(),
            },
            unused_s: settings.file_unused_s,
            places: Places::new(uploads_max),
            sweep: Notify::new(),
        })
    }

    /// Says in the log if uploads would fail. The service starts all the same: a chat is worth more than its files.
    pub(crate) async fn look(&self) {
        let probe = self.path(&FileKey::from_entropy(0, 0));
        let answer = tokio::time::timeout(ANSWER_WITHIN, self.store.head(&probe)).await;
        let why = match answer {
            Ok(Ok(_) | Err(Error::NotFound { .. })) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", ANSWER_WITHIN.as_secs()),
        };
        tracing::error!(
            %why,
            "files cannot be stored; check FILE_STORAGE_URL, AWS_ENDPOINT, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        );
    }

    fn path(&self, key: &FileKey) -> Path {
        self.prefix.clone().join(key.as_str())
    }

    /// None: it is not there any more.
    pub(crate) async fn read(
        &self,
        key: &FileKey,
        span: Option<Span>,
    ) -> Result<Option<BoxStream<'static, object_store::Result<bytes::Bytes>>>, Error> {
        let range = span.map(|Span { from, len }| (from..from + len).into());
        match self.store.get_opts(&self.path(key), GetOptions { range, ..GetOptions::default() }).await {
            Ok(found) => Ok(Some(found.into_stream())),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// True if its bytes are gone, whether or not there were any.
    pub(crate) async fn delete(&self, key: &FileKey) -> bool {
        match self.store.delete(&self.path(key)).await {
            Ok(()) | Err(Error::NotFound { .. }) => true,
            Err(error) => {
                tracing::warn!(%error, "a file's bytes could not be deleted; they will be tried again");
                false
            }
        }
    }
}

/// Written beside its name, synced, then renamed and the folder synced. What a crash left half written goes.
fn folder(folder: &Folder) -> Result<Arc<dyn ObjectStore>, String> {
    let shown = folder.display();
    let unusable = |error: std::io::Error| {
        format!(
            "{shown} cannot be used: {error}; choose a DATA_DIR that this user may write, or set FILE_STORAGE_URL"
        )
    };
    std::fs::create_dir_all(folder).map_err(unusable)?;
    for entry in std::fs::read_dir(folder).map_err(unusable)? {
        let path = entry.map_err(unusable)?.path();
        // The store's mark of what is not whole yet; no key holds one.
        if path.file_name().is_some_and(|name| name.to_string_lossy().contains('#')) {
            std::fs::remove_file(&path).map_err(unusable)?;
        }
    }
    let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| format!("{shown}: {error}"))?;
    Ok(Arc::new(store.with_fsync(true)))
}

const ADVICE: &str = "FILE_STORAGE_URL must be s3://bucket, s3://bucket/folder or file:///folder";

/// Of `file:///folder`. None: it is of another kind.
fn folder_of(url: &str) -> Result<Option<PathBuf>, String> {
    let parsed = reqwest::Url::parse(url).map_err(|_| ADVICE.to_owned())?;
    if parsed.scheme() != "file" {
        return Ok(None);
    }
    parsed.to_file_path().map(Some).map_err(|()| ADVICE.to_owned())
}

fn bucket(url: &str) -> Result<(Arc<dyn ObjectStore>, Path), String> {
    let parsed = reqwest::Url::parse(url).map_err(|_| ADVICE.to_owned())?;
    if parsed.scheme() != "s3" || parsed.host_str().is_none() {
        return Err(ADVICE.into());
    }
    let prefix = Path::from_url_path(parsed.path()).map_err(|error| format!("{ADVICE}: {error}"))?;
    let store = AmazonS3Builder::from_env().with_url(url).build();
    let store = store.map_err(|error| {
        format!("FILE_STORAGE_URL {url} cannot be used: {error}; see AWS_* in .env.example")
    })?;
    Ok((Arc::new(store), prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_folder_or_a_bucket() {
        assert_eq!(folder_of("file:///srv/files"), Ok(Some("/srv/files".into())));
        assert_eq!(folder_of("s3://bucket/folder"), Ok(None));
        for url in ["srv/files", "file://elsewhere/files"] {
            assert_eq!(folder_of(url), Err(ADVICE.into()), "{url}");
        }
        assert_eq!(bucket("ftp://host/files").err(), Some(ADVICE.into()));
    }
}
