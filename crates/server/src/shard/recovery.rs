//! Connection state recovery: a Socket.IO client that lost its connection, or whose server died, goes on as who it was,
//! in the rooms where it was, with everything that it missed.
//!
//! What is stored is who a session is in which rooms, on the shard that its `pid` is hashed onto (its keeper); what was
//! missed is read from the logs of the rooms. A returning client is asked for at its keeper, then each of its rooms says
//! how long its log is, and only if nothing at all is missing does it go on; otherwise it begins afresh, and is told so.

use std::sync::{Arc, Mutex, PoisonError};

use weeziq_core::Caller;
use weeziq_core::access::identity::Identity as Who;
use weeziq_core::ids::{ConnId, RoomId, Seq, SocketId};
use weeziq_core::limits::{RECOVERY_MS, RESUME_EVENTS_MAX};
use weeziq_core::protocol::command::{Command, Join, Resume, RoomCommand};
use weeziq_core::protocol::error::ClientError;
use weeziq_core::rooms::{Farewell, RoomInput};
use weeziq_core::store::recovery::{self, Identity, Kept};
use weeziq_core::store::{SqlError, log};

use super::engine::Phase;
use super::mailbox::Message;
use super::{Shard, split};
use crate::http::socket_id;
use crate::metrics::count;
use crate::socketio::{self, Place, Stands};
use crate::websocket::frame::CloseCode;

/// For the keeper of a session.
pub(crate) struct Keep {
    pid: Arc<str>,
    conn: ConnId,
    what: Kind,
}

pub(super) enum Kind {
    Joined(SocketId, RoomId, Identity),
    Left(RoomId),
    Parted,
    Forgotten,
    /// The connection wants to go on as it.
    Recalled,
}

pub(crate) enum Recovery {
    /// What the keeper knows, for the connection that asked.
    Found(Found),
    /// The same, once the connection that has the session has let go of it.
    Cut { was: ConnId, found: Found },
    /// For a room.
    Ask { room: usize, asked: Arc<Asked> },
    /// All rooms have answered.
    Answered(Arc<Asked>),
    /// Its rooms could not be entered; it may try again.
    Failed(ConnId),
}

pub(crate) struct Found {
    to: ConnId,
    session: Option<(SocketId, Vec<(RoomId, Identity)>)>,
}

/// A question to all rooms of a session.
pub(crate) struct Asked {
    to: ConnId,
    socket: SocketId,
    rooms: Vec<(RoomId, Identity)>,
    /// How many have not answered, and the end of the log of each that has one.
    answers: Mutex<(usize, Vec<Option<Place>>)>,
}

/// What a returning client says of itself.
pub(super) struct Wanted {
    pid: Arc<str>,
    places: Vec<Place>,
}

#[derive(serde::Deserialize)]
struct Auth<'a> {
    #[serde(borrow)]
    token: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    pid: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    offset: Option<std::borrow::Cow<'a, str>>,
}

impl Wanted {
    /// Of the payload of CONNECT, if it is a returning client's.
    pub(super) fn parse(auth: Option<&str>) -> Option<Self> {
        let Auth { pid, offset, .. } = serde_json::from_str(auth?).ok()?;
        let pid = pid.filter(|pid| SocketId::parse(pid).is_some())?;
        // Without an offset it has heard of none of its rooms.
        let places = offset.map_or(Some(Vec::new()), |offset| Place::parse_all(&offset))?;
        Some(Self { pid: pid.as_ref().into(), places })
    }

    /// Where it stands in each room that it has heard of; None if it missed too much, or what cannot be found.
    fn stands(&self, asked: &Asked, ends: &[Option<Place>]) -> Option<Vec<Option<Place>>> {
        let mut missed = 0;
        let stand = |(_, end): (&(RoomId, Identity), &Option<Place>)| {
            let Some(end) = end else { return Some(None) };
            let Some(place) = self.places.iter().find(|place| place.epoch == end.epoch) else {
                return Some(None);
            };
            missed += end.seq.0.checked_sub(place.seq.0)?;
            Some(Some(place.clone()))
        };
        let stands: Vec<Option<Place>> = asked.rooms.iter().zip(ends).map(stand).collect::<Option<_>>()?;
        let found = stands.iter().flatten().count();
        (found == self.places.len() && missed <= RESUME_EVENTS_MAX).then_some(stands)
    }
}

