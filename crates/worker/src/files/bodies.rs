//! How long the bytes of an upload are waited for.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::{Stream, StreamExt};
use weeziq_core::files::Upload;
use weeziq_core::limits::{UPLOAD_MS_MAX, UPLOAD_SILENCE_MS_MAX};
use weeziq_core::protocol::error::ClientError;
use weeziq_upload::too_slow;
use worker::send::SendWrapper;
use worker::{ByteStream, Delay, Request};

use crate::clock::Clock;

pub(super) struct Source {
    bytes: weeziq_upload::Source,
    clock: Clock,
    began_at: i64,
}

const SILENCE: Duration = Duration::from_millis(UPLOAD_SILENCE_MS_MAX as u64);
const DRAIN_WITHIN: Duration = Duration::from_secs(10);

impl Source {
    pub(super) fn new(request: &mut Request) -> Self {
        let clock = Clock::default();
        let began_at = clock.now().0;
        // A request with an empty body has no stream.
        let body = request.stream().map(|stream| Body(SendWrapper::new(stream)));
        let bytes = body.map_or_else(|_| weeziq_upload::Source::empty(), weeziq_upload::Source::new);
        Self { bytes, clock, began_at }
    }

    pub(super) async fn find_file(&mut self, upload: &mut Upload, bytes_max: u64) -> Result<(), ClientError> {
        let found = within(SILENCE, self.bytes.find_file(upload, bytes_max)).await;
        found.unwrap_or_else(|| Err(self.give_up()))
    }

    /// None at the end of the file.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        if self.clock.now().0 - self.began_at > UPLOAD_MS_MAX {
            return Err(self.give_up());
        }
        let next = within(SILENCE, self.bytes.read()).await;
        next.unwrap_or_else(|| Err(self.give_up()))
    }

    fn give_up(&mut self) -> ClientError {
        self.bytes.give_up();
        too_slow()
    }

    /// Reads what is left, so that the answer is heard.
    pub(super) async fn drain(self) {
        within(DRAIN_WITHIN, self.bytes.drain()).await; // whoever is slower misses the answer
    }
}

async fn within<T>(patience: Duration, doing: impl Future<Output = T>) -> Option<T> {
    match select(pin!(doing), pin!(Delay::from(patience))).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

/// A body in the shape that a parser for any platform asks for: this one has a single thread.
struct Body(SendWrapper<ByteStream>);

impl Stream for Body {
    type Item = Result<Bytes, String>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = self.0.0.poll_next_unpin(cx);
        piece.map_ok(Bytes::from).map_err(|error| error.to_string())
    }
}
