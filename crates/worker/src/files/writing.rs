//! A file on its way into R2: in one request if it is small, else a part at a time. Nothing of it is there before all of it is.

use std::collections::HashMap;

use weeziq_core::files::{FileKey, Looks, Receiving, Seen, Upload};
use worker::{Bucket, HttpMetadata, MultipartUpload, Result, UploadedPart, console_error};

pub(super) struct Writing {
    bucket: Bucket,
    key: FileKey,
    upload: Upload,
    /// Less than a part.
    gathered: Vec<u8>,
    parts: Option<Parts>,
}

struct Parts {
    upload: MultipartUpload,
    taken: Vec<UploadedPart>,
}

/// R2's least, save for the last part; all but that one have to be equal.
const PART_BYTES: usize = 5 * 1024 * 1024;

impl Writing {
    pub(super) fn new(bucket: Bucket, key: FileKey, upload: Upload) -> Self {
        Self { bucket, key, upload, gathered: Vec::new(), parts: None }
    }

    /// Returns when R2 has taken what it was given, so that a fast sender waits for it. `seen`: what has come so far.
    pub(super) async fn write(&mut self, mut piece: &[u8], seen: &Receiving<'_>) -> Result<()> {
        while !piece.is_empty() {
            if self.gathered.len() == PART_BYTES {
                self.send_part(seen).await?;
            }
            let (now, later) = piece.split_at(piece.len().min(PART_BYTES - self.gathered.len()));
            self.gathered.extend_from_slice(now);
            piece = later;
        }
        Ok(())
    }

    async fn send_part(&mut self, seen: &Receiving<'_>) -> Result<()> {
        if self.parts.is_none() {
            let looks = seen.looks();
            let begun = self.bucket.create_multipart_upload(self.key.as_str());
            let begun = begun.http_metadata(kind(&looks)).custom_metadata(self.known(&looks, None));
            self.parts = Some(Parts { upload: begun.execute().await?, taken: Vec::new() });
        }
        self.send_gathered().await
    }

    async fn send_gathered(&mut self) -> Result<()> {
        let Some(parts) = &mut self.parts else { return Ok(()) };
        let number = parts.taken.len() as u16 + 1;
        let part = parts.upload.upload_part(number, std::mem::take(&mut self.gathered)).await?;
        parts.taken.push(part);
        Ok(())
    }

    pub(super) async fn complete(&mut self, seen: &Seen) -> Result<()> {
        self.send_gathered().await?;
        if let Some(parts) = self.parts.take() {
            parts.upload.complete(parts.taken).await?;
            return Ok(());
        }
        let known = self.known(&seen.looks, Some(&seen.sha256));
        let whole = self.bucket.put(self.key.as_str(), std::mem::take(&mut self.gathered));
        // R2 holds what arrives against it.
        let whole =
            whole.sha256(bytes_of(&seen.sha256)).http_metadata(kind(&seen.looks)).custom_metadata(known);
        whole.execute().await.map(|_| ())
    }

    /// Of one that came to nothing. One that nobody aborts, R2 forgets after a week.
    pub(super) async fn abort(mut self) {
        if let Some(parts) = self.parts.take()
            && let Err(error) = parts.upload.abort().await
        {
            console_error!("an upload that was given up could not be aborted: {error}");
        }
    }

    fn known(&self, looks: &Looks, sha256: Option<&str>) -> HashMap<String, String> {
        let Upload { name, room, domain, user, .. } = &self.upload;
        let text = |text: &str| text.to_owned();
        let known = [
            ("name", name.as_deref().map(text)),
            ("roomId", room.as_ref().map(|room| text(room.as_str()))),
            ("domainId", domain.as_ref().map(|domain| text(domain.as_str()))),
            ("userId", user.as_ref().map(|user| text(user.as_str()))),
            ("sha256", sha256.map(text)),
            ("width", looks.width.map(|width| width.to_string())),
            ("height", looks.height.map(|height| height.to_string())),
        ];
        known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

fn kind(looks: &Looks) -> HttpMetadata {
    HttpMetadata { content_type: Some(looks.content_type.clone().into_owned()), ..HttpMetadata::default() }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits.filter_map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect()
}
