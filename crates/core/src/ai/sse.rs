//! Server-sent events, decoded from a body as it comes in pieces.
//!
//! The grammar is `eventsource-stream`'s; this file puts in front of it what version 0.2.3 lacks. It gets one
//! whole line at a time, because it rescans all that it holds whenever it is handed more. It never gets text
//! that is not UTF-8, because it keeps that until the stream ends and reports nothing. It never meets a byte
//! order mark as the first character, because there it slices inside the mark and panics. And nothing in it
//! has a cap.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use eventsource_stream::EventStream;
use futures_core::Stream;

/// The most that one event, with the line being read, may hold; past it the body is refused.
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// Reads a body that is cut into pieces anywhere. Spent after an error.
pub struct SseReader {
    lines: Lines,
    events: EventStream<Lines>,
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// What the finished lines of the unfinished event hold.
    event_bytes: usize,
    after_cr: bool,
    at_start: bool,
}

/// Why a body is no stream of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SseError {
    /// An event grew past [`EVENT_BYTES_MAX`].
    TooLarge,
    NotUtf8,
    /// The grammar refused a line.
    Malformed,
}

impl SseReader {
    pub fn new() -> Self {
        let lines = Lines::default();
        // A comment as the first line takes the place where a byte order mark would make the crate panic.
        lines.put(Bytes::from_static(b":\n"));
        Self {
            events: EventStream::new(lines.clone()),
            lines,
            line: Vec::new(),
            event_bytes: 0,
            after_cr: false,
            at_start: true,
        }
    }

    /// Calls `on_data` with the data of each event that these bytes finish, those before an error included.
    pub fn push(&mut self, bytes: &[u8], on_data: &mut dyn FnMut(&str)) -> Result<(), SseError> {
        let split = self.split(bytes);
        self.drain(on_data)?;
        split
    }

    /// The body ended: gives the event that no blank line closed. The specification drops it, but some
    /// servers leave the last blank line out; a caller must take care that the data may be cut.
    pub fn end(&mut self, on_data: &mut dyn FnMut(&str)) -> Result<(), SseError> {
        // A CR before would swallow one LF, so three make sure of a line end and a blank line.
        self.push(b"\n\n\n", on_data)
    }

    fn split(&mut self, bytes: &[u8]) -> Result<(), SseError> {
        bytes.split_inclusive(|byte| matches!(byte, b'\r' | b'\n')).try_for_each(|piece| self.add(piece))
    }

    /// Takes at most one line with its end. CR, LF and CRLF all end one, and a CR does so at once: the LF of
    /// a CRLF may come much later, and nobody should wait for it.
    fn add(&mut self, piece: &[u8]) -> Result<(), SseError> {
        let after_cr = std::mem::take(&mut self.after_cr);
        match piece.split_last() {
            Some((b'\n', [])) if after_cr => Ok(()),
            Some((end @ (b'\r' | b'\n'), text)) => {
                self.after_cr = *end == b'\r';
                self.extend(text)?;
                self.finish_line()
            }
            _ => self.extend(piece),
        }
    }

    fn extend(&mut self, text: &[u8]) -> Result<(), SseError> {
        if self.event_bytes + self.line.len() + text.len() > EVENT_BYTES_MAX {
            return Err(SseError::TooLarge);
        }
        self.line.extend_from_slice(text);
        Ok(())
    }

    fn finish_line(&mut self) -> Result<(), SseError> {
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.at_start) && line.starts_with(b"\xEF\xBB\xBF") {
            line.drain(..3);
        }
        if std::str::from_utf8(&line).is_err() {
            return Err(SseError::NotUtf8);
        }
        match line.first() {
            None => self.event_bytes = 0,
            // A comment is not kept, so a provider may keep a slow answer alive with as many as it likes.
            Some(b':') => {}
            Some(_) => self.event_bytes += line.len(),
        }
        line.push(b'\n');
        self.lines.put(Bytes::from(line));
        Ok(())
    }

    fn drain(&mut self, on_data: &mut dyn FnMut(&str)) -> Result<(), SseError> {
        // Nobody is to be woken: the queue fills only between two calls.
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(event)) = Pin::new(&mut self.events).poll_next(&mut context) {
            on_data(&event.map_err(|_| SseError::Malformed)?.data);
        }
        Ok(())
    }
}

impl Default for SseReader {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for SseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "an event is too large",
            Self::NotUtf8 => "the stream is not UTF-8",
            Self::Malformed => "the stream is not made of events",
        })
    }
}

impl std::error::Error for SseError {}

/// The lines on their way into the event stream, which owns one end and is fed through the other. A mutex,
/// though only one thread is ever here, because a reader moves between threads with the run that it belongs
/// to.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<VecDeque<Bytes>>>);

