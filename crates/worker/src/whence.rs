//! What the platform knows of where a visitor comes from. The address goes no further than this.

use std::cell::RefCell;

use weeziq_core::time::UnixMs;
use weeziq_core::visitors::whence::{Country, Salt, Whence};
use worker::{Date, Env, Request, Result, console_warn};

use crate::places::Place;
use crate::upgrade::user_agent_of;

thread_local! {
    /// The directory is asked once a day of each isolate.
    static SALT: RefCell<Option<Salt>> = const { RefCell::new(None) };
}

pub(crate) async fn of(request: &Request, env: &Env) -> Whence {
    // The platform's word, which no header of a client's changes.
    let country = request.cf().and_then(|cf| cf.country()).and_then(|code| Country::parse(&code));
    let salt = salt(env).await.inspect_err(|error| console_warn!("there is no salt: {error}"));
    let address = request.headers().get("cf-connecting-ip").ok().flatten().unwrap_or_default();
    let nameless = salt.ok().flatten().map(|salt| salt.nameless(&address, user_agent_of(request).as_deref()));
    Whence { country, nameless }
}

async fn salt(env: &Env) -> Result<Option<Salt>> {
    let now = UnixMs(Date::now().as_millis() as i64);
    let known = SALT.with_borrow(Clone::clone).filter(|salt| salt.is_of(now));
    if known.is_some() {
        return Ok(known);
    }
    let told = Place::Directory.get(env, "/salt").await?.text().await?;
    let salt = Salt::of_stored(&told);
    SALT.set(salt.clone());
    Ok(salt)
}
