//! Server-sent events, decoded from a body as it comes in pieces: the grammar of the HTML specification (section 9.2.6) as
//! far as providers use it. Names, ids and retry times of events are read over; none of them says anything by those.

use std::fmt;

use memchr::memchr2;

/// The most that one event, with the line being read, may hold; past it the body is refused.
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Reads a body that is cut into pieces anywhere. Spent after an error.
pub struct SseReader {
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// The data of the event that has not ended yet, each line of it with its end.
    data: String,
    /// What the finished lines of that event hold, comments left out: a provider may keep a slow answer alive with as many
    /// as it likes.
    event_bytes: usize,
    /// The LF of a CRLF may come much later than the CR, and nobody should wait for it.
    after_cr: bool,
    at_start: bool,
}

/// Why a body is no stream of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SseError {
    /// An event grew past [`EVENT_BYTES_MAX`].
    TooLarge,
    NotUtf8,
}

impl SseReader {
    pub fn new() -> Self {
        Self { line: Vec::new(), data: String::new(), event_bytes: 0, after_cr: false, at_start: true }
    }

    /// Calls `on_data` with the data of each event that these bytes finish, those before an error included.
    pub fn push(&mut self, mut bytes: &[u8], on_data: &mut dyn FnMut(&str)) -> Result<(), SseError> {
        while let Some((text, end, rest)) = split_line(bytes) {
            bytes = rest;
            let is_rest_of_crlf = std::mem::take(&mut self.after_cr) && text.is_empty() && end == b'\n';
            self.after_cr = end == b'\r';
            if !is_rest_of_crlf {
                self.end_line(text, on_data)?;
            }
        }
        if !bytes.is_empty() {
            self.after_cr = false;
            self.keep(bytes)?;
        }
        Ok(())
    }

    /// The body ended: gives the event that no blank line closed. The specification drops it, but some
    /// servers leave the last blank line out; a caller must take care that the data may be cut.
    pub fn end(&mut self, on_data: &mut dyn FnMut(&str)) -> Result<(), SseError> {
        // A CR before would swallow one LF, so three make sure of a line end and a blank line.
        self.push(b"\n\n\n", on_data)
    }

    fn keep(&mut self, text: &[u8]) -> Result<(), SseError> {
        if self.event_bytes + self.line.len() + text.len() > EVENT_BYTES_MAX {
            return Err(SseError::TooLarge);
        }
        self.line.extend_from_slice(text);
        Ok(())
    }

    fn end_line(&mut self, text: &[u8], on_data: &mut dyn FnMut(&str)) -> Result<(), SseError> {
        self.keep(text)?;
        let mut line = std::mem::take(&mut self.line);
        let taken = self.take_line(&line, on_data);
        line.clear();
        self.line = line;
        taken
    }

    fn take_line(&mut self, line: &[u8], on_data: &mut dyn FnMut(&str)) -> Result<(), SseError> {
        let is_first = std::mem::take(&mut self.at_start);
        let line = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| is_first).unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|_| SseError::NotUtf8)?;
        if line.is_empty() {
            self.event_bytes = 0;
            // Without a line of data it was no event.
            if self.data.pop().is_some() {
                on_data(&self.data);
                self.data.clear();
            }
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        if !field.is_empty() {
            self.event_bytes += line.len();
        }
        if field == "data" {
            self.data.push_str(value.strip_prefix(' ').unwrap_or(value));
            self.data.push('\n');
        }
        Ok(())
    }
}

/// The text of the first line, what ended it, and what follows. CR, LF and CRLF end one.
fn split_line(bytes: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let (text, rest) = bytes.split_at_checked(memchr2(b'\r', b'\n', bytes)?)?;
    let (end, rest) = rest.split_first()?;
    Some((text, *end, rest))
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
        })
    }
}

impl std::error::Error for SseError {}

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
