//! What models' providers send: arbitrary bodies, cut anywhere, through the event stream's reader and both codecs.
//!
//! Input: a byte of flags (low half: how many cuts; 0x10: the body breaks off), two bytes a cut, then the body. A body may
//! begin with a word that makes it large (`enlarged`).

#![no_main]

mod oracle;

use libfuzzer_sys::{Corpus, fuzz_target};
use weeziq_core::ai::model::{ModelEvent, ModelFailure};
use weeziq_core::ai::sse::{EVENT_BYTES_MAX, SseError, SseReader};
use weeziq_core::ai::{gemini, openai, status};
use weeziq_fuzz::{Input, pieces};

/// As much text as an event may hold, and a bit.
const LARGE_BYTES: usize = EVENT_BYTES_MAX + 16 * 1_024;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let mut input = Input::new(bytes);
    let flags = input.byte();
    let cuts: Vec<u16> = (0..flags & 0x0F).map(|_| input.u16()).collect();
    let body = input.rest();
    let large = enlarged(body);
    check(large.as_deref().unwrap_or(body), &cuts, flags);
    // A large one takes as long as a thousand others: the seeds reach the caps, and that is enough.
    if large.is_some() { Corpus::Reject } else { Corpus::Keep }
});

fn check(body: &[u8], cuts: &[u16], flags: u8) {
    let ends = flags & 0x10 == 0;
    let whole = events([body]);
    assert_eq!(events(pieces(body, cuts)), whole, "cut at {cuts:?}");
    assert_eq!(whole, oracle::events(body), "ours, the specification's");

    let decoders: [fn() -> Box<dyn Decoder>; 2] =
        [|| Box::new(openai::Decoder::default()), || Box::new(gemini::Decoder::default())];
    for decoder in decoders {
        let whole = decode(&mut *decoder(), [body], ends);
        assert_eq!(decode(&mut *decoder(), pieces(body, cuts), ends), whole, "cut at {cuts:?}");
        if body.len() <= 1_024 {
            assert_eq!(decode(&mut *decoder(), body.chunks(1), ends), whole, "byte by byte");
        }
        holds(&whole, body.len(), ends);
    }
    refusal(body, flags);
}

/// What is as large as may be, or larger, cannot be written out: the byte in the middle stands for as many as it takes,
/// or the whole for as many repetitions. None: it is meant as it stands.
fn enlarged(body: &[u8]) -> Option<Vec<u8>> {
    let around = |body: &[u8], bytes: usize| {
        let (head, tail) = body.split_at(body.len() / 2);
        [head, &tail.get(..1).unwrap_or_default().repeat(bytes.saturating_sub(body.len())), tail].concat()
    };
    if let Some(body) = body.strip_prefix(b"as large as may be:") {
        Some(around(body, EVENT_BYTES_MAX))
    } else if let Some(body) = body.strip_prefix(b"larger than may be:") {
        Some(around(body, LARGE_BYTES))
    } else {
        let body = body.strip_prefix(b"again and again:")?;
        Some(body.repeat(LARGE_BYTES / body.len().max(1)))
    }
}

/// The data of each event, and how the stream ended if that was an error. Nothing is asked of a reader after one.
type Events = (Vec<String>, Result<(), SseError>);

fn events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Events {
    let (mut reader, mut seen) = (SseReader::new(), Vec::new());
    let mut on_data = |data: &str| seen.push(data.to_owned());
    let read = pieces.into_iter().try_for_each(|piece| reader.push(piece, &mut on_data));
    let ended = read.and_then(|()| reader.end(&mut on_data));
    (seen, ended)
}

trait Decoder {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<ModelEvent>);
    fn end(&mut self, out: &mut Vec<ModelEvent>);
}

fn decode<'a>(
    decoder: &mut dyn Decoder,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    ends: bool,
) -> Vec<ModelEvent> {
    let mut out = Vec::new();
    for piece in pieces {
        decoder.push(piece, &mut out);
    }
    if ends {
        decoder.end(&mut out);
        // Whatever comes behind the end is nobody's.
        decoder.push(b"data: {\"choices\":[{\"delta\":{\"content\":\"late\"}}]}\n\n", &mut out);
        decoder.end(&mut out);
    }
    out
}

/// What a run relies on, whatever the provider sent.
fn holds(events: &[ModelEvent], body_bytes: usize, ends: bool) {
    let terminal = events.iter().filter(|event| event.is_terminal()).count();
    assert!(terminal == 1 || (terminal == 0 && !ends), "{terminal} ends in {events:?}");
    assert!(events.iter().rev().skip(1).all(|event| !event.is_terminal()), "nothing follows the end");
    let text: usize = events
        .iter()
        .map(|event| match event {
            ModelEvent::Delta(text) => text.len(),
            _ => 0,
        })
        .sum();
    assert!(!events.contains(&ModelEvent::Delta(String::new())), "a delta has text");
    assert!(text <= body_bytes && events.len() <= body_bytes + 1, "no more comes out than went in");
    if let Some(ModelEvent::Failed(failure)) = events.last() {
        let may_be_repeated = failure.is_transient() && *failure != ModelFailure::Incomplete;
        assert!(!may_be_repeated || text == 0, "what was seen is not asked for again");
    }
}

/// A reply other than 2xx: the same bytes as its body, and as its header.
fn refusal(body: &[u8], flags: u8) {
    let status = 400 + u16::from(flags) % 200;
    let header = String::from_utf8_lossy(body.get(..16).unwrap_or(body));
    if let ModelFailure::Overloaded { retry_after_ms: Some(ms) } = status::failure(429, Some(&header), b"") {
        assert!(ms <= 60_000, "no question lives longer");
    }
    let _ = status::failure(status, None, body);
}

impl Decoder for openai::Decoder {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<ModelEvent>) {
        Self::push(self, bytes, out);
    }

    fn end(&mut self, out: &mut Vec<ModelEvent>) {
        Self::end(self, out);
    }
}

impl Decoder for gemini::Decoder {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<ModelEvent>) {
        Self::push(self, bytes, out);
    }

    fn end(&mut self, out: &mut Vec<ModelEvent>) {
        Self::end(self, out);
    }
}
