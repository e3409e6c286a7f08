//! What an object has to say to other objects: in order, one request at a time, with whatever has come together in the
//! meantime in the next one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weeziq_core::ids::{DomainId, RoomId, RunId, SocketId, UserId};
use weeziq_core::inbox::Listing;
use weeziq_core::rooms::Post;
use weeziq_core::spending::Spent;
use weeziq_core::store::search::LogRow;
use worker::{Delay, Env, console_warn};

use crate::archive::Holder;
use crate::places::Place;
use crate::turn::Turn;

/// A word from one object to another.
#[derive(Serialize, Deserialize)]
pub(crate) enum Word {
    /// A message for a room's log.
    Post(Box<Post>),
    /// For the account of a domain.
    Spent(Box<Spent>),
    /// People have taken over where this run publishes.
    Silence { run: RunId },
    /// A frame for a room's members, kept nowhere.
    Overheard { frame: String, except: Option<SocketId> },
    /// A frame for those who watch, and may see what concerns that domain.
    Observed {
        frame: String,
        #[serde(default)]
        domain: Option<DomainId>,
    },
    /// A domain's numbers, for the directory.
    Numbers(Numbers),
    /// A connection that a room held for a domain's visitor is gone.
    Parted { socket: SocketId },
    /// How a room stands, for its domain's list.
    Listed {
        listing: Box<Listing>,
        /// What has been said of late, for the domain's search.
        log: Vec<LogRow>,
    },
    /// For the registry: who has written or read in a room of no domain, or is forgotten there.
    TookPart { room: RoomId, user: UserId, is_there: bool },
    /// For the registry: this one has something stored, or nothing any more.
    Enrolled { holder: Holder, is_there: bool },
    /// Whether the directory is to tell a room what it tells those who watch.
    Watch { room: String, is_watching: bool },
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Numbers {
    pub(crate) domain: DomainId,
    pub(crate) active: usize,
    pub(crate) total: u64,
    pub(crate) updated_at: i64,
}

pub(crate) struct Item {
    /// None: nothing to send, only `then` in its turn.
    pub(crate) word: Option<(Place, Word)>,
    /// What to do once it has been taken, or given up.
    pub(crate) then: Box<dyn FnOnce(Delivered)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivered {
    Yes,
    /// Taken, and the object wants no more of its kind.
    Unwanted,
    GivenUp,
}

#[derive(Default)]
pub(crate) struct Outbox {
    waiting: RefCell<VecDeque<Item>>,
    is_sending: Cell<bool>,
}

const ATTEMPTS: u32 = 4;
const BACK_OFF_MS: u64 = 100;
/// Words that wait before volatile ones are dropped.
const WAITING_MAX: usize = 1_000;
/// Words in one request.
const BATCH_MAX: usize = 200;

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        !self.is_sending.get() && self.waiting.borrow().is_empty()
    }

    /// Behind too many others a word that is kept nowhere is dropped.
    pub(crate) fn push(&self, item: Item) {
        let is_volatile = matches!(&item.word, Some((_, Word::Overheard { .. } | Word::Observed { .. })));
        if is_volatile && self.waiting.borrow().len() >= WAITING_MAX {
            return (item.then)(Delivered::GivenUp);
        }
        self.waiting.borrow_mut().push_back(item);
    }

    /// Sends until nothing waits. To be kept alive by the object; a second call while one runs does nothing.
    pub(crate) async fn drain(self: Rc<Self>, env: Env) {
        let Some(_turn) = Turn::take(&self.is_sending) else { return };
        while let Some((place, batch)) = self.next_batch() {
            let (words, thens): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let words: Vec<Word> = words.into_iter().flatten().collect();
            let delivered = match place {
                Some(place) => send(&env, &place, &words).await,
                None => Delivered::Yes,
            };
            thens.into_iter().for_each(|then| then(delivered));
        }
    }

    /// The front of the queue, as far as it goes to one place.
    #[expect(clippy::type_complexity, reason = "split at once by the only caller")]
    fn next_batch(&self) -> Option<(Option<Place>, Vec<(Option<Word>, Box<dyn FnOnce(Delivered)>)>)> {
        let mut waiting = self.waiting.borrow_mut();
        let place = waiting.front()?.word.as_ref().map(|(place, _)| place.clone());
        let mut batch = Vec::new();
        while let Some(item) =
            waiting.pop_front_if(|item| item.word.as_ref().map(|(place, _)| place) == place.as_ref())
        {
            batch.push((item.word.map(|(_, word)| word), item.then));
            if batch.len() >= BATCH_MAX {
                break;
            }
        }
        Some((place, batch))
    }
}

/// All of them in one request, tried again from the first that was not taken.
async fn send(env: &Env, place: &Place, mut words: &[Word]) -> Delivered {
    for attempt in 0..ATTEMPTS {
        let Ok(body) = serde_json::to_string(words) else {
            return Delivered::GivenUp;
        };
        match place.post(env, "/words", &body).await {
            Ok(response) if response.status_code() == TAKEN => return Delivered::Yes,
            Ok(response) if response.status_code() == UNWANTED => return Delivered::Unwanted,
            Ok(mut response) => {
                console_warn!("an object answered {}", response.status_code());
                let taken = response.text().await.ok().and_then(|text| text.parse().ok());
                words = words.get(taken.unwrap_or(0)..).unwrap_or_default();
            }
            Err(error) => console_warn!("an object cannot be reached: {error}"),
        }
        Delay::from(Duration::from_millis(BACK_OFF_MS << attempt)).await;
    }
    Delivered::GivenUp
}

/// What `/words` answers.
pub(crate) const TAKEN: u16 = 200;
pub(crate) const UNWANTED: u16 = 410;
/// With the number of words that were taken.
pub(crate) const TRY_AGAIN: u16 = 503;
