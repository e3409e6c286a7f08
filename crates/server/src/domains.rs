//! What is known of domains: their settings, their documents and their accounts, in a small database of its own.
//!
//! Settings are read into memory at the start and asked for with each question. The rest is looked up on a thread of its own
//! (`briefing.rs`): an index must not keep a shard's rooms waiting, and a megabyte that is put into it even less so.

mod briefing;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::Notify;
use weeziq_core::access::origins::Pattern;
use weeziq_core::domains::{DomainSettings, Retention};
use weeziq_core::ids::DomainId;
use weeziq_core::knowledge::document::{Document, DocumentName, Kind};
use weeziq_core::limits::DOCUMENTS_MAX;
use weeziq_core::protocol::error::ClientError;
use weeziq_core::spending;
use weeziq_core::store::erasure::Removed;
use weeziq_core::store::knowledge::{self, Found, Listed};
use weeziq_core::store::spending as spending_rows;
use weeziq_core::store::{Sql, SqlError, Value};
use weeziq_core::time::UnixMs;

pub(crate) use briefing::{Briefings, Question};

use crate::check;
use crate::shard::wall_clock;
use crate::store::{Store, unusable};

pub(crate) struct Domains {
    store: Mutex<Store>,
    known: RwLock<Known>,
    /// Tokens a day, of each domain; 0 is no budget.
    daily_tokens: u64,
    changed: Notify,
}

/// What is asked for so often that it is kept at hand.
#[derive(Default)]
struct Known {
    settings: HashMap<DomainId, Arc<DomainSettings>>,
    /// Those that have documents or a helpdesk.
    learned: HashSet<DomainId>,
    /// Of all of them.
    origins: Arc<[Pattern]>,
}

pub(crate) const TABLE: &str = "CREATE TABLE IF NOT EXISTS domain_settings (
    domain TEXT PRIMARY KEY,
    settings TEXT NOT NULL
) STRICT";

impl Domains {
    pub(crate) fn open(file: &Path, daily_tokens: u64) -> Result<Self, String> {
        check::at_start(file)?;
        let read = || -> Result<Self, SqlError> {
            let mut store = Store::open_synced(file)?;
            store.run(TABLE, &[])?;
            let mut known = Known::default();
            store.query("SELECT domain, settings FROM domain_settings", &[], &mut |row| {
                let settings = Arc::new(DomainSettings::of_stored(row.text(1)));
                known.settings.extend(DomainId::parse(row.text(0)).map(|domain| (domain, settings)));
            })?;
            knowledge::mend(&mut store)?;
            for (domain, settings) in &known.settings {
                // Settings may be older than the index.
                knowledge::put_helpdesk(&mut store, domain, &settings.helpdesk, wall_clock())?;
            }
            known.learned = knowledge::learned(&mut store)?.into_iter().collect();
            known.note_origins();
            store.commit()?;
            Ok(Self {
                store: Mutex::new(store),
                known: RwLock::new(known),
                daily_tokens,
                changed: Notify::new(),
            })
        };
        read().map_err(|error| unusable(file, &error))
    }

    /// At the end: what is in the log goes into the file, as it does where a database is closed. This one is in the hands
    /// of threads that outlive the service's end.
    pub(crate) fn fold_log(&self) {
        if let Err(error) = self.store().fold_log() {
            tracing::warn!(%error, "the settings' log was not folded into its file; the next start does that");
        }
    }

    /// Unset fields for a domain that nobody has set anything for.
    pub(crate) fn of(&self, domain: Option<&DomainId>) -> Arc<DomainSettings> {
        domain.and_then(|domain| self.known().settings.get(domain).cloned()).unwrap_or_default()
    }

    /// Whether a page of this origin belongs to any of the domains.
    pub(crate) fn list_origin(&self, origin: &str) -> bool {
        let origins = self.known().origins.clone();
        origins.iter().any(|pattern| pattern.matches(origin))
    }

    /// Of the sites that do not keep everything.
    pub(crate) fn retentions(&self) -> Vec<(DomainId, Retention)> {
        let known = self.known();
        let limited =
            known.settings.iter().filter(|(_, settings)| settings.retention != Retention::default());
        limited.map(|(domain, settings)| (domain.clone(), settings.retention.clone())).collect()
    }

