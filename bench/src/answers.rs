//! What the model said against what each reader heard: every byte of every answer, and how much later.
//!
//! The server may hold a token back until 25 ms after the last frame of its answer, so that a frame carries several. How
//! late it is beyond that rule is told by the time in the last frame, which is the server's own account of when it was
//! told: a token was free to go at the later of its own moment and that time plus 25 ms.

use memchr::memmem::Finder;

use crate::histogram::Histogram;
use crate::ledger::Errors;
use crate::token::{self, TOKEN_BYTES};
use crate::wire::{Member, text_at};

/// One frame of an answer in this time, as docs/protocol.md has it.
const ROLL_UP_NS: u64 = 25_000_000;
/// The server counts in whole milliseconds of a clock that may lag the true one by part of one: a token is called free
/// only if it is so by either account.
const GRAIN_NS: u64 = 2_000_000;
const DAY_NS: u64 = 86_400_000_000_000;

#[derive(Default)]
pub(crate) struct Answers {
    streams: Vec<Stream>,
    /// The time of day at the zero of the generator's clock.
    day_offset_ns: u64,
    garbled: u64,
    lost: u64,
    duplicate: u64,
    pub(crate) completed: u32,
    pub(crate) heard: Heard,
}

/// What is measured, from `start_measuring` on.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) tokens: u64,
    pub(crate) frames: u64,
    pub(crate) last_ns: u64,
    /// Every token, from the write at the model's end to the read at the reader's; the roll-up is in it.
    pub(crate) added: Histogram,
    /// The token that begins a frame: it has waited longest.
    pub(crate) leading: Histogram,
    /// Every token, from when the roll-up let it go.
    pub(crate) beyond: Histogram,
    /// As `added`, of tokens that came when no roll-up held them: the first of an answer, and those over 27 ms after a
    /// frame.
    pub(crate) free: Histogram,
}

#[derive(Default)]
struct Stream {
    /// When each token was written, by its number.
    said_ns: Vec<u64>,
    /// Tokens that were heard, in their order.
    next: u32,
    /// The start of a token whose rest has not come.
    carry: Vec<u8>,
    /// What the last frame gave as its time of day.
    told_ns: Option<u64>,
    is_complete: bool,
}

impl Answers {
    pub(crate) fn expect(&mut self, streams: u32, clock_ns: u64) {
        self.streams = (0..streams).map(|_| Stream::default()).collect();
        self.synchronise(clock_ns);
    }

    /// Forgets the warm-up's figures, not its errors.
    pub(crate) fn start_measuring(&mut self, clock_ns: u64) {
        self.heard = Heard::default();
        self.synchronise(clock_ns);
    }

    /// Looks at both clocks, so that times of day can be compared with our own.
    fn synchronise(&mut self, clock_ns: u64) {
        let day = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        self.day_offset_ns = (day.as_nanos() % u128::from(DAY_NS)) as u64 + DAY_NS - clock_ns % DAY_NS;
    }

    /// Enters the next token of a stream and appends its text, just before it is written.
    pub(crate) fn say(&mut self, reader: Member, now_ns: u64, out: &mut Vec<u8>) {
        if let Some(stream) = self.streams.get_mut(reader.0 as usize) {
            token::write(out, stream.said_ns.len() as u32, now_ns);
            stream.said_ns.push(now_ns);
        }
    }

    pub(crate) fn chunk(&mut self, reader: Member, payload: &[u8], now_ns: u64) {
        let Self { streams, garbled, lost, duplicate, heard, day_offset_ns, .. } = self;
        let text = Finder::new(b"\"chunk\":\"").find(payload).and_then(|at| text_at(payload, at + 9));
        let (Some(stream), Some(text)) = (streams.get_mut(reader.0 as usize), text) else {
            *garbled += 1;
            return;
        };
        let mut carried = std::mem::take(&mut stream.carry);
        carried.extend_from_slice(text);
        let tokens = carried.chunks_exact(TOKEN_BYTES);
        stream.carry = tokens.remainder().to_vec();
        let held_until = stream.told_ns.map(|told| (told + ROLL_UP_NS).wrapping_sub(*day_offset_ns));
        for (place, token) in tokens.enumerate() {
            match stream.hear(token) {
                Hearing::Next { said_ns } => heard.token(place == 0, said_ns, held_until, now_ns),
                Hearing::Again => *duplicate += 1,
                Hearing::After { missing } => *lost += u64::from(missing),
                Hearing::Garbled => *garbled += 1,
            }
        }
        heard.frames += 1;
        heard.last_ns = now_ns;
        stream.told_ns = time_of_day_ns(payload).map(|of_day| unwrapped(of_day, *day_offset_ns, now_ns));
    }

