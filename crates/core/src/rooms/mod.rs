//! A chat room, as a state machine: [`Room::handle`] takes one input and says what is to be done.
//!
//! A room's memory is its rows in storage (the log, who has just dropped out, which answer is being written) and the
//! members that its connections stand for, with what each of them is doing. [`Room::open`] builds a room from those
//! two at any time: at the first join, after a failed commit, after an eviction.

mod changes;
mod conversation;
mod desk;
mod erasure;
mod history;
pub mod member;
pub mod message;
mod ownership;
mod people;
mod presence;
mod question;
mod readers;
mod roster;
mod run;
mod speaking;
mod unanswered;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use conversation::Conversation;
pub use conversation::Spoken;
use desk::Telling;
pub use member::Member;
use roster::Roster;
pub use unanswered::rooms_unanswered;

use crate::access::rate;
use crate::ai::briefing::Briefing;
use crate::ai::model::ModelEvent;
use crate::ids::{
    ClientMessageId, ConnId, DomainId, RoomId, RunId, Seq, SocketId, UserId, short_random_name,
};
use crate::inbox::{self, Desk, DeskCommand, Person};
use crate::limits::ROOM_USERS_EVERY_MS;
use crate::protocol::command::{
    Ask, CustomerJoined, DEFAULT_ROLE, DEFAULT_STATUS, Join, Resume, RoomCommand,
};
use crate::protocol::error::{ClientError, ErrorCode};
use crate::protocol::event::Event;
use crate::spending::{Reservation, Spent};
use crate::store::departed::{self, Departed};
use crate::store::log::{self, Log};
use crate::store::{Sql, SqlError, desk as rows, outbox};
use crate::time::UnixMs;
use crate::{Caller, Context, Output, acknowledge};

/// Everything that can happen to a room.
pub enum RoomInput {
    Command {
        from: Caller,
        command: RoomCommand,
    },
    /// A connection goes on as the member that an earlier one of the same client was. Told to nobody who has not heard
    /// that it was gone; the client hears what it missed, or joins anew if it cannot.
    Recover {
        from: Caller,
        join: Join,
        stands: Resume,
    },
    /// A question to the AI in the conversation that bears this room's id.
    Ask {
        from: Caller,
        ask: Ask,
        briefing: Box<Briefing>,
    },
    /// What the model says.
    Model {
        run: RunId,
        event: ModelEvent,
    },
    /// A message from another room's conversation.
    Post(Post),
    /// Something that passes by: told to the members, kept nowhere. `except` has heard it already.
    Overheard {
        event: Event,
        except: Option<ConnId>,
    },
    Disconnected {
        conn: ConnId,
        how: Farewell,
    },
    /// People have taken over where this run publishes: it ends, and nothing more is asked of its model.
    Silence {
        run: RunId,
    },
    /// What operators do with the room, and visitors with their own, over HTTP.
    Desk {
        from: Caller,
        command: DeskCommand,
    },
    /// Somebody in the room asks for a person.
    AskedForPeople {
        customer: Option<Person>,
    },
    /// The domain's list may not know how the room stands: an earlier memory died, or put off telling it.
    List,
    /// Something that was to happen by now.
    Alarm,
    /// The room's memory is new: it was lost with its process, its object or a failed commit, or there was none yet.
    /// To be handled first of all after [`Room::open`]: answers that an earlier memory was writing end here. The askers
    /// of those that were `told` have heard of it ([`Room::owed`]).
    Awoken {
        told: Vec<Spoken>,
    },
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// The peer said goodbye.
    Clean,
    /// The peer fell silent; it may be back in a moment.
    Died,
}

/// A message that the service itself writes.
#[derive(Serialize, Deserialize)]
pub struct Post {
    /// The conversation and the run that it comes from.
    pub conversation: RoomId,
    pub run: RunId,
    pub purpose: Purpose,
    /// Of the same name for the same message, however often it is handed over.
    pub id: ClientMessageId,
    pub user: UserId,
    pub user_name: Arc<str>,
    pub role: Arc<str>,
    pub text: Box<str>,
    pub socket: SocketId,
    /// As [`Message::sources`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Box<RawValue>>,
}

