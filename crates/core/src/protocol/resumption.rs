//! How an answer is read on over HTTP: `GET /ai/stream/:conversationId/stream`.

use super::command::RoomCommand;
use super::error::ClientError;
use super::http::{AnswerBody, StreamAs};
use super::query::Query;

/// The `id` of the last server-sent event: an `EventSource` that comes back with it has it all.
pub(super) const END: &str = "end";

/// In what form, and behind which chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumption {
    form: StreamAs,
    after: Option<u32>,
}

impl Resumption {
    /// As a request says it. None: it has heard the end, so there is nothing to come back for.
    pub fn asked<'a>(
        accept: impl Iterator<Item = &'a str>,
        last_event_id: Option<&str>,
        query: &str,
    ) -> Result<Option<Self>, ClientError> {
        let form = match StreamAs::accepted(accept) {
            StreamAs::ServerSentEvents => StreamAs::ServerSentEvents,
            StreamAs::PlainText | StreamAs::UiMessages => StreamAs::UiMessages,
        };
        let index = |index: u64| index.min(u64::from(u32::MAX)) as u32;
        // An `EventSource` repeats its address, and says by the header how far it has come since.
        let after = match last_event_id.filter(|id| !id.is_empty()) {
            Some(END) => return Ok(None),
            Some(id) => Some(index(id.parse().map_err(|_| {
                ClientError::invalid("Last-Event-ID", "must be the id of an event of this stream")
            })?)),
            None => Query::parse(query).count("afterIndex")?.map(index),
        };
        Ok(Some(Self { form, after }))
    }

    /// For the way from one part of a host to another.
    pub fn as_word(self) -> String {
        let form = match self.form {
            StreamAs::ServerSentEvents => "events",
            StreamAs::PlainText | StreamAs::UiMessages => "ui-messages",
        };
        self.after.map_or_else(|| form.to_owned(), |after| format!("{form}:{after}"))
    }

    pub fn parse(word: &str) -> Self {
        let (form, after) = word.split_once(':').map_or((word, None), |(form, after)| (form, Some(after)));
        let form = if form == "events" { StreamAs::ServerSentEvents } else { StreamAs::UiMessages };
        Self { form, after: after.and_then(|after| after.parse().ok()) }
    }

    /// `useChat` knows a message by its beginning, so there that is told in any case, and it reads nothing that has ended.
    pub fn command(self) -> RoomCommand {
        match self.form {
            StreamAs::ServerSentEvents => RoomCommand::ResumeAnswer { after: self.after, even_ended: true },
            _ => RoomCommand::ResumeAnswer { after: None, even_ended: false },
        }
    }

    pub fn form(self) -> StreamAs {
        self.form
    }

    pub fn body(self) -> AnswerBody {
        match self.form {
            StreamAs::ServerSentEvents => AnswerBody::new(self.form),
            _ => AnswerBody::behind(self.form, self.after),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in a test a panic is a result")]
mod tests {
    use super::*;

    const EVENTS: &str = "text/event-stream";

    fn asked(accept: &str, id: Option<&str>, query: &str) -> Result<Option<Resumption>, ClientError> {
        Resumption::asked([accept].into_iter(), id, query)
    }

    #[test]
    fn an_event_source_says_by_its_header_how_far_it_has_come() {
        let at = |after| Ok(Some(Resumption { form: StreamAs::ServerSentEvents, after }));
        assert_eq!(asked(EVENTS, None, ""), at(None));
        assert_eq!(asked(EVENTS, None, "afterIndex=4"), at(Some(4)));
        assert_eq!(asked(EVENTS, Some("9"), "afterIndex=4"), at(Some(9)));
        assert_eq!(asked(EVENTS, Some(""), "afterIndex=4"), at(Some(4)));
        assert_eq!(asked(EVENTS, Some(END), ""), Ok(None));
        assert_eq!(asked("*/*", None, "").unwrap().unwrap().form(), StreamAs::UiMessages);
        for (id, query, named) in [(Some("-1"), "", "Last-Event-ID"), (None, "afterIndex=x", "afterIndex")] {
            assert!(asked(EVENTS, id, query).unwrap_err().message.contains(named));
        }
    }

    #[test]
    fn a_word_says_it_all() {
        for (accept, query) in [(EVENTS, ""), (EVENTS, "afterIndex=7"), ("*/*", ""), ("*/*", "afterIndex=0")]
        {
            let resumption = asked(accept, None, query).unwrap().unwrap();
            assert_eq!(Resumption::parse(&resumption.as_word()), resumption);
        }
    }
}
