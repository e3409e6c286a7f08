//! Erasing and exporting over HTTP: a room, a visitor with all that is theirs.

use std::collections::HashSet;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use serde_json::{Value, json};
use weeziq_core::access::identity::Identity;
use weeziq_core::ids::{DomainId, ID_RULE, RoomId, Seq, VisitorId};
use weeziq_core::inbox::query::Filter;
use weeziq_core::inbox::{Cursor, DeskCommand, RoomSummary, RoomsQuery};
use weeziq_core::limits::HISTORY_MAX;
use weeziq_core::privacy::{
    ROOMS_AT_ONCE, Receipt, belongs_to, conversation_of, erasure_in, erasure_of_conversation, is_by, is_of,
};
use weeziq_core::protocol::command::{Command, HistoryQuery, VisitorsCommand};
use weeziq_core::protocol::error::{ClientError, ErrorCode};
use weeziq_core::protocol::event::Event;
use weeziq_core::protocol::http;
use weeziq_core::protocol::query::Query;
use weeziq_core::store::conversations::Remembered;
use weeziq_core::store::erasure::{conversations_of, rooms_without_domain};

use super::App;
use super::errors::Refused;
use super::identity::Known;
use crate::shard::wall_clock;

type Answer = Result<Json<Value>, Refused>;

pub(super) async fn erase_room(State(app): State<App>, Path(room): Path<String>, Known(by): Known) -> Answer {
    let room = RoomId::parse(&room).ok_or_else(|| ClientError::invalid("roomId", ID_RULE))?;
    Ok(Json(app.erase_room(&by, room).await?))
}

pub(super) async fn erase_visitor(
    State(app): State<App>,
    Path(visitor): Path<String>,
    Known(by): Known,
    RawQuery(query): RawQuery,
) -> Answer {
    let (domain, visitor) = named(&visitor, query.as_deref())?;
    by.require_staff(Some(&domain))?;
    let mut receipt = Receipt::default();
    let erase = VisitorsCommand::Erase { visitor: visitor.clone() };
    receipt.add(&app.ask_domain(&domain, erase).await?);
    let mut pages = Pages::of(&app, domain.clone(), visitor.clone());
    while let Some(rooms) = pages.next().await? {
        for room in rooms {
            let Some(command) = erasure_in(&room, &visitor) else { continue };
            match command {
                DeskCommand::Erase => {
                    let erased = app.erase_room(&Identity::Open, room.room_id.clone()).await?;
                    receipt.add_room(room.room_id, &erased);
                }
                command => receipt.add(&app.ask_desk(&Identity::Open, room.room_id, command).await?),
            }
        }
    }
    for conversation in app.conversations_of(&domain, &visitor).await? {
        let summary = app.summary(conversation.clone()).await?;
        match summary
            .map_or(Some(DeskCommand::Erase), |room| erasure_of_conversation(&room, &domain, &visitor))
        {
            Some(DeskCommand::Erase) => {
                let erased = app.erase_room(&Identity::Open, conversation.clone()).await?;
                receipt.add_conversation(conversation, &erased);
            }
            Some(command) => receipt.add(&app.ask_desk(&Identity::Open, conversation, command).await?),
            None => {}
        }
    }
    Ok(Json(receipt.body(&domain, &visitor, &[])))
}