impl Shard {
    pub(super) fn keep(&mut self, pid: Arc<str>, conn: ConnId, what: Kind) {
        let keeper = self.shards.of(&pid);
        let keep = Keep { pid, conn, what };
        match keeper == self.index {
            true => self.take_keep(keep),
            false => self.shards.send(keeper, Message::Keep(Box::new(keep))),
        }
    }

    pub(super) fn take_keep(&mut self, keep: Keep) {
        if let Err(error) = self.store_keep(keep) {
            self.fail(&error);
        }
    }

    fn store_keep(&mut self, Keep { pid, conn, what }: Keep) -> Result<(), SqlError> {
        let now = self.now;
        match what {
            Kind::Joined(socket, room, identity) => {
                recovery::join(&mut self.store, (&pid, socket, conn), &room, &identity)
            }
            Kind::Left(room) => recovery::leave(&mut self.store, &pid, &room),
            Kind::Parted => recovery::part(&mut self.store, &pid, conn, now.plus(RECOVERY_MS)),
            Kind::Forgotten => recovery::forget(&mut self.store, &pid),
            Kind::Recalled => {
                self.pending.recovering.push(conn);
                let kept = recovery::take(&mut self.store, &pid, conn, now)?;
                self.found(conn, kept);
                Ok(())
            }
        }
    }

    fn found(&mut self, to: ConnId, kept: Option<Kept>) {
        let was = kept.as_ref().and_then(|kept| kept.conn).filter(|was| *was != to);
        let found = Found { to, session: kept.map(|kept| (kept.socket, kept.rooms)) };
        match was {
            Some(was) => self.pass_on(was, Recovery::Cut { was, found }),
            None => self.pass_on(to, Recovery::Found(found)),
        }
    }

    /// To the shard of that connection.
    fn pass_on(&mut self, conn: ConnId, recovery: Recovery) {
        match split(conn).0 {
            shard if shard == self.index => self.take_recovery(recovery),
            shard => self.shards.send(shard, Message::Recovery(Box::new(recovery))),
        }
    }

    pub(super) fn take_recovery(&mut self, recovery: Recovery) {
        match recovery {
            Recovery::Found(Found { to, session: None }) => {
                count(|counters| counters.recovered.one("afresh"));
                self.begin_afresh(to);
            }
            Recovery::Found(Found { to, session: Some((socket, rooms)) }) => {
                self.ask_rooms(to, socket, rooms);
            }
            Recovery::Cut { was, found } => {
                self.let_go(was);
                self.pass_on(found.to, Recovery::Found(found));
            }
            Recovery::Ask { room, asked } => self.answer_end(room, &asked),
            Recovery::Answered(asked) => self.recalled.push_back(asked),
            Recovery::Failed(conn) => self.let_go(conn),
        }
    }

    /// A connection whose client goes on over another one, or has to try again.
    pub(super) fn let_go(&mut self, conn: ConnId) {
        if split(conn).0 != self.index {
            return self.pass_on(conn, Recovery::Failed(conn));
        }
        let Some(slot) = self.local(conn) else { return };
        if self.socket(slot).is_some_and(|socket| socket.stream.is_polling()) {
            return self.end_polling(slot, Farewell::Died);
        }
        self.close_socket(slot, CloseCode::GOING_AWAY, "the session goes on over another connection");
        self.part(slot, Farewell::Died);
    }

    fn ask_rooms(&mut self, to: ConnId, socket: SocketId, rooms: Vec<(RoomId, Identity)>) {
        let answers = Mutex::new((rooms.len(), vec![None; rooms.len()]));
        let asked = Arc::new(Asked { to, socket, rooms, answers });
        if asked.rooms.is_empty() {
            return self.recalled.push_back(asked);
        }
        for (room, (id, _)) in asked.rooms.iter().enumerate() {
            match self.shards.of(id.as_str()) {
                shard if shard == self.index => self.answer_end(room, &asked),
                shard => {
                    let ask = Recovery::Ask { room, asked: asked.clone() };
                    self.shards.send(shard, Message::Recovery(Box::new(ask)));
                }
            }
        }
    }

