//! What the service asks of a model and what it hears back: the one vocabulary that the provider codecs
//! translate from and into, so that rooms know nothing of OpenAI or Google.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::models::Route;
use crate::knowledge::Passage;

/// Who answers.
#[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// OpenAI Chat Completions, or anything that speaks it.
    OpenAi,
    /// Google Gemini `generateContent`.
    Google,
    /// The built-in offline model that runs when no key is set, and when a budget is used up.
    #[default]
    Demo,
}

impl Provider {
    pub fn parse(name: &str) -> Option<Self> {
        [Self::OpenAi, Self::Google, Self::Demo].into_iter().find(|provider| provider.as_str() == name)
    }

    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Google => "google",
            Self::Demo => "demo",
        }
    }
}

/// Who said a turn of a conversation. The system prompt is no turn: it travels beside them and cannot fall out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    User,
    Assistant,
    /// The service itself, of what the model has missed.
    Service,
}

/// One thing said in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    pub speaker: Speaker,
    pub text: String,
}

/// One question, with everything that a model needs to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelRequest {
    /// Whom to ask, one after the other until one answers: never none.
    pub routes: Vec<Route>,
    /// Always sent first; may be empty.
    pub system: String,
    /// Oldest first; the last one is the question.
    pub turns: Vec<Turn>,
    /// There are people whom it may hand over to.
    pub may_hand_over: bool,
    /// What the site's documents say to it. Models read them in `system`; the demo answers from them.
    pub passages: Arc<[Passage]>,
    /// No model is asked because the domain's budget is used up, which the demo then does not call a demo.
    pub is_over_budget: bool,
    /// What is said then where the documents say nothing to it.
    pub fallback: Box<str>,
}

impl ModelRequest {
    /// Of the model that is asked first.
    pub fn provider(&self) -> Provider {
        self.routes.first().map_or(Provider::Demo, |route| route.provider)
    }
}

/// Why an answer ended, in the words of the wire.
#[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    Stop,
    /// The model's own output limit.
    Length,
    ContentFilter,
    Cancelled,
    /// The process died while the answer was being written.
    Interrupted,
    Error,
}

impl FinishReason {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ContentFilter => "content_filter",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Error => "error",
        }
    }
}

/// Tokens that the provider says it counted.
#[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    pub input_tokens: u64,
    pub output_tokens: u64,
}

/// What went wrong with an attempt, by what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelFailure {
    /// Connection refused or broken, 5xx, or a reply that is no reply. Another attempt may succeed.
    Unavailable,
    /// 429. `retry_after_ms` is what the provider asked for, if it said.
    Overloaded { retry_after_ms: Option<u64> },
    /// A deadline passed.
    Timeout,
    /// The provider refused the question or cut the answer for its content.
    ContentFiltered,
    /// 400, 401, 403, 404 …: our request, key or model is wrong; repeating it is useless.
    Rejected { status: u16 },
    /// The body ended, or an error came inside it, after text had been sent.
    Incomplete,
    /// Whole, and without a word: thinking has used up what it was allowed to say, or it had nothing to say.
    Empty,
    /// It was not asked: it has failed too often of late ([`super::breaker`]).
    Resting,
}

impl ModelFailure {
    /// Whether the same request may be sent again, so long as no token of it has been seen.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable | Self::Overloaded { .. } | Self::Timeout | Self::Incomplete)
    }

    /// Whether another model may answer what this one has not. What was refused for its content is not hawked about.
    pub fn is_for_others(&self) -> bool {
        !matches!(self, Self::ContentFiltered)
    }
}

/// What a codec reads out of a provider's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelEvent {
    /// Another model than the one that was asked first answers; before all that it says.
    Answering(Route),
    /// More text; never empty.
    Delta(String),
    /// The provider's count so far; a later one replaces an earlier one.
    Usage(Usage),
    /// The model hands over to people, for this reason if it says one. Its answer goes on to its end.
    HandOver(Option<Box<str>>),
    /// The answer is whole. Nothing follows.
    Finished(FinishReason),
    /// The answer broke off. Nothing follows.
    Failed(ModelFailure),
}

impl ModelEvent {
    /// Whether nothing follows.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Finished(_) | Self::Failed(_))
    }
}

/// An HTTP request that a host sends as it stands: always a POST of JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct ProviderCall {
    pub url: String,
    /// Lower-case names. Holds the key: never log it (the type has no `Debug` for that reason).
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}