/// What a [`Post`] is for.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// What the AI was asked, for the log.
    Question,
    /// What it said, for the log.
    Answer,
    /// It hands over: the text is its reason.
    HandOver,
    /// What was said while people were in charge, for the conversation's memory.
    Recount,
}

pub struct Room {
    id: RoomId,
    /// None until something is stored.
    stored: Option<Stored>,
    last_seq: Seq,
    /// Up to here the log is not kept any more.
    cut: Seq,
    live_agent: bool,
    domain: Option<DomainId>,
    created_at: UnixMs,
    desk: Option<Box<Desk>>,
    telling: Option<Box<Telling>>,
    roster: Roster,
    typing: Vec<Typing>,
    /// When `room-users` was last told, and whether it is due again.
    users_told_at: UnixMs,
    users_due: bool,
    conversation: Option<Box<Conversation>>,
    /// What it has used of the quota of AI questions.
    asked: rate::Usage,
    /// Up to here what customers said was asked of the room's own AI, or they were told that it is not.
    said: Seq,
    /// Whose conversation it is, where there are tokens.
    owner: Option<Box<str>>,
    armed: Option<UnixMs>,
}

#[derive(Clone)]
struct Stored {
    row: i64,
    epoch: Arc<str>,
}

struct Typing {
    conn: ConnId,
    until: UnixMs,
}

/// Why an input came to nothing.
enum Failure {
    Client(ClientError),
    Storage(SqlError),
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self::Storage(error)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

/// What a room works with while it handles one input.
struct Turn<'a> {
    cx: Context<'a>,
    sql: &'a mut dyn Sql,
    out: &'a mut Vec<Output>,
}

impl Room {
    /// The room as its rows and its connections tell it.
    pub fn open(
        id: RoomId,
        members: impl IntoIterator<Item = (ConnId, Arc<Member>)>,
        sql: &mut dyn Sql,
    ) -> Result<Self, SqlError> {
        let mut row = log::find_room(sql, &id)?;
        let departed = row.as_ref().map_or(Ok(Vec::new()), |row| departed::of_room(sql, row.id))?;
        let members: Vec<(ConnId, Arc<Member>)> = members.into_iter().collect();
        let typing = |(conn, member): &(ConnId, Arc<Member>)| {
            member.typing_until.map(|until| Typing { conn: *conn, until })
        };
        let mut typing: Vec<Typing> = members.iter().filter_map(typing).collect();
        let mut roster = Roster::of(members);
        for Departed { row, member, until } in departed {
            roster.drop_out(member, row, until);
        }
        typing.sort_unstable_by_key(|typing| (typing.until, typing.conn));
        Ok(Self {
            last_seq: row.as_ref().map_or(Seq(0), |row| row.last_seq),
            cut: row.as_ref().map_or(Seq(0), |row| row.cut),
            live_agent: row.as_ref().is_some_and(|row| row.live_agent),
            telling: row.as_ref().and_then(|row| row.domain.as_ref()).map(|_| Box::default()),
            domain: row.as_ref().and_then(|row| row.domain.clone()),
            created_at: row.as_ref().map(|row| row.created_at).unwrap_or_default(),
            id,
            typing,
            roster,
            users_told_at: UnixMs(0),
            users_due: row.as_ref().is_some_and(|row| row.users_due),
            conversation: None,
            asked: row.as_ref().map(|row| row.asked).unwrap_or_default(),
            said: row.as_ref().map_or(Seq(0), |row| row.said),
            owner: row.as_ref().and_then(|row| row.owner.clone()),
            armed: None,
            desk: row.as_mut().and_then(|row| row.desk.take()),
            stored: row.map(|row| Stored { row: row.id, epoch: row.epoch }),
        })
    }

    pub fn id(&self) -> &RoomId {
        &self.id
    }