    fn answer_end(&mut self, room: usize, asked: &Arc<Asked>) {
        let Some((id, _)) = asked.rooms.get(room) else { return };
        let end = match log::find_room(&mut self.store, id) {
            Ok(row) => row.map(|row| Place { epoch: row.epoch, seq: row.last_seq }),
            Err(error) => {
                self.fail(&error);
                return self.let_go(asked.to);
            }
        };
        let is_last = {
            let mut answers = asked.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.1.get_mut(room).into_iter().for_each(|answer| answer.clone_from(&end));
            answers.0 -= 1;
            answers.0 == 0
        };
        if is_last {
            self.pass_on(asked.to, Recovery::Answered(asked.clone()));
        }
    }

    /// What a client that comes back has missed is a large reply.
    pub(super) fn decide(&mut self, asked: &Asked) {
        let Some(slot) = self.local(asked.to) else { return };
        let Some(wanted) = self.engine(slot).and_then(|engine| engine.wanted.take()) else { return };
        let ends = std::mem::take(&mut asked.answers.lock().unwrap_or_else(PoisonError::into_inner).1);
        let stands = wanted.stands(asked, &ends).filter(|_| self.may_go_on_as(slot, &asked.rooms));
        let Some(stands) = stands else {
            self.keep(wanted.pid, asked.to, Kind::Forgotten);
            count(|counters| counters.recovered.one("afresh"));
            return self.begin_afresh(asked.to);
        };
        count(|counters| counters.recovered.one("recovered"));
        let rooms = asked.rooms.iter().zip(&stands);
        self.large_in_turn += 1;
        let known = rooms.clone().filter_map(|((room, _), stand)| Some((room.clone(), stand.clone()?)));
        let known = Stands::recovered(known.collect());
        self.go_on(slot, (wanted.pid, asked.socket), &asked.rooms, known);
        for ((room, identity), stand) in rooms {
            self.enter_again(asked, room, identity.clone().into_join(), stand.as_ref());
        }
    }

    fn go_on(
        &mut self,
        slot: usize,
        (pid, socket): (Arc<str>, SocketId),
        rooms: &[(RoomId, Identity)],
        stands: Stands,
    ) {
        let Some(conn) = self.conns.get_mut(slot) else { return };
        conn.session.socket = socket;
        for (room, identity) in rooms {
            conn.session.recover(room, &identity.clone().into_join());
        }
        if let Some(engine) = conn.engine.as_mut() {
            (engine.pid, engine.is_kept, engine.stands) = (Some(pid), true, stands);
        }
        if let Some(socket) = self.socket(slot) {
            // Its rooms know it as who it is here.
            socket.settled = true;
        }
        self.welcome_engine(slot);
    }

    /// As who it was, from where it stands; a room that it had not heard of yet is joined as if for the first time.
    fn enter_again(&mut self, asked: &Asked, room: &RoomId, join: Join, stand: Option<&Place>) {
        let who = self.local(asked.to).and_then(|slot| self.conns.get(slot));
        let who = who.map_or(Who::Anonymous, |conn| conn.session.identity().clone());
        let from = Caller { conn: asked.to, socket: asked.socket, reply_to: None, identity: who };
        let input = match stand {
            Some(Place { epoch, seq }) => {
                let stands = Resume { epoch: epoch.as_ref().into(), last_seq: *seq };
                RoomInput::Recover { from, join, stands }
            }
            None => RoomInput::Command { from, command: RoomCommand::Join(join) },
        };
        self.tell_room(room.clone(), input);
    }

    fn begin_afresh(&mut self, to: ConnId) {
        let pid = socket_id();
        let Some(slot) = self.local(to) else { return };
        if let Some(engine) = self.engine(slot) {
            engine.wanted = None;
            engine.pid = Some(pid.as_str().into());
        }
        self.welcome_engine(slot);
    }

    /// In the namespace from here on.
    fn welcome_engine(&mut self, slot: usize) {
        let Some(conn) = self.conns.get_mut(slot) else { return };
        let Some(engine) = conn.engine.as_mut() else { return };
        engine.phase = Phase::Connected;
        let connected = socketio::connected(conn.session.socket.as_str(), engine.pid.as_deref());
        if conn.session.observes() {
            self.observers.insert(slot);
        }
        if let Some(socket) = self.socket(slot) {
            socket.has_reply();
        }
        self.push_packet(slot, &connected);
    }

