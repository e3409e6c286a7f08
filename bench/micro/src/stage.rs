//! A native host in small: what a shard does with a frame and with a turn, on one room and without sockets.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use weeziq_core::access::identity::Identity;
use weeziq_core::access::rate::Quota;
use weeziq_core::ai::asking::Reading;
use weeziq_core::ai::endpoints::AiSettings;
use weeziq_core::ai::models::Models;
use weeziq_core::ids::{ConnId, RoomId, RunId, SocketId, UserId};
use weeziq_core::limits::{EVENTS_BURST, EVENTS_PER_SECOND};
use weeziq_core::protocol::command::{Command, DEFAULT_ROLE, DEFAULT_STATUS, Request};
use weeziq_core::protocol::event::Event;
use weeziq_core::rooms::{Member, Room, RoomInput};
use weeziq_core::session::{Received, Session};
use weeziq_core::store;
use weeziq_core::time::UnixMs;
use weeziq_core::{Caller, Context, Output, Policy};

use crate::server::store::Store;
use crate::server::websocket::frame::{Fragments, Frame, write_text};
use crate::{Failure, Result};

/// One room, its store on disk, and what it lets out.
pub struct Stage {
    policy: Policy,
    now: UnixMs,
    entropy: u64,
    room_id: RoomId,
    /// None: to be opened from its rows at the next input.
    room: Option<Room>,
    outputs: Vec<Output>,
    json: Vec<u8>,
    /// What has left since it was last forgotten, as frames.
    said: Vec<u8>,
    asked: Option<(RunId, Reading)>,
    commits: u32,
    store: Store,
    _folder: Folder,
}

/// A connection's side of the host.
pub struct Client {
    conn: ConnId,
    session: Session,
    fragments: Fragments,
}

/// A day in 2026.
const BEGIN: UnixMs = UnixMs(1_780_000_000_000);
const EVENTS: Quota = Quota::per_second(EVENTS_PER_SECOND, EVENTS_BURST);
/// The log is begun anew before it slows the reading of pages down; the server has a thread for that.
const COMMITS_A_LOG: u32 = 256;

impl Stage {
    /// A room with so many people in it, each with a connection of the same number from 1 on.
    pub fn open(room: &str, members: u64) -> Result<Self> {
        let folder = Folder::make()?;
        let mut store = Store::open(&folder.0.join("shard-0.db"))?;
        store::open(&mut store, &[store::Part::Rooms])?;
        store.commit()?;
        let room_id = RoomId::parse(room).ok_or_else(|| Failure(format!("{room:?} is no room")))?;
        let seated = (1..=members).filter_map(|number| Some((ConnId(number), member(number)?)));
        let room = Room::open(room_id.clone(), seated, &mut store)?;
        let models = Models::new(Some("gpt-4o-mini"), true, true);
        let off = Quota { count: 0, period_ms: 1, burst: 0 };
        Ok(Self {
            policy: Policy { models, context_messages: 20, ai_per_user: off },
            now: BEGIN,
            entropy: 0x5EED,
            room_id,
            room: Some(room),
            outputs: Vec::new(),
            json: Vec::new(),
            said: Vec::new(),
            asked: None,
            commits: 0,
            store,
            _folder: folder,
        })
    }

    /// The next input is for another room, which has to be opened first.
    pub fn move_to(&mut self, room: &str) {
        if let Some(id) = RoomId::parse(room) {
            (self.room_id, self.room) = (id, None);
        }
    }

    pub fn pass(&mut self, ms: i64) {
        self.now = self.now.plus(ms);
    }

    /// Reads one frame, as it came from the network, and handles what it says.
    pub fn hear(&mut self, client: &mut Client, frame: &mut [u8]) -> Result<()> {
        let Request { reply_to, command } = client.receive(self.now, frame)?;
        let from =
            Caller { conn: client.conn, socket: client.session.socket, reply_to, identity: Identity::Open };
        match command {
            Command::Ping => {
                let reply_to = from.reply_to;
                self.outputs.push(Output::Reply { to: from.conn, reply_to, event: Event::Pong });
                Ok(())
            }
            Command::Room(_, command) => self.tell(RoomInput::Command { from, command }),
            Command::Ask(_, ask) => self.tell(RoomInput::Ask { from, ask, briefing: Box::default() }),
            Command::Desk(_, command) => self.tell(RoomInput::Desk { from, command }),
            Command::Visitors(..) | Command::AllDomainStats | Command::Search(_) => {
                Err(Failure("visitors have no stage".into()))
            }
        }
    }

