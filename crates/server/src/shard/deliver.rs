//! Carrying out what was released: encoding once, and getting it to those it is for.

use std::collections::BTreeMap;
use std::sync::Arc;

use weeziq_core::Output;
use weeziq_core::ai::model::ModelRequest;
use weeziq_core::fence::Fence;
use weeziq_core::ids::{ConnId, DomainId, RoomId, RunId};
use weeziq_core::protocol::event::Event;
use weeziq_core::rooms::Member;
use weeziq_core::visitors::VisitorsInput;

use super::audience::Frames;
use super::conn::{Conn, Link, Weight};
use super::dialect::Dialect;
use super::flush::FRAME_BUFFER_BYTES_MAX;
use super::mailbox::{Kept, Message};
use super::rooms::{Held, Source};
use super::{Shard, split};
use crate::metrics::count;
use crate::socketio::{self, Place};
use crate::websocket::frame::{CloseCode, write_text};

impl Shard {
    pub(super) fn carry_out(&mut self, held: Held) {
        let (source, output) = match held {
            Held::Said { source, output } => (source, output),
            Held::Taken(Kept { shard, row }) => return self.shards.send(shard, Message::Taken { row }),
            Held::Done(done) => return done(),
            Held::Listed(listing, kept) => {
                let domain = listing.domain.clone();
                return self.tell_visitors_kept(domain, VisitorsInput::Listed(listing), Some(kept));
            }
        };
        match output {
            Output::Reply { to, reply_to, event } => self.reply(to, reply_to.as_deref(), event),
            Output::TellObservers { domain, event } => self.tell_observers(domain.as_ref(), &event),
            Output::CancelModel { run } => {
                if let Some((_, task)) = self.runs.remove(&run) {
                    task.abort();
                }
            }
            Output::Spend(spent) => self.app.briefings.settle(spent),
            Output::Relay { room, input, kept } => {
                let kept = kept.map(|row| Kept { shard: self.index, row });
                self.tell_room_kept(room, *input, kept);
            }
            Output::Said { domain, message } => self.answer_said(domain, &message),
            output => {
                if let Source::Room(slot) = source {
                    self.carry_out_in_room(slot, output);
                }
            }
        }
    }

    fn carry_out_in_room(&mut self, slot: usize, output: Output) {
        match output {
            Output::Publish { event, except } => self.publish(slot, &event, except),
            Output::Admit { conn, member } => self.admit(slot, conn, member),
            Output::Dismiss { conn } => self.dismiss(slot, conn),
            Output::WakeAt(at) => self.arm_room(slot, at),
            Output::AskModel { run, request } => {
                // Forgotten with a failed commit since: its room ends it, and nobody must pay for it.
                let asker = self.rooms.get(slot).filter(|slot| slot.is_writing(run));
                if let Some(room) = asker.map(|slot| slot.id.clone()) {
                    self.ask_model(room, run, request);
                }
            }
            // Those of rooms do not come this way.
            Output::List(_)
            | Output::Reply { .. }
            | Output::TellObservers { .. }
            | Output::CancelModel { .. }
            | Output::Spend(_)
            | Output::Said { .. }
            | Output::Relay { .. } => {}
        }
    }

    fn ask_model(&mut self, room: RoomId, run: RunId, request: ModelRequest) {
        if self.stopping.is_some() {
            return self.interrupt(room, run);
        }
        count(|counters| counters.asked.one(request.provider().as_str()));
        let task = self.environment.asker.ask(self.shards.clone(), room.clone(), run, request);
        self.runs.insert(run, (room, task));
    }

