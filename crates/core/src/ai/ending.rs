//! How an answer is read out of a provider's records and how it ends: the rules that hold for every provider.
//!
//! They are kept in one place because they are what a run relies on: text comes before the end, the end comes
//! once, nothing follows it, and a failure after text is never told as one that may be tried again unseen.

use serde_json::value::RawValue;

use super::handover;
use super::model::{FinishReason, ModelEvent, ModelFailure, Usage};
use super::sse::{EVENT_BYTES_MAX, SseReader};

/// An answer as it comes: as server-sent events, one JSON record in each; or, from servers that do not stream, as one record or an
/// array of them.
#[derive(Default)]
pub(super) struct Answer {
    form: Form,
    sse: SseReader,
    whole: Vec<u8>,
    ending: Ending,
}

/// What the first byte tells of the body: no line of an event stream begins with a brace or a bracket.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Form {
    #[default]
    Unknown,
    Events,
    Whole,
}

/// Reads one record; an error says that the data is no record at all.
pub(super) type ReadRecord = fn(&str, &mut Ending, &mut Vec<ModelEvent>) -> Result<(), serde_json::Error>;

/// What is known so far of how an answer ends.
#[derive(Default)]
pub(super) struct Ending {
    reason: Option<Reason>,
    usage: Usage,
    text_seen: bool,
    over: bool,
    calls: Vec<Call>,
}

/// A tool that the model calls, as far as it has been told.
#[derive(Default)]
struct Call {
    name: String,
    arguments: String,
}

/// There is one tool, with one short argument.
const CALLS_MAX: usize = 4;
const ARGUMENTS_BYTES_MAX: usize = 16 * 1024;

/// What a provider named as the reason for its end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Stop,
    Length,
    Filtered,
    /// A word that we do not know, or one that has no place in a conversation without tools.
    Other,
}

impl Answer {
    pub(super) fn push(&mut self, bytes: &[u8], read: ReadRecord, out: &mut Vec<ModelEvent>) {
        let bytes = self.recognise(bytes);
        let Self { form, sse, whole, ending } = self;
        if ending.over {
            return;
        }
        if *form == Form::Whole {
            if whole.len() + bytes.len() > EVENT_BYTES_MAX {
                return ending.break_off(out);
            }
            return whole.extend_from_slice(bytes);
        }
        let pushed = sse.push(bytes, &mut |data| {
            if read_event(data, read, ending, out).is_err() {
                ending.break_off(out);
            }
        });
        if pushed.is_err() {
            ending.break_off(out);
        }
    }

    pub(super) fn end(&mut self, read: ReadRecord, out: &mut Vec<ModelEvent>) {
        let Self { form, sse, whole, ending } = self;
        if *form == Form::Whole {
            return match records(whole) {
                Some(records) => {
                    let are_read = records.iter().all(|record| read(record.get(), ending, out).is_ok());
                    if are_read { ending.complete(out) } else { ending.break_off(out) }
                }
                None => ending.break_off(out),
            };
        }
        // The last event may be cut. Then it is no JSON, and what was known before it decides.
        let _ = sse.end(&mut |data| drop(read_event(data, read, ending, out)));
        ending.body_ended(out);
    }

    fn recognise<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.form != Form::Unknown {
            return bytes;
        }
        let bytes = bytes.trim_ascii_start();
        self.form = match bytes.first() {
            None => Form::Unknown,
            Some(b'{' | b'[') => Form::Whole,
            Some(_) => Form::Events,
        };
        bytes
    }
}

fn records(whole: &[u8]) -> Option<Vec<&RawValue>> {
    match whole.first() {
        Some(b'[') => serde_json::from_slice(whole).ok(),
        _ => serde_json::from_slice(whole).ok().map(|record| vec![record]),
    }
}

impl Ending {
    pub(super) fn text(&mut self, text: String, out: &mut Vec<ModelEvent>) {
        if !self.over && !text.is_empty() {
            self.text_seen = true;
            out.push(ModelEvent::Delta(text));
        }
    }

    /// Some providers repeat their count in every record; only a new one is told.
    pub(super) fn usage(&mut self, usage: Usage, out: &mut Vec<ModelEvent>) {
        if !self.over && self.usage != usage {
            self.usage = usage;
            out.push(ModelEvent::Usage(usage));
        }
    }

    /// Keeps the reason until the end is certain: usage and even text may follow it. A later one replaces it,
    /// save that a filter's verdict stands, since proxies send an empty STOP after anything.
    pub(super) fn remember(&mut self, reason: Reason) {
        if self.reason != Some(Reason::Filtered) {
            self.reason = Some(reason);
        }
    }

    /// More of the call with this number: its name once, its arguments in pieces.
    pub(super) fn call(&mut self, number: usize, name: &str, arguments: &str) {
        while self.calls.len() <= number && number < CALLS_MAX {
            self.calls.push(Call::default());
        }
        if let Some(call) = self.calls.get_mut(number)
            && call.name.len() + call.arguments.len() + name.len() + arguments.len() <= ARGUMENTS_BYTES_MAX
        {
            call.name.push_str(name);
            call.arguments.push_str(arguments);
        }
    }

    /// How many have been told of.
    pub(super) fn calls_seen(&self) -> usize {
        self.calls.len()
    }

    /// Calls are believed when the answer is whole. Of tools that were never offered nothing is made.
    fn take_calls(&mut self, out: &mut Vec<ModelEvent>) {
        let calls = std::mem::take(&mut self.calls);
        if let Some(call) = calls.iter().find(|call| call.name == handover::TOOL).filter(|_| !self.over) {
            self.text_seen = true;
            out.push(ModelEvent::HandOver(handover::reason(&call.arguments)));
        }
    }

