//! What is counted: each operation as one thing that can be done again and again.

use std::hint::black_box;

use weeziq_core::rooms::{Farewell, RoomInput};

use crate::{Client, Failure, Result, Stage, stream, wire};

/// The paths that have a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Ping,
    Typing,
    /// One message, in a transaction of its own.
    Message,
    /// The same, where 32 share a turn.
    MessageOf32,
    /// The first to join a room, which that stores.
    JoinNewRoom,
    JoinRoomOf2,
    JoinRoomOf500,
    /// With the last 50 messages to tell.
    JoinWithHistory,
    AiTokenOpenAi,
    AiTokenGemini,
}

/// An operation that is set up.
pub trait Work {
    /// The next input, with all that is not to be counted: its frame, and taking back what the last one did.
    fn prepare(&mut self) -> Result<()>;

    fn perform(&mut self) -> Result<()>;

    /// Fails unless the last one did what it is counted for.
    fn check(&self) -> Result<()>;
}

impl Operation {
    pub const ALL: [Self; 10] = [
        Self::Ping,
        Self::Typing,
        Self::Message,
        Self::MessageOf32,
        Self::JoinNewRoom,
        Self::JoinRoomOf2,
        Self::JoinRoomOf500,
        Self::JoinWithHistory,
        Self::AiTokenOpenAi,
        Self::AiTokenGemini,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Typing => "typing",
            Self::Message => "message",
            Self::MessageOf32 => "message-of-32",
            Self::JoinNewRoom => "join-new-room",
            Self::JoinRoomOf2 => "join-room-of-2",
            Self::JoinRoomOf500 => "join-room-of-500",
            Self::JoinWithHistory => "join-with-history",
            Self::AiTokenOpenAi => "ai-token-openai",
            Self::AiTokenGemini => "ai-token-gemini",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }

    pub fn set_up(self) -> Result<Box<dyn Work>> {
        Ok(match self {
            Self::Ping => Box::new(Saying::set_up(wire::PING, "pong")?),
            Self::Typing => Box::new(Saying::set_up(wire::TYPING, "user-typing")?),
            Self::Message => Box::new(Messages::set_up(1)?),
            Self::MessageOf32 => Box::new(Messages::set_up(32)?),
            Self::JoinNewRoom => Box::new(Join::set_up(0, 0)?),
            Self::JoinRoomOf2 => Box::new(Join::set_up(1, 0)?),
            Self::JoinRoomOf500 => Box::new(Join::set_up(499, 0)?),
            Self::JoinWithHistory => Box::new(Join::set_up(1, 50)?),
            Self::AiTokenOpenAi => Box::new(Token::set_up("gpt-4o-mini", stream::openai_token(" Hamburg"))?),
            Self::AiTokenGemini => {
                Box::new(Token::set_up("gemini-2.5-flash", stream::gemini_token(" Hamburg"))?)
            }
        })
    }

    /// How many of what it is named for are done at a time.
    pub fn units(self) -> u32 {
        if self == Self::MessageOf32 { 32 } else { 1 }
    }

    /// Performs it so often; callgrind counts what happens within [`counted`] and nothing else.
    pub fn walk(self, uncounted: u32, rounds: u32) -> Result<()> {
        let mut work = self.set_up()?;
        for round in 0..uncounted + rounds {
            work.prepare()?;
            if round < uncounted { work.perform() } else { counted(work.as_mut()) }?;
            work.check()?;
        }
        Ok(())
    }
}

/// Callgrind is told this name: it counts from the entry to the return, so both have to be there.
#[inline(never)]
fn counted(work: &mut dyn Work) -> Result<()> {
    let done = black_box(work).perform();
    // Else the call would be a jump, and this function over before it.
    black_box(&done);
    done
}

const ROOM: &str = "conversation-4711";
/// The pace that a connection's quota allows for ever.
const PACE_MS: i64 = 25;
/// After that the list of members is told again at once.
const QUIET_MS: i64 = 200;
/// An answer is as long as that; then the next one begins.
const TOKENS: u32 = 1_000;

/// The same words of one client, again and again.
struct Saying {
    stage: Stage,
    client: Client,
    words: &'static str,
    answer: &'static str,
    frame: Vec<u8>,
}

impl Saying {
    fn set_up(words: &'static str, answer: &'static str) -> Result<Self> {
        let stage = Stage::open(ROOM, 2)?;
        Ok(Self { stage, client: Client::new(1), words, answer, frame: Vec::new() })
    }
}

impl Work for Saying {
    fn prepare(&mut self) -> Result<()> {
        self.stage.pass(PACE_MS);
        self.stage.rest()?;
        self.frame = wire::masked(self.words, MASK);
        Ok(())
    }

    fn perform(&mut self) -> Result<()> {
        self.stage.hear(&mut self.client, &mut self.frame)?;
        self.stage.end_turn()
    }

