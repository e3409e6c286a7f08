//! Deletes the bytes of files that nobody gets any more: what no message has named in time, what was deleted, what went with
//! its room.

use std::time::Duration;

use weeziq_core::files::FileKey;
use weeziq_core::store::files as rows;
use weeziq_core::time::UnixMs;

use crate::http::App;

const SWEEP_EVERY: Duration = Duration::from_secs(60);
const AT_ONCE: u32 = 100;

/// Ends with the process.
pub(crate) async fn run(app: App) {
    let every = SWEEP_EVERY.min(Duration::from_secs(app.files.unused_s.max(1).into()));
    loop {
        // Either will do: it is time, or somebody says that there is something.
        let _ = tokio::time::timeout(every, app.files.sweep.notified()).await;
        for shard in 0..app.shards.count() {
            sweep(&app, shard).await;
        }
    }
}

async fn sweep(app: &App, shard: usize) {
    let unused_ms = i64::from(app.files.unused_s) * 1_000;
    loop {
        let doomed = app.rows(shard, move |sql, now| {
            rows::doom_unused(sql, UnixMs(now.0 - unused_ms))?;
            rows::doomed(sql, AT_ONCE)
        });
        let Ok(doomed) = doomed.await else { return };
        if doomed.is_empty() {
            return;
        }
        let mut gone: Vec<FileKey> = Vec::new();
        for key in doomed {
            if app.files.delete(&key).await {
                gone.push(key);
            }
        }
        let is_stuck = gone.is_empty();
        let forgotten = app.rows(shard, move |sql, _| gone.iter().try_for_each(|key| rows::forget(sql, key)));
        if forgotten.await.is_err() || is_stuck {
            return;
        }
    }
}