    /// The provider said that the answer is whole.
    pub(super) fn complete(&mut self, out: &mut Vec<ModelEvent>) {
        if self.reason != Some(Reason::Filtered) {
            self.take_calls(out);
        }
        match self.reason.unwrap_or(Reason::Other) {
            Reason::Filtered => self.fail(ModelFailure::ContentFiltered, out),
            Reason::Other if !self.text_seen => self.fail(ModelFailure::Unavailable, out),
            Reason::Stop | Reason::Length if !self.text_seen => self.fail(ModelFailure::Empty, out),
            Reason::Length => self.close(ModelEvent::Finished(FinishReason::Length), out),
            Reason::Stop | Reason::Other => self.close(ModelEvent::Finished(FinishReason::Stop), out),
        }
    }

    /// There is no more body: the answer is whole if a reason was given.
    pub(super) fn body_ended(&mut self, out: &mut Vec<ModelEvent>) {
        match self.reason {
            Some(_) => self.complete(out),
            None => self.break_off(out),
        }
    }

    /// The body cannot be read any further.
    pub(super) fn break_off(&mut self, out: &mut Vec<ModelEvent>) {
        self.fail(ModelFailure::Unavailable, out);
    }

    /// `failure` is what it is if no text was seen; with text the answer is filtered or incomplete.
    pub(super) fn fail(&mut self, failure: ModelFailure, out: &mut Vec<ModelEvent>) {
        let event = match failure {
            failure if !self.text_seen => ModelEvent::Failed(failure),
            ModelFailure::ContentFiltered => ModelEvent::Finished(FinishReason::ContentFilter),
            _ => ModelEvent::Failed(ModelFailure::Incomplete),
        };
        self.close(event, out);
    }

    fn close(&mut self, event: ModelEvent, out: &mut Vec<ModelEvent>) {
        if !std::mem::replace(&mut self.over, true) {
            out.push(event);
        }
    }
}

/// An event without data is how some servers keep a connection alive.
fn read_event(
    data: &str,
    read: ReadRecord,
    ending: &mut Ending,
    out: &mut Vec<ModelEvent>,
) -> Result<(), serde_json::Error> {
    match data.trim() {
        "" => Ok(()),
        data => read(data, ending, out),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn text_of(events: &[ModelEvent]) -> String {
        let text = |event: &ModelEvent| match event {
            ModelEvent::Delta(text) => Some(text.clone()),
            _ => None,
        };
        events.iter().filter_map(text).collect()
    }

    /// What holds for every answer, whatever the provider sent.
    pub(crate) fn ends_once_and_last(events: &[ModelEvent]) -> bool {
        let is_end = |event: &ModelEvent| matches!(event, ModelEvent::Finished(_) | ModelEvent::Failed(_));
        events.iter().position(is_end).is_some_and(|first| first + 1 == events.len())
            && !events.contains(&ModelEvent::Delta(String::new()))
    }

    fn check(
        act: impl Fn(&mut Ending, &mut Vec<ModelEvent>),
        without_text: ModelEvent,
        with_text: ModelEvent,
    ) {
        let mut out = Vec::new();
        act(&mut Ending::default(), &mut out);
        assert_eq!(out, [without_text]);

        let mut ending = Ending::default();
        let mut out = Vec::new();
        ending.text("Hi".to_owned(), &mut out);
        act(&mut ending, &mut out);
        assert_eq!(out, [ModelEvent::Delta("Hi".to_owned()), with_text]);

        let told = out.len();
        ending.text("late".to_owned(), &mut out);
        ending.usage(Usage { input_tokens: 1, output_tokens: 1 }, &mut out);
        ending.complete(&mut out);
        ending.break_off(&mut out);
        assert_eq!(out.len(), told, "nothing follows the end");
    }

    fn ended_with(reason: Reason) -> impl Fn(&mut Ending, &mut Vec<ModelEvent>) {
        move |ending, out| {
            ending.remember(reason);
            ending.body_ended(out);
        }
    }

    #[test]
    fn an_answer_ends_by_its_reason_and_by_whether_text_was_seen() {
        use FinishReason::{ContentFilter, Length, Stop};
        use ModelEvent::{Failed, Finished};
        use ModelFailure::{ContentFiltered, Empty, Incomplete, Overloaded, Unavailable};

        check(ended_with(Reason::Stop), Failed(Empty), Finished(Stop));
        check(ended_with(Reason::Length), Failed(Empty), Finished(Length));
        check(ended_with(Reason::Filtered), Failed(ContentFiltered), Finished(ContentFilter));
        check(ended_with(Reason::Other), Failed(Unavailable), Finished(Stop));
        check(Ending::complete, Failed(Unavailable), Finished(Stop));
        check(Ending::body_ended, Failed(Unavailable), Failed(Incomplete));
        check(Ending::break_off, Failed(Unavailable), Failed(Incomplete));
        let overloaded = Overloaded { retry_after_ms: None };
        check(
            |ending, out| ending.fail(overloaded.clone(), out),
            Failed(overloaded.clone()),
            Failed(Incomplete),
        );
    }

    #[test]
    fn a_filters_verdict_stands() {
        let mut ending = Ending::default();
        ending.remember(Reason::Stop);
        ending.remember(Reason::Filtered);
        ending.remember(Reason::Stop);
        let mut out = Vec::new();
        ending.body_ended(&mut out);
        assert_eq!(out, [ModelEvent::Failed(ModelFailure::ContentFiltered)]);
    }
}
