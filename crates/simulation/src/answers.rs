//! Whether those who read an answer read what the model sent: byte for byte, from the first to the last, over cuts,
//! faults, crashes, evictions and takeovers. Each word of the model names its run and its place (`model.rs`), so that any
//! piece of text says by itself whose it is and where it belongs.

use std::collections::{BTreeMap, HashMap};

use weeziq_core::ai::model::ModelEvent;

/// All answers of a run of the simulation, by their number.
#[derive(Default)]
pub(crate) struct Answers {
    runs: HashMap<u64, Answer>,
    /// A conversation learns of a takeover some time after the room's members do. Whoever is one of them is told an end that
    /// says no more than they had heard by then.
    words_travel: bool,
}

#[derive(Default)]
struct Answer {
    /// What the model sent, until its last word.
    sent: String,
    is_over: bool,
    /// Where in it each chunk lies, as whoever heard it first heard it.
    chunks: BTreeMap<u32, (usize, usize)>,
    /// The text that it ended with and why, once somebody was told.
    end: Option<(String, Reason)>,
    /// What is known of its end may be less than others are told.
    may_be_cut: bool,
    is_posted: bool,
    resumed: bool,
}

/// How an answer ended, as far as it matters to its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// By the model's own last word, whatever that was: nothing may be missing.
    Ended,
    Cancelled,
    /// What was not stored yet is missing.
    Interrupted,
}

/// One reader of a conversation's answers, over all of its connections.
#[derive(Default)]
pub(crate) struct Reading {
    run: Option<u64>,
    next: u32,
    /// How far in the model's text it has come.
    end: usize,
    is_over: bool,
    /// The request that the last chunk answered.
    request: String,
}

/// What a frame of an answer answers.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) id: &'a str,
    pub(crate) wants: Wants,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    /// All of an answer, in chunks.
    Stream,
    /// Only its end.
    End,
    /// The chunks from that one on, or the end.
    Rest(u32),
    /// What a room hears. Between objects a chunk may be dropped in a takeover that is taken back at once.
    Overheard { words_travel: bool },
}

/// The end of an answer, as its reader was told.
pub(crate) struct Told<'a> {
    pub(crate) text: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) is_error: bool,
}

/// What there was of it: of the answers whose end somebody was told.
#[derive(Clone, Copy, Default)]
pub(crate) struct Read {
    pub(crate) answers: u64,
    pub(crate) cancelled: u64,
    pub(crate) interrupted: u64,
    /// Read on by somebody whose connection was cut in the middle.
    pub(crate) resumed: u64,
}

impl Read {
    pub(crate) fn add(&mut self, other: Self) {
        self.answers += other.answers;
        self.cancelled += other.cancelled;
        self.interrupted += other.interrupted;
        self.resumed += other.resumed;
    }
}

impl Answers {
    pub(crate) fn new(words_travel: bool) -> Self {
        Self { words_travel, ..Self::default() }
    }

    pub(crate) fn ask(&mut self, run: u64) {
        self.runs.entry(run).or_default();
    }

    /// What the host took of a model. Behind its last word nothing counts.
    pub(crate) fn say(&mut self, run: u64, event: &ModelEvent) {
        let answer = self.runs.entry(run).or_default();
        match event {
            ModelEvent::Delta(text) if !answer.is_over => answer.sent.push_str(text),
            event => answer.is_over |= event.is_terminal(),
        }
    }

    pub(crate) fn chunk(
        &mut self,
        reading: &mut Reading,
        request: Request<'_>,
        index: u32,
        text: &str,
    ) -> Result<(), String> {
        let (run, answer) = self.of(text)?;
        let from =
            answer.sent.find(text).ok_or_else(|| format!("the model of {run:x} never said {text:?}"))?;
        let place = (from, from + text.len());
        answer.place(index, place).map_err(|why| format!("chunk {index} of {run:x} {why}: {text:?}"))?;
        if reading.run == Some(run) {
            let may_skip = request.wants == Wants::Overheard { words_travel: true };
            let is_next = index == reading.next || (may_skip && index > reading.next);
            if !is_next || reading.is_over {
                return Err(format!(
                    "chunk {index} of {run:x} follows {} (over: {})",
                    reading.next, reading.is_over
                ));
            }
            answer.resumed |= reading.request != request.id;
        } else if request.wants.first().is_some_and(|first| index > first) {
            return Err(format!("{run:x} is read from chunk {index}, wanted was {:?}", request.wants));
        }
        *reading = Reading {
            run: Some(run),
            next: index + 1,
            end: place.1,
            is_over: false,
            request: request.id.to_owned(),
        };
        Ok(())
    }

