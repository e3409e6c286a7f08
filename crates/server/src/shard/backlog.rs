//! What a peer has not read yet: bounded, in order, and shared with the others who did not read it either, so that a
//! thousand who stall in one room cost little more than one.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, Write};

use bytes::Bytes;
use weeziq_core::limits::{QUEUE_BYTES_MAX, QUEUE_FRAMES_MAX};
use weeziq_core::time::UnixMs;

use super::conn::Weight;
use crate::metrics;
use crate::websocket::frame::{boundary_after, count};

/// Of a peer whose socket takes no more.
#[derive(Default)]
pub(super) struct Backlog {
    chunks: VecDeque<Chunk>,
    /// How much of the first chunk is on its way.
    written: usize,
    /// What counts against the limits, and what does not because its owner asked for it.
    counted_bytes: usize,
    counted_frames: usize,
    asked_bytes: usize,
    /// What it has taken since its pace was last looked at, and when that was.
    taken_bytes: usize,
    looked_at: UnixMs,
}

/// Whole frames.
struct Chunk {
    bytes: Bytes,
    /// How many of them count; none if their owner asked for them.
    frames: usize,
}

/// A peer that owes us the reading of what it asked for has to take this much in each window, or it is too slow.
const PACE_WINDOW_MS: i64 = 10_000;
const PACE_BYTES_MIN: usize = 160 * 1024;
/// So many chunks in one call.
const SLICES_MAX: usize = 64;

impl Backlog {
    pub(super) fn new(now: UnixMs) -> Self {
        Self { looked_at: now, ..Self::default() }
    }

    /// Whole frames, of which the first `written` bytes are on their way, and of which those before `asked_end` were
    /// asked for.
    pub(super) fn begin(&mut self, bytes: &Bytes, written: usize, asked_end: usize) {
        let asked = bytes.slice(..asked_end);
        let counted = bytes.slice(asked_end..);
        self.keep(asked, true);
        self.keep(counted, false);
        self.advance(written);
    }

    /// Puts in front what was about to leave over another stream, and counted against nothing there. No frame of what is
    /// queued is half on its way.
    pub(super) fn begin_with(&mut self, frames: Bytes) {
        let written = std::mem::take(&mut self.written);
        if let Some(first) = self.chunks.front_mut() {
            first.bytes = first.bytes.slice(written..);
        }
        self.asked_bytes += frames.len();
        self.chunks.push_front(Chunk { bytes: frames, frames: 0 });
    }

    /// False if a peer has to be let go, because what must reach it does not fit any more.
    pub(super) fn push(&mut self, bytes: Bytes, weight: Weight) -> bool {
        let frames = count(&bytes);
        let fits = |share| {
            self.counted_bytes + bytes.len() <= QUEUE_BYTES_MAX / share
                && self.counted_frames + frames <= QUEUE_FRAMES_MAX / share
        };
        match weight {
            Weight::Exempt => {
                // What stands before it has to be read first, so it counts no more either.
                self.chunks.iter_mut().for_each(|chunk| chunk.frames = 0);
                self.asked_bytes += std::mem::take(&mut self.counted_bytes);
                self.counted_frames = 0;
                self.keep(bytes, true);
            }
            // Half of the room is kept for what must not be dropped.
            Weight::Volatile if !fits(2) => {
                metrics::count(|counters| counters.dropped.add("slow-reader", frames as u64));
            }
            Weight::Durable if !fits(1) => return false,
            Weight::Volatile | Weight::Durable => self.keep(bytes, false),
        }
        true
    }

    fn keep(&mut self, bytes: Bytes, is_asked: bool) {
        if bytes.is_empty() {
            return;
        }
        let frames = if is_asked { 0 } else { count(&bytes) };
        if is_asked {
            self.asked_bytes += bytes.len();
        } else {
            self.counted_bytes += bytes.len();
            self.counted_frames += frames;
        }
        self.chunks.push_back(Chunk { bytes, frames });
    }

    /// Writes as far as the peer takes it. True if nothing is left.
    pub(super) fn write(&mut self, stream: &mut impl Write) -> std::io::Result<bool> {
        while !self.chunks.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut from = self.written;
            let mut len = 0;
            for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
                *slice = IoSlice::new(chunk.bytes.get(from..).unwrap_or_default());
                (from, len) = (0, len + 1);
            }
            match stream.write_vectored(slices.get(..len).unwrap_or_default()) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn advance(&mut self, mut written: usize) {
        self.taken_bytes += written;
        while let Some(first) = self.chunks.front() {
            let rest = first.bytes.len() - self.written;
            let (step, frames) = (rest.min(written), first.frames);
            if frames == 0 {
                self.asked_bytes -= step;
            } else {
                self.counted_bytes -= step;
            }
            written -= step;
            if step < rest {
                self.written += step;
                return;
            }
            self.counted_frames -= frames;
            self.chunks.pop_front();
            self.written = 0;
        }
    }

    /// Drops all behind the frame that is on its way, so that something else can be said next.
    pub(super) fn truncate(&mut self) {
        let first = self.chunks.front().filter(|_| self.written > 0).map(|chunk| {
            let end = boundary_after(&chunk.bytes, self.written);
            chunk.bytes.slice(..end)
        });
        self.chunks.clear();
        (self.counted_bytes, self.counted_frames, self.asked_bytes) = (0, 0, 0);
        let written = std::mem::take(&mut self.written);
        if let Some(first) = first {
            self.keep(first, true);
            self.advance(written);
        }
    }