    /// Holds the whole answer against what was said; a sentence if it failed.
    pub(crate) fn complete(&mut self, reader: Member, payload: &[u8], now_ns: u64) -> Option<String> {
        let stream = self.streams.get_mut(reader.0 as usize)?;
        let whole =
            Finder::new(b"\"fullResponse\":\"").find(payload).and_then(|at| text_at(payload, at + 16));
        let is_right = whole == Some(stream.said().as_slice()) && stream.carry.is_empty();
        if !is_right {
            self.garbled += 1;
        }
        if !stream.is_complete {
            stream.is_complete = true;
            self.completed += 1;
        }
        self.heard.last_ns = now_ns;
        (!is_right).then(|| {
            let start = payload.get(..payload.len().min(200)).unwrap_or_default();
            let end = payload.get(payload.len().saturating_sub(300)..).unwrap_or_default();
            let (start, end) = (String::from_utf8_lossy(start), String::from_utf8_lossy(end));
            format!("the answer is not what was said: {start} … {end}")
        })
    }

    /// What is owed now counts as lost, an answer without its end as garbled.
    pub(crate) fn errors(&self) -> Errors {
        let owed: u64 =
            self.streams.iter().map(|stream| stream.said_ns.len() as u64 - u64::from(stream.next)).sum();
        let open = self.streams.iter().filter(|stream| !stream.is_complete).count() as u64;
        Errors {
            lost: self.lost + owed,
            duplicate: self.duplicate,
            garbled: self.garbled + open,
            ..Errors::default()
        }
    }
}

enum Hearing {
    Next { said_ns: u64 },
    Again,
    After { missing: u32 },
    Garbled,
}

impl Stream {
    fn hear(&mut self, token: &[u8]) -> Hearing {
        let Some(number) = token::number(token) else {
            return Hearing::Garbled;
        };
        let Some(said_ns) = self.said_ns.get(number as usize).copied() else {
            return Hearing::Garbled;
        };
        let mut expected = Vec::with_capacity(TOKEN_BYTES);
        token::write(&mut expected, number, said_ns);
        if number < self.next {
            return Hearing::Again;
        }
        let missing = number - self.next;
        self.next = number + 1;
        match (expected == token, missing) {
            (false, _) => Hearing::Garbled,
            (true, 0) => Hearing::Next { said_ns },
            (true, missing) => Hearing::After { missing },
        }
    }

    fn said(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.said_ns.len() * TOKEN_BYTES);
        for (number, said_ns) in self.said_ns.iter().enumerate() {
            token::write(&mut all, number as u32, *said_ns);
        }
        all
    }
}

impl Heard {
    fn token(&mut self, leads: bool, said_ns: u64, held_until_ns: Option<u64>, now_ns: u64) {
        let added = now_ns.saturating_sub(said_ns);
        self.tokens += 1;
        self.added.record(added);
        if leads {
            self.leading.record(added);
        }
        let free_from = held_until_ns.unwrap_or_default();
        self.beyond.record(now_ns.saturating_sub(said_ns.max(free_from)));
        if said_ns >= free_from + GRAIN_NS || held_until_ns.is_none() {
            self.free.record(added);
        }
    }
}

/// Of the frame's `"timestamp":"2026-11-22T10:11:12.345Z"`, in UTC.
fn time_of_day_ns(payload: &[u8]) -> Option<u64> {
    let start = Finder::new(b"\"timestamp\":\"").find(payload)? + 13;
    let text = std::str::from_utf8(payload.get(start + 11..start + 23)?).ok()?;
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (hours, minutes, seconds, ms) = (part(0, 2)?, part(3, 5)?, part(6, 8)?, part(9, 12)?);
    Some((((hours * 60 + minutes) * 60 + seconds) * 1_000 + ms) * 1_000_000)
}

/// The time of day as it counts on from `day_offset_ns`, past midnights, nearest to now.
fn unwrapped(of_day_ns: u64, day_offset_ns: u64, now_ns: u64) -> u64 {
    let now = day_offset_ns + now_ns;
    let half = DAY_NS / 2;
    let back = (now % DAY_NS + DAY_NS + half - of_day_ns) % DAY_NS;
    (now + half).saturating_sub(back)
}