    pub(crate) fn end(
        &mut self,
        reading: &mut Reading,
        request: Request<'_>,
        told: &Told<'_>,
    ) -> Result<(), String> {
        let reason = Reason::of(told.reason);
        let has_heard = reading.run.is_some() && !reading.is_over && reading.request == request.id;
        if run_of(told.text).is_none() {
            // Nothing was said, or the sentence that stands for it.
            // A room also hears of what was refused there, while another answer is written.
            let may_be_anothers = matches!(request.wants, Wants::Overheard { .. }) && told.is_error;
            return match (told.text.is_empty() || told.is_error) && !has_heard || may_be_anothers {
                true => Ok(()),
                false => Err(format!("{:?} ends what had begun otherwise", told.text)),
            };
        }
        // Told in chunks, that it heard as much is held below.
        let may_be_cut = self.words_travel && has_heard;
        let (run, answer) = self.of(told.text)?;
        answer
            .ends_with(told.text, reason, may_be_cut)
            .map_err(|why| format!("{run:x} {why}: {:?}", told.text))?;
        if reason != Reason::Interrupted {
            let (heard, all) = (reading.end, told.text.len());
            let holds = match request.wants {
                Wants::Overheard { words_travel } if has_heard => {
                    heard == all || (words_travel && heard < all)
                }
                _ if has_heard => reading.run == Some(run) && heard == all,
                Wants::Stream => false,
                _ => reading.run != Some(run) || heard <= all,
            };
            if !holds {
                return Err(format!("{heard} of {all} bytes of {run:x} were heard in chunks before its end"));
            }
        }
        let was_over = reading.run == Some(run) && std::mem::replace(&mut reading.is_over, true);
        match request.wants {
            // Whoever asks again how it ended is told again; nobody is told unasked.
            Wants::Stream | Wants::Overheard { .. } if was_over => Err(format!("{run:x} ends twice")),
            _ => Ok(()),
        }
    }

    /// At the end: an answer as it stands in a room's log.
    pub(crate) fn posted(&mut self, text: &str) -> Result<(), String> {
        if run_of(text).is_none() {
            return Ok(()); // the sentence that stands for it, or somebody has changed it
        }
        let (run, answer) = self.of(text)?;
        if std::mem::replace(&mut answer.is_posted, true) {
            return Err(format!("the answer {run:x} stands twice in the log"));
        }
        let is_as_told = match &answer.end {
            Some((told, reason)) => {
                *reason == Reason::Interrupted || told == text || answer.may_be_cut && text.starts_with(told)
            }
            None => true,
        };
        match is_as_told && answer.sent.starts_with(text) {
            true => Ok(()),
            false => Err(format!("the answer {run:x} stands otherwise in the log: {text:?}")),
        }
    }

    pub(crate) fn read(&self) -> Read {
        let mut read = Read::default();
        for answer in self.runs.values() {
            let Some((_, reason)) = &answer.end else { continue };
            read.answers += 1;
            read.cancelled += u64::from(*reason == Reason::Cancelled);
            read.interrupted += u64::from(*reason == Reason::Interrupted);
            read.resumed += u64::from(answer.resumed);
        }
        read
    }

    fn of(&mut self, text: &str) -> Result<(u64, &mut Answer), String> {
        let run = run_of(text).ok_or_else(|| format!("no model began a word like this: {text:?}"))?;
        let answer = self.runs.get_mut(&run).ok_or_else(|| format!("{run:x} was never asked: {text:?}"))?;
        Ok((run, answer))
    }
}

impl Answer {
    /// Chunks lie side by side, whoever is told of them.
    fn place(&mut self, index: u32, (from, to): (usize, usize)) -> Result<(), &'static str> {
        let before = index.checked_sub(1).and_then(|before| self.chunks.get(&before));
        match self.chunks.get(&index) {
            Some(known) if *known != (from, to) => return Err("was another one to somebody else"),
            _ if (index == 0) != (from == 0) => return Err("is not where the text begins"),
            _ if before.is_some_and(|before| before.1 != from) => {
                return Err("does not follow the one before");
            }
            _ => {}
        }
        if self.chunks.get(&(index + 1)).is_some_and(|behind| behind.0 != to) {
            return Err("is not followed by the one behind");
        }
        self.chunks.insert(index, (from, to));
        Ok(())
    }

    fn ends_with(&mut self, text: &str, reason: Reason, may_be_cut: bool) -> Result<(), &'static str> {
        if !self.sent.starts_with(text) {
            return Err("is not what the model sent");
        }
        if reason == Reason::Ended && !(self.is_over && self.sent == text) {
            return Err("lacks its end");
        }
        match &self.end {
            // Its memory is gone once more before the end that was told is stored.
            Some((_, Reason::Interrupted)) if reason == Reason::Interrupted => {}
            Some((told, _)) if may_be_cut && reason == Reason::Cancelled && told.starts_with(text) => {}
            // It was told so to somebody before.
            Some((told, Reason::Cancelled)) if self.may_be_cut && text.starts_with(told) => {
                self.end = Some((text.to_owned(), reason));
            }
            Some((told, was)) if told != text || *was != reason => return Err("ends in two ways"),
            _ => self.end = Some((text.to_owned(), reason)),
        }
        self.may_be_cut |= may_be_cut && reason == Reason::Cancelled;
        Ok(())
    }
}