impl Lines {
    fn put(&self, line: Bytes) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(line);
    }

    fn take(&self) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl Stream for Lines {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.take() {
            Some(line) => Poll::Ready(Some(Ok(line))),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in a test a panic is a result")]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLE: &str = "\u{FEFF}: hello\r\ndata: one\r\n\r\n:\n\nid: 7\nevent: x\ndata: Grüße 👋\n\
        data:second line\n\nretry: 10\nunknown: field\n\
        data\n\ndata: cr\r\rdata: {\"a\":\r\ndata: 1}\r\n\r\ndata: unfinished";
    const EXPECTED: [&str; 5] = ["one", "Grüße 👋\nsecond line", "", "cr", "{\"a\":\n1}"];

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<String>, Result<(), SseError>) {
        let mut reader = SseReader::new();
        let mut seen = Vec::new();
        let result = pieces
            .into_iter()
            .try_for_each(|piece| reader.push(piece, &mut |data| seen.push(data.to_owned())));
        (seen, result)
    }

    /// `body` in pieces of these sizes, and what is left as the last one.
    pub(crate) fn cut<'a>(body: &'a str, sizes: &[usize]) -> Vec<&'a [u8]> {
        let mut rest = body.as_bytes();
        let mut pieces = Vec::new();
        for size in sizes {
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);
        pieces
    }

    fn expected() -> (Vec<String>, Result<(), SseError>) {
        (EXPECTED.iter().map(|&data| data.to_owned()).collect(), Ok(()))
    }

    #[test]
    fn every_split_in_two_reads_the_same() {
        for at in 0..=SAMPLE.len() {
            let (head, tail) = SAMPLE.as_bytes().split_at(at);
            assert_eq!(read([head, tail]), expected(), "split at {at}");
        }
    }

    proptest! {
        #[test]
        fn any_pieces_read_the_same(sizes in prop::collection::vec(1usize..20, 1..40)) {
            prop_assert_eq!(read(cut(SAMPLE, &sizes)), expected());
        }

        #[test]
        fn any_bytes_read_the_same_whole_or_one_by_one(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(read([bytes.as_slice()]), read(bytes.chunks(1)));
        }

        #[test]
        fn any_lines_read_the_same_whole_or_one_by_one(
            text in "(data:?|:|id: |\u{FEFF}|[a-zü ]{0,5}|\r|\n|\r\n){0,40}"
        ) {
            prop_assert_eq!(read([text.as_bytes()]), read(text.as_bytes().chunks(1)));
        }
    }

    #[test]
    fn an_event_is_given_as_soon_as_its_blank_line_begins() {
        assert_eq!(read([b"data: now\r\n\r".as_slice()]).0, ["now"]);
    }

    #[test]
    fn byte_order_marks_cause_no_panic() {
        assert_eq!(read(["\u{FEFF}data: a\n\n".as_bytes()]).0, ["a"]);
        assert_eq!(read(["\u{FEFF}\u{FEFF}data: a\n\ndata: b\n\n".as_bytes()]).0, ["b"]);
    }

    #[test]
    fn an_unfinished_event_is_given_at_the_end() {
        for (body, data) in [("data: [DONE]", "[DONE]"), ("data: a\ndata: b\r", "a\nb")] {
            let mut reader = SseReader::new();
            let mut seen = Vec::new();
            reader.push(body.as_bytes(), &mut |data| seen.push(data.to_owned())).unwrap();
            assert!(seen.is_empty());
            reader.end(&mut |data| seen.push(data.to_owned())).unwrap();
            assert_eq!(seen, [data]);
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_an_error_after_what_came_before() {
        let (seen, result) = read([b"data: good\n\ndata: \xFF\n\ndata: lost\n\n".as_slice()]);
        assert_eq!((seen, result), (vec!["good".to_owned()], Err(SseError::NotUtf8)));
    }

    #[test]
    fn an_endless_line_or_event_is_refused() {
        let half = vec![b'x'; EVENT_BYTES_MAX / 2];
        let line: [&[u8]; 4] = [b"data: ", &half, &half, b"\n\n"];
        assert_eq!(read(line).1, Err(SseError::TooLarge));
        let event: [&[u8]; 5] = [b"data: ", &half, b"\ndata: ", &half, b"\n\n"];
        assert_eq!(read(event).1, Err(SseError::TooLarge));
    }

    #[test]
    fn what_is_finished_does_not_count() {
        let half = vec![b'x'; EVENT_BYTES_MAX / 2];
        let event: [&[u8]; 3] = [b"data: ", &half, b"\n\n"];
        assert_eq!(read(event.into_iter().cycle().take(12)).1, Ok(()));
        let comment: [&[u8]; 3] = [b": ", &half, b"\n"];
        assert_eq!(read(comment.into_iter().cycle().take(12)).1, Ok(()));
    }

    #[test]
    fn a_reader_moves_between_threads() {
        fn check<T: Send>() {}
        check::<SseReader>();
    }
}