    pub fn tell(&mut self, input: RoomInput) -> Result<()> {
        self.entropy = self.entropy.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let cx = Context { now: self.now, entropy: self.entropy, policy: &self.policy };
        let room = match &mut self.room {
            Some(room) => room,
            empty => {
                let room = empty.insert(Room::open(self.room_id.clone(), [], &mut self.store)?);
                let awoken = RoomInput::Awoken { told: Vec::new() };
                room.handle(cx, awoken, &mut self.store, &mut self.outputs)?;
                room
            }
        };
        Ok(room.handle(cx, input, &mut self.store, &mut self.outputs)?)
    }

    /// What a piece of a provider's stream says, told to the room that asked.
    pub fn hear_model(&mut self, bytes: &[u8]) -> Result<()> {
        let Some((run, mut reading)) = self.asked.take() else {
            return Err(Failure("no model was asked".into()));
        };
        let mut told = Ok(());
        let tell = |event| {
            if told.is_ok() {
                told = self.tell(RoomInput::Model { run, event });
            }
        };
        let progress = hear(&mut reading, bytes, tell);
        self.asked = Some((run, reading));
        progress.and(told)
    }

    /// Commits, and lets out what waited for that.
    pub fn end_turn(&mut self) -> Result<()> {
        self.commits += u32::from(self.store.wrote());
        self.store.commit()?;
        let mut outputs = std::mem::take(&mut self.outputs);
        for output in outputs.drain(..) {
            match output {
                Output::Reply { reply_to, event, .. } => self.say(&event, reply_to.as_deref()),
                Output::Publish { event, .. } => self.say(&event, None),
                Output::AskModel { run, request } => {
                    let (_, providers) = AiSettings::default().read(&|_| None).map_err(Failure)?;
                    let route = request.routes.first().ok_or_else(|| Failure("nobody is asked".into()))?;
                    let (_, reading) = providers.call(route, &request);
                    self.asked = Some((run, reading));
                }
                _ => {}
            }
        }
        self.outputs = outputs;
        Ok(())
    }

    fn say(&mut self, event: &Event, reply_to: Option<&str>) {
        encode(event, reply_to, &mut self.json, &mut self.said);
    }

    /// Forgets what was said, and does what another thread does for the server.
    pub fn rest(&mut self) -> Result<()> {
        self.said.clear();
        if self.commits >= COMMITS_A_LOG {
            self.commits = 0;
            self.store.restart_log()?;
        }
        Ok(())
    }

    /// Fails unless this was said so many times.
    pub fn expect(&self, word: &str, times: usize) -> Result<()> {
        let said = String::from_utf8_lossy(&self.said);
        match said.matches(word).count() {
            heard if heard == times => Ok(()),
            heard => Err(Failure(format!("{word:?} was said {heard} times, not {times}: {said}"))),
        }
    }
}

impl Client {
    pub fn new(number: u64) -> Self {
        let session = Session::new(socket(number), None);
        Self { conn: ConnId(number), session, fragments: Fragments::default() }
    }

    pub fn conn(&self) -> ConnId {
        self.conn
    }

    /// One frame, as it came from the network, into what it asks for.
    pub fn receive(&mut self, now: UnixMs, frame: &mut [u8]) -> Result<Request> {
        let Ok(Some((_, Some(Frame::Text(text))))) = self.fragments.read(frame) else {
            return Err(Failure("this is no whole frame of text".into()));
        };
        match self.session.receive(now, &text, EVENTS) {
            Received::Request(request) => Ok(request),
            Received::Refused(refusal) | Received::Expired(refusal) => {
                Err(Failure(format!("refused: {}", refusal.error.message)))
            }
            Received::Abusive => Err(Failure("refused for its rate".into())),
        }
    }
}

/// As the server encodes: through a buffer that is kept.
pub fn encode(event: &Event, reply_to: Option<&str>, json: &mut Vec<u8>, frames: &mut Vec<u8>) {
    json.clear();
    event.encode(reply_to, json);
    write_text(json, frames);
}

/// What a piece of a provider's stream says.
pub fn hear(
    reading: &mut Reading,
    bytes: &[u8],
    tell: impl FnMut(weeziq_core::ai::model::ModelEvent),
) -> Result<()> {
    let piece = weeziq_core::ai::asking::Piece::Bytes(bytes);
    reading.take(piece, tell).map(|_| ()).map_err(|failure| Failure(format!("the model failed: {failure:?}")))
}

fn member(number: u64) -> Option<Arc<Member>> {
    Some(Arc::new(Member {
        user: UserId::parse(&format!("visitor-{number}"))?,
        user_name: "Grace Hopper".into(),
        role: DEFAULT_ROLE.into(),
        status: DEFAULT_STATUS.into(),
        socket: socket(number),
        since: BEGIN,
        typing_until: None,
    }))
}

fn socket(number: u64) -> SocketId {
    SocketId::from_entropy(u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

/// A folder that goes with its stage.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        // Of the same length each time: SQLite copies the name.
        let name = format!("weeziq-micro-{:010}-{number:04}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&folder.0)?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
