//! The room's files: which there are, and which of their bytes are to go.

use std::rc::Rc;

use weeziq_core::limits::FILES_DELETED_AFTER_MS;
use weeziq_core::protocol::error::{ClientError, ErrorCode};
use weeziq_core::store::SqlError;
use weeziq_core::store::files as rows;
use weeziq_core::time::UnixMs;
use worker::{Request, Response, Result, console_error};

use super::Chat;
use crate::files::{BINDING, FileWord};
use crate::reply;
use crate::store::{Store, transact};

/// R2 deletes a thousand with one request.
const AT_ONCE: u32 = 1_000;

impl Chat {
    /// From the Worker in front, which takes the bytes.
    pub(super) async fn hear_of_file(self: &Rc<Self>, mut request: Request) -> Result<Response> {
        let Ok(settings) = self.settings.clone() else {
            return Response::error("the settings are wrong", 500);
        };
        let word: FileWord = serde_json::from_str(&request.text().await?)?;
        let now = self.clock.now();
        self.is_without_files.set(false);
        let done = transact(&self.state.storage(), move |sql| match word {
            FileWord::Reserve { key, upload, by } => {
                Ok(rows::reserve(sql, &key, (upload, &by), now)?.map(|owners| owners.domain))
            }
            FileWord::Finish(stored) => Ok(match rows::finish(sql, &stored, now)? {
                true => Ok(None),
                false => Err(ClientError::new(ErrorCode::NotFound, "the room was erased meanwhile")),
            }),
            FileWord::Doom { key } => rows::doom(sql, &key).map(|_| Ok(None)),
        });
        self.wake_at(now.plus(FILES_DELETED_AFTER_MS.max(i64::from(settings.file_unused_s) * 1_000)));
        match done {
            Ok(Ok(domain)) => Response::ok(serde_json::to_string(&domain)?),
            Ok(Err(error)) => reply::refusal(&error),
            Err(failed) => {
                console_error!("a file's row was not written: {failed}");
                reply::refusal(&ClientError::unavailable())
            }
        }
    }

    /// Deletes the bytes that nobody gets any more, and is woken for those that come next.
    pub(super) fn sweep_files(self: &Rc<Self>) {
        let Ok(settings) = self.settings.clone() else { return };
        if self.is_without_files.get() {
            return;
        }
        let unused_ms = i64::from(settings.file_unused_s) * 1_000;
        let (now, mut sql) = (self.clock.now(), Store::new(&self.state.storage()));
        let look = |sql: &mut Store| -> std::result::Result<_, SqlError> {
            if !rows::exist(sql)? {
                return Ok(None);
            }
            rows::doom_unused(sql, UnixMs(now.0 - unused_ms))?;
            Ok(Some((rows::doomed(sql, AT_ONCE)?, rows::oldest_unused(sql)?)))
        };
        let (doomed, oldest) = match look(&mut sql) {
            Ok(Some(found)) => found,
            Ok(None) => return self.is_without_files.set(true),
            Err(error) => return console_error!("the files of a room cannot be looked through: {error}"),
        };
        if let Some(oldest) = oldest {
            self.wake_at(oldest.plus(unused_ms + 1));
        }
        if doomed.is_empty() {
            return;
        }
        let chat = self.clone();
        self.state.wait_until(async move {
            let names: Vec<&str> = doomed.iter().map(|key| key.as_str()).collect();
            let deleted = match chat.env.bucket(BINDING) {
                Ok(bucket) => bucket.delete_multiple(names).await,
                Err(error) => Err(error),
            };
            let forgotten = deleted.map_err(|error| error.to_string()).and_then(|()| {
                let mut sql = Store::new(&chat.state.storage());
                doomed
                    .iter()
                    .try_for_each(|key| rows::forget(&mut sql, key))
                    .map_err(|error| error.to_string())
            });
            if let Err(error) = forgotten {
                console_error!("files that are to go are still there: {error}");
                chat.wake_at(chat.clock.now().plus(super::OUTBOX_RETRY_MS));
            }
        });
    }
}
