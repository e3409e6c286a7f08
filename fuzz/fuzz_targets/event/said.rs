//! A parsed command, told field by field in the words of the wire.

use std::fmt::Display;

use weeziq_core::protocol::command::{Ask, Command, RoomCommand, VisitorsCommand};

use crate::oracle::Told;

pub(crate) fn by(command: &Command) -> Told {
    let mut told = Told::new();
    match command {
        Command::Ping => tell(&mut told, "type", "ping"),
        Command::AllDomainStats => tell(&mut told, "type", "get-all-domain-stats"),
        Command::Room(room, command) => {
            let is_answer = matches!(command, RoomCommand::ResumeAnswer { .. } | RoomCommand::CancelAnswer);
            tell(&mut told, if is_answer { "conversationId" } else { "roomId" }, room.as_str());
            in_room(command, &mut told);
        }
        Command::Desk(..) | Command::Search(_) => unreachable!("no event asks for it"),
        Command::Visitors(domain, command) => {
            tell(&mut told, "domainId", domain.as_str());
            on_site(command, &mut told);
        }
        Command::Ask(conversation, ask) => {
            maybe(&mut told, "conversationId", conversation.as_ref());
            question(ask, &mut told);
        }
    }
    told
}

fn in_room(command: &RoomCommand, told: &mut Told) {
    match command {
        RoomCommand::Join(join) => {
            tell(told, "type", "join-room");
            tell(told, "userId", &join.user);
            tell(told, "userName", &join.user_name);
            maybe(told, "role", join.role.as_ref());
            maybe(told, "domainId", join.domain.as_ref());
            maybe(told, "epoch", join.resume.as_ref().map(|resume| &resume.epoch));
            maybe(told, "lastSeq", join.resume.as_ref().map(|resume| resume.last_seq.0));
        }
        RoomCommand::Leave => tell(told, "type", "leave-room"),
        RoomCommand::Send(send) => {
            tell(told, "type", "send-message");
            tell(told, "message", &send.text);
            tell(told, "userId", &send.user);
            tell(told, "userName", &send.user_name);
            tell(told, "role", &send.role);
            maybe(told, "domainId", send.domain.as_ref());
            maybe(told, "clientMessageId", send.client_message_id.as_ref());
            maybe(told, "attachments", send.attachments.as_ref());
        }
        RoomCommand::Typing { is_typing } => {
            tell(told, "type", "typing");
            tell(told, "isTyping", is_typing);
        }
        RoomCommand::Online(online) => {
            tell(told, "type", "user-online");
            tell(told, "userId", &online.user);
            tell(told, "userName", &online.user_name);
            tell(told, "status", &online.status);
        }
        RoomCommand::CustomerJoined(joined) => {
            tell(told, "type", "customer-joined-room");
            tell(told, "customerId", &joined.customer);
            tell(told, "customerName", &joined.customer_name);
            maybe(told, "domainId", joined.domain.as_ref());
        }
        RoomCommand::MarkRead { seq } => {
            tell(told, "type", "mark-read");
            tell(told, "seq", seq.0);
        }
        RoomCommand::FetchHistory(query) => {
            tell(told, "type", "fetch-history");
            maybe(told, "beforeSeq", query.before.map(|seq| seq.0));
            maybe(told, "afterSeq", query.after.map(|seq| seq.0));
            tell(told, "limit", query.limit);
        }
        RoomCommand::Edit { message, text } => {
            tell(told, "type", "edit-message");
            tell(told, "messageId", message);
            tell(told, "message", text);
        }
        RoomCommand::Delete { message } => {
            tell(told, "type", "delete-message");
            tell(told, "messageId", message);
        }
        RoomCommand::ToggleLiveAgent { enabled } => {
            tell(told, "type", "toggle-live-agent");
            tell(told, "enabled", enabled);
        }
        RoomCommand::RequestHuman(request) => {
            tell(told, "type", "request-human");
            maybe(told, "userId", request.user.as_ref());
            maybe(told, "userName", request.user_name.as_ref());
            maybe(told, "reason", request.reason.as_ref());
            maybe(told, "domainId", request.domain.as_ref());
        }
        RoomCommand::ResumeAnswer { after, .. } => {
            tell(told, "type", "ai-resume");
            maybe(told, "afterIndex", *after);
        }
        RoomCommand::CancelAnswer => tell(told, "type", "ai-cancel"),
    }
}

fn on_site(command: &VisitorsCommand, told: &mut Told) {
    match command {
        VisitorsCommand::Join { visitor, data, .. } => {
            tell(told, "type", "visitor-joined-domain");
            tell(told, "visitorId", visitor);
            maybe(told, "visitorData", data.as_ref());
        }
        VisitorsCommand::Leave { visitor } => {
            tell(told, "type", "visitor-left-domain");
            tell(told, "visitorId", visitor);
        }
        VisitorsCommand::Activity { visitor, page, .. } => {
            tell(told, "type", "visitor-activity");
            tell(told, "visitorId", visitor);
            maybe(told, "url", page.url.as_ref());
            maybe(told, "title", page.title.as_ref());
        }
        VisitorsCommand::Stats => tell(told, "type", "get-domain-stats"),
        VisitorsCommand::Rooms(_)
        | VisitorsCommand::Report(_)
        | VisitorsCommand::Complete { .. }
        | VisitorsCommand::Unlist(_)
        | VisitorsCommand::Erase { .. }
        | VisitorsCommand::Retain { .. }
        | VisitorsCommand::Know { .. } => unreachable!("no event asks for it"),
    }
}

fn question(ask: &Ask, told: &mut Told) {
    tell(told, "type", if ask.streamed { "ai-stream" } else { "ai-chat" });
    tell(told, "message", &ask.message);
    maybe(told, "model", ask.model.as_ref());
    maybe(told, "domainId", ask.domain.as_ref());
    maybe(told, "userId", ask.user.as_ref());
    maybe(told, "userName", ask.user_name.as_ref());
    maybe(told, "systemPrompt", ask.system_prompt.as_ref());
    maybe(told, "roomId", ask.room.as_ref());
}

fn tell(told: &mut Told, name: &'static str, value: impl Display) {
    told.insert(name, format!("{value}"));
}

fn maybe(told: &mut Told, name: &'static str, value: Option<impl Display>) {
    told.extend(value.map(|value| (name, format!("{value}"))));
}