    /// Whether this connection still has an answer to come.
    pub fn owes(&self, conn: ConnId) -> bool {
        self.conversation.as_ref().is_some_and(|conversation| conversation.owes(conn))
    }

    /// Whether this answer is being written. One that has ended, or was forgotten with a failed commit, is nobody's.
    pub fn is_writing(&self, run: RunId) -> bool {
        self.conversation.as_ref().is_some_and(|conversation| conversation.is_writing(run))
    }

    /// Whether people are in charge, so that no AI may be heard.
    pub fn has_live_agent(&self) -> bool {
        self.live_agent
    }

    /// Whether it is in the list of a domain.
    pub fn has_domain(&self) -> bool {
        self.domain.is_some()
    }

    /// Whether there is anything of it but who is in it.
    pub fn is_stored(&self) -> bool {
        self.stored.is_some()
    }

    /// Whether nobody is in it and nothing is being written. Dropping it from memory then loses nothing.
    pub fn is_vacant(&self) -> bool {
        self.roster.is_empty()
            && !self.is_telling()
            && self.conversation.as_ref().is_none_or(|conversation| conversation.is_quiet())
    }

    /// Handles one input. After an error, or a commit that fails, the room's memory is ahead of its rows: the host
    /// must roll the transaction back, drop the room, stop the models that it has asked for it, answer the caller that
    /// nothing was kept, and open the room again soon, so that what it owes is not owed for ever.
    pub fn handle(
        &mut self,
        cx: Context<'_>,
        input: RoomInput,
        sql: &mut dyn Sql,
        out: &mut Vec<Output>,
    ) -> Result<(), SqlError> {
        let mut turn = Turn { cx, sql, out };
        match input {
            RoomInput::Command { from, command } => {
                let (said, acked) = (turn.out.len(), from.wants_ack());
                let done = self.command(&mut turn, &from, command);
                turn.answer_failure(from, done)?;
                acknowledge(turn.out, said, acked);
            }
            RoomInput::Ask { from, ask, briefing } => {
                let done = self.ask(&mut turn, &from, ask, *briefing);
                turn.answer_failure(from, done)?;
            }
            RoomInput::Recover { from, join, stands } => {
                let done = self.recover(&mut turn, &from, &join, &stands);
                turn.answer_failure(from, done)?;
            }
            RoomInput::Model { run, event } => self.model_says(&mut turn, run, event)?,
            RoomInput::Post(post) => self.post(&mut turn, post)?,
            // Only what an AI is writing passes by, and it has no say while people are in charge.
            RoomInput::Overheard { event, .. } if self.live_agent && !event.ends_typing() => {}
            RoomInput::Overheard { event, except } => turn.publish(event, except),
            RoomInput::Silence { run } => self.silence(&mut turn, run)?,
            RoomInput::Disconnected { conn, how } => self.disconnect(&mut turn, conn, how)?,
            RoomInput::Desk { from, command } => {
                let done = self.take_desk(&mut turn, &from, command);
                turn.answer_failure(from, done)?;
            }
            RoomInput::AskedForPeople { customer } => self.wait_for_people(&mut turn, customer)?,
            RoomInput::List => self.relist(),
            RoomInput::Alarm => {
                self.armed = None;
                self.expire(&mut turn)?;
            }
            RoomInput::Awoken { told } => {
                self.interrupt_unfinished(&mut turn, &told)?;
                self.ask_unanswered(&mut turn)?;
            }
        }
        self.tell_list(&mut turn)?;
        self.arm(&mut turn);
        Ok(())
    }