impl Reason {
    fn of(reason: &str) -> Self {
        match reason {
            "cancelled" => Self::Cancelled,
            "interrupted" => Self::Interrupted,
            _ => Self::Ended,
        }
    }
}

impl Wants {
    /// The highest chunk that may come first.
    fn first(self) -> Option<u32> {
        match self {
            Self::Stream => Some(0),
            Self::End | Self::Overheard { .. } => None,
            Self::Rest(first) => Some(first),
        }
    }
}

impl Reading {
    /// The request that the last chunk answered.
    pub(crate) fn request(&self) -> &str {
        &self.request
    }

    /// Where to go on, in the middle of an answer.
    pub(crate) fn stands_at(&self) -> Option<u32> {
        self.next.checked_sub(1).filter(|_| !self.is_over)
    }
}

/// A word as the model of a run says it, with a character that is easily cut in two.
pub(crate) fn word(run: u64, place: i64) -> String {
    format!("<{run:x}.{place}> é ")
}

fn run_of(text: &str) -> Option<u64> {
    let (run, _) = text.strip_prefix('<')?.split_once('.')?;
    u64::from_str_radix(run, 16).ok()
}

#[cfg(test)]
mod tests {
    use weeziq_core::ai::model::FinishReason;

    use super::*;

    const RUN: u64 = 7;
    const ASKER: Request<'_> = Request { id: "r1", wants: Wants::Stream };
    const BACK: Request<'_> = Request { id: "r2", wants: Wants::Rest(1) };

    /// What a planted fault makes a reader hear: chunks by index, and the end if there was one.
    fn heard(chunks: &[(u32, &str)], end: Option<(&str, &str)>) -> Result<(), String> {
        let mut answers = said();
        let mut reading = Reading::default();
        for (index, words) in chunks {
            answers.chunk(&mut reading, ASKER, *index, &text(words))?;
        }
        end.map_or(Ok(()), |(words, reason)| {
            answers.end(&mut reading, ASKER, &Told { text: &text(words), reason, is_error: false })
        })
    }

    fn said() -> Answers {
        let mut answers = Answers::default();
        answers.ask(RUN);
        (0..4).for_each(|place| answers.say(RUN, &ModelEvent::Delta(word(RUN, place))));
        answers.say(RUN, &ModelEvent::Finished(FinishReason::Stop));
        answers.say(RUN, &ModelEvent::Delta(word(RUN, 9)));
        answers
    }

    /// "01" are the first two words.
    fn text(words: &str) -> String {
        words.chars().filter_map(|place| place.to_digit(10)).map(|place| word(RUN, place.into())).collect()
    }

    #[test]
    fn what_the_model_sent_is_heard_in_any_pieces() {
        assert_eq!(heard(&[(0, "0"), (1, "12"), (2, "3")], Some(("0123", "stop"))), Ok(()));
        assert_eq!(heard(&[(0, "01")], Some(("01", "cancelled"))), Ok(()));
        assert_eq!(heard(&[(0, "01")], Some(("0", "interrupted"))), Ok(()));
    }

    #[test]
    fn every_planted_fault_is_seen() {
        for (fault, chunks, end) in [
            ("doubled", &[(0, "01"), (1, "12")][..], None),
            ("told again", &[(0, "01"), (0, "01")], None),
            ("a hole", &[(0, "0"), (1, "2")], None),
            ("a chunk left out", &[(0, "0"), (2, "1")], None),
            ("not from the beginning", &[(1, "1")], None),
            ("behind the last word", &[(0, "0123"), (1, "9")], None),
            ("an end that lacks a word", &[(0, "0"), (1, "123")], Some(("012", "stop"))),
            ("an end that says more than was told", &[(0, "0")], Some(("01", "cancelled"))),
            ("an end that says less than was told", &[(0, "012")], Some(("01", "cancelled"))),
            ("an end in place of all", &[], Some(("0123", "stop"))),
            ("an end that forgets all", &[(0, "0")], Some(("", "cancelled"))),
            ("an interruption with other text", &[(0, "0")], Some(("02", "interrupted"))),
        ] {
            assert!(heard(chunks, end).is_err(), "{fault}");
        }
    }

    #[test]
    fn a_reader_that_comes_back_goes_on_where_it_was() -> Result<(), String> {
        let mut answers = said();
        let mut reading = Reading::default();
        answers.chunk(&mut reading, ASKER, 0, &text("0"))?;
        assert_eq!(reading.stands_at(), Some(0));
        answers.chunk(&mut reading, BACK, 1, &text("123"))?;
        assert!(answers.chunk(&mut reading, BACK, 1, &text("123")).is_err(), "told again");
        let whole = text("0123");
        answers.end(&mut reading, BACK, &Told { text: &whole, reason: "stop", is_error: false })?;
        assert!(answers.chunk(&mut reading, BACK, 2, &text("3")).is_err(), "after its end");
        assert_eq!(reading.stands_at(), None);
        assert_eq!((answers.read().answers, answers.read().resumed), (1, 1));
        answers.posted(&whole)?;
        assert!(answers.posted(&whole).is_err(), "twice");
        Ok(())
    }
}
