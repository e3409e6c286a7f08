//! How many AI requests one address has made, exactly and everywhere: the platform's own limiter counts per location.

use std::rc::Rc;
use std::time::Duration;

use weeziq_core::access::rate::{Quota, Usage};
use weeziq_core::store::{Sql, SqlError, Value};
use worker::{Error, Request, Response, Result};

use super::Tracker;
use crate::store::Store;

/// A quota is whole again after its period, and then the object forgets that it was ever asked.
const FORGET_AFTER: Duration = Duration::from_secs(60);

impl Tracker {
    /// Empty if one more is admitted, else the milliseconds until one is.
    pub(super) async fn admit(self: &Rc<Self>, mut request: Request) -> Result<Response> {
        let quota = Quota::per_minute(request.text().await?.parse().unwrap_or(0));
        let mut sql = Store::new(&self.state.storage());
        match admit(&mut sql, quota, self.clock.now()).map_err(|error| Error::RustError(error.0))? {
            Ok(()) => {
                self.state.storage().set_alarm(FORGET_AFTER).await?;
                Response::ok("")
            }
            Err(retry_after_ms) => Response::ok(retry_after_ms.to_string()),
        }
    }

    pub(super) async fn forget_address(&self) -> Result<()> {
        self.state.storage().delete_all().await
    }
}

fn admit(
    sql: &mut dyn Sql,
    quota: Quota,
    now: weeziq_core::time::UnixMs,
) -> std::result::Result<std::result::Result<(), u64>, SqlError> {
    sql.run("CREATE TABLE IF NOT EXISTS used (id INTEGER PRIMARY KEY, micros INTEGER NOT NULL) STRICT", &[])?;
    let mut used = Usage::default();
    sql.query("SELECT micros FROM used", &[], &mut |row| used = Usage::of_micros(row.int(0)))?;
    let admitted = used.admit(now, quota);
    if admitted.is_ok() {
        let statement = "INSERT INTO used (id, micros) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET micros = excluded.micros";
        sql.run(statement, &[Value::Int(used.to_micros())])?;
    }
    Ok(admitted)
}