    fn check(&self) -> Result<()> {
        self.stage.expect(self.answer, 1)
    }
}

/// New messages of one of two.
struct Messages {
    stage: Stage,
    client: Client,
    sent: u64,
    frames: Vec<Vec<u8>>,
}

impl Messages {
    fn set_up(at_once: usize) -> Result<Self> {
        let stage = Stage::open(ROOM, 2)?;
        Ok(Self { stage, client: Client::new(1), sent: 0, frames: vec![Vec::new(); at_once] })
    }
}

impl Work for Messages {
    fn prepare(&mut self) -> Result<()> {
        self.stage.rest()?;
        for frame in &mut self.frames {
            self.stage.pass(PACE_MS);
            self.sent += 1;
            *frame = wire::masked(&wire::send_message(self.sent), MASK);
        }
        Ok(())
    }

    fn perform(&mut self) -> Result<()> {
        for frame in &mut self.frames {
            self.stage.hear(&mut self.client, frame)?;
        }
        self.stage.end_turn()
    }

    fn check(&self) -> Result<()> {
        self.stage.expect("\"new-message\"", self.frames.len())?;
        self.stage.expect("\"message-sent\"", self.frames.len())
    }
}

/// One more comes and goes, or each time to a room that there never was.
struct Join {
    stage: Stage,
    client: Client,
    others: u64,
    is_in: bool,
    rooms: u64,
    frame: Vec<u8>,
    has_history: bool,
}

impl Join {
    fn set_up(others: u64, messages: u64) -> Result<Self> {
        let mut stage = Stage::open(ROOM, others)?;
        let mut client = Client::new(others + 1);
        for number in 0..messages {
            stage.pass(PACE_MS);
            stage.hear(&mut client, &mut wire::masked(&wire::send_message(number), MASK))?;
        }
        stage.end_turn()?;
        Ok(Self {
            stage,
            client,
            others,
            is_in: false,
            rooms: 0,
            frame: Vec::new(),
            has_history: messages > 0,
        })
    }
}

impl Work for Join {
    fn prepare(&mut self) -> Result<()> {
        let number = self.others + 1;
        self.stage.pass(QUIET_MS);
        let room = if self.others == 0 {
            self.rooms += 1;
            let room = format!("conversation-{:06}", self.rooms);
            self.stage.move_to(&room);
            room
        } else {
            if self.is_in {
                let (conn, how) = (self.client.conn(), Farewell::Clean);
                self.stage.tell(RoomInput::Disconnected { conn, how })?;
                self.stage.end_turn()?;
            }
            ROOM.to_owned()
        };
        self.is_in = true;
        self.stage.pass(QUIET_MS);
        self.stage.rest()?;
        self.client = Client::new(number);
        self.frame = wire::masked(&wire::join_room(&room, number), MASK);
        Ok(())
    }

    fn perform(&mut self) -> Result<()> {
        self.stage.hear(&mut self.client, &mut self.frame)?;
        self.stage.end_turn()
    }

    fn check(&self) -> Result<()> {
        self.stage.expect("\"joined-room\"", 1)?;
        self.stage.expect("\"message-history\"", self.has_history.into())?;
        self.stage.expect("\"user-joined\"", 1)?;
        self.stage.expect("\"room-users\"", 1)
    }
}

/// A token of an answer that its asker hears as it is written, far enough from the last one to be told at once.
struct Token {
    stage: Stage,
    client: Client,
    question: String,
    told: u32,
    bytes: String,
}

impl Token {
    fn set_up(model: &str, bytes: String) -> Result<Self> {
        let question = wire::AI_STREAM.replace("MODEL", model);
        Ok(Self { stage: Stage::open(ROOM, 0)?, client: Client::new(1), question, told: TOKENS, bytes })
    }

    fn ask(&mut self) -> Result<()> {
        self.stage = Stage::open(ROOM, 0)?;
        self.client = Client::new(1);
        self.stage.hear(&mut self.client, &mut wire::masked(&self.question, MASK))?;
        self.stage.end_turn()
    }
}

impl Work for Token {
    fn prepare(&mut self) -> Result<()> {
        if self.told == TOKENS {
            self.told = 0;
            self.ask()?;
        }
        self.told += 1;
        self.stage.pass(PACE_MS);
        self.stage.rest()
    }

    fn perform(&mut self) -> Result<()> {
        self.stage.hear_model(self.bytes.as_bytes())?;
        self.stage.end_turn()
    }

    fn check(&self) -> Result<()> {
        self.stage.expect("\"ai-stream-chunk\"", 1)?;
        self.stage.expect(" Hamburg", 1).map_err(|Failure(why)| Failure(format!("not a token's text: {why}")))
    }
}

const MASK: u32 = 0x37fa_213d;
