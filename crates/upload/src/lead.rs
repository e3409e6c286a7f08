//! Bounds on what a parser of forms keeps: it takes all that is there before it looks at any of it, and a header until its end has
//! come, however long that is.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};

/// How many bytes may still come. One task reads and lifts it, so no order of memory is asked for.
pub(crate) struct Lead(AtomicU64);

impl Lead {
    pub(crate) fn of(bytes: u64) -> Self {
        Self(AtomicU64::new(bytes))
    }

    pub(crate) fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    /// What comes now is the file's, whose bytes are counted elsewhere.
    pub(crate) fn lift(&self) {
        self.set(u64::MAX);
    }

    fn take(&self, bytes: usize) {
        let left = self.0.load(Ordering::Relaxed);
        if left != u64::MAX {
            self.set(left.saturating_sub(bytes as u64));
        }
    }

    fn is_used_up(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

#[derive(Debug)]
pub(crate) enum Cut {
    TooLong(TooLong),
    Broken(String),
}

#[derive(Debug)]
pub(crate) struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too much before the file")
    }
}

impl std::error::Error for TooLong {}

impl From<Cut> for Box<dyn std::error::Error + Send + Sync> {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::TooLong(error) => error.into(),
            Cut::Broken(why) => why.into(),
        }
    }
}

/// The body, a piece at a time: a parser of forms takes whatever is there before it looks at any of it.
pub(crate) struct Bounded {
    body: BoxStream<'static, Result<Bytes, String>>,
    lead: Arc<Lead>,
    has_given: bool,
}

impl Bounded {
    pub(crate) fn new(body: BoxStream<'static, Result<Bytes, String>>, lead: Arc<Lead>) -> Self {
        Self { body, lead, has_given: false }
    }
}

impl Stream for Bounded {
    type Item = Result<Bytes, Cut>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.has_given) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.lead.is_used_up() {
            return Poll::Ready(Some(Err(Cut::TooLong(TooLong))));
        }
        let piece = std::task::ready!(self.body.poll_next_unpin(cx));
        if let Some(Ok(bytes)) = &piece {
            self.lead.take(bytes.len());
            self.has_given = true;
        }
        Poll::Ready(piece.map(|piece| piece.map_err(Cut::Broken)))
    }
}