    /// On disk when it returns. Blocks for as long as that takes, as all that follows does.
    pub(crate) fn set(&self, domain: DomainId, settings: DomainSettings) -> Result<(), SqlError> {
        let has_learned = self.write(|store| {
            store.run(
                "INSERT INTO domain_settings (domain, settings) VALUES (?, ?)
                    ON CONFLICT (domain) DO UPDATE SET settings = excluded.settings",
                &[Value::Text(domain.as_str()), Value::Text(&settings.to_stored())],
            )?;
            knowledge::put_helpdesk(store, &domain, &settings.helpdesk, wall_clock())?;
            knowledge::has_learned(store, &domain)
        })?;
        let mut known = self.known_mut();
        known.note_learned(&domain, has_learned);
        known.settings.insert(domain, Arc::new(settings));
        known.note_origins();
        self.changed.notify_one();
        Ok(())
    }

    /// Returns once settings have been set since the last time; for one who waits.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What was kept, and whether it is new.
    pub(crate) fn put_document(
        &self,
        domain: &DomainId,
        document: &Document,
    ) -> Result<Result<(Listed, bool), ClientError>, SqlError> {
        let kept = self.write(|store| {
            let others = knowledge::list(store, domain)?;
            let is_new = others.iter().all(|other| &*other.name != document.name.as_str());
            if is_new && others.len() >= DOCUMENTS_MAX {
                let rule = format!("must be one of at most {DOCUMENTS_MAX}; remove another first");
                return Ok(Err(ClientError::invalid("name", &rule)));
            }
            Ok(Ok((knowledge::put(store, domain, document, wall_clock())?, is_new)))
        })?;
        if kept.is_ok() {
            self.known_mut().note_learned(domain, true);
        }
        Ok(kept)
    }

    /// False if there was none.
    pub(crate) fn remove_document(&self, domain: &DomainId, name: &DocumentName) -> Result<bool, SqlError> {
        let (was_there, has_learned) = self.write(|store| {
            Ok((knowledge::remove(store, domain, name.as_str())?, knowledge::has_learned(store, domain)?))
        })?;
        self.known_mut().note_learned(domain, has_learned);
        Ok(was_there)
    }

    pub(crate) fn documents(&self, domain: &DomainId) -> Result<Vec<Listed>, SqlError> {
        self.write(|store| knowledge::list(store, domain))
    }

    pub(crate) fn document(
        &self,
        domain: &DomainId,
        name: &DocumentName,
    ) -> Result<Option<(Kind, String)>, SqlError> {
        self.write(|store| knowledge::read(store, domain, name))
    }

    pub(crate) fn search(
        &self,
        domain: &DomainId,
        question: &str,
        limit: usize,
    ) -> Result<Vec<Found>, SqlError> {
        self.write(|store| knowledge::search(store, domain, question, limit))
    }

    pub(crate) fn spending(
        &self,
        domain: &DomainId,
        span: (Option<&str>, Option<&str>),
    ) -> Result<Result<serde_json::Value, ClientError>, SqlError> {
        self.write(|store| spending::report(store, domain, span, self.daily_tokens, wall_clock()))
    }

    /// Of days that were over before a time.
    pub(crate) fn forget_spending(&self, domain: &DomainId, before: UnixMs) -> Result<(), SqlError> {
        self.write(|store| spending_rows::forget_before(store, domain, before, &mut Removed::default()))
    }

    /// One transaction: all of it is kept, or nothing.
    fn write<T>(&self, work: impl FnOnce(&mut Store) -> Result<T, SqlError>) -> Result<T, SqlError> {
        let mut store = self.store();
        let done = work(&mut store).and_then(|value| store.commit().map(|()| value));
        if done.is_err() {
            store.rollback();
        }
        done
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn note_learned(&mut self, domain: &DomainId, has_learned: bool) {
        match has_learned {
            true => self.learned.insert(domain.clone()),
            false => self.learned.remove(domain),
        };
    }

    fn note_origins(&mut self) {
        self.origins =
            self.settings.values().flat_map(|settings| settings.origins().collect::<Vec<_>>()).collect();
    }
}