pub(super) async fn export_visitor(
    State(app): State<App>,
    Path(visitor): Path<String>,
    Known(by): Known,
    RawQuery(query): RawQuery,
) -> Answer {
    let (domain, visitor) = named(&visitor, query.as_deref())?;
    by.require_staff(Some(&domain))?;
    let know = VisitorsCommand::Know { visitor: visitor.clone() };
    let mut export = app.ask_domain(&domain, know).await?;
    let (mut rooms, mut elsewhere, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    let mut pages = Pages::of(&app, domain.clone(), visitor.clone());
    while let Some(page) = pages.next().await? {
        // One that changes meanwhile is listed again.
        for room in page {
            if !seen.insert(room.room_id.clone()) {
                continue;
            }
            let is_own = is_of(&room, &visitor);
            let is_shown = |message: &Value| is_own || is_by(message, &visitor);
            let messages = app.all_messages(&room.room_id, is_shown).await?;
            if is_own {
                let remembered = app.all_remembered(&room.room_id).await?;
                rooms.push(json!({ "room": room, "messages": messages, "aiTurns": remembered }));
            } else if !messages.is_empty() {
                elsewhere.push(json!({ "roomId": room.room_id, "messages": messages }));
            }
        }
    }
    let mut conversations = Vec::new();
    for conversation in app.conversations_of(&domain, &visitor).await? {
        if app.summary(conversation.clone()).await?.is_some_and(|room| !belongs_to(&room, &domain)) {
            continue;
        }
        let remembered = app.all_remembered(&conversation).await?;
        if !remembered.is_empty() {
            conversations.push(json!({ "conversationId": conversation, "aiTurns": remembered }));
        }
    }
    if let Some(export) = export.as_object_mut() {
        export.insert("visitorId".into(), json!(visitor));
        export.insert("domainId".into(), json!(domain));
        export.insert("rooms".into(), rooms.into());
        export.insert("elsewhere".into(), elsewhere.into());
        export.insert("conversations".into(), conversations.into());
        export.insert("unsearched".into(), json!([]));
        export.insert("exportedAt".into(), json!(wall_clock()));
    }
    Ok(Json(export))
}

fn named(visitor: &str, query: Option<&str>) -> Result<(DomainId, VisitorId), ClientError> {
    let visitor = VisitorId::parse(visitor).ok_or_else(|| ClientError::invalid("visitorId", ID_RULE))?;
    Ok((Query::parse(query.unwrap_or_default()).domain()?, visitor))
}

/// The rooms of a site, and behind them those of no site that the visitor has written in, a page at a time.
struct Pages<'a> {
    app: &'a App,
    domain: DomainId,
    visitor: VisitorId,
    next: Next,
}

enum Next {
    Listed(Option<Cursor>),
    /// Nobody lists rooms without a domain: each shard is looked through, behind that name.
    OfNoDomain {
        shard: usize,
        after: String,
    },
}

impl<'a> Pages<'a> {
    fn of(app: &'a App, domain: DomainId, visitor: VisitorId) -> Self {
        Self { app, domain, visitor, next: Next::Listed(None) }
    }

    async fn next(&mut self) -> Result<Option<Vec<RoomSummary>>, ClientError> {
        match &self.next {
            Next::Listed(cursor) => self.listed(*cursor).await.map(Some),
            Next::OfNoDomain { shard, after } => self.of_no_domain(*shard, after.clone()).await,
        }
    }

    async fn listed(&mut self, cursor: Option<Cursor>) -> Result<Vec<RoomSummary>, ClientError> {
        let domain = self.domain.clone();
        let query =
            RoomsQuery { domain, filter: Filter::default(), reader: None, limit: ROOMS_AT_ONCE, cursor };
        let command = VisitorsCommand::Rooms(Box::new(query));
        match self.app.hear_domain(&self.domain, command).await? {
            Event::Rooms { rooms, cursor } => {
                self.next = match cursor.as_deref().and_then(Cursor::parse) {
                    Some(cursor) => Next::Listed(Some(cursor)),
                    None => Next::OfNoDomain { shard: 0, after: String::new() },
                };
                Ok(rooms)
            }
            event => Err(http::error_of(event)),
        }
    }

    async fn of_no_domain(
        &mut self,
        shard: usize,
        after: String,
    ) -> Result<Option<Vec<RoomSummary>>, ClientError> {
        if shard >= self.app.shards.count() {
            return Ok(None);
        }
        let visitor = self.visitor.clone();
        let rows = self
            .app
            .rows(shard, move |sql, _| rooms_without_domain(sql, &visitor, &after, ROOMS_AT_ONCE as u32));
        let looked_at = rows.await?;
        self.next = match looked_at.last() {
            Some((last, _)) => Next::OfNoDomain { shard, after: last.as_str().to_owned() },
            None => Next::OfNoDomain { shard: shard + 1, after: String::new() },
        };
        let mut rooms = Vec::new();
        for (room, _) in looked_at.into_iter().filter(|(_, has_written)| *has_written) {
            rooms.extend(self.app.summary(room).await?);
        }
        Ok(Some(rooms))
    }
}

