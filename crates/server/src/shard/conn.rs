//! A connection that a shard owns: a WebSocket, one that may become one, or the event queue of one HTTP request.
//!
//! An idle one holds no buffer: what it sends is read into the shard's own buffer, and what it is sent is written
//! from the room's. It keeps bytes only while a frame is cut in the middle, or while its peer does not read.

use std::io::{ErrorKind, Read, Write};
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use weeziq_core::limits::{PING_EVERY_MS, QUEUE_BYTES_MAX};
use weeziq_core::protocol::event::Event;
use weeziq_core::rooms::Farewell;
use weeziq_core::session::Session;
use weeziq_core::time::UnixMs;

use super::arrivals::Arrived;
use super::audience::Frames;
use super::backlog::Backlog;
use super::dialect::Dialect;
use super::engine::Engine;
use super::stream::Stream;
use crate::metrics::count;
use crate::socketio;
use crate::websocket::frame::{CloseCode, Fragments, write_close, write_ping, write_pong};

pub(crate) struct Conn {
    /// Tells this connection from an earlier one in the same slot.
    pub(super) generation: u32,
    pub(super) session: Session,
    pub(super) address: Option<IpAddr>,
    pub(super) user_agent: Option<Arc<str>>,
    pub(super) link: Link,
    /// Where it sits in the rooms of this shard: (room's slot, seat).
    pub(super) seats: Vec<(u32, u32)>,
    pub(super) is_dirty: bool,
    /// What else there is to know if it speaks Socket.IO.
    pub(super) engine: Option<Box<Engine>>,
}

pub(super) enum Link {
    Socket(Socket),
    Request(mpsc::Sender<Event>),
    Arrived(Box<Arrived>),
    /// It is on its way to where it belongs.
    Gone,
}

pub(super) struct Socket {
    pub(super) stream: Stream,
    pub(super) heard_at: UnixMs,
    pinged_at: UnixMs,
    /// The beginning of a frame whose rest has not come.
    pub(super) partial: Vec<u8>,
    pub(super) fragments: Fragments,
    pub(super) settled: bool,
    pub(super) state: State,
    /// Whole frames of this turn, for the peer alone.
    fresh: Vec<u8>,
    /// Where the last of them ends that its owner asked for, however large: histories, replays, statistics.
    asked_end: usize,
    /// What the peer has not read of earlier turns.
    backlog: Option<Box<Backlog>>,
    /// A large reply is on its way; what the peer says next waits for it.
    awaits_reply: bool,
    /// Something was left unread.
    is_paused: bool,
    /// It has said where it stands, and is to hear whether it goes on from there.
    pub(super) is_resuming: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// Our close frame is under way or sent. What still comes is read and dropped, since closing over unread bytes
    /// would cut the peer off before it saw why.
    Closing {
        until: UnixMs,
    },
}

/// How long a peer may take to read a close frame and hang up.
pub(super) const CLOSE_MS_MAX: i64 = 5_000;

const TOO_SLOW: &str = "you do not read fast enough; reconnect and resume";

/// What a frame is to its receiver.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// Must arrive, or the connection ends.
    Durable,
    /// May be dropped for someone who does not keep up.
    Volatile,
    /// Asked for, however large.
    Exempt,
}

/// What a read brought.
pub(super) enum Heard {
    Bytes(usize),
    Nothing,
    Gone,
}

impl Conn {
    pub(super) fn closing_until(&self) -> Option<UnixMs> {
        match &self.link {
            Link::Socket(Socket { state: State::Closing { until }, .. }) => Some(*until),
            _ => None,
        }
    }
}

impl Socket {
    pub(super) fn new(stream: Stream, settled: bool, now: UnixMs) -> Self {
        Self {
            stream,
            heard_at: now,
            pinged_at: now,
            partial: Vec::new(),
            fragments: Fragments::default(),
            settled,
            state: State::Open,
            fresh: Vec::new(),
            asked_end: 0,
            backlog: None,
            awaits_reply: false,
            is_paused: false,
            is_resuming: false,
        }
    }

