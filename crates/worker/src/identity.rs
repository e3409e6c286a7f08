//! Who sends a request, and who has ever proved to be somebody.
//!
//! That a token has proved a user is kept in KV: it is asked for at each join without a token, which may be on any machine
//! of the platform, and written once in a user's life. KV may take a minute to tell the rest of the world; until then
//! somebody without a token could go by the name of a user whose very first token has just come, elsewhere.

use std::cell::RefCell;
use std::collections::HashSet;

use weeziq_core::access::identity::Identity;
use weeziq_core::ids::{UserId, fnv1a};
use weeziq_core::protocol::error::{ClientError, ErrorCode};
use worker::{Env, Request, Result, console_warn};

use crate::settings::Settings;

const BINDING: &str = "CHAT_STORAGE";
/// The platform's limit.
const KEY_BYTES_MAX: usize = 512;
/// Users that an isolate remembers; then it asks anew.
const REMEMBERED_MAX: usize = 10_000;

const PREFIX: &str = "user";
const NAMED: &str = "user:";
/// Of names too long for a key.
const NUMBERED: &str = "user#";

thread_local! {
    /// Proved as far as this isolate has heard. That is never taken back.
    static PROVEN: RefCell<HashSet<String>> = RefCell::default();
}

/// Whose token comes with it: in its header, else in its address, where a browser's WebSocket has to put it.
fn of(request: &Request, settings: &Settings) -> std::result::Result<Identity, ClientError> {
    let Some(key) = settings.key.as_deref() else { return Ok(Identity::Open) };
    let now = crate::clock::Clock::default().now();
    let header = request.headers().get("authorization").ok().flatten();
    if let Some(token) = header.as_deref().and_then(Identity::bearer) {
        return Identity::of(Some(key), Some(token), now);
    }
    let url = request.url().map_err(|_| ClientError::invalid("url", "cannot be read"))?;
    let named = url.query_pairs().find(|(name, _)| name == "token").map(|(_, token)| token);
    Identity::of(Some(key), named.as_deref(), now)
}

/// The same, and keeps that it was proved. There is no other way to learn who asks.
pub(crate) async fn known(
    request: &Request,
    env: &Env,
    settings: &Settings,
) -> std::result::Result<Identity, ClientError> {
    let identity = of(request, settings)?;
    note(env, &identity).await;
    Ok(identity)
}

pub(crate) async fn note(env: &Env, identity: &Identity) {
    let Some(user) = identity.subject() else { return };
    let key = key(user);
    if is_remembered(&key) {
        return;
    }
    let noted = async {
        if !is_kept(env, &key).await? {
            let put = env.kv(BINDING)?.put(&key, "1").map_err(failed)?;
            put.execute().await.map_err(failed)?;
        }
        Ok::<_, worker::Error>(())
    };
    match noted.await {
        Ok(()) => remember(key),
        Err(error) => console_warn!("that a user was proved is not kept: {error}"),
    }
}

/// That nobody has proved to be whom somebody without a token says it is.
pub(crate) async fn refuse(env: &Env, claimed: Option<&UserId>) -> std::result::Result<(), ClientError> {
    let Some(user) = claimed else { return Ok(()) };
    let key = key(user);
    if !is_remembered(&key) {
        let is_kept = is_kept(env, &key).await.map_err(|error| {
            console_warn!("whether a user was proved cannot be read: {error}");
            ClientError::unavailable()
        })?;
        if !is_kept {
            return Ok(());
        }
        remember(key);
    }
    let why = format!("userId {user} is somebody who has a token; give it, or take another userId");
    Err(ClientError::new(ErrorCode::Forbidden, why))
}

/// All of them, a page at a time and as they are kept, and where the next page begins.
pub(crate) async fn list_proven(env: &Env, after: Option<String>) -> Result<(Vec<String>, Option<String>)> {
    let mut list = env.kv(BINDING)?.list().prefix(PREFIX.into());
    if let Some(cursor) = after {
        list = list.cursor(cursor);
    }
    let page = list.execute().await.map_err(failed)?;
    Ok((page.keys.into_iter().map(|key| key.name).collect(), page.cursor.filter(|_| !page.list_complete)))
}

/// False if that is no key of theirs.
pub(crate) async fn keep_proven(env: &Env, keys: &[String]) -> Result<bool> {
    if !keys.iter().all(|key| key.starts_with(NAMED) || key.starts_with(NUMBERED)) {
        return Ok(false);
    }
    for key in keys {
        env.kv(BINDING)?.put(key, "1").map_err(failed)?.execute().await.map_err(failed)?;
    }
    Ok(true)
}

async fn is_kept(env: &Env, key: &str) -> Result<bool> {
    Ok(env.kv(BINDING)?.get(key).text().await.map_err(failed)?.is_some())
}

fn is_remembered(key: &str) -> bool {
    PROVEN.with_borrow(|proven| proven.contains(key))
}

fn remember(key: String) {
    PROVEN.with_borrow_mut(|proven| {
        if proven.len() >= REMEMBERED_MAX {
            proven.clear();
        }
        proven.insert(key);
    });
}

/// Two names of one number cost an anonymous visitor a name, and nobody theirs.
fn key(user: &UserId) -> String {
    let key = format!("{NAMED}{user}");
    if key.len() <= KEY_BYTES_MAX { key } else { format!("{NUMBERED}{:016x}", fnv1a(user.as_str())) }
}

fn failed(error: impl std::fmt::Display) -> worker::Error {
    worker::Error::RustError(error.to_string())
}