    /// To one connection, after whatever its rooms have said before.
    pub(super) fn reply(&mut self, to: ConnId, reply_to: Option<&str>, mut event: Event) {
        let (shard, ..) = split(to);
        if shard != self.index {
            let reply_to = reply_to.map(Into::into);
            return self.shards.send(shard, Message::Reply { to, reply_to, event });
        }
        let Some(slot) = self.local(to) else { return };
        if self.conns.get_mut(slot).is_some_and(|conn| !conn.session.fence.passes(&mut event)) {
            return;
        }
        count(|counters| counters.replies += 1);
        if let Some(Link::Request(events)) = self.conns.get(slot).map(|conn| &conn.link) {
            // A reader that is a whole queue behind has lost its answer; it ends, and the conversation keeps it.
            let is_lost = events.try_send(event.clone()).is_err();
            if is_lost || !matches!(event, Event::AiStreamChunk { .. }) {
                self.drop_conn(slot);
            }
            return;
        }
        if self.engine(slot).is_some_and(|engine| !engine.is_connected()) {
            return;
        }
        let mut frame = std::mem::take(&mut self.scratch);
        self.catch_up(slot);
        match self.engine(slot) {
            None => encode(&event, reply_to, &mut frame, &mut self.frame_buffers),
            Some(engine) => {
                let offset = engine.stands.hear(&event).then(|| engine.stands.to_string());
                encode_reply(&event, reply_to, offset.as_deref(), &mut frame, &mut self.frame_buffers);
            }
        }
        let weight = weight(&event);
        if weight == Weight::Exempt {
            self.asked_bytes_since += frame.len();
        }
        self.push(slot, &frame, weight);
        frame.clear();
        if frame.capacity() <= FRAME_BUFFER_BYTES_MAX {
            self.scratch = frame;
        }
        if ends_wait(&event)
            && let Some(socket) = self.socket(slot)
        {
            socket.has_reply();
            if std::mem::take(&mut socket.is_resuming)
                && let Event::JoinedRoom { resumed, .. } = event
            {
                let how = if resumed { "resumed" } else { "history" };
                count(|counters| counters.resumed.one(how));
            }
        }
    }

    pub(super) fn push(&mut self, slot: usize, frames: &[u8], weight: Weight) {
        let now = self.now;
        let Some(socket) = self.socket(slot) else { return };
        if socket.push(frames, weight, now) {
            self.begin_closing(slot);
        }
        self.mark_dirty(slot);
    }

    pub(super) fn mark_dirty(&mut self, slot: usize) {
        if let Some(conn) = self.conns.get_mut(slot)
            && !std::mem::replace(&mut conn.is_dirty, true)
        {
            self.dirty_conns.push(slot);
        }
    }

    pub(super) fn mark_if_blocked(&mut self, slot: usize) {
        if self.socket(slot).is_some_and(|socket| socket.has_queue()) {
            self.mark_dirty(slot);
        }
    }

