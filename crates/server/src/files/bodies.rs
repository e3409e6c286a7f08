//! How long the bytes of an upload are waited for.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::time::{Instant, timeout, timeout_at};
use weeziq_core::files::Upload;
use weeziq_core::limits::{UPLOAD_MS_MAX, UPLOAD_SILENCE_MS_MAX};
use weeziq_core::protocol::error::ClientError;
use weeziq_upload::too_slow;

pub(crate) struct Source {
    bytes: weeziq_upload::Source,
    /// When it is given up, whatever still comes.
    deadline: Instant,
}

const SILENCE: Duration = Duration::from_millis(UPLOAD_SILENCE_MS_MAX as u64);
const DRAIN_WITHIN: Duration = Duration::from_secs(10);

impl Source {
    pub(crate) fn new(body: Body) -> Self {
        let body = body.into_data_stream().map_err(|error| error.to_string());
        let deadline = Instant::now() + Duration::from_millis(UPLOAD_MS_MAX as u64);
        Self { bytes: weeziq_upload::Source::new(body), deadline }
    }

    pub(crate) async fn find_file(&mut self, upload: &mut Upload, bytes_max: u64) -> Result<(), ClientError> {
        let found = timeout(SILENCE, self.bytes.find_file(upload, bytes_max)).await;
        found.unwrap_or_else(|_| Err(self.give_up()))
    }

    /// None at the end of the file.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let until = self.deadline.min(Instant::now() + SILENCE);
        let next = timeout_at(until, self.bytes.read()).await;
        next.unwrap_or_else(|_| Err(self.give_up()))
    }

    fn give_up(&mut self) -> ClientError {
        self.bytes.give_up();
        too_slow()
    }

    /// Reads what is left, so that the answer is heard.
    pub(crate) async fn drain(self) {
        let _ = timeout(DRAIN_WITHIN, self.bytes.drain()).await; // whoever is slower misses the answer
    }
}
