//! Files in R2: taken and given as streams, never whole in memory.

use std::collections::HashMap;

use serde_json::json;
use weeziq_core::ids::short_random_name;
use weeziq_core::protocol::error::{ClientError, ErrorCode};
use worker::{Env, FixedLengthStream, HttpMetadata, Request, Response, ResponseBuilder, Result};

use crate::clock::entropy;
use crate::reply;

const BINDING: &str = "FILE_STORAGE";
const FILE_BYTES_MAX: u64 = 25 * 1024 * 1024;
const NAME_CHARS_MAX: usize = 256;
/// Two short random names.
const KEY_CHARS: usize = 26;
/// What a browser may show in its place. Anything else is only handed out to be saved: it could run as a page of ours.
const SHOWN: &[&str] =
    &["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "application/pdf"];

type Answer = Result<std::result::Result<Response, ClientError>>;

/// A raw body with `?name=`.
pub(crate) async fn put(mut request: Request, env: &Env) -> Answer {
    let name = match name_of(&request)? {
        Ok(name) => name,
        Err(error) => return Ok(Err(error)),
    };
    let size: Option<u64> = request.headers().get("content-length")?.and_then(|size| size.parse().ok());
    let Some(size) = size else {
        let error = ClientError::invalid("Content-Length", "is required: how large is the file?");
        return Ok(Ok(reply::refusal(&error)?.with_status(411)));
    };
    if size > FILE_BYTES_MAX {
        let why = format!("a file has {FILE_BYTES_MAX} bytes at most");
        return Ok(Err(ClientError::new(ErrorCode::TooLarge, why)));
    }
    let kind = request.headers().get("content-type")?.unwrap_or_else(|| "application/octet-stream".into());
    let key = format!("{}{}", short_random_name(entropy()), short_random_name(entropy()));
    let bucket = env.bucket(BINDING)?;
    // A request with an empty body has no stream.
    let put = match size {
        0 => bucket.put(&key, Vec::new()),
        size => bucket.put(&key, FixedLengthStream::wrap(request.stream()?, size)),
    };
    put.http_metadata(HttpMetadata { content_type: Some(kind.clone()), ..Default::default() })
        .custom_metadata(HashMap::from([("name".to_owned(), name.clone())]))
        .execute()
        .await?;
    let body = json!({ "key": key, "url": format!("/files/{key}"), "name": name, "size": size, "contentType": kind });
    Ok(Ok(reply::json(&body)?.with_status(201)))
}

pub(crate) async fn get(request: &Request, key: &str, env: &Env) -> Answer {
    // What we never gave out is not worth a question.
    if key.len() != KEY_CHARS || !key.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Ok(Err(ClientError::new(ErrorCode::NotFound, "there is no such file")));
    }
    let Some(file) = env.bucket(BINDING)?.get(key).execute().await? else {
        return Ok(Err(ClientError::new(ErrorCode::NotFound, format!("there is no file {key}"))));
    };
    let known = request.headers().get("if-none-match")?;
    if known.is_some_and(|known| known.split(',').any(|tag| tag.trim() == file.http_etag())) {
        let response = ResponseBuilder::new().with_status(304).with_header("etag", &file.http_etag())?;
        return Ok(Ok(response.empty()));
    }
    let Some(body) = file.body() else { return Ok(Err(ClientError::unavailable())) };
    let kind = file.http_metadata().content_type.unwrap_or_else(|| "application/octet-stream".into());
    let name = file.custom_metadata()?.remove("name").unwrap_or_else(|| "file".into());
    let is_shown = SHOWN.contains(&kind.as_str());
    let disposition = if is_shown { "inline" } else { "attachment" };
    let encoded = String::from(js_sys::encode_uri_component(&name));
    let response = ResponseBuilder::new()
        .with_header("content-type", if is_shown { &kind } else { "application/octet-stream" })?
        .with_header("content-disposition", &format!("{disposition}; filename*=UTF-8''{encoded}"))?
        .with_header("content-length", &file.size().to_string())?
        .with_header("x-content-type-options", "nosniff")?
        .with_header("etag", &file.http_etag())?;
    Ok(Ok(response.body(body.response_body()?)))
}

fn name_of(request: &Request) -> Result<std::result::Result<String, ClientError>> {
    let url = request.url()?;
    let name = url.query_pairs().find(|(name, _)| name == "name").map(|(_, value)| value.into_owned());
    let is_name = |name: &String| {
        !name.is_empty() && name.chars().count() <= NAME_CHARS_MAX && !name.contains(char::is_control)
    };
    Ok(name.filter(is_name).ok_or_else(|| {
        ClientError::invalid(
            "name",
            "is required in the query: 1 to 256 characters without control characters",
        )
    }))
}