    /// Copies what a connection's rooms have said in this turn into its own queue, so that what comes now comes after.
    fn catch_up(&mut self, slot: usize) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        let Link::Socket(socket) = &mut conn.link else {
            return;
        };
        let mut is_too_slow = false;
        let dialect = conn.engine.as_ref().map_or(Dialect::Plain, |_| Dialect::SocketIo);
        for (room, seat) in &conn.seats {
            let Some(room) = self.rooms.get_mut(*room as usize) else {
                continue;
            };
            let audience = room.audience_in(dialect);
            let place = audience.place.clone();
            if let Some(frames) = audience.hear(*seat as usize) {
                is_too_slow |= match &mut conn.engine {
                    Some(engine) => engine.push_parts(socket, frames, place.as_ref(), now),
                    None => socket.push_parts(frames, now),
                };
            }
        }
        if is_too_slow {
            self.begin_closing(slot);
        }
    }

    fn publish(&mut self, slot: usize, event: &Event, except: Option<ConnId>) {
        let except =
            except.and_then(|conn| Some((conn, self.rooms.get(slot)?.audience_of(conn)?.find(conn)?)));
        if let Some((conn, seat)) = except {
            self.hear_so_far(slot, conn, seat);
        }
        if Fence::concerns(event) {
            self.notice_in(slot, event);
        }
        let Some(room) = self.rooms.get_mut(slot) else {
            return;
        };
        let mut is_dirty = room.audiences().any(|audience| audience.is_dirty);
        for (dialect, audience) in room.audiences_mut() {
            if audience.seats.is_empty() {
                continue;
            }
            let told = audience.seats.len()
                - usize::from(except.is_some_and(|(conn, _)| Dialect::of(conn) == dialect));
            count(|counters| counters.deliveries += told as u64);
            if !audience.is_dirty {
                audience.is_dirty = true;
                audience.frames = self.frame_buffers.pop().unwrap_or_default();
                if !std::mem::replace(&mut is_dirty, true) {
                    self.dirty_rooms.push(slot);
                }
            }
            let from = audience.frames.len();
            match dialect {
                Dialect::Plain => encode(event, None, &mut audience.frames, &mut self.frame_buffers),
                Dialect::SocketIo => {
                    audience.place = Place::of(event).or(audience.place.take());
                    let offset = event.place().map(|(epoch, seq)| format!("{epoch}-{}", seq.0));
                    encode_reply(
                        event,
                        None,
                        offset.as_deref(),
                        &mut audience.frames,
                        &mut self.frame_buffers,
                    );
                }
            }
            if event.is_volatile() {
                audience.is_volatile_since(from);
            }
            if let Some((conn, seat)) = except
                && Dialect::of(conn) == dialect
            {
                audience.hear(seat);
            }
        }
    }

    fn notice_in(&mut self, slot: usize, event: &Event) {
        let Some(room) = self.rooms.get(slot) else { return };
        let members = room.audiences().flat_map(|audience| &audience.seats).map(|seat| seat.conn);
        let (here, elsewhere): (Vec<ConnId>, Vec<ConnId>) =
            members.partition(|conn| split(*conn).0 == self.index);
        self.notice(&here, event);
        let mut by_shard: BTreeMap<usize, Vec<ConnId>> = BTreeMap::new();
        for conn in elsewhere {
            by_shard.entry(split(conn).0).or_default().push(conn);
        }
        for (shard, to) in by_shard {
            self.shards.send(shard, Message::Notice { to, event: event.clone() });
        }
    }

    pub(super) fn notice(&mut self, to: &[ConnId], event: &Event) {
        for conn in to {
            if let Some(conn) = self.local(*conn).and_then(|slot| self.conns.get_mut(slot)) {
                conn.session.fence.notice(event);
            }
        }
    }

    fn hear_so_far(&mut self, slot: usize, conn: ConnId, seat: usize) {
        match self.local(conn) {
            Some(local) => {
                self.catch_up(local);
                self.mark_dirty(local);
            }
            None => self.send_elsewhere(slot, conn, seat),
        }
    }

    fn send_elsewhere(&mut self, slot: usize, conn: ConnId, seat: usize) {
        let Some(room) = self.rooms.get_mut(slot) else {
            return;
        };
        if let Some(frames) = room.audience_of_mut(conn).hear(seat) {
            self.shards.send(split(conn).0, to_elsewhere(vec![conn], frames));
        }
    }

    fn admit(&mut self, slot: usize, conn: ConnId, member: Arc<Member>) {
        let local = self.local(conn);
        // A connection that died while its join waited at the gate is no member; its parting comes behind.
        let Some(room) = self.rooms.get_mut(slot) else {
            return;
        };
        let Some(seat) = room.audience_of_mut(conn).admit(conn, member) else {
            return;
        };
        if let Some(conn) = local.and_then(|local| self.conns.get_mut(local)) {
            conn.seats.push((slot as u32, seat as u32));
        }
    }

    fn dismiss(&mut self, slot: usize, conn: ConnId) {
        let Some(seat) = self.rooms.get(slot).and_then(|room| room.audience_of(conn)?.find(conn)) else {
            return;
        };
        self.hear_so_far(slot, conn, seat);
        if let Some(local) = self.local(conn).and_then(|local| self.conns.get_mut(local)) {
            local.seats.retain(|(room, _)| *room as usize != slot);
        }
        let Some(room) = self.rooms.get_mut(slot) else {
            return;
        };
        let Some((moved, old_seat)) = room.audience_of_mut(conn).dismiss(seat) else {
            return;
        };
        let Some(moved) = self.local(moved).and_then(|moved| self.conns.get_mut(moved)) else {
            return;
        };
        for known in &mut moved.seats {
            if *known == (slot as u32, old_seat as u32) {
                known.1 = seat as u32;
            }
        }
    }

    fn tell_observers(&mut self, domain: Option<&DomainId>, event: &Event) {
        let mut frame = Vec::new();
        encode(event, None, &mut frame, &mut self.frame_buffers);
        let frame: Arc<[u8]> = frame.into();
        for shard in (0..self.shards.count()).filter(|shard| *shard != self.index) {
            let (domain, frame) = (domain.cloned(), frame.clone());
            self.shards.send(shard, Message::Observed { domain, frame });
        }
        self.show_observers(domain, &frame);
    }

    pub(super) fn show_observers(&mut self, domain: Option<&DomainId>, frame: &[u8]) {
        let may_see = |slot: &usize| {
            self.conns.get(*slot).is_some_and(|conn| conn.session.identity().may_observe(domain))
        };
        let observers: Vec<usize> = self.observers.iter().copied().filter(may_see).collect();
        let mut translated = Vec::new();
        for slot in observers {
            match self.conns.get(slot).map(Conn::dialect) {
                Some(Dialect::SocketIo) => {
                    if translated.is_empty() {
                        socketio::translate(frame, &mut translated);
                    }
                    self.push(slot, &translated, Weight::Volatile);
                }
                _ => self.push(slot, frame, Weight::Volatile),
            }
        }
    }

    pub(super) fn deliver_remote(&mut self, to: &[ConnId], frames: Frames<'_>) {
        let now = self.now;
        let mut place = None;
        for conn in to {
            let Some(slot) = self.local(*conn) else { continue };
            let Some(Conn { link: Link::Socket(socket), engine, .. }) = self.conns.get_mut(slot) else {
                continue;
            };
            let is_too_slow = match engine {
                Some(engine) => {
                    let place = place.get_or_insert_with(|| socketio::last_place(frames.bytes));
                    engine.push_parts(socket, frames, place.as_ref(), now)
                }
                None => socket.push_parts(frames, now),
            };
            if is_too_slow {
                self.begin_closing(slot);
            }
            self.mark_dirty(slot);
        }
    }

    pub(super) fn close_socket(&mut self, slot: usize, code: CloseCode, reason: &str) {
        let now = self.now;
        self.catch_up(slot);
        if let Some(socket) = self.socket(slot) {
            socket.close(code, reason, now);
            self.begin_closing(slot);
        }
    }

    /// The socket has its close frame queued; from here on somebody watches that it goes.
    pub(super) fn begin_closing(&mut self, slot: usize) {
        self.closing.extend(self.id_of(slot));
        self.mark_dirty(slot);
    }
}

