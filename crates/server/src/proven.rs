//! The users that a token has ever proved somebody to be. Whoever has no token may not go by their names.
//!
//! One small database for all shards, because a user is in rooms of any of them; in memory a number a user, which is asked
//! at each join without a token. Two names of one number cost an anonymous visitor a name, and nobody theirs.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock};

use weeziq_core::access::identity::Identity;
use weeziq_core::ids::{UserId, fnv1a};
use weeziq_core::protocol::error::{ClientError, ErrorCode};
use weeziq_core::store::{Sql, SqlError, Value};

use crate::check;
use crate::store::{Store, unusable};

pub(crate) struct Proven {
    /// None in open mode, where nobody proves anything.
    store: Option<Mutex<Store>>,
    known: RwLock<HashSet<u64>>,
}

pub(crate) const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS proven_user (user TEXT PRIMARY KEY) STRICT, WITHOUT ROWID";

impl Proven {
    pub(crate) fn open(file: &Path, has_key: bool) -> Result<Self, String> {
        if !has_key {
            return Ok(Self { store: None, known: RwLock::default() });
        }
        check::at_start(file)?;
        let read = || -> Result<Self, SqlError> {
            // What a power cut takes back is proved again by the token's next use.
            let mut store = Store::open(file)?;
            store.run(TABLE, &[])?;
            let mut known = HashSet::new();
            store.query("SELECT user FROM proven_user", &[], &mut |row| {
                known.insert(fnv1a(row.text(0)));
            })?;
            store.commit()?;
            Ok(Self { store: Some(Mutex::new(store)), known: RwLock::new(known) })
        };
        read().map_err(|error| unusable(file, &error))
    }

    /// Written once in a user's life.
    pub(crate) fn note(&self, identity: &Identity) {
        let Some((store, user)) = self.store.as_ref().zip(identity.subject()) else { return };
        if self.has(user)
            || !self.known.write().unwrap_or_else(PoisonError::into_inner).insert(fnv1a(user.as_str()))
        {
            return;
        }
        let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = store
            .run(
                "INSERT INTO proven_user (user) VALUES (?) ON CONFLICT DO NOTHING",
                &[Value::Text(user.as_str())],
            )
            .and_then(|()| store.commit());
        if let Err(error) = stored {
            store.rollback();
            tracing::warn!(%error, "that a user was proved is known until the next start only");
        }
    }

    fn has(&self, user: &UserId) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).contains(&fnv1a(user.as_str()))
    }

    /// That nobody has proved to be whom somebody without a token says it is.
    pub(crate) fn refuse(&self, claimed: Option<&UserId>) -> Result<(), ClientError> {
        match claimed.filter(|user| self.has(user)) {
            Some(user) => Err(ClientError::new(
                ErrorCode::Forbidden,
                format!("userId {user} is somebody who has a token; give it, or take another userId"),
            )),
            None => Ok(()),
        }
    }
}