impl App {
    /// With its place in the list of its site.
    async fn erase_room(&self, by: &Identity, room: RoomId) -> Result<Value, ClientError> {
        let erased = self.hear_desk(by, room.clone(), DeskCommand::Erase).await?;
        if let Event::Erased { domain_id: Some(domain), .. } = &erased {
            self.ask_domain(domain, VisitorsCommand::Unlist(room)).await?;
        }
        self.files.sweep.notify_one();
        http::body(erased)
    }

    /// Conversations with the AI that the visitor has begun, and the one that bears both names.
    async fn conversations_of(
        &self,
        domain: &DomainId,
        visitor: &VisitorId,
    ) -> Result<Vec<RoomId>, ClientError> {
        let own = conversation_of(domain, visitor);
        let mut all = vec![own.clone()];
        for shard in 0..self.shards.count() {
            let (domain, visitor) = (domain.clone(), visitor.clone());
            let begun = self.rows(shard, move |sql, _| conversations_of(sql, &domain, &visitor)).await?;
            all.extend(begun.into_iter().filter(|room| *room != own));
        }
        Ok(all)
    }

    /// None: there is no such room.
    async fn summary(&self, room: RoomId) -> Result<Option<RoomSummary>, ClientError> {
        match self.hear_desk(&Identity::Open, room, DeskCommand::Show).await? {
            Event::RoomUpdated { room, .. } => Ok(Some(*room)),
            Event::Error { code: ErrorCode::NotFound, .. } => Ok(None),
            event => Err(http::error_of(event)),
        }
    }

    async fn all_remembered(&self, room: &RoomId) -> Result<Vec<Remembered>, ClientError> {
        let (mut all, mut after) = (Vec::new(), Some(0));
        while let Some(place) = after {
            let command = DeskCommand::Remembered(place);
            match self.hear_desk(&Identity::Open, room.clone(), command).await? {
                Event::Remembered { turns, next } => {
                    all.extend(turns);
                    after = next;
                }
                event => return Err(http::error_of(event)),
            }
        }
        Ok(all)
    }

    async fn all_messages(
        &self,
        room: &RoomId,
        is_shown: impl Fn(&Value) -> bool,
    ) -> Result<Vec<Value>, ClientError> {
        let (mut all, mut after) = (Vec::new(), Seq(0));
        loop {
            let query = HistoryQuery { before: None, after: Some(after), limit: HISTORY_MAX };
            let page = self.hear_desk(&Identity::Open, room.clone(), DeskCommand::History(query)).await?;
            let (messages, has_more) = match page {
                Event::MessageHistory { messages, has_more, .. } => (messages, has_more),
                // Erased, since it was listed.
                Event::Error { code: ErrorCode::NotFound, .. } => return Ok(all),
                page => return Err(http::error_of(page)),
            };
            after = messages.last().map_or(after, |message| message.seq);
            let is_last = messages.is_empty() || !has_more;
            all.extend(messages.iter().map(|message| json!(message)).filter(&is_shown));
            if is_last {
                return Ok(all);
            }
        }
    }

    pub(crate) async fn ask_desk(
        &self,
        by: &Identity,
        room: RoomId,
        command: DeskCommand,
    ) -> Result<Value, ClientError> {
        http::body(self.hear_desk(by, room, command).await?)
    }

    async fn hear_desk(
        &self,
        by: &Identity,
        room: RoomId,
        command: DeskCommand,
    ) -> Result<Event, ClientError> {
        let shard = self.shards.of(room.as_str());
        let mut events = self.ask_as(by, shard, Command::Desk(room, command))?;
        events.recv().await.ok_or_else(ClientError::unavailable)
    }

    pub(crate) async fn ask_domain(
        &self,
        domain: &DomainId,
        command: VisitorsCommand,
    ) -> Result<Value, ClientError> {
        http::body(self.hear_domain(domain, command).await?)
    }

    async fn hear_domain(&self, domain: &DomainId, command: VisitorsCommand) -> Result<Event, ClientError> {
        let shard = self.shards.of(domain.as_str());
        let mut events = self.ask_as(&Identity::Open, shard, Command::Visitors(domain.clone(), command))?;
        events.recv().await.ok_or_else(ClientError::unavailable)
    }
}
