//! What may happen, read from a few bytes each, so that a mutation changes one thing.

use serde_json::value::RawValue;
use weeziq_core::Caller;
use weeziq_core::access::identity::Identity;
use weeziq_core::ai::model::{FinishReason, ModelEvent, ModelFailure, Usage};
use weeziq_core::ids::{ClientMessageId, ConnId, DomainId, RoomId, Seq, SocketId, UserId, VisitorId};
use weeziq_core::protocol::command::{
    Ask, CustomerJoined, HistoryQuery, Join, Online, Page, Resume, RoomCommand, SendMessage, VisitorsCommand,
};
use weeziq_core::rooms::{Farewell, RoomInput};
use weeziq_fuzz::Input;

use crate::world::World;

/// Rooms by number: two that people meet in, and a conversation; each may be asked for what the others are for.
pub(crate) const ROOMS: [&str; 3] = ["lobby", "desk", "talk"];
const CONNS: u8 = 6;
const USERS: u8 = 4;

#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Its place in the sequence: names what it says and what it asks.
    pub(crate) at: usize,
    pub(crate) place: u8,
    pub(crate) conn: ConnId,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Join {
        user: u8,
        role: u8,
        resume: Option<(bool, u8)>,
    },
    Leave,
    Send {
        user: u8,
        id: Option<u8>,
        has_attachments: bool,
    },
    Typing(bool),
    Online {
        user: u8,
        status: u8,
    },
    CustomerJoined,
    MarkRead(u8),
    History {
        before: Option<u8>,
        after: Option<u8>,
        limit: u8,
    },
    Edit(u8),
    Delete(u8),
    Toggle(bool),
    Ask {
        streamed: bool,
        model: u8,
        shown_in: Option<u8>,
    },
    /// Of the answer that was asked for so many answers ago.
    Model {
        ago: u8,
        event: ModelEvent,
    },
    Disconnect(Farewell),
    /// The connection's visitor; a request has none.
    Visit {
        visitor: u8,
        by_request: bool,
        command: u8,
        user_agent: String,
    },
    Evict,
    Pass(i64),
}

impl Step {
    pub(crate) fn read(input: &mut Input<'_>, at: usize) -> Self {
        let (kind, place) = (input.byte(), input.byte());
        let conn = ConnId(u64::from(place & 0x0F) % u64::from(CONNS) + 1);
        Self { at, place: place >> 4, conn, what: what(kind, input) }
    }

    pub(crate) fn room(&self) -> RoomId {
        room(self.place)
    }

    /// The `id` that the client gives the event.
    pub(crate) fn reply_to(&self) -> String {
        format!("r{}", self.at)
    }

    fn caller(&self) -> Caller {
        let socket = SocketId::from_entropy(u128::from(self.conn.0) << 64);
        Caller { conn: self.conn, socket, reply_to: Some(self.reply_to().into()), identity: Identity::Open }
    }

    pub(crate) fn room_input(&self, world: &World) -> Option<RoomInput> {
        let from = self.caller();
        match &self.what {
            What::Ask { streamed, model, shown_in } => {
                let model = [None, None, Some("gemini-x".into()), Some("nonsense".into())]
                    [usize::from(*model)]
                .clone();
                let ask = Ask {
                    message: format!("question {}", self.at).into(),
                    streamed: *streamed,
                    model,
                    domain: None,
                    user: Some(user(self.conn.0 as u8)),
                    user_name: None,
                    system_prompt: None,
                    room: shown_in.map(room),
                    page: None,
                    said: None,
                };
                Some(RoomInput::Ask { from, ask, briefing: Box::default() })
            }
            _ => Some(RoomInput::Command { from, command: self.command(world)? }),
        }
    }

    fn command(&self, world: &World) -> Option<RoomCommand> {
        let epoch = world.ledger.epoch(&self.room()).unwrap_or_else(|| "none".into());
        let message_id = |seq: u8| Box::from(format!("{epoch}-{seq}"));
        Some(match &self.what {
            What::Join { user: by, role, resume } => RoomCommand::Join(Join {
                user: user(*by),
                user_name: name(*by),
                role: [None, Some("user"), Some("agent"), Some("admin")][usize::from(*role)].map(Into::into),
                domain: None,
                resume: resume.map(|(is_known, seq)| Resume {
                    epoch: if is_known { epoch.as_ref().into() } else { "another".into() },
                    last_seq: Seq(seq.into()),
                }),
                token: None,
            }),
            What::Leave => RoomCommand::Leave,
            What::Send { user: by, id, has_attachments } => RoomCommand::Send(SendMessage {
                text: format!("text {}", self.at).into(),
                user: user(*by),
                user_name: name(*by),
                role: "user".into(),
                client_message_id: id.and_then(|id| ClientMessageId::parse(&format!("c{id}"))),
                attachments: has_attachments
                    .then(|| RawValue::from_string("[ {\"a\":1e2}]".into()).ok())
                    .flatten(),
                files: Box::default(),
                domain: None,
            }),
            What::Typing(is_typing) => RoomCommand::Typing { is_typing: *is_typing },
            What::Online { user: by, status } => RoomCommand::Online(Online {
                user: user(*by),
                user_name: name(*by),
                status: format!("status {status}").into(),
            }),
            What::CustomerJoined => RoomCommand::CustomerJoined(CustomerJoined {
                customer: user(0),
                customer_name: name(0),
                domain: DomainId::parse("shop"),
            }),
            What::MarkRead(seq) => RoomCommand::MarkRead { seq: Seq(u64::from(*seq)) },
            What::History { .. } => RoomCommand::FetchHistory(self.query()?),
            What::Edit(seq) => {
                RoomCommand::Edit { message: message_id(*seq), text: format!("edit {}", self.at).into() }
            }
            What::Delete(seq) => RoomCommand::Delete { message: message_id(*seq) },
            What::Toggle(enabled) => RoomCommand::ToggleLiveAgent { enabled: *enabled },
            _ => return None,
        })
    }

