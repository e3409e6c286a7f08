//! What an operator looks for in what was said.

use std::fmt::Write;

use serde::Serialize;

use crate::ids::{DomainId, RoomId, Seq};
use crate::limits::{SEARCH_CHARS_MAX, SEARCH_DEFAULT, SEARCH_MAX, SEARCH_WORDS_MAX, SNIPPET_CHARS};
use crate::protocol::error::ClientError;
use crate::protocol::query::Query;
use crate::rooms::message::Message;
use crate::time::UnixMs;

/// `GET /search`. Newest first.
#[derive(Clone)]
pub struct SearchQuery {
    pub domain: DomainId,
    pub words: Words,
    /// The last one of the page before.
    pub before: Option<Place>,
    pub limit: usize,
}

/// All of them have to be there; the last may be the beginning of one.
#[derive(Clone)]
pub struct Words(Vec<Box<str>>);

/// Where a message stands among all that may be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub at: UnixMs,
    pub room: RoomId,
    pub seq: Seq,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    room_id: RoomId,
    message: Message,
    /// What stands around the first of the words.
    snippet: Box<str>,
}

/// One page of what was found.
#[derive(Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FoundPage {
    pub results: Vec<Found>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Something was said of late that the index has not read yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_partial: bool,
}

impl SearchQuery {
    pub fn parse(query: &str) -> Result<Self, ClientError> {
        let query = Query::parse(query);
        let cursor = query.get("cursor").map(|cursor| {
            Place::parse(cursor)
                .ok_or_else(|| ClientError::invalid("cursor", "must be one that the page before came with"))
        });
        Ok(Self {
            domain: query.domain()?,
            words: Words::parse(query.get("q").unwrap_or_default())?,
            before: cursor.transpose()?,
            limit: query.limit(SEARCH_DEFAULT, SEARCH_MAX)?,
        })
    }

    /// A store would be busy with it for longer than others can wait.
    pub fn finds_too_much() -> ClientError {
        ClientError::invalid("q", "finds too much; say more of what you look for")
    }

    /// What several stores have found, as one page.
    pub fn page(&self, mut found: Vec<Message>, is_partial: bool) -> FoundPage {
        let place =
            |message: &Message| (-message.timestamp.0, message.room_id.clone(), u64::MAX - message.seq.0);
        found.sort_by_cached_key(place);
        let has_more = found.len() > self.limit;
        found.truncate(self.limit);
        let last = found.last().filter(|_| has_more).map(|last| Place {
            at: last.timestamp,
            room: last.room_id.clone(),
            seq: last.seq,
        });
        let results = found.into_iter().map(|message| Found {
            room_id: message.room_id.clone(),
            snippet: self.words.snippet(&message.message),
            message,
        });
        FoundPage { results: results.collect(), cursor: last.map(|place| place.written()), is_partial }
    }
}

impl Words {
    fn parse(text: &str) -> Result<Self, ClientError> {
        if text.chars().count() > SEARCH_CHARS_MAX {
            return Err(ClientError::invalid(
                "q",
                &format!("must have {SEARCH_CHARS_MAX} characters at most"),
            ));
        }
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let words: Vec<Box<str>> = words.take(SEARCH_WORDS_MAX).map(Into::into).collect();
        if words.is_empty() {
            return Err(ClientError::invalid("q", "must hold a word to look for"));
        }
        Ok(Self(words))
    }

    /// In the language of FTS5, where a word in quotes is no operator. Words hold letters and digits only.
    pub fn matching(&self) -> String {
        let mut matching = String::new();
        for word in &self.0 {
            let _ = write!(matching, "\"{word}\" "); // writing to memory cannot fail
        }
        matching.push('*');
        matching
    }

    fn snippet(&self, text: &str) -> Box<str> {
        let lower = text.to_lowercase();
        let first = self.0.iter().filter_map(|word| lower.find(&word.to_lowercase())).min();
        // Lower case may be of another length; a place that is off by some characters is near enough.
        let before = lower.get(..first.unwrap_or(0)).map_or(0, |before| before.chars().count());
        let begin = before.saturating_sub(SNIPPET_CHARS / 4);
        let kept: String = text.chars().skip(begin).take(SNIPPET_CHARS).collect();
        let is_cut = text.chars().nth(begin + SNIPPET_CHARS).is_some();
        format!("{}{}{}", if begin > 0 { "…" } else { "" }, kept, if is_cut { "…" } else { "" }).into()
    }
}

impl Place {
    pub fn parse(text: &str) -> Option<Self> {
        let (at, rest) = text.split_once('.')?;
        let (seq, room) = rest.split_once('.')?;
        let number = |text: &str| text.parse::<u64>().ok().filter(|number| *number < 1 << 52);
        Some(Self { at: UnixMs(number(at)? as i64), seq: Seq(number(seq)?), room: RoomId::parse(room)? })
    }

    pub fn written(&self) -> String {
        format!("{}.{}.{}", self.at.0, self.seq.0, self.room)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_typed_is_words_and_never_a_language() {
        for (typed, matching) in [
            ("hats", "\"hats\" *"),
            ("red  HATS", "\"red\" \"HATS\" *"),
            ("a\" OR text:* NEAR(b)", "\"a\" \"OR\" \"text\" \"NEAR\" \"b\" *"),
            ("Größe-42", "\"Größe\" \"42\" *"),
        ] {
            assert_eq!(Words::parse(typed).unwrap().matching(), matching);
        }
        for nothing in ["", "   ", "\"*()", "—"] {
            assert!(Words::parse(nothing).is_err(), "{nothing}");
        }
    }

    #[test]
    fn a_snippet_shows_the_word_where_it_stands() {
        let words = Words::parse("needle").unwrap();
        let text = format!("{}NEEDLE{}", "hay ".repeat(100), " hay".repeat(100));
        let snippet = words.snippet(&text);
        assert!(
            snippet.starts_with('…') && snippet.ends_with('…') && snippet.contains("NEEDLE"),
            "{snippet}"
        );
        assert_eq!(&*words.snippet("a needle"), "a needle");
        assert_eq!(&*words.snippet("İİİİ needle"), "İİİİ needle");
    }

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let place = Place { at: UnixMs(7), room: RoomId::known("a.b 1"), seq: Seq(3) };
        assert_eq!(Place::parse(&place.written()), Some(place));
        for garbage in ["", "1", "1.2", "1.2.", "-1.2.a", "1.x.a", "1.2.a\n"] {
            assert_eq!(Place::parse(garbage), None, "{garbage:?}");
        }
    }
}