pub(super) fn to_elsewhere(to: Vec<ConnId>, frames: Frames<'_>) -> Message {
    let volatile = frames.volatile().collect();
    Message::Frames { to, frames: frames.share(0..frames.bytes.len()), volatile }
}

/// Whether this answers what a connection is not listened to for.
fn ends_wait(event: &Event) -> bool {
    matches!(
        event,
        Event::JoinedRoom { .. }
            | Event::MessageHistory { .. }
            | Event::DomainStats { .. }
            | Event::AllDomainStats { .. }
            | Event::Error { .. }
    )
}

fn weight(event: &Event) -> Weight {
    match event {
        Event::MessageHistory { .. }
        | Event::NewMessage(_)
        | Event::DomainStats { .. }
        | Event::AllDomainStats { .. } => Weight::Exempt,
        event if event.is_volatile() => Weight::Volatile,
        _ => Weight::Durable,
    }
}

fn encode(event: &Event, reply_to: Option<&str>, into: &mut Vec<u8>, buffers: &mut Vec<Vec<u8>>) {
    let mut json = buffers.pop().unwrap_or_default();
    event.encode(reply_to, &mut json);
    write_text(&json, into);
    json.clear();
    if json.capacity() <= FRAME_BUFFER_BYTES_MAX {
        buffers.push(json);
    }
}

/// The same for those who speak Socket.IO: the event, and its acknowledgement if the asker wants one.
fn encode_reply(
    event: &Event,
    reply_to: Option<&str>,
    offset: Option<&str>,
    into: &mut Vec<u8>,
    buffers: &mut Vec<Vec<u8>>,
) {
    let mut json = buffers.pop().unwrap_or_default();
    let mut scratch = buffers.pop().unwrap_or_default();
    socketio::write_reply(event, reply_to, offset, into, (&mut json, &mut scratch));
    for mut buffer in [json, scratch] {
        buffer.clear();
        if buffer.capacity() <= FRAME_BUFFER_BYTES_MAX {
            buffers.push(buffer);
        }
    }
}
