//! The gate between what has happened and what may be seen: a turn's outputs wait here until what they speak of is
//! as durable as the operator asked for.
//!
//! With `normal` durability that is the commit. With `full` it is the file system's word that the log is on disk,
//! which a thread of its own asks for, so that the loop goes on meanwhile: what is handled until then joins one next
//! transaction, and so any number of turns share one sync.

use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use weeziq_core::store::SqlError;

use super::mailbox::{Mailbox, Message};
use super::rooms::Held;
use crate::metrics;
use crate::settings::Durability;
use crate::store::{Store, log_path};

pub(super) struct Gate {
    durability: Durability,
    /// Of the transaction that is open.
    pub(super) open: Vec<Held>,
    /// Committed, waiting for the disk.
    syncing: Option<Vec<Held>>,
    syncing_since: Instant,
    sync: Sender<()>,
}

/// What the end of a turn came to.
pub(super) enum Passed {
    /// These may be seen.
    Released(Vec<Held>),
    /// Nothing yet, but the transaction is closed.
    Committed,
    /// Nothing yet, and the transaction goes on.
    Waiting,
}

impl Gate {
    /// Starts the thread that syncs.
    pub(super) fn new(durability: Durability, database: &Path, shard: Mailbox) -> Result<Self, SqlError> {
        let (sender, receiver) = channel();
        let log = File::open(log_path(database)).map_err(|error| SqlError(error.to_string()))?;
        std::thread::Builder::new()
            .name("sync".into())
            .spawn(move || tend(&receiver, &log, &shard))
            .map_err(|error| SqlError(error.to_string()))?;
        Ok(Self { durability, open: Vec::new(), syncing: None, syncing_since: Instant::now(), sync: sender })
    }

    /// Whether a sync is under way, so that order makes everything wait.
    pub(super) fn is_syncing(&self) -> bool {
        self.syncing.is_some()
    }

    /// Commits what the turn wrote. An error means that nothing of the open transaction happened.
    pub(super) fn pass(&mut self, store: &mut Store) -> Result<Passed, SqlError> {
        if self.is_syncing() {
            return Ok(Passed::Waiting);
        }
        let wrote = store.wrote();
        let must_sync = wrote && self.durability == Durability::Full;
        let began = wrote.then(Instant::now);
        store.commit()?;
        if let Some(began) = began {
            metrics::count(|counters| counters.commits.observe(began.elapsed()));
        }
        let outputs = std::mem::take(&mut self.open);
        if !must_sync {
            return Ok(Passed::Released(outputs));
        }
        self.syncing = Some(outputs);
        self.syncing_since = Instant::now();
        self.sync.send(()).map_err(|_| SqlError("the sync thread is gone".into()))?;
        Ok(Passed::Committed)
    }

    /// What is committed and not released yet.
    pub(super) fn pending(&self) -> &[Held] {
        self.syncing.as_deref().unwrap_or_default()
    }

    /// The disk has it.
    pub(super) fn synced(&mut self) -> Vec<Held> {
        metrics::count(|counters| counters.syncs.observe(self.syncing_since.elapsed()));
        self.syncing.take().unwrap_or_default()
    }
}

fn tend(requests: &Receiver<()>, log: &File, shard: &Mailbox) {
    while requests.recv().is_ok() {
        let synced = log.sync_data().map_err(|error| SqlError(error.to_string()));
        shard.send(Message::Synced(synced));
    }
}
