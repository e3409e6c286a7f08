//! Where a conversation stands, who has it, how it was rated; and telling the domain's list so.
//!
//! A room that has a domain tells it with the change itself, or, if it has told it less than a second ago, once for all
//! changes a second after that. What is put off so is a row of the outbox meanwhile, addressed to the room itself, so
//! that a crash in between loses nothing and a busy room pays once a second and not with each message.

use std::sync::Arc;

use super::message::Message;
use super::{Failure, Room, Stored, Turn};
use crate::access::rights::ASSISTANT;
use crate::ids::{Seq, UserId};
use crate::inbox::{self, Desk, DeskCommand, LastMessage, Listing, Person, Rating, RoomSummary};
use crate::limits::{LAST_MESSAGE_CHARS, MESSAGES_UNCOUNTED_MAX, READS_TOLD_MAX, ROOM_UPDATED_EVERY_MS};
use crate::protocol::error::ClientError;
use crate::protocol::event::Event;
use crate::store::{SqlError, desk as rows, outbox};
use crate::time::UnixMs;
use crate::{Caller, Output};

/// What the domain's list is still to hear, and what need not be looked up for that. None in a room without a domain.
#[derive(Default)]
pub(super) struct Telling {
    is_due: bool,
    told_at: Option<UnixMs>,
    /// The row that stands for what was put off.
    kept: Option<i64>,
    /// The newest message, if it is known.
    last: Option<Arc<Message>>,
    customer: Option<Person>,
    /// How many messages the log holds and how many of them the AI wrote, if they have been counted.
    counted: Option<(u64, u64)>,
    /// Agents who have read on, and how far.
    readers: Vec<(UserId, Seq)>,
}

impl Telling {
    /// When it is to be told what has been put off.
    fn due(&self) -> Option<UnixMs> {
        self.is_due.then(|| self.told_at.unwrap_or_default().plus(ROOM_UPDATED_EVERY_MS))
    }
}

impl Room {
    pub(super) fn take_desk(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        command: DeskCommand,
    ) -> Result<(), Failure> {
        command.check(&from.identity, &self.id, self.domain.as_ref())?;
        match command {
            DeskCommand::Show => self.known()?,
            DeskCommand::History(query) | DeskCommand::Transcript(query) => {
                self.known()?;
                return Ok(self.fetch_history(turn, from, &query)?);
            }
            DeskCommand::Send(message) => return self.send(turn, from, message),
            DeskCommand::Assign(person) => self.assign(turn, person)?,
            DeskCommand::Close => self.close(turn)?,
            DeskCommand::Reopen => self.reopen(turn)?,
            DeskCommand::Rate(rating) => self.rate(turn, rating)?,
            DeskCommand::Remembered(after) => return Ok(self.tell_remembered(turn, from, after)?),
            DeskCommand::Erase => {
                // A receipt for what never was would tell a token of some sites which rooms the others have.
                if from.identity.require_staff(None).is_err() {
                    self.known()?;
                }
                return Ok(self.erase(turn, from)?);
            }
            DeskCommand::Retain(keep) => return Ok(self.retain(turn, from, &keep)?),
            DeskCommand::Anonymise(user) => return Ok(self.anonymise(turn, from, &user)?),
        }
        let room = Box::new(self.summary(turn)?);
        turn.reply(from, Event::RoomUpdated { room, timestamp: turn.cx.now });
        Ok(())
    }

    /// Somebody asks for a person: the room waits until one comes.
    pub(super) fn wait_for_people(
        &mut self,
        turn: &mut Turn<'_>,
        customer: Option<Person>,
    ) -> Result<(), SqlError> {
        let (now, is_served) = (turn.cx.now, self.live_agent || self.is_attended());
        self.amend_desk(turn, |desk| {
            desk.customer = customer.or(desk.customer.take());
            desk.closed_at = None;
            if !is_served {
                desk.waiting_since.get_or_insert(now);
            }
        })
    }

    fn assign(&mut self, turn: &mut Turn<'_>, person: Option<Person>) -> Result<(), Failure> {
        self.known()?;
        let same = |desk: &Desk| desk.assignee == person;
        if self.desk.as_deref().map_or(person.is_none(), same) {
            return Ok(());
        }
        // Whoever takes over has not spoken yet.
        let change = |desk: &mut Desk| (desk.assignee, desk.is_attended) = (person, false);
        Ok(self.amend_desk(turn, change)?)
    }

