//! Where a connection's frames go: a TCP stream, or the answers to a polling client's requests.
//!
//! Polling is a stream whose peer reads with each request, and which blocks when too much waits for the next one.
//! Queueing, its limits and the order of things are then the same as for a WebSocket, and an upgrade is another stream
//! under the same queue.

use std::io::{Error, ErrorKind, IoSlice, Read, Result, Write};
use std::net::Shutdown;

use mio::net::TcpStream;
use tokio::sync::oneshot;
use weeziq_core::limits::POLLED_BYTES_MAX;
use weeziq_core::rooms::Farewell;

use crate::socketio::{self, EngineError, SEPARATOR};
use crate::websocket::frame::{boundary_after, packets};

pub(super) enum Stream {
    Tcp(TcpStream),
    Polling(Box<Polling>),
}

/// How a request of a polling client is answered.
pub(crate) type Answer = oneshot::Sender<std::result::Result<String, EngineError>>;

#[derive(Default)]
pub(super) struct Polling {
    /// The request that waits for something to be said.
    waiting: Option<Answer>,
    /// What it, or the next one, will be answered with: whole frames.
    answer: Vec<u8>,
    /// What the client has posted, as far as it was not heard yet, and the request to be answered then.
    pub(super) posted: Option<Posted>,
    /// A WebSocket offers itself: no request is kept waiting, so that the client can stop asking.
    pub(super) is_probed: bool,
}

pub(super) struct Posted {
    packets: String,
    heard: usize,
    answer: Answer,
}

impl Posted {
    pub(super) fn new(packets: String, answer: Answer) -> Self {
        Self { packets, heard: 0, answer }
    }

    fn next(&mut self) -> Option<String> {
        let rest = self.packets.get(self.heard..)?;
        let packet = rest.split(SEPARATOR).next()?;
        self.heard += packet.len() + SEPARATOR.len_utf8();
        Some(packet.to_owned())
    }
}

impl Polling {
    /// Whether a request waits already; then this one is one too many.
    pub(super) fn is_asked(&self) -> bool {
        self.waiting.is_some()
    }

    /// Answers with what is ready, now or later.
    pub(super) fn ask(&mut self, answer: Answer) -> Result<()> {
        self.waiting = Some(answer);
        self.flush()
    }

    /// What no request has come for.
    pub(super) fn take_answer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.answer)
    }

    /// Ends the request that waits, with nothing to say.
    pub(super) fn let_go(&mut self) -> Result<()> {
        if self.waiting.is_some() && self.answer.is_empty() {
            socketio::write_packet(socketio::NOOP, &mut self.answer);
        }
        self.flush()
    }

    /// Whether nobody waits for the request that waits.
    pub(super) fn is_given_up(&self) -> bool {
        self.waiting.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    pub(super) fn answer_post(&mut self, answer: std::result::Result<String, EngineError>) {
        if let Some(posted) = self.posted.take() {
            // Who asked and did not wait needs no answer; here and below.
            let _ = posted.answer.send(answer);
        }
    }

    /// Lets the request that waits know that the session is over: a client that said so itself has heard enough.
    pub(super) fn end(&mut self, how: Farewell) {
        if let Some(waiting) = self.waiting.take() {
            let last = if how == Farewell::Clean { socketio::NOOP } else { socketio::CLOSE };
            let _ = waiting.send(Ok(last.into()));
        }
    }

    /// A request whose packets have all been heard is over, though their replies may still be on their way.
    pub(super) fn answer_if_heard(&mut self) {
        if self.posted.as_ref().is_some_and(|posted| posted.heard > posted.packets.len()) {
            self.answer_post(Ok("ok".into()));
        }
    }

    /// The next packet of what was posted. After the last one its request is answered.
    pub(super) fn next_packet(&mut self) -> Option<String> {
        let packet = self.posted.as_mut()?.next();
        if packet.is_none() {
            self.answer_post(Ok("ok".into()));
        }
        packet
    }

    fn flush(&mut self) -> Result<()> {
        if self.answer.is_empty() || self.waiting.is_none() {
            return Ok(());
        }
        let frames = self.take_answer();
        let mut body = String::with_capacity(frames.len());
        for packet in packets(&frames) {
            if !body.is_empty() {
                body.push(SEPARATOR);
            }
            body.push_str(packet.unwrap_or(socketio::CLOSE));
        }
        let sent = self.waiting.take().map(|waiting| waiting.send(Ok(body)));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    /// Takes whole frames, as many as may be ready at a time; one at least if there is any room.
    fn write(&mut self, frames: &[u8]) -> Result<usize> {
        if self.is_given_up() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let room = POLLED_BYTES_MAX.saturating_sub(self.answer.len());
        if room == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let taken = if frames.len() <= room { frames.len() } else { boundary_after(frames, room) };
        self.answer.extend_from_slice(frames.get(..taken).unwrap_or_default());
        Ok(taken)
    }
}

impl Drop for Polling {
    /// The session is over; so are its requests.
    fn drop(&mut self) {
        let posted = self.posted.take().map(|posted| posted.answer);
        for answer in self.waiting.take().into_iter().chain(posted) {
            let _ = answer.send(Err(EngineError::UnknownSession));
        }
    }
}

impl Stream {
    pub(super) fn shutdown(&self) {
        if let Self::Tcp(stream) = self {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    pub(super) fn polling(&mut self) -> Option<&mut Polling> {
        match self {
            Self::Tcp(_) => None,
            Self::Polling(polling) => Some(polling),
        }
    }

    /// Whether its client asks for nothing more before what it has posted is taken: one that changes its transport.
    pub(super) fn must_be_heard(&self) -> bool {
        matches!(self, Self::Polling(polling) if polling.is_probed)
    }

    /// Whether it is one that nothing more has to be taken from.
    pub(super) fn is_drained(&self) -> bool {
        matches!(self, Self::Polling(polling) if polling.answer.is_empty())
    }

    pub(super) fn is_polling(&self) -> bool {
        matches!(self, Self::Polling(_))
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Polling(_) => Err(Error::from(ErrorKind::WouldBlock)),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Polling(polling) => polling.write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(slices),
            Self::Polling(polling) => {
                // The first alone: what begins and ends with a frame is known of each, not of all together.
                let first = slices.iter().find(|slice| !slice.is_empty());
                first.map_or(Ok(0), |slice| polling.write(slice))
            }
        }
    }

    /// A polling client's request is answered here, with all that was written before.
    fn flush(&mut self) -> Result<()> {
        match self {
            Self::Tcp(_) => Ok(()),
            Self::Polling(polling) => polling.flush(),
        }
    }
}
