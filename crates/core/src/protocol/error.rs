//! The one list of error codes, for all transports.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Stable names that clients may branch on.
#[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    InvalidJson,
    /// A field is missing, of a wrong type or out of its limits; the message names it.
    InvalidRequest,
    UnknownType,
    TooLarge,
    Unauthorized,
    Forbidden,
    NotFound,
    RateLimited,
    UnsupportedModel,
    AiUnavailable,
    AiTimeout,
    AiContentFiltered,
    /// Storage or another part of the host does not work just now. Nothing was kept; the client may try again.
    Unavailable,
    Internal,
}

impl ErrorCode {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidRequest => "invalid_request",
            Self::UnknownType => "unknown_type",
            Self::TooLarge => "too_large",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::RateLimited => "rate_limited",
            Self::UnsupportedModel => "unsupported_model",
            Self::AiUnavailable => "ai_unavailable",
            Self::AiTimeout => "ai_timeout",
            Self::AiContentFiltered => "ai_content_filtered",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// The three of the AI answer 200, because the body still holds a sentence to show.
    pub fn http_status(self) -> u16 {
        match self {
            Self::InvalidJson | Self::InvalidRequest | Self::UnknownType | Self::UnsupportedModel => 400,
            Self::TooLarge => 413,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::RateLimited => 429,
            Self::AiUnavailable | Self::AiTimeout | Self::AiContentFiltered => 200,
            Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }
}

/// A refusal as its cause may read it. What the operator should know beyond that goes to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientError {
    pub code: ErrorCode,
    /// One sentence that names the field and the mend.
    pub message: Cow<'static, str>,
    pub retry_after_ms: Option<u64>,
}

impl ClientError {
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None }
    }

    pub fn invalid(field: &str, rule: &str) -> Self {
        Self::new(ErrorCode::InvalidRequest, format!("{field} {rule}"))
    }

    pub fn rate_limited(what: &str, retry_after_ms: u64) -> Self {
        let message = format!("too many {what}; try again in {retry_after_ms} ms");
        Self { retry_after_ms: Some(retry_after_ms), ..Self::new(ErrorCode::RateLimited, message) }
    }

    /// Our own mistake. What it was stands in the log.
    pub fn internal() -> Self {
        Self::new(ErrorCode::Internal, "this should not have happened; it is in the log")
    }

    pub fn unavailable() -> Self {
        let message = "storage is not available just now; nothing was kept, try again";
        Self { retry_after_ms: Some(1_000), ..Self::new(ErrorCode::Unavailable, message) }
    }
}