    /// Done, and with it the takeover: a customer who comes back next week must not meet silence.
    fn close(&mut self, turn: &mut Turn<'_>) -> Result<(), Failure> {
        let stored = self.known_row()?;
        if self.desk.as_ref().is_some_and(|desk| desk.closed_at.is_some()) {
            return Ok(());
        }
        if self.live_agent {
            let assignee = self.desk.as_ref().and_then(|desk| desk.assignee.clone());
            let user = assignee.map_or_else(UserId::service, |person| person.user_id);
            self.turn_over(turn, &stored, user, false)?;
        }
        let now = turn.cx.now;
        Ok(self.amend_desk(turn, |desk| {
            (desk.closed_at, desk.waiting_since, desk.is_attended) = (Some(now), None, false);
        })?)
    }

    fn reopen(&mut self, turn: &mut Turn<'_>) -> Result<(), Failure> {
        self.known()?;
        match self.desk.as_ref().is_some_and(|desk| desk.closed_at.is_some()) {
            true => Ok(self.amend_desk(turn, |desk| desk.closed_at = None)?),
            false => Ok(()),
        }
    }

    fn rate(&mut self, turn: &mut Turn<'_>, rating: Rating) -> Result<(), Failure> {
        self.known()?;
        match self.desk.as_ref().is_some_and(|desk| desk.rating.as_ref() == Some(&rating)) {
            true => Ok(()),
            false => Ok(self.amend_desk(turn, |desk| desk.rating = Some(rating))?),
        }
    }

    fn is_attended(&self) -> bool {
        self.desk.as_ref().is_some_and(|desk| desk.is_attended)
    }

    fn known(&self) -> Result<(), ClientError> {
        self.known_row().map(|_| ())
    }

    /// Nobody makes a room by asking about one.
    fn known_row(&self) -> Result<Stored, ClientError> {
        self.stored.clone().filter(|_| !self.is_erased()).ok_or_else(|| inbox::no_room(&self.id))
    }

    /// And nothing has happened since.
    fn is_erased(&self) -> bool {
        self.last_seq == Seq(0) && self.desk.as_ref().is_some_and(|desk| desk.is_erased)
    }

    /// What is left of it is its name and its epoch, for the members that it has.
    pub(super) fn lie_erased(&mut self, turn: &mut Turn<'_>, stored: &Stored) -> Result<(), SqlError> {
        let desk = self.desk.insert(Box::new(Desk { is_erased: true, ..Desk::default() }));
        rows::set(turn.sql, stored.row, desk)
    }

    /// Something happens in it that its log does not show.
    pub(super) fn begin_anew(&mut self, turn: &mut Turn<'_>, stored: &Stored) -> Result<(), SqlError> {
        let Some(desk) = self.desk.as_deref_mut().filter(|desk| desk.is_erased) else { return Ok(()) };
        desk.is_erased = false;
        rows::set(turn.sql, stored.row, desk)
    }

    fn amend_desk(&mut self, turn: &mut Turn<'_>, change: impl FnOnce(&mut Desk)) -> Result<(), SqlError> {
        let stored = self.stored(turn, None)?;
        let desk = self.desk.get_or_insert_default();
        change(desk);
        desk.is_erased = false;
        desk.changes += 1;
        desk.changed_at = Some(turn.cx.now);
        rows::set(turn.sql, stored.row, desk)?;
        self.list_anew();
        Ok(())
    }

    /// What the log has grown by may change how the room stands.
    pub(super) fn note_message(
        &mut self,
        turn: &mut Turn<'_>,
        message: &Arc<Message>,
    ) -> Result<(), SqlError> {
        if inbox::is_staff(&message.role) {
            let has_it = self
                .desk
                .as_ref()
                .is_some_and(|desk| desk.assignee.is_some() && !desk.is_attended && desk.closed_at.is_none());
            if has_it {
                self.amend_desk(turn, |desk| (desk.is_attended, desk.waiting_since) = (true, None))?;
            }
            self.note_reader(&message.user_id, message.seq);
        } else if inbox::is_customer(&message.role)
            && self.desk.as_ref().is_some_and(|desk| desk.closed_at.is_some())
        {
            self.amend_desk(turn, |desk| desk.closed_at = None)?;
        }
        if let Some(telling) = &mut self.telling {
            telling.last = Some(message.clone());
            let is_answer = u64::from(*message.role == *ASSISTANT);
            telling.counted = telling.counted.map(|(all, answers)| (all + 1, answers + is_answer));
            telling.is_due = true;
        }
        Ok(())
    }

    /// An edit, a deletion.
    pub(super) fn note_change(&mut self) {
        if let Some(telling) = &mut self.telling {
            telling.last = None;
            telling.is_due = true;
        }
    }