#[cfg(test)]
mod tests {
    use super::*;

    const READER: Member = Member(0);

    /// One stream, four tokens said 20 ms apart.
    fn four_said() -> (Answers, Vec<String>) {
        let mut answers = Answers::default();
        answers.expect(1, 0);
        answers.day_offset_ns = 3_600_000_000_000; // the clock's zero is at one in the morning
        let mut texts = Vec::new();
        for number in 0..4u64 {
            let mut out = Vec::new();
            answers.say(READER, number * 20_000_000, &mut out);
            texts.push(String::from_utf8(out).unwrap());
        }
        (answers, texts)
    }

    fn chunk(text: &str, ms: u64) -> Vec<u8> {
        format!(r#"{{"type":"ai-stream-chunk","chunk":"{text}","timestamp":"2026-11-22T01:00:00.{ms:03}Z"}}"#)
            .into_bytes()
    }

    fn complete(text: &str) -> Vec<u8> {
        format!(r#"{{"type":"ai-stream-complete","fullResponse":"{text}","finishReason":"stop"}}"#)
            .into_bytes()
    }

    fn heard(parts: &[&str], whole: &str) -> Errors {
        let (mut answers, _) = four_said();
        for part in parts {
            answers.chunk(READER, &chunk(part, 0), 90_000_000);
        }
        answers.complete(READER, &complete(whole), 90_000_000);
        answers.errors()
    }

    #[test]
    fn each_fault_in_a_text_is_seen_as_what_it_is() {
        let (_, texts) = four_said();
        let [a, b, c, d] = [&texts[0], &texts[1], &texts[2], &texts[3]].map(String::as_str);
        let whole = texts.concat();
        let (joined, bent) = (format!("{b}{c}"), c.replace('ü', "ä"));
        let none = Errors::default();
        assert_eq!(heard(&[a, &joined, d], &whole), none);
        assert_eq!(heard(&[a, &joined[..10], &joined[10..], d], &whole), none, "cut inside a token");
        assert_eq!(heard(&[a, b, d], &whole), Errors { lost: 1, ..none });
        assert_eq!(heard(&[a, b, c], &whole), Errors { lost: 1, ..none });
        assert_eq!(heard(&[a, b, b, c, d], &whole), Errors { duplicate: 1, ..none });
        assert_eq!(heard(&[a, b, &bent, d], &whole), Errors { garbled: 1, ..none });
        assert_eq!(heard(&[a, b, c, d], &joined), Errors { garbled: 1, ..none });
    }

    #[test]
    fn what_the_roll_up_held_back_is_told_apart_from_what_the_server_took() {
        let (mut answers, texts) = four_said();
        answers.chunk(READER, &chunk(&texts[0], 0), 300_000);
        // Said at 20 ms, let go at 25, and 26 when it came. The one said at 40 was let go at 50 and came 10.5 ms late,
        // with the one said at 60, which nothing held.
        answers.chunk(READER, &chunk(&texts[1], 25), 26_000_000);
        let both = format!("{}{}", texts[2], texts[3]);
        answers.chunk(READER, &chunk(&both, 60), 60_500_000);
        let Heard { added, beyond, free, leading, tokens, frames, .. } = &answers.heard;
        assert_eq!((*tokens, *frames, free.count(), leading.count()), (4, 3, 2, 3));
        let close = |value: u64, ns: u64| assert!(value.abs_diff(ns) < ns / 100 + 1, "{value} is not {ns}");
        close(added.highest(), 20_500_000);
        close(beyond.highest(), 10_500_000);
        close(free.highest(), 500_000);
    }

    #[test]
    fn times_of_day_go_on_past_midnight() {
        let payload = chunk("", 7);
        assert_eq!(time_of_day_ns(&payload), Some(3_600_007_000_000));
        let offset = DAY_NS - 5_000_000;
        assert_eq!(unwrapped(2_000_000, offset, 8_000_000), DAY_NS + 2_000_000);
        assert_eq!(unwrapped(DAY_NS - 1_000_000, offset, 8_000_000), DAY_NS - 1_000_000);
        assert_eq!(time_of_day_ns(b"{}"), None);
    }
}