    pub(crate) fn query(&self) -> Option<HistoryQuery> {
        let What::History { before, after, limit } = &self.what else { return None };
        let seq = |seq: &Option<u8>| seq.map(|seq| Seq(seq.into()));
        Some(HistoryQuery { before: seq(before), after: seq(after), limit: (*limit).into() })
    }

    pub(crate) fn visit(&self) -> Option<(Caller, VisitorId, bool, VisitorsCommand)> {
        let What::Visit { visitor, by_request, command, user_agent } = &self.what else { return None };
        let visitor = VisitorId::parse(&format!("v{visitor}"))?;
        let data = serde_json::json!({ "userAgent": user_agent, "url": "/" }).to_string();
        let page = Page { url: Some(format!("/{}", self.at).into()), title: None };
        let command = match command {
            0 => VisitorsCommand::Join {
                visitor: visitor.clone(),
                data: RawValue::from_string(data).ok(),
                country: None,
            },
            1 => VisitorsCommand::Leave { visitor: visitor.clone() },
            2 => VisitorsCommand::Activity { visitor: visitor.clone(), page, country: None },
            _ => VisitorsCommand::Stats,
        };
        let mut caller = self.caller();
        if *by_request {
            caller.conn = ConnId(0);
        }
        Some((caller, visitor, *by_request, command))
    }
}

fn what(kind: u8, input: &mut Input<'_>) -> What {
    let mut of = |end: u8| input.below(end);
    match kind % 24 {
        0 | 1 => What::Join { user: of(USERS), role: of(4), resume: None },
        2 => What::Join { user: of(USERS), role: of(4), resume: Some((of(4) != 0, of(24))) },
        3 => What::Leave,
        4..=6 => {
            let id = of(8);
            What::Send { user: of(USERS), id: (id < 6).then_some(id / 2), has_attachments: id == 7 }
        }
        7 => What::Typing(of(2) == 0),
        8 => What::Online { user: of(USERS), status: of(3) },
        9 => What::CustomerJoined,
        10 => What::MarkRead(of(24)),
        11 => {
            let (before, after) = (of(24), of(24));
            let limit = 1 + of(8);
            What::History { before: bound(before), after: bound(after), limit }
        }
        12 => What::Edit(of(24)),
        13 => What::Delete(of(24)),
        14 | 15 => What::Toggle(of(2) == 0),
        16 | 17 => {
            let shown_in = of(4);
            What::Ask { streamed: of(2) == 0, model: of(4), shown_in: (shown_in < 3).then_some(shown_in) }
        }
        18 | 19 => What::Model { ago: of(4), event: said(of(10)) },
        20 => What::Disconnect(if of(3) == 0 { Farewell::Clean } else { Farewell::Died }),
        21 => {
            let (visitor, by_request, command) = (of(3), of(4) == 0, of(6).min(3));
            let len = input.below(32);
            let user_agent = String::from_utf8_lossy(input.take(len.into())).into_owned();
            What::Visit { visitor, by_request, command, user_agent }
        }
        22 => What::Evict,
        _ => What::Pass(match of(16) {
            // Long enough for everyone to be idle, now and then.
            15 => 31 * 60_000,
            wait => i64::from(wait) * i64::from(wait) * 53 + i64::from(wait),
        }),
    }
}

fn said(what: u8) -> ModelEvent {
    match what {
        0 => ModelEvent::Finished(FinishReason::Stop),
        1 => ModelEvent::Finished(FinishReason::Length),
        2 => ModelEvent::Finished(FinishReason::ContentFilter),
        3 => ModelEvent::Failed(ModelFailure::Timeout),
        4 => ModelEvent::Failed(ModelFailure::Incomplete),
        5 => ModelEvent::Usage(Usage { input_tokens: 3, output_tokens: 5 }),
        6 => ModelEvent::Delta("x".repeat(100 * 1024)),
        what => ModelEvent::Delta(format!("word{what} ")),
    }
}

fn bound(seq: u8) -> Option<u8> {
    (seq < 20).then_some(seq)
}

fn room(number: u8) -> RoomId {
    RoomId::known(ROOMS[usize::from(number) % ROOMS.len()])
}

fn user(number: u8) -> UserId {
    UserId::parse(&format!("u{number}")).unwrap_or_else(UserId::anonymous)
}

fn name(number: u8) -> Box<str> {
    format!("name {number}").into()
}