    /// Some of what was said here is gone: the list is told so, though nobody did anything and the log does not grow. How many
    /// there ever were stays.
    pub(super) fn restate(
        &mut self,
        turn: &mut Turn<'_>,
        stored: &Stored,
        (counted, answered): (u64, u64),
    ) -> Result<(), SqlError> {
        let desk = self.desk.get_or_insert_default();
        (desk.counted_to, desk.counted, desk.answered) = (self.last_seq, counted, answered);
        desk.changes += 1;
        rows::set(turn.sql, stored.row, desk)?;
        if let Some(telling) = &mut self.telling {
            telling.customer = None;
        }
        self.note_change();
        Ok(())
    }

    /// People have taken over, or handed back.
    pub(super) fn note_takeover(&mut self, turn: &mut Turn<'_>, enabled: bool) -> Result<(), SqlError> {
        let changes = self.desk.as_ref().is_some_and(|desk| match enabled {
            true => desk.waiting_since.is_some() || desk.closed_at.is_some(),
            false => desk.is_attended,
        });
        if changes {
            self.amend_desk(turn, |desk| match enabled {
                true => (desk.waiting_since, desk.closed_at) = (None, None),
                false => desk.is_attended = false,
            })?;
        }
        self.list_anew();
        Ok(())
    }

    /// An agent has read that far. Whoever writes has.
    pub(super) fn note_reader(&mut self, user: &UserId, seq: Seq) {
        let Some(telling) = &mut self.telling else { return };
        match telling.readers.iter_mut().find(|(known, _)| known == user) {
            Some((_, known)) => *known = seq.max(*known),
            None => telling.readers.push((user.clone(), seq)),
        }
        telling.is_due = true;
    }

    /// Whether the list has something to be told that must not be forgotten.
    pub(super) fn is_telling(&self) -> bool {
        self.telling.as_ref().is_some_and(|telling| telling.is_due)
    }

    pub(super) fn telling_due(&self) -> Option<UnixMs> {
        self.telling.as_ref()?.due()
    }

    fn list_anew(&mut self) {
        if let Some(telling) = &mut self.telling {
            telling.is_due = true;
        }
    }

    /// Says all of it again, unless this memory has said it already: an earlier one may have died with it on its lips.
    pub(super) fn relist(&mut self) {
        let is_listed = self.is_listed();
        let Some(telling) = &mut self.telling else { return };
        telling.is_due |= is_listed && telling.told_at.is_none();
        // Where a row of the outbox says so, it goes with this turn.
        telling.kept = None;
    }

    /// Whether there is anything for a list to show.
    fn is_listed(&self) -> bool {
        self.last_seq > Seq(0) || self.desk.as_ref().is_some_and(|desk| desk.changes > 0 && !desk.is_erased)
    }

    /// At the end of each turn: tells what is due, or keeps that it is.
    pub(super) fn tell_list(&mut self, turn: &mut Turn<'_>) -> Result<(), SqlError> {
        let is_listed = self.is_listed();
        let Some(telling) = self.telling.as_mut().filter(|telling| telling.is_due) else { return Ok(()) };
        if !is_listed {
            telling.is_due = false;
            return Ok(());
        }
        let since = telling.told_at.map(|told| turn.cx.now.since(told));
        if since.is_some_and(|since| since < ROOM_UPDATED_EVERY_MS) {
            if telling.kept.is_none() {
                telling.kept = Some(outbox::add_relist(turn.sql, &self.id)?);
            }
            return Ok(());
        }
        let Some(listing) = self.listing(turn)? else { return Ok(()) };
        turn.out.push(Output::List(Box::new(listing)));
        let Some(telling) = &mut self.telling else { return Ok(()) };
        (telling.is_due, telling.told_at) = (false, Some(turn.cx.now));
        telling.readers.clear();
        match telling.kept.take() {
            Some(row) => outbox::remove(turn.sql, row),
            None => Ok(()),
        }
    }

    fn listing(&mut self, turn: &mut Turn<'_>) -> Result<Option<Listing>, SqlError> {
        let (Some(domain), Some(stored)) = (self.domain.clone(), self.stored.clone()) else {
            return Ok(None);
        };
        let (messages, answers) = self.count_messages(turn, &stored)?;
        let mut readers = self.telling.as_ref().map(|telling| telling.readers.clone()).unwrap_or_default();
        if self.telling.as_ref().is_some_and(|telling| telling.told_at.is_none()) {
            // Of a memory that is new: who had read what may not have been told.
            readers.extend(rows::readers(turn.sql, stored.row, READS_TOLD_MAX)?);
        }
        let mut reads = Vec::new();
        for (user, seq) in readers {
            let unread =
                if seq == self.last_seq { 0 } else { rows::count_after(turn.sql, stored.row, seq)?.0 };
            reads.push((user, messages.saturating_sub(unread)));
        }
        Ok(Some(Listing {
            domain,
            epoch: stored.epoch,
            revision: self.last_seq.0 + self.desk.as_ref().map_or(0, |desk| desk.changes),
            messages,
            answers,
            summary: self.summary(turn)?,
            reads,
        }))
    }