    pub(super) fn read(&mut self, into: &mut [u8]) -> Heard {
        loop {
            return match self.stream.read(into) {
                Ok(0) => Heard::Gone,
                Ok(len) => Heard::Bytes(len),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => Heard::Nothing,
                Err(_) => Heard::Gone,
            };
        }
    }

    /// Queues whole frames. True if the peer turned out to be too slow and is told so instead.
    pub(super) fn push(&mut self, frames: &[u8], weight: Weight, now: UnixMs) -> bool {
        if self.state != State::Open {
            return false;
        }
        if self.backlog.is_some() {
            return self.put_off(Bytes::copy_from_slice(frames), weight, now);
        }
        self.fresh.extend_from_slice(frames);
        if weight == Weight::Exempt {
            self.asked_end = self.fresh.len();
        }
        false
    }

    fn put_off(&mut self, frames: Bytes, weight: Weight, now: UnixMs) -> bool {
        let is_too_slow = self.backlog.as_mut().is_some_and(|backlog| !backlog.push(frames, weight));
        if is_too_slow {
            self.close(CloseCode::TOO_SLOW, TOO_SLOW, now);
        }
        is_too_slow
    }

    pub(super) fn push_pong(&mut self, payload: &[u8], now: UnixMs) {
        let mut frame = Vec::with_capacity(payload.len() + 2);
        write_pong(payload, &mut frame);
        self.push(&frame, Weight::Volatile, now);
    }

    pub(super) fn ping_if_due(&mut self, dialect: Dialect, now: UnixMs) -> bool {
        if self.state != State::Open || now.since(self.pinged_at) < PING_EVERY_MS {
            return false;
        }
        self.pinged_at = now;
        let mut frame = Vec::with_capacity(3);
        match dialect {
            Dialect::Plain => write_ping(&mut frame),
            Dialect::SocketIo => socketio::write_packet(socketio::PING, &mut frame),
        }
        self.push(&frame, Weight::Volatile, now);
        true
    }

    /// Queues what a room has said. True as with [`Socket::push`].
    pub(super) fn push_parts(&mut self, frames: Frames<'_>, now: UnixMs) -> bool {
        if self.state != State::Open {
            return false;
        }
        if self.backlog.is_none() {
            return self.push(frames.bytes, Weight::Durable, now);
        }
        frames.parts().any(|(part, weight)| !part.is_empty() && self.put_off(frames.share(part), weight, now))
    }

    /// Writes frames that all members of a room share, past the queue if nothing is in it.
    /// True as with [`Socket::push`].
    pub(super) fn push_shared(&mut self, frames: Frames<'_>, now: UnixMs) -> Result<bool, Farewell> {
        if self.state != State::Open || self.has_queue() {
            return Ok(self.push_parts(frames, now));
        }
        let written = self.write_some(frames.bytes)?;
        if written < frames.bytes.len() {
            let all = 0..frames.bytes.len();
            self.block(&frames.share(all), written, 0, now);
        }
        Ok(false)
    }

    fn block(&mut self, frames: &Bytes, written: usize, asked_end: usize, now: UnixMs) {
        let mut backlog = Backlog::new(now);
        backlog.begin(frames, written, asked_end);
        self.backlog = Some(Box::new(backlog));
    }

    /// Writes what is queued, as far as the peer takes it.
    pub(super) fn flush(&mut self, now: UnixMs) -> Result<(), Farewell> {
        self.flush_queue(now)?;
        self.stream.flush().map_err(|_| Farewell::Died)?;
        // A polling client that has heard its goodbye has nothing to hang up.
        let is_over = self.state != State::Open && !self.has_queue() && self.stream.is_drained();
        if is_over { Err(Farewell::Died) } else { Ok(()) }
    }

