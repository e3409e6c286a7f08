//! What is known of domains. Their settings are in KV, where reading is cheap anywhere; a domain's object keeps its documents
//! and its account, and stands between a question and all of it, so that a change counts at the next question and not when KV
//! has told it to the last of its places.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use serde::{Deserialize, Serialize};
use weeziq_core::access::origins::Pattern;
use weeziq_core::ai::briefing::Briefing;
use weeziq_core::domains::DomainSettings;
use weeziq_core::ids::{DomainId, RoomId, UserId};
use weeziq_core::knowledge::Passage;
use weeziq_core::protocol::command::{Ask, Page};
use weeziq_core::spending::{Allowance, SHARED_ACCOUNT};
use weeziq_core::time::UnixMs;
use worker::{Delay, Env, Error, Result, console_warn};

use crate::clock::Clock;
use crate::places::Place;

const BINDING: &str = "CHAT_STORAGE";
/// Of all domains, as the directory puts them together.
const ORIGINS: &str = "origins";
/// A question does not wait longer for what is looked up for it.
const LOOKED_UP_WITHIN: Duration = Duration::from_secs(2);
/// The platform's limit.
const KEY_BYTES_MAX: usize = 512;
/// KV itself is behind by up to a minute; asking more often would cost and say the same.
const ORIGINS_KEPT_MS: i64 = 30_000;

/// What a room asks the object of a question's domain.
#[derive(Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) message: String,
    /// Whose page is wanted, if it is shared.
    pub(crate) visitor: Option<String>,
    pub(crate) daily_tokens: u64,
    /// To be found by those who erase.
    #[serde(default)]
    pub(crate) conversation: Option<RoomId>,
    #[serde(default)]
    pub(crate) user: Option<UserId>,
    /// Nobody has asked: it is a question only if the AI answers by itself, and costs nothing before.
    pub(crate) is_unasked: bool,
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Whether an operator has set the domain up.
    pub(crate) is_set: bool,
    pub(crate) settings: String,
    pub(crate) passages: Vec<Passage>,
    pub(crate) page: Option<Page>,
    pub(crate) allowance: Allowance,
}

/// All that is looked up for a question. What cannot be reached is left out: a question is worth more than its prompt. Not so
/// a budget: where that cannot be looked at, no model is asked.
pub(crate) async fn brief(env: &Env, daily_tokens: u64, conversation: &RoomId, ask: &Ask) -> Briefing {
    if ask.domain.is_none() && daily_tokens == 0 {
        return Briefing::default();
    }
    match select(pin!(look_up(env, daily_tokens, conversation, ask)), pin!(Delay::from(LOOKED_UP_WITHIN)))
        .await
    {
        Either::Left((Ok(briefing), _)) => briefing,
        Either::Left((Err(error), _)) => {
            console_warn!("what is known of a domain cannot be read: {error}");
            unknown(daily_tokens)
        }
        Either::Right(_) => {
            console_warn!("what is known of a domain was not read in time");
            unknown(daily_tokens)
        }
    }
}

fn unknown(daily_tokens: u64) -> Briefing {
    let allowance = if daily_tokens > 0 { Allowance::Exhausted } else { Allowance::Free };
    Briefing { allowance, ..Briefing::default() }
}

async fn look_up(env: &Env, daily_tokens: u64, conversation: &RoomId, ask: &Ask) -> Result<Briefing> {
    let shared = DomainId::parse(SHARED_ACCOUNT);
    let Some(named) = ask.domain.clone().or_else(|| shared.clone()) else { return Ok(Briefing::default()) };
    let visitor = ask.user.as_ref().filter(|_| ask.page.is_none()).map(|user| user.as_str().to_owned());
    let asked = Asked {
        message: String::from(ask.message.clone()),
        visitor,
        daily_tokens,
        // A room that asks by itself is in the list of rooms.
        conversation: ask.domain.is_some().then(|| conversation.clone()).filter(|_| !ask.is_unasked()),
        user: ask.user.clone(),
        is_unasked: ask.is_unasked(),
    };
    let mut told = tell(env, &named, &asked).await?;
    let has_own = told.is_set || daily_tokens == 0;
    let account = if has_own { Some(named) } else { shared.filter(|shared| *shared != named) };
    if let Some(account) = account.as_ref().filter(|_| !told.is_set && !ask.is_unasked() && daily_tokens > 0)
    {
        let (message, visitor, conversation, user) = (String::new(), None, None, None);
        let asked = Asked { message, visitor, daily_tokens, conversation, user, is_unasked: false };
        told.allowance = tell(env, account, &asked).await?.allowance;
    }
    Ok(Briefing {
        settings: Arc::new(DomainSettings::of_stored(&told.settings)),
        passages: told.passages.into(),
        page: told.page,
        allowance: told.allowance,
        account: account.or_else(|| DomainId::parse(SHARED_ACCOUNT)),
    })
}

async fn tell(env: &Env, domain: &DomainId, asked: &Asked) -> Result<Told> {
    let place = Place::Domain(domain.clone());
    let mut response = place.post(env, "/site/brief", &serde_json::to_string(asked)?).await?;
    Ok(serde_json::from_str(&response.text().await?)?)
}

/// None where nothing was ever set.
pub(crate) async fn read(env: &Env, domain: &DomainId) -> Result<Option<DomainSettings>> {
    let Some(key) = key(domain) else { return Ok(None) };
    let stored = env.kv(BINDING)?.get(&key).text().await.map_err(failed)?;
    Ok(stored.map(|json| DomainSettings::of_stored(&json)))
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

thread_local! {
    static LISTED: RefCell<Option<(UnixMs, Rc<[Pattern]>)>> = const { RefCell::new(None) };
}

/// Whether a page of this origin belongs to any of the domains. Asked only of those whom `ALLOWED_ORIGINS` does not let in, so
/// most sites never pay for it, and a stranger costs one read of KV in half a minute however often it comes.
pub(crate) async fn list_origin(env: &Env, origin: &str) -> Result<bool> {
    let now = Clock::default().now();
    let known = LISTED.with_borrow(|listed| {
        listed.as_ref().filter(|(at, _)| now.since(*at) < ORIGINS_KEPT_MS).map(|(_, known)| known.clone())
    });
    let known = match known {
        Some(known) => known,
        None => {
            let stored = env.kv(BINDING)?.get(ORIGINS).text().await.map_err(failed)?;
            let entries: Vec<String> =
                stored.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
            let read: Rc<[Pattern]> =
                entries.iter().filter_map(|entry| Pattern::of_a_site(entry).ok()).collect();
            LISTED.set(Some((now, read.clone())));
            read
        }
    };
    Ok(known.iter().any(|pattern| pattern.matches(origin)))
}

pub(crate) async fn write_origins(env: &Env, origins: &[String]) -> Result<()> {
    let json = serde_json::to_string(origins)?;
    env.kv(BINDING)?.put(ORIGINS, json).map_err(failed)?.execute().await.map_err(failed)
}

/// What this isolate changes it need not wait for.
pub(crate) fn forget_origins() {
    LISTED.set(None);
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::RustError(error.to_string())
}

/// Whether settings can be read at all.
pub(crate) async fn answer(env: &Env) -> bool {
    let Ok(kept) = env.kv(BINDING) else { return false };
    kept.get(ORIGINS).text().await.is_ok()
}
