//! WeeziQ on Cloudflare: one `ChatRoom` object a room, one `VisitorTracker` a domain, sockets that sleep, and the same
//! core as the native host.

mod ai;
mod alarms;
mod archive;
mod clock;
mod counts;
mod domains;
mod enrolment;
mod files;
mod gateway;
mod http;
mod identity;
mod knowledge;
mod outbox;
mod places;
mod privacy;
mod reply;
mod room;
mod rooms;
mod settings;
mod sockets;
mod store;
mod tracker;
mod turn;
mod upgrade;
mod whence;
mod zones;

use weeziq_core::protocol::event::Event;
use worker::{Context, Env, Request, Response, Result, event};

#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> Result<Response> {
    let response = http::serve(request, env.clone()).await;
    if let Some(telling) = counts::telling(&env) {
        context.wait_until(telling);
    }
    response
}

/// One event as a text frame.
fn encode(event: &Event, reply_to: Option<&str>) -> String {
    let mut json = Vec::with_capacity(256);
    event.encode(reply_to, &mut json);
    String::from_utf8(json).unwrap_or_default()
}