    fn flush_queue(&mut self, now: UnixMs) -> Result<(), Farewell> {
        if let Some(backlog) = &mut self.backlog {
            if !backlog.write(&mut self.stream).map_err(|_| Farewell::Died)? {
                return Ok(());
            }
            self.backlog = None;
        }
        // An idle connection holds no buffer.
        let fresh = std::mem::take(&mut self.fresh);
        let asked_end = std::mem::take(&mut self.asked_end);
        let written = self.write_some(&fresh)?;
        if written < fresh.len() {
            self.block(&fresh.into(), written, asked_end, now);
            return Ok(());
        }
        if self.state != State::Open {
            self.stream.shutdown();
        }
        Ok(())
    }

    fn write_some(&mut self, bytes: &[u8]) -> Result<usize, Farewell> {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(0) => return Err(Farewell::Died),
                Ok(len) => written += len,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Err(Farewell::Died),
            }
        }
        Ok(written)
    }

    /// Says goodbye after the frame that is under way; the rest of the queue is dropped if the peer does not read.
    pub(super) fn close(&mut self, code: CloseCode, reason: &str, now: UnixMs) {
        if self.state != State::Open {
            return;
        }
        count(|counters| counters.closed.one(code.as_str()));
        match &mut self.backlog {
            None => write_close(code, reason, &mut self.fresh),
            Some(backlog) => {
                let mut frame = Vec::new();
                write_close(code, reason, &mut frame);
                backlog.truncate();
                backlog.push(frame.into(), Weight::Exempt);
            }
        }
        self.state = State::Closing { until: now.plus(CLOSE_MS_MAX) };
        self.partial = Vec::new();
    }

    /// Whether the peer may be listened to. One that asks without reading the answers is not, until it has read: so
    /// no peer can make more than one large reply wait in memory.
    pub(super) fn may_speak(&mut self) -> bool {
        let has_read = self.unread_bytes() <= QUEUE_BYTES_MAX || self.stream.must_be_heard();
        let may = !self.awaits_reply && has_read;
        self.is_paused |= !may;
        may
    }

    pub(super) fn await_reply(&mut self) {
        self.awaits_reply = true;
        self.is_paused = true;
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    pub(super) fn has_reply(&mut self) {
        self.awaits_reply = false;
    }

    /// True once when a peer that was not listened to may speak again.
    pub(super) fn resumes(&mut self) -> bool {
        self.is_paused && self.may_speak() && std::mem::take(&mut self.is_paused)
    }

    /// Goes on over another stream, which `unread` came from. What was queued stays, and leaves over the new one.
    pub(super) fn upgrade(&mut self, offered: Self, unread: &[u8], now: UnixMs) {
        if let Some(polling) = self.stream.polling() {
            // A request that waits ends empty; if its client is gone, so is what it would have been told.
            let _ = polling.let_go();
            let ready = polling.take_answer();
            if !ready.is_empty() {
                self.backlog.get_or_insert_with(|| Box::new(Backlog::new(now))).begin_with(ready.into());
            }
        }
        self.stream = offered.stream;
        self.fragments = offered.fragments;
        self.partial = unread.to_vec();
        self.heard_at = now;
    }

    pub(super) fn is_behind(&self) -> bool {
        self.backlog.is_some()
    }

    pub(super) fn has_queue(&self) -> bool {
        self.backlog.is_some() || !self.fresh.is_empty()
    }

    /// What it has not taken, as the system's own buffers are full.
    pub(super) fn unread_bytes(&self) -> usize {
        self.fresh.len() + self.backlog.as_ref().map_or(0, |backlog| backlog.unread_bytes())
    }

    /// What it has asked for and does not read.
    pub(super) fn asked_bytes(&self) -> usize {
        self.asked_end + self.backlog.as_ref().map_or(0, |backlog| backlog.asked_bytes())
    }

    /// Lets go of a peer that takes what it asked for too slowly. True if so.
    pub(super) fn is_out_of_pace(&mut self, now: UnixMs) -> bool {
        let is_too_slow = self.state == State::Open
            && self.backlog.as_mut().is_some_and(|backlog| backlog.is_too_slow(now));
        if is_too_slow {
            self.close(CloseCode::TOO_SLOW, TOO_SLOW, now);
        }
        is_too_slow
    }
}