    pub(super) fn unread_bytes(&self) -> usize {
        self.counted_bytes + self.asked_bytes
    }

    /// What waits though it counts against no limit.
    pub(super) fn asked_bytes(&self) -> usize {
        self.asked_bytes
    }

    /// To be asked now and then: whether it takes what it asked for so slowly that it only costs memory.
    pub(super) fn is_too_slow(&mut self, now: UnixMs) -> bool {
        if now.since(self.looked_at) < PACE_WINDOW_MS {
            return false;
        }
        self.looked_at = now;
        std::mem::take(&mut self.taken_bytes) < PACE_BYTES_MIN && self.asked_bytes > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::frame::write_text;

    fn frame(len: usize) -> Bytes {
        let mut frame = Vec::new();
        write_text(&vec![b'x'; len], &mut frame);
        frame.into()
    }

    /// Takes so many bytes at each call, then blocks.
    struct Sips(Vec<usize>, Vec<u8>);

    impl Write for Sips {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let Some(most) = self.0.pop() else { return Err(ErrorKind::WouldBlock.into()) };
            let taken = bytes.get(..most.min(bytes.len())).unwrap_or_default();
            self.1.extend_from_slice(taken);
            Ok(taken.len())
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> std::io::Result<usize> {
            self.write(&slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<u8>>())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn is_bounded_in_bytes_and_in_frames() {
        let mut backlog = Backlog::default();
        let mut pushed = 0;
        while backlog.push(frame(60_000), Weight::Durable) {
            pushed += 1;
        }
        assert_eq!(pushed, QUEUE_BYTES_MAX / frame(60_000).len());
        let mut backlog = Backlog::default();
        for _ in 0..QUEUE_FRAMES_MAX {
            assert!(backlog.push(frame(1), Weight::Durable));
        }
        assert!(!backlog.push(frame(1), Weight::Durable));
    }

    #[test]
    fn what_may_be_dropped_leaves_room_for_the_rest() {
        let mut backlog = Backlog::default();
        for _ in 0..10 * QUEUE_FRAMES_MAX {
            assert!(backlog.push(frame(100), Weight::Volatile));
        }
        assert!(backlog.unread_bytes() <= QUEUE_BYTES_MAX / 2);
        for _ in 0..QUEUE_FRAMES_MAX / 2 {
            assert!(backlog.push(frame(100), Weight::Durable));
        }
    }

    #[test]
    fn what_was_asked_for_counts_against_no_limit() {
        let mut backlog = Backlog::default();
        assert!(backlog.push(frame(60_000), Weight::Durable));
        assert!(backlog.push(frame(4 * QUEUE_BYTES_MAX), Weight::Exempt));
        assert!(backlog.push(frame(60_000), Weight::Durable));
        assert_eq!(backlog.counted_frames, 1);
        assert_eq!(backlog.asked_bytes(), frame(60_000).len() + frame(4 * QUEUE_BYTES_MAX).len());
    }

    #[test]
    fn arrives_in_order_however_it_is_read() -> std::io::Result<()> {
        for sips in [vec![1; 2_000], vec![7; 300], vec![1_000, 3, 2, 900]] {
            let mut backlog = Backlog::default();
            let mut all = Vec::new();
            for len in [10, 0, 200, 126, 5] {
                all.extend_from_slice(&frame(len));
                backlog.push(frame(len), if len == 200 { Weight::Exempt } else { Weight::Durable });
            }
            let mut peer = Sips(sips, Vec::new());
            assert!(backlog.write(&mut peer)?, "everything was taken");
            assert_eq!(peer.1, all);
            assert_eq!((backlog.unread_bytes(), backlog.counted_frames), (0, 0));
        }
        Ok(())
    }

    #[test]
    fn a_goodbye_comes_behind_the_frame_that_is_on_its_way() -> std::io::Result<()> {
        for taken in 0..40 {
            let mut backlog = Backlog::default();
            backlog.begin(&[frame(10), frame(20)].concat().into(), 0, 0);
            backlog.push(frame(300), Weight::Durable);
            let mut peer = Sips(vec![taken; usize::from(taken > 0)], Vec::new());
            let _ = backlog.write(&mut peer)?;
            backlog.truncate();
            backlog.push(frame(7), Weight::Durable);
            peer.0 = vec![usize::MAX; 4];
            assert!(backlog.write(&mut peer)?);
            let expected = match taken {
                0 => frame(7).to_vec(),
                1..=12 => [frame(10), frame(7)].concat(),
                13..=34 => [frame(10), frame(20), frame(7)].concat(),
                _ => [frame(10), frame(20), frame(300), frame(7)].concat(),
            };
            assert_eq!(peer.1, expected, "after {taken}");
        }
        Ok(())
    }

    #[test]
    fn whoever_does_not_take_what_it_asked_for_is_too_slow() -> std::io::Result<()> {
        let mut backlog = Backlog::new(UnixMs(0));
        backlog.push(frame(2 * QUEUE_BYTES_MAX), Weight::Exempt);
        assert!(!backlog.is_too_slow(UnixMs(PACE_WINDOW_MS - 1)));
        let _ = backlog.write(&mut Sips(vec![PACE_BYTES_MIN], Vec::new()))?;
        assert!(!backlog.is_too_slow(UnixMs(PACE_WINDOW_MS)), "it took enough");
        assert!(backlog.is_too_slow(UnixMs(2 * PACE_WINDOW_MS)), "it took nothing since");
        Ok(())
    }
}
