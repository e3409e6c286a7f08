//! Whether to send anybody here.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::sync::oneshot;
use weeziq_core::protocol::error::{ClientError, ErrorCode};

use super::App;
use super::errors::Refused;
use crate::shard::mailbox::Message;

/// A shard that has not answered by then is not ready.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// Every shard has to turn its loop and to store what it is told.
pub(super) async fn ready(State(app): State<App>) -> Response {
    let ask = |shard| {
        let (answer, ready) = oneshot::channel();
        app.shards.send(shard, Message::Ready(answer));
        (shard, ready)
    };
    let asked: Vec<_> = (0..app.shards.count()).map(ask).collect();
    let within = tokio::time::Instant::now() + READY_WITHIN;
    for (shard, ready) in asked {
        match tokio::time::timeout_at(within, ready).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => {
                return refused(format!("shard {shard} cannot store anything; the log says why"));
            }
            Ok(Err(_)) => return refused("the service is stopping".into()),
            Err(_) => return refused(format!("shard {shard} has not answered within two seconds")),
        }
    }
    Json(json!({ "status": "ready" })).into_response()
}

fn refused(why: String) -> Response {
    Refused(ClientError::new(ErrorCode::Unavailable, why)).into_response()
}
