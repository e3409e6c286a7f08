//! Vars and secrets, under the names that the native host takes from its environment.

use std::sync::Arc;

use weeziq_core::Policy;
use weeziq_core::access::origins::Origins;
use weeziq_core::access::rate::Quota;
use weeziq_core::access::secret::Secret;
use weeziq_core::access::token::Key;
use weeziq_core::ai::asking::Patience;
use weeziq_core::ai::breaker::Caution;
use weeziq_core::ai::endpoints::{AiSettings, Providers};
use weeziq_core::files::Rules;
use weeziq_core::files::types::Types;
use weeziq_core::limits::{
    EVENTS_BURST, EVENTS_PER_SECOND, FILE_BYTES_DEFAULT, FILE_BYTES_MOST, FILE_UNUSED_S,
};
use worker::Env;

pub(crate) struct Settings {
    pub(crate) policy: Policy,
    pub(crate) events: Quota,
    pub(crate) ai_per_address: Quota,
    /// Of each domain; 0 is no budget.
    pub(crate) daily_tokens: u64,
    pub(crate) origins: Origins,
    pub(crate) files: Rules,
    pub(crate) file_unused_s: u32,
    pub(crate) providers: Providers,
    pub(crate) patience: Patience,
    pub(crate) caution: Caution,
    /// Whether what happens is counted, for `/metrics`.
    pub(crate) counts: bool,
    /// What tokens are held against; None is open mode.
    pub(crate) key: Option<Arc<Key>>,
}

impl Settings {
    /// The error is a sentence that names the setting.
    pub(crate) fn read(env: &Env) -> Result<Self, String> {
        let key = |name| text(env, name).map(Secret::from);
        let ai = AiSettings {
            openai_key: key("OPENAI_API_KEY"),
            google_key: key("GOOGLE_AI_API_KEY"),
            openai_url: text(env, "OPENAI_BASE_URL"),
            google_url: text(env, "GOOGLE_AI_BASE_URL"),
            default_model: text(env, "AI_DEFAULT_MODEL"),
            models: text(env, "AI_MODELS"),
        };
        let (models, providers) = ai.read(&|name| text(env, name))?;
        let events = number(env, "EVENTS_PER_SEC", EVENTS_PER_SECOND)?;
        let burst = if events == EVENTS_PER_SECOND { EVENTS_BURST } else { events.saturating_mul(2) };
        let per_minute = |name, default| number(env, name, default).map(Quota::per_minute);
        let counts = switch(env, "METRICS")?;
        crate::counts::switch(counts);
        Ok(Self {
            counts,
            policy: Policy {
                models,
                context_messages: number(env, "AI_CONTEXT_MESSAGES", 10)?.max(1) as usize,
                ai_per_user: per_minute("AI_PER_USER_PER_MIN", 20)?,
            },
            key: auth_key(env)?.map(Arc::new),
            events: Quota::per_second(events, burst),
            ai_per_address: per_minute("AI_PER_IP_PER_MIN", 300)?,
            daily_tokens: u64::from(number(env, "AI_DAILY_TOKENS", 0)?),
            origins: origins(env)?,
            files: Rules { bytes_max: file_bytes_max(env)?, types: file_types(env)? },
            file_unused_s: number(env, "FILE_UNUSED_S", FILE_UNUSED_S)?.max(1),
            providers,
            patience: Patience {
                first_token_ms: i64::from(number(env, "AI_FIRST_TOKEN_MS", 10_000)?),
                total_ms: i64::from(number(env, "AI_TOTAL_MS", 60_000)?),
            },
            caution: Caution {
                failures: number(env, "AI_BREAKER_FAILURES", 5)?,
                open_ms: i64::from(number(env, "AI_BREAKER_MS", 10_000)?.max(1)),
            },
        })
    }
}

/// One of them only, so that no token can choose what it is held against.
fn auth_key(env: &Env) -> Result<Option<Key>, String> {
    let named = |name: &'static str| move |why: String| format!("{name} {why}");
    match (text(env, "AUTH_SECRET"), text(env, "AUTH_PUBLIC_KEY")) {
        (None, None) => Ok(None),
        (Some(secret), None) => Key::shared(&secret).map(Some).map_err(named("AUTH_SECRET")),
        (None, Some(pem)) => Key::public(&pem).map(Some).map_err(named("AUTH_PUBLIC_KEY")),
        (Some(_), Some(_)) => Err("set only one of AUTH_SECRET and AUTH_PUBLIC_KEY: what tokens are held against must not be a token's choice".into()),
    }
}

fn origins(env: &Env) -> Result<Origins, String> {
    let is_production = text(env, "NODE_ENV").as_deref() == Some("production");
    match (text(env, "ALLOWED_ORIGINS"), is_production) {
        (Some(list), _) => Origins::parse(&list).map_err(|why| format!("ALLOWED_ORIGINS {why}")),
        (None, true) => Ok(Origins::SameOrigin),
        (None, false) => Ok(Origins::Any),
    }
}

fn file_bytes_max(env: &Env) -> Result<u64, String> {
    let bytes = u64::from(number(env, "FILE_BYTES_MAX", FILE_BYTES_DEFAULT as u32)?);
    if (1..=FILE_BYTES_MOST).contains(&bytes) {
        return Ok(bytes);
    }
    Err(format!("FILE_BYTES_MAX must be 1 to {FILE_BYTES_MOST}, and is {bytes}"))
}

fn file_types(env: &Env) -> Result<Types, String> {
    text(env, "FILE_TYPES").unwrap_or_default().parse().map_err(|why| format!("FILE_TYPES: {why}"))
}

/// An empty value counts as none. Vars and secrets are read alike.
fn text(env: &Env, name: &str) -> Option<String> {
    env.var(name).ok().map(|value| value.to_string()).filter(|value| !value.is_empty())
}

fn switch(env: &Env, name: &str) -> Result<bool, String> {
    match text(env, name).as_deref() {
        None | Some("off" | "false" | "0") => Ok(false),
        Some("on" | "true" | "1") => Ok(true),
        Some(other) => Err(format!("{name} must be on or off, and is {other:?}")),
    }
}

fn number(env: &Env, name: &str, default: u32) -> Result<u32, String> {
    text(env, name).map_or(Ok(default), |value| {
        value.trim().parse().map_err(|_| format!("{name} must be a whole number, and is {value:?}"))
    })
}