    /// How many there ever were. The desk remembers a count every so often, so that no more than that is ever counted.
    pub(super) fn count_messages(
        &mut self,
        turn: &mut Turn<'_>,
        stored: &Stored,
    ) -> Result<(u64, u64), SqlError> {
        if let Some(counted) = self.telling.as_ref().and_then(|telling| telling.counted) {
            return Ok(counted);
        }
        let desk = self.desk.as_deref();
        let (from, all, answers) =
            desk.map_or((Seq(0), 0, 0), |desk| (desk.counted_to, desk.counted, desk.answered));
        let since = rows::count_after(turn.sql, stored.row, from)?;
        let counted = (all + since.0, answers + since.1);
        if self.last_seq.0 - from.0.min(self.last_seq.0) > MESSAGES_UNCOUNTED_MAX {
            let desk = self.desk.get_or_insert_default();
            (desk.counted_to, desk.counted, desk.answered) = (self.last_seq, counted.0, counted.1);
            rows::set(turn.sql, stored.row, desk)?;
        }
        if let Some(telling) = &mut self.telling {
            telling.counted = Some(counted);
        }
        Ok(counted)
    }

    pub(super) fn summary(&mut self, turn: &mut Turn<'_>) -> Result<RoomSummary, SqlError> {
        let row = self.stored.as_ref().map(|stored| stored.row);
        let last_message = match (self.telling.as_ref().and_then(|telling| telling.last.as_deref()), row) {
            (Some(message), _) => Some(LastMessage::of(message)),
            (None, Some(_)) => self.look_up_last(turn)?,
            (None, None) => None,
        };
        let logged_at = row.map_or(Ok(None), |row| rows::time_of(turn.sql, row, self.last_seq))?;
        let customer = self.customer(turn)?;
        let desk = self.desk.as_deref();
        let changed_at = [Some(self.created_at), desk.and_then(|desk| desk.changed_at), logged_at];
        Ok(RoomSummary {
            room_id: self.id.clone(),
            domain_id: self.domain.clone(),
            state: desk
                .map_or_else(|| Desk::default().state(self.live_agent), |it| it.state(self.live_agent)),
            assignee: desk.and_then(|desk| desk.assignee.clone()),
            customer,
            last_message,
            seq: self.last_seq,
            unread: None,
            page: None,
            rating: desk.and_then(|desk| desk.rating.clone()),
            waiting_since: desk.and_then(|desk| desk.waiting_since),
            created_at: self.created_at,
            updated_at: changed_at.into_iter().flatten().max().unwrap_or(turn.cx.now),
        })
    }

    fn look_up_last(&mut self, turn: &mut Turn<'_>) -> Result<Option<LastMessage>, SqlError> {
        let Some(stored) = self.stored.clone() else { return Ok(None) };
        let newest = self.log(&stored).before(turn.sql, (Seq(0), None), 1)?.pop().map(Arc::new);
        if let Some(telling) = &mut self.telling {
            telling.last.clone_from(&newest);
        }
        Ok(newest.as_deref().map(LastMessage::of))
    }

    /// Whoever asked for a person, else whoever was the first to write as somebody who is served.
    fn customer(&mut self, turn: &mut Turn<'_>) -> Result<Option<Person>, SqlError> {
        let asked = self.desk.as_ref().and_then(|desk| desk.customer.clone());
        let known = || self.telling.as_ref().and_then(|telling| telling.customer.clone());
        if let Some(customer) = asked.or_else(known) {
            return Ok(Some(customer));
        }
        let Some(stored) = &self.stored else { return Ok(None) };
        let first = rows::first_customer(turn.sql, stored.row)?;
        if let Some(telling) = &mut self.telling {
            telling.customer.clone_from(&first);
        }
        Ok(first)
    }
}

impl LastMessage {
    fn of(message: &Message) -> Self {
        Self {
            id: message.id.clone(),
            seq: message.seq,
            message: message.message.chars().take(LAST_MESSAGE_CHARS).collect::<String>().into(),
            user_id: message.user_id.clone(),
            user_name: message.user_name.clone(),
            role: message.role.clone(),
            timestamp: message.timestamp,
        }
    }
}
