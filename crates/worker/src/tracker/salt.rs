//! The salt of the day, under which visitors who bring no id are told apart: the directory's, so that every place has the same.
//! Kept for its day, and deleted by an alarm when that is over.

use std::time::Duration;

use weeziq_core::visitors::whence::Salt;
use worker::{Response, Result};

use super::Tracker;
use crate::clock::random;

const KEY: &str = "salt";

impl Tracker {
    pub(super) async fn salt(&self) -> Result<Response> {
        let now = self.clock.now();
        if let Some(salt) = self.kept_salt().await.filter(|salt| salt.is_of(now)) {
            return Response::ok(salt.to_stored());
        }
        let salt = Salt::new(now, random());
        self.state.storage().put(KEY, salt.to_stored()).await?;
        self.wake_behind(&salt).await?;
        Response::ok(salt.to_stored())
    }

    /// The alarm has come. Should it be a moment early, it comes again.
    pub(super) async fn forget_salt(&self) -> Result<()> {
        match self.kept_salt().await {
            Some(salt) if salt.is_of(self.clock.now()) => self.wake_behind(&salt).await,
            Some(_) => self.state.storage().delete(KEY).await.map(drop),
            None => Ok(()),
        }
    }

    async fn wake_behind(&self, salt: &Salt) -> Result<()> {
        let left = salt.ends_at().since(self.clock.now()).max(0) as u64;
        self.state.storage().set_alarm(Duration::from_millis(left)).await
    }

    async fn kept_salt(&self) -> Option<Salt> {
        Salt::of_stored(&self.state.storage().get::<String>(KEY).await.ok()??)
    }
}
