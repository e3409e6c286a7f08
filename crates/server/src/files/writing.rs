//! A file on its way into the store, a part at a time. Nothing of it is there before all of it is.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, MultipartUpload, ObjectStoreExt};
use weeziq_core::files::FileKey;

use super::Files;

pub(crate) struct Writing<'a> {
    files: &'a Files,
    path: Path,
    /// Less than a part.
    gathered: Vec<u8>,
    /// None while all of it may fit into one request.
    parts: Option<Box<dyn MultipartUpload>>,
}

impl<'a> Writing<'a> {
    pub(crate) fn new(files: &'a Files, key: &FileKey) -> Self {
        Self { files, path: files.path(key), gathered: Vec::new(), parts: None }
    }

    /// Returns when the store has taken what it was given, so that a fast sender waits for a slow store.
    pub(crate) async fn write(&mut self, mut chunk: &[u8]) -> Result<(), Error> {
        while !chunk.is_empty() {
            if self.gathered.len() == self.files.part_bytes {
                self.send_part().await?;
            }
            // Of exactly that size: R2 wants all parts but the last to be equal.
            let fits = chunk.len().min(self.files.part_bytes - self.gathered.len());
            let (now, later) = chunk.split_at(fits);
            self.gathered.extend_from_slice(now);
            chunk = later;
        }
        Ok(())
    }

    async fn send_part(&mut self) -> Result<(), Error> {
        let part = Bytes::from(std::mem::take(&mut self.gathered));
        if self.parts.is_none() {
            self.parts = Some(self.files.store.put_multipart(&self.path).await?);
        }
        match &mut self.parts {
            Some(parts) => parts.put_part(part.into()).await,
            None => Ok(()),
        }
    }

    pub(crate) async fn complete(&mut self) -> Result<(), Error> {
        if self.parts.is_some() {
            self.send_part().await?;
        }
        match &mut self.parts {
            Some(parts) => parts.complete().await.map(|_| ()),
            None => {
                let whole = Bytes::from(std::mem::take(&mut self.gathered));
                self.files.store.put(&self.path, whole.into()).await.map(|_| ())
            }
        }
    }

    /// Of one that came to nothing: what was written goes.
    pub(crate) async fn abort(mut self) {
        if let Some(mut parts) = self.parts.take()
            && let Err(error) = parts.abort().await
        {
            tracing::warn!(%error, "an upload that was given up may have left parts in the bucket");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::ObjectStore;
    use object_store::local::LocalFileSystem;

    use weeziq_core::files::Rules;
    use weeziq_core::files::types::Types;

    use super::super::Places;
    use super::*;

    fn names(folder: &std::path::Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).map(|entries| entries.flatten().collect::<Vec<_>>());
        entries
            .unwrap_or_default()
            .iter()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    fn files(
        name: &str,
        part_bytes: usize,
    ) -> Result<(Files, std::path::PathBuf), Box<dyn std::error::Error>> {
        let folder = std::env::temp_dir().join(format!("weeziq-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let store: Arc<dyn ObjectStore> =
            Arc::new(LocalFileSystem::new_with_prefix(&folder)?.with_fsync(true));
        let (places, sweep) = (Places::new(1), tokio::sync::Notify::new());
        let rules = Rules { bytes_max: 100, types: Types::default() };
        let files = Files { store, prefix: Path::default(), part_bytes, rules, unused_s: 1, places, sweep };
        Ok((files, folder))
    }

    #[tokio::test]
    async fn parts_join_up_to_what_came() -> Result<(), Box<dyn std::error::Error>> {
        let (files, folder) = files("parts", 10)?;
        for (n, len) in [0, 9, 10, 11, 20, 35].into_iter().enumerate() {
            let key = FileKey::from_entropy(n as u64, 1);
            let bytes: Vec<u8> = (0..len).collect();
            let mut writing = Writing::new(&files, &key);
            for chunk in bytes.chunks(7) {
                writing.write(chunk).await?;
            }
            assert!(!names(&folder).contains(&key.as_str().to_owned()), "not before it is whole");
            writing.complete().await?;
            assert_eq!(std::fs::read(folder.join(key.as_str()))?, bytes);
        }
        std::fs::remove_dir_all(folder)?;
        Ok(())
    }

    #[tokio::test]
    async fn one_that_is_given_up_leaves_nothing() -> Result<(), Box<dyn std::error::Error>> {
        let (files, folder) = files("given-up", 10)?;
        let mut writing = Writing::new(&files, &FileKey::from_entropy(1, 1));
        writing.write(&[1; 25]).await?;
        assert_eq!(names(&folder).len(), 1, "it is under way");
        writing.abort().await;
        assert_eq!(names(&folder), Vec::<String>::new());
        std::fs::remove_dir_all(folder)?;
        Ok(())
    }
}
