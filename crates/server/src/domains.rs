//! Settings of domains: a small database of its own, read into memory at the start and asked for each question.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use weeziq_core::domains::DomainSettings;
use weeziq_core::ids::DomainId;
use weeziq_core::store::{Sql, SqlError, Value};

use crate::check;
use crate::store::{Store, unusable};

pub(crate) struct Domains {
    store: Mutex<Store>,
    known: RwLock<HashMap<DomainId, Arc<DomainSettings>>>,
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS domain_settings (
    domain TEXT PRIMARY KEY,
    settings TEXT NOT NULL
) STRICT";

impl Domains {
    pub(crate) fn open(file: &Path) -> Result<Self, String> {
        check::at_start(file)?;
        let read = || -> Result<Self, SqlError> {
            let mut store = Store::open_synced(file)?;
            store.run(TABLE, &[])?;
            let mut known = HashMap::new();
            store.query("SELECT domain, settings FROM domain_settings", &[], &mut |row| {
                let settings = Arc::new(DomainSettings::of_stored(row.text(1)));
                known.extend(DomainId::parse(row.text(0)).map(|domain| (domain, settings)));
            })?;
            store.commit()?;
            Ok(Self { store: Mutex::new(store), known: RwLock::new(known) })
        };
        read().map_err(|error| unusable(file, &error))
    }

    /// Unset fields for a domain that nobody has set anything for.
    pub(crate) fn of(&self, domain: Option<&DomainId>) -> Arc<DomainSettings> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        domain.and_then(|domain| known.get(domain).cloned()).unwrap_or_default()
    }

    /// On disk when it returns. Blocks for as long as that takes.
    pub(crate) fn set(&self, domain: DomainId, settings: DomainSettings) -> Result<(), SqlError> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let json = settings.to_stored();
        let stored = store
            .run(
                "INSERT INTO domain_settings (domain, settings) VALUES (?, ?)
                    ON CONFLICT (domain) DO UPDATE SET settings = excluded.settings",
                &[Value::Text(domain.as_str()), Value::Text(&json)],
            )
            .and_then(|()| store.commit());
        if stored.is_err() {
            store.rollback();
            return stored;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(domain, Arc::new(settings));
        Ok(())
    }
}
