//! Settings of domains in KV: read for each question, written now and then, which is what KV is for. A change is seen
//! everywhere within a minute or so.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use weeziq_core::domains::DomainSettings;
use weeziq_core::ids::DomainId;
use worker::{Delay, Env, Error, Result, console_warn};

const BINDING: &str = "CHAT_STORAGE";
/// A question does not wait longer for its prompt.
const READ_WITHIN: Duration = Duration::from_secs(2);
/// The platform's limit.
const KEY_BYTES_MAX: usize = 512;

/// Unset fields where nothing was set, or where KV does not answer: a question is worth more than its prompt.
pub(crate) async fn settings_of(env: &Env, domain: Option<&DomainId>) -> Arc<DomainSettings> {
    let Some(domain) = domain else { return Arc::default() };
    match select(pin!(read(env, domain)), pin!(Delay::from(READ_WITHIN))).await {
        Either::Left((Ok(settings), _)) => Arc::new(settings),
        Either::Left((Err(error), _)) => {
            console_warn!("the settings of a domain cannot be read: {error}");
            Arc::default()
        }
        Either::Right(_) => {
            console_warn!("the settings of a domain were not read in time");
            Arc::default()
        }
    }
}

pub(crate) async fn read(env: &Env, domain: &DomainId) -> Result<DomainSettings> {
    let Some(key) = key(domain) else { return Ok(DomainSettings::default()) };
    let stored = env.kv(BINDING)?.get(&key).text().await.map_err(failed)?;
    Ok(stored.map(|json| DomainSettings::of_stored(&json)).unwrap_or_default())
}

/// None if the domain's name is too long for a key.
pub(crate) async fn write(env: &Env, domain: &DomainId, settings: &DomainSettings) -> Result<Option<()>> {
    let Some(key) = key(domain) else { return Ok(None) };
    // As text: the platform's serialiser would store a map as an empty object.
    env.kv(BINDING)?.put(&key, settings.to_stored()).map_err(failed)?.execute().await.map_err(failed)?;
    Ok(Some(()))
}

fn key(domain: &DomainId) -> Option<String> {
    Some(format!("domain:{domain}")).filter(|key| key.len() <= KEY_BYTES_MAX)
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::RustError(error.to_string())
}
