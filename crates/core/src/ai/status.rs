//! What a provider's refusal means, whether it comes as an HTTP status or, once the reply has begun, as an
//! error object in the stream.
//!
//! Providers put the word that matters under `code`, `type` or `status`, and compatible servers mix them
//! freely, so each word is looked for in all three.

use serde_json::Value;

use super::model::ModelFailure;

/// The longest wait that a provider may ask for: no question lives longer than that.
const RETRY_AFTER_SECONDS_MAX: f64 = 60.0;

const CONTENT_WORDS: [&str; 2] = ["content_filter", "content_policy_violation"];
/// Sent with 429 like a rate limit, but it lasts until somebody pays.
const QUOTA_WORDS: [&str; 1] = ["insufficient_quota"];
const RATE_WORDS: [&str; 4] = ["rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED", "429"];

/// What a reply other than 2xx means. `retry_after` is the header as it came, `body` as much as was read.
pub fn failure(status: u16, retry_after: Option<&str>, body: &[u8]) -> ModelFailure {
    let error = error_object(body);
    match status {
        _ if says(&error, &CONTENT_WORDS) => ModelFailure::ContentFiltered,
        429 if says(&error, &QUOTA_WORDS) => ModelFailure::Rejected { status },
        429 => ModelFailure::Overloaded { retry_after_ms: retry_after.and_then(retry_after_ms) },
        503 if let Some(ms) = retry_after.and_then(retry_after_ms) => {
            ModelFailure::Overloaded { retry_after_ms: Some(ms) }
        }
        408 | 504 => ModelFailure::Timeout,
        500..=599 => ModelFailure::Unavailable,
        _ => ModelFailure::Rejected { status },
    }
}

/// What an error object in the stream of a 200 means while no text has been seen.
pub(super) fn failure_in_stream(error: &Value) -> ModelFailure {
    if says(error, &CONTENT_WORDS) {
        ModelFailure::ContentFiltered
    } else if says(error, &QUOTA_WORDS) {
        ModelFailure::Rejected { status: 429 }
    } else if says(error, &RATE_WORDS) {
        ModelFailure::Overloaded { retry_after_ms: None }
    } else {
        ModelFailure::Unavailable
    }
}

/// Null if there is none. Google wraps it in an array where the request was for a stream.
fn error_object(body: &[u8]) -> Value {
    let mut body: Value = serde_json::from_slice(body).unwrap_or_default();
    if let Some(first) = body.get_mut(0) {
        body = first.take();
    }
    body.get_mut("error").map(Value::take).unwrap_or_default()
}

fn says(error: &Value, words: &[&str]) -> bool {
    ["code", "type", "status"].into_iter().filter_map(|field| error.get(field)).any(|value| match value {
        Value::String(word) => words.contains(&word.as_str()),
        Value::Number(code) => words.contains(&code.to_string().as_str()),
        _ => false,
    })
}

/// Seconds only: a date would need a clock, and providers do not send it.
fn retry_after_ms(header: &str) -> Option<u64> {
    let seconds: f64 = header.trim().parse().ok()?;
    let asked = seconds.is_finite() && seconds >= 0.0;
    asked.then(|| (seconds.min(RETRY_AFTER_SECONDS_MAX) * 1000.0).ceil() as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in a test a panic is a result")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OVERLOADED: ModelFailure = ModelFailure::Overloaded { retry_after_ms: None };

    #[test]
    fn a_status_says_what_can_be_done() {
        for (status, expected) in [
            (429, OVERLOADED),
            (408, ModelFailure::Timeout),
            (504, ModelFailure::Timeout),
            (500, ModelFailure::Unavailable),
            (503, ModelFailure::Unavailable),
            (529, ModelFailure::Unavailable),
            (400, ModelFailure::Rejected { status: 400 }),
            (401, ModelFailure::Rejected { status: 401 }),
            (404, ModelFailure::Rejected { status: 404 }),
            (302, ModelFailure::Rejected { status: 302 }),
        ] {
            assert_eq!(failure(status, None, b"<html>"), expected, "{status}");
        }
    }

    #[test]
    fn a_body_says_more_than_its_status() {
        for (status, body, expected) in [
            (400, r#"{"error":{"code":"content_filter","message":"…"}}"#, ModelFailure::ContentFiltered),
            (400, r#"{"error":{"code":"content_policy_violation"}}"#, ModelFailure::ContentFiltered),
            (429, r#"{"error":{"type":"insufficient_quota"}}"#, ModelFailure::Rejected { status: 429 }),
            (429, r#"{"error":{"code":"rate_limit_exceeded","type":"tokens"}}"#, OVERLOADED),
            (429, r#"[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}]"#, OVERLOADED),
            (400, r#"{"error":"bad"}"#, ModelFailure::Rejected { status: 400 }),
            (400, r#"{"error":null}"#, ModelFailure::Rejected { status: 400 }),
        ] {
            assert_eq!(failure(status, None, body.as_bytes()), expected, "{status} {body}");
        }
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_capped() {
        for (header, ms) in [
            ("2", Some(2000)),
            (" 0.25 ", Some(250)),
            ("0", Some(0)),
            ("3600", Some(60_000)),
            ("-1", None),
            ("NaN", None),
            ("inf", None),
            ("", None),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ] {
            let expected = ModelFailure::Overloaded { retry_after_ms: ms };
            assert_eq!(failure(429, Some(header), b""), expected, "{header}");
            let expected = if ms.is_some() { expected } else { ModelFailure::Unavailable };
            assert_eq!(failure(503, Some(header), b""), expected, "{header}");
        }
    }

    #[test]
    fn an_error_in_the_stream_is_known_by_its_words() {
        for (error, expected) in [
            (r#"{"code":"rate_limit_exceeded"}"#, OVERLOADED),
            (r#"{"code":429,"message":"slow down"}"#, OVERLOADED),
            (r#"{"code":503,"status":"UNAVAILABLE"}"#, ModelFailure::Unavailable),
            (r#"{"code":"content_filter"}"#, ModelFailure::ContentFiltered),
            (r#"{"type":"insufficient_quota","code":429}"#, ModelFailure::Rejected { status: 429 }),
            (r#""only words""#, ModelFailure::Unavailable),
        ] {
            assert_eq!(failure_in_stream(&serde_json::from_str(error).unwrap()), expected, "{error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(
            status: u16,
            header in ".{0,12}",
            body in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            failure(status, Some(&header), &body);
        }
    }
}
