//! What the service asks of a model and what it hears back: the one vocabulary that the provider codecs
//! translate from and into, so that rooms know nothing of OpenAI or Google.

use serde::{Deserialize, Serialize};

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// OpenAI Chat Completions, or anything that speaks it.
    OpenAi,
    /// Google Gemini `generateContent`.
    Google,
    /// The built-in offline model that runs when no key is set.
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
}

/// One thing said in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    pub speaker: Speaker,
    pub text: String,
}

/// One question to one model, with everything that it needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRequest {
    pub provider: Provider,
    /// The name that the provider knows the model by.
    pub model: String,
    /// Always sent first; may be empty.
    pub system: String,
    /// Oldest first; the last one is the question.
    pub turns: Vec<Turn>,
}

/// Why an answer ended, in the words of the wire.
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
}

impl ModelFailure {
    /// Whether the same request may be sent again, so long as no token of it has been seen.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable | Self::Overloaded { .. } | Self::Timeout | Self::Incomplete)
    }
}

/// What a codec reads out of a provider's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelEvent {
    /// More text; never empty.
    Delta(String),
    /// The provider's count so far; a later one replaces an earlier one.
    Usage(Usage),
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