    pub(super) fn connect(&mut self, slot: usize, auth: Option<&str>) {
        let Some(conn) = self.id_of(slot) else { return };
        if let Err(error) = self.prove(slot, auth) {
            return self.push_packet(slot, &socketio::connect_refused(&error));
        }
        let Some(wanted) = Wanted::parse(auth) else { return self.begin_afresh(conn) };
        let pid = wanted.pid.clone();
        if let Some(engine) = self.engine(slot) {
            engine.phase = Phase::Recalling { at: engine.opened_at() };
            engine.wanted = Some(Box::new(wanted));
        }
        if let Some(socket) = self.socket(slot) {
            // What it says next waits until it is known who says it.
            socket.await_reply();
        }
        self.keep(pid, conn, Kind::Recalled);
    }

    /// Takes the token that came with CONNECT, if one did.
    fn prove(&mut self, slot: usize, auth: Option<&str>) -> Result<(), ClientError> {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(slot) else { return Ok(()) };
        let auth = auth.and_then(|auth| serde_json::from_str::<Auth<'_>>(auth).ok());
        if let Some(token) = auth.and_then(|auth| auth.token).filter(|token| !token.is_empty()) {
            conn.session.prove(&token, now)?;
            if conn.session.take_renewed() {
                self.note_renewed(slot);
            }
        }
        Ok(())
    }

    /// Whether the connection may go on as who its session was: it may have lost its token, or brought another.
    fn may_go_on_as(&self, slot: usize, rooms: &[(RoomId, Identity)]) -> bool {
        let Some(conn) = self.conns.get(slot) else { return false };
        let who = conn.session.identity();
        rooms.iter().all(|(room, identity)| {
            let known = identity.clone().into_join();
            let mut command = Command::Room(room.clone(), RoomCommand::Join(identity.clone().into_join()));
            let may = who.authorise(&mut command, |_| false).is_ok();
            let is_free = self.environment.proven.refuse(who.claimed(&command)).is_ok();
            let is_same =
                matches!(&command, Command::Room(_, RoomCommand::Join(join)) if join.user == known.user);
            may && is_free && is_same
        })
    }

    /// Notes a room that is joined or left, before that happens: whoever hears of it finds it stored.
    pub(super) fn note_membership(&mut self, slot: usize, room: &RoomId, command: &RoomCommand) {
        let Some(conn) = self.id_of(slot) else { return };
        let Some(socket) = self.conns.get(slot).map(|conn| conn.session.socket) else { return };
        let Some(engine) = self.engine(slot) else { return };
        let Some(pid) = engine.pid.clone() else { return };
        let what = match command {
            RoomCommand::Join(join) => {
                engine.is_kept = true;
                if let Some(Resume { last_seq, .. }) = &join.resume {
                    engine.stands.resumes(room, Seq(last_seq.0));
                }
                Kind::Joined(socket, room.clone(), Identity::of(join))
            }
            RoomCommand::Leave if engine.is_kept => Kind::Left(room.clone()),
            _ => return,
        };
        self.keep(pid, conn, what);
    }

    /// Its connection is gone. The session is kept for a while, unless its client is done with it.
    pub(super) fn part_engine(&mut self, slot: usize, is_done: bool) {
        let Some(conn) = self.id_of(slot) else { return };
        let Some(engine) = self.engine(slot) else { return };
        // One that was to be taken up is kept for the next try.
        let wanted = engine.wanted.take().map(|wanted| wanted.pid);
        let (pid, is_kept) = (engine.pid.take(), std::mem::take(&mut engine.is_kept));
        if let Some(pid) = pid.filter(|_| is_kept).or(wanted) {
            self.keep(pid, conn, if is_done { Kind::Forgotten } else { Kind::Parted });
        }
    }

    pub(super) fn sweep_recovery(&mut self) {
        if let Err(error) = recovery::sweep(&mut self.store, self.now) {
            self.fail(&error);
        }
    }
}
