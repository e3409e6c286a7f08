//! Holds each site to what its settings say it keeps. Rooms do it in turns of their own, so a chat goes on beside it.

use std::time::Duration;

use weeziq_core::access::identity::Identity;
use weeziq_core::domains::Retention;
use weeziq_core::ids::DomainId;
use weeziq_core::inbox::DeskCommand;
use weeziq_core::protocol::command::VisitorsCommand;
use weeziq_core::protocol::error::ClientError;
use weeziq_core::store::erasure::rooms_older_than;
use weeziq_core::time::UnixMs;

use crate::http::App;
use crate::shard::wall_clock;

const EVERY: Duration = Duration::from_secs(60 * 60);
const ROOMS_AT_ONCE: u32 = 100;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// From the start on, once an hour, and whenever settings change. Ends with the process.
pub(crate) async fn run(app: App) {
    loop {
        for (domain, keep) in app.environment.domains.retentions() {
            if let Err(error) = hold(&app, &domain, &keep).await {
                tracing::warn!(%domain, error = %error.message, "what a site does not keep any more is still there");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = app.environment.domains.changed() => {}
        }
    }
}

/// The account stands in another database than the visitors.
async fn forget_spending(app: &App, domain: &DomainId, days: u32) -> Result<(), ClientError> {
    let (domains, name) = (app.environment.domains.clone(), domain.clone());
    let before = UnixMs(wall_clock().0 - i64::from(days) * DAY_MS);
    let forgotten = tokio::task::spawn_blocking(move || domains.forget_spending(&name, before)).await;
    match forgotten {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(%domain, %error, "an account cannot be forgotten now");
            Err(ClientError::unavailable())
        }
        Err(_) => Err(ClientError::internal()),
    }
}

async fn hold(app: &App, domain: &DomainId, keep: &Retention) -> Result<(), ClientError> {
    if let Some(days) = keep.stats_days {
        app.ask_domain(domain, VisitorsCommand::Retain { days }).await?;
        forget_spending(app, domain, days).await?;
    }
    let Some(days) = keep.messages_days.into_iter().chain(keep.files_days).min() else { return Ok(()) };
    for shard in 0..app.shards.count() {
        let mut after = String::new();
        loop {
            let (name, from) = (domain.clone(), after.clone());
            let old = app.rows(shard, move |sql, now| {
                let before = UnixMs(now.0 - i64::from(days) * DAY_MS);
                rooms_older_than(sql, name.as_str(), before, &from, ROOMS_AT_ONCE)
            });
            let rooms = old.await?;
            let Some(last) = rooms.last() else { break };
            after = last.as_str().to_owned();
            for room in rooms {
                app.ask_desk(&Identity::Open, room, DeskCommand::Retain(keep.clone())).await?;
            }
        }
    }
    app.files.sweep.notify_one();
    Ok(())
}