    fn command(&mut self, turn: &mut Turn<'_>, from: &Caller, command: RoomCommand) -> Result<(), Failure> {
        match command {
            RoomCommand::Send(message) => {
                let message = self.in_own_name(from, message)?;
                self.send(turn, from, message)?;
            }
            RoomCommand::Join(join) => {
                self.require_entry(from)?;
                self.join(turn, from, &join)?;
            }
            RoomCommand::Leave => self.leave(turn, from)?,
            RoomCommand::Typing { is_typing } => self.type_text(turn, from, is_typing)?,
            RoomCommand::Online(online) => {
                let online = self.present_as(from, online)?;
                self.set_status(turn, from, online)?;
            }
            RoomCommand::CustomerJoined(customer) => self.announce_customer(turn, customer)?,
            RoomCommand::MarkRead { seq } => self.mark_read(turn, from, seq)?,
            RoomCommand::FetchHistory(query) => {
                self.require_membership(from)?;
                self.fetch_history(turn, from, &query)?;
            }
            RoomCommand::Edit { message, text } => self.edit(turn, from, &message, &text)?,
            RoomCommand::Delete { message } => self.delete(turn, from, &message)?,
            RoomCommand::ToggleLiveAgent { enabled } => self.toggle_live_agent(turn, from, enabled)?,
            RoomCommand::RequestHuman(request) => self.request_human(turn, from, request)?,
            RoomCommand::ResumeAnswer { after, even_ended } => {
                self.resume_answer(turn, from, after, even_ended)?;
            }
            RoomCommand::CancelAnswer => self.cancel_answer(turn, from)?,
        }
        Ok(())
    }

    fn join(&mut self, turn: &mut Turn<'_>, from: &Caller, join: &Join) -> Result<(), SqlError> {
        let stored = self.stored(turn, join.domain.as_ref())?;
        let member = self.admit(turn, from, join);
        self.welcome(turn, from, &stored, join.resume.as_ref())?;
        self.enter(turn, from.conn, &member)
    }

    fn recover(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        join: &Join,
        stands: &Resume,
    ) -> Result<(), Failure> {
        // It may have come back with another token than it had when it joined.
        self.require_entry(from)?;
        let stored = self.stored(turn, join.domain.as_ref())?;
        if !self.can_resume(&stored, stands) {
            return Ok(self.join(turn, from, join)?);
        }
        let member = self.admit(turn, from, join);
        self.replay(turn, from, &stored, stands.last_seq)?;
        Ok(self.enter(turn, from.conn, &member)?)
    }

    fn admit(&self, turn: &mut Turn<'_>, from: &Caller, join: &Join) -> Arc<Member> {
        let member = Arc::new(Member {
            user: join.user.clone(),
            user_name: join.user_name.as_ref().into(),
            role: join.role.as_deref().unwrap_or(DEFAULT_ROLE).into(),
            status: DEFAULT_STATUS.into(),
            socket: from.socket,
            since: turn.cx.now,
            typing_until: None,
        });
        turn.out.push(Output::Admit { conn: from.conn, member: member.clone() });
        member
    }

    fn announce_customer(&mut self, turn: &mut Turn<'_>, customer: CustomerJoined) -> Result<(), SqlError> {
        if self.stored.is_some() {
            self.stored(turn, customer.domain.as_ref())?;
        }
        let event = Event::CustomerJoinedRoom {
            room_id: self.id.clone(),
            customer_id: customer.customer,
            customer_name: customer.customer_name,
            domain_id: customer.domain.clone(),
            timestamp: turn.cx.now,
        };
        turn.out.push(Output::TellObservers { domain: customer.domain, event });
        Ok(())
    }

    fn mark_read(&mut self, turn: &mut Turn<'_>, from: &Caller, seq: Seq) -> Result<(), Failure> {
        let member = self.member(from)?.clone();
        let stored = self.stored(turn, None)?;
        let seq = seq.min(self.last_seq);
        let moved = log::mark_read(turn.sql, stored.row, &member.user, seq, turn.cx.now)?;
        turn.reply(from, Event::MarkedRead { room_id: self.id.clone(), seq });
        if moved && inbox::is_staff(&member.role) {
            self.note_reader(&member.user, seq);
        }
        if moved {
            let event = Event::MessageRead {
                room_id: self.id.clone(),
                user_id: member.user.clone(),
                seq,
                timestamp: turn.cx.now,
            };
            turn.publish(event, Some(from.conn));
        }
        Ok(())
    }

