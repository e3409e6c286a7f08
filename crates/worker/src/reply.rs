//! Responses, and what objects read of our own requests.

use serde_json::Value;
use weeziq_core::protocol::error::ClientError;
use weeziq_core::protocol::event::Event;
use weeziq_core::protocol::http;
use worker::{Error, Request, Response, ResponseBuilder, Result};

use crate::places::Hello;

/// The response that one event says which answers a request.
pub(crate) fn body(event: Event) -> Result<Response> {
    match http::body(event) {
        Ok(body) => json(&body),
        Err(error) => refusal(&error),
    }
}

pub(crate) fn json(body: &Value) -> Result<Response> {
    let response = ResponseBuilder::new().with_header("content-type", "application/json")?;
    Ok(response.fixed(body.to_string().into_bytes()))
}

pub(crate) fn refusal(error: &ClientError) -> Result<Response> {
    let mut response = ResponseBuilder::new()
        .with_status(error.code.http_status())
        .with_header("content-type", "application/json")?;
    if let Some(seconds) = http::retry_after_seconds(error) {
        response = response.with_header("retry-after", &seconds.to_string())?;
    }
    Ok(response.fixed(http::refusal(error).to_string().into_bytes()))
}

pub(crate) fn hello_of(request: &Request) -> Result<Hello> {
    let url = request.url()?;
    let hello = url.query_pairs().find(|(name, _)| name == "hello").map(|(_, value)| value.into_owned());
    let hello = hello.ok_or_else(|| Error::RustError("a socket has to say who it is".into()))?;
    Ok(serde_json::from_str(&hello)?)
}
