//! Which rooms and domains there are, as far as they store anything: the platform lists objects to nobody who asks by name. An
//! object says so once in its life and once more when it was erased, which costs two requests and four rows.

use std::rc::Rc;

use serde_json::json;
use weeziq_core::domains::DomainSettings;
use weeziq_core::ids::DomainId;
use weeziq_core::protocol::query::Query;
use weeziq_core::store::{Sql, Value, knowledge};
use worker::{Error, Request, Response, Result};

use super::directory::failed;
use super::{Inputs, Tracker};
use crate::archive::{Holder, Left, Loaded, dump, load};
use crate::domains;
use crate::outbox::Word;
use crate::reply;
use crate::store::Store;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS holder (
    holder TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID";

/// Who has written or read in which room of no domain.
const PARTS: &str = "CREATE TABLE IF NOT EXISTS part (
    user_id TEXT NOT NULL,
    room TEXT NOT NULL,
    PRIMARY KEY (user_id, room)
) STRICT, WITHOUT ROWID";

const AT_ONCE: i64 = 1_000;

impl Tracker {
    pub(super) async fn hear_holders(&self, mut request: Request) -> Result<Response> {
        let words: Vec<Word> = serde_json::from_str(&request.text().await?)?;
        let mut sql = Store::new(&self.state.storage());
        sql.run(TABLE, &[]).map_err(failed)?;
        for word in words {
            if let Word::TookPart { room, user, is_there } = &word {
                let statement = match is_there {
                    true => "INSERT INTO part (user_id, room) VALUES (?, ?) ON CONFLICT DO NOTHING",
                    false => "DELETE FROM part WHERE user_id = ? AND room = ?",
                };
                sql.run(PARTS, &[]).map_err(failed)?;
                sql.run(statement, &[Value::Text(user.as_str()), Value::Text(room.as_str())])
                    .map_err(failed)?;
            }
            let Word::Enrolled { holder, is_there } = word else { continue };
            if let (Holder::Room(room), false) = (&holder, is_there) {
                sql.run(PARTS, &[]).map_err(failed)?;
                let statement = "DELETE FROM part WHERE room = ?";
                sql.run(statement, &[Value::Text(room.as_str())]).map_err(failed)?;
            }
            let statement = match is_there {
                true => "INSERT INTO holder (holder) VALUES (?) ON CONFLICT DO NOTHING",
                false => "DELETE FROM holder WHERE holder = ?",
            };
            sql.run(statement, &[Value::Text(&serde_json::to_string(&holder)?)]).map_err(failed)?;
        }
        Response::ok("")
    }

    /// Whatever is asked of a domain makes tables in its object, so it is one of them from then on.
    pub(super) fn enrol(self: &Rc<Self>, domain: &DomainId) {
        if !self.enrolment.is_due() {
            return;
        }
        let (tracker, holder) = (self.clone(), Holder::Domain(domain.clone()));
        self.state.wait_until(async move {
            if tracker.enrolment.is_missing(&tracker.state).await {
                tracker.enrolment.enrol(&tracker.state, &tracker.outbox, holder);
                tracker.send();
            }
        });
    }

    /// Of a domain: with its settings, without the copies of what its rooms hold.
    pub(super) async fn dump(&self, domain: &DomainId, request: Request) -> Result<Response> {
        let settings = domains::read(&self.env, domain).await?.map(|settings| settings.to_stored());
        dump(&self.state.storage(), request, (Left::Copies, false, settings)).await
    }

    /// A part of an import. With the last, what hangs on the rows is made of them.
    pub(super) async fn load(self: &Rc<Self>, domain: &DomainId, request: Request) -> Result<Response> {
        match load(&self.state.storage(), request).await? {
            Loaded::Answer(response) => Ok(response),
            Loaded::Whole { settings } => {
                self.visitors.borrow_mut().take();
                self.has_copies.set(false);
                self.site.forget();
                self.store(|sql| knowledge::mend(sql))
                    .map_err(|failed| Error::RustError(failed.to_string()))?;
                self.enrol(domain);
                self.tell(domain, Inputs::default()); // the directory hears its numbers
                if let Some(settings) = settings {
                    let kept = self.set(domain, DomainSettings::of_stored(&settings)).await?;
                    if kept.status_code() != 200 {
                        return Ok(kept);
                    }
                }
                self.keep_as_set(domain).await?;
                reply::json(&json!({ "success": true }))
            }
        }
    }

    /// Rooms of no domain in which that user has written or read.
    pub(super) async fn list_parts(&self, mut request: Request) -> Result<Response> {
        let user = request.text().await?;
        let mut sql = Store::new(&self.state.storage());
        sql.run(PARTS, &[]).map_err(failed)?;
        let mut rooms = Vec::new();
        sql.query(
            "SELECT room FROM part WHERE user_id = ? ORDER BY room",
            &[Value::Text(&user)],
            &mut |row| {
                rooms.push(row.text(0).to_owned());
            },
        )
        .map_err(failed)?;
        reply::json(&json!(rooms))
    }

    /// A page of them, behind the last of the one before.
    pub(super) async fn list_holders(&self, mut request: Request) -> Result<Response> {
        let query = request.text().await?;
        let query = Query::parse(&query);
        let after = query.get("after").unwrap_or_default();
        let mut sql = Store::new(&self.state.storage());
        sql.run(TABLE, &[]).map_err(failed)?;
        let (mut holders, mut last) = (Vec::<Holder>::new(), None);
        let params = [Value::Text(after), Value::Int(AT_ONCE)];
        let statement = "SELECT holder FROM holder WHERE holder > ? ORDER BY holder LIMIT ?";
        sql.query(statement, &params, &mut |row| {
            holders.extend(serde_json::from_str::<Holder>(row.text(0)).ok());
            last = Some(row.text(0).to_owned());
        })
        .map_err(failed)?;
        reply::json(&json!({ "holders": holders, "next": last }))
    }
}