    fn member(&self, from: &Caller) -> Result<&Arc<Member>, ClientError> {
        self.roster
            .get(from.conn)
            .ok_or_else(|| ClientError::new(ErrorCode::Forbidden, format!("join-room {} first", self.id)))
    }

    /// The room's row, which the first write makes.
    fn stored(&mut self, turn: &mut Turn<'_>, domain: Option<&DomainId>) -> Result<Stored, SqlError> {
        if let Some(stored) = self.stored.clone() {
            if let Some(domain) = domain.filter(|_| self.domain.is_none()) {
                rows::set_domain(turn.sql, stored.row, domain.as_str())?;
                self.belong_to(domain);
                self.relist();
            }
            return Ok(stored);
        }
        let epoch: Arc<str> = short_random_name(turn.cx.entropy).into();
        let name = domain.map(DomainId::as_str);
        let row = log::create_room(turn.sql, &self.id, &epoch, name, turn.cx.now)?;
        self.created_at = turn.cx.now;
        domain.inspect(|domain| self.belong_to(domain));
        Ok(self.stored.insert(Stored { row, epoch }).clone())
    }

    fn belong_to(&mut self, domain: &DomainId) {
        self.domain = Some(domain.clone());
        self.telling.get_or_insert_default();
    }

    fn log<'a>(&'a self, stored: &'a Stored) -> Log<'a> {
        Log { room: stored.row, name: &self.id, epoch: &stored.epoch }
    }

    /// Asks to be woken for whatever is due next, if nothing earlier is armed.
    fn arm(&mut self, turn: &mut Turn<'_>) {
        let users = self.users_due.then(|| self.users_told_at.plus(ROOM_USERS_EVERY_MS));
        let typing = self.typing.iter().map(|typing| typing.until).min();
        let chunk = self.conversation.as_ref().and_then(|conversation| conversation.due());
        let due = [users, typing, self.roster.due(), chunk, self.telling_due()];
        let Some(due) = due.into_iter().flatten().min() else {
            return;
        };
        if self.armed.is_none_or(|armed| due < armed) {
            self.armed = Some(due);
            turn.out.push(Output::WakeAt(due));
        }
    }
}

impl Turn<'_> {
    fn reply(&mut self, to: &Caller, event: Event) {
        self.out.push(Output::Reply { to: to.conn, reply_to: to.reply_to.clone(), event });
    }

    fn publish(&mut self, event: Event, except: Option<ConnId>) {
        self.out.push(Output::Publish { event, except });
    }

    /// What another room has to hear, whatever dies meanwhile.
    fn post(&mut self, room: RoomId, post: Post) -> Result<(), SqlError> {
        let kept = Some(outbox::add(self.sql, &room, &post)?);
        self.out.push(Output::Relay { room, input: Box::new(RoomInput::Post(post)), kept });
        Ok(())
    }

    /// For the account of a domain, if one is kept.
    fn spend(&mut self, spent: Spent) {
        if spent.domain.is_some() {
            self.out.push(Output::Spend(Box::new(spent)));
        }
    }

    /// No model is asked for what this was set aside for.
    fn give_back(&mut self, (domain, reservation): (Option<DomainId>, Option<Reservation>)) {
        if reservation.is_some() {
            self.spend(Spent::nothing(domain, reservation, self.cx.now));
        }
    }

    /// What another room may hear, if nothing comes between.
    fn mention(&mut self, room: RoomId, input: RoomInput) {
        self.out.push(Output::Relay { room, input: Box::new(input), kept: None });
    }

    fn answer_failure(&mut self, from: Caller, done: Result<(), Failure>) -> Result<(), SqlError> {
        match done {
            Ok(()) => Ok(()),
            Err(Failure::Storage(error)) => Err(error),
            Err(Failure::Client(error)) => {
                let event = Event::error(&error, self.cx.now);
                self.out.push(Output::Reply { to: from.conn, reply_to: from.reply_to, event });
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
