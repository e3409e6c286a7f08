//! What a site knows: its helpdesk and its documents, found by the words of a question.

pub mod cut;
pub mod document;
pub mod words;

use serde::{Deserialize, Serialize};

use crate::limits::SOURCE_TEXT_CHARS_MAX;

/// A piece of a document that is short enough to be read with a question.
#[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// Of the document; [`HELPDESK`] for an answer of the helpdesk.
    pub name: Box<str>,
    /// The document's title and the headings that the passage stands under, or the helpdesk's question.
    pub title: Box<str>,
    pub text: Box<str>,
}

/// The document that a site's helpdesk counts as.
pub const HELPDESK: &str = "helpdesk";

impl Passage {
    /// As it stands below an answer that was given from it: enough to recognise it.
    #[must_use]
    pub fn cited(&self) -> Self {
        let cut = self.text.char_indices().nth(SOURCE_TEXT_CHARS_MAX);
        let text = match cut {
            Some((at, _)) => format!("{}…", self.text.get(..at).unwrap_or_default().trim_end()).into(),
            None => self.text.clone(),
        };
        Self { text, ..self.clone() }
    }
}
