//! One client's life: connect, speak its dialect, lose the connection, come back.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, sleep_until};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::dialect::{Dialect, Io};
use crate::mark::{Client, Post};
use crate::socket::{self, Options, Socket};
use crate::world::{Cutting, Visit, World};

pub(crate) enum Order {
    Publish(Post),
    /// Read no more.
    Stall,
    Wake,
}

pub(crate) struct Life {
    pub(crate) client: Client,
    pub(crate) world: Rc<World>,
    pub(crate) dialect: Box<dyn Dialect>,
    pub(crate) orders: mpsc::UnboundedReceiver<Order>,
    pub(crate) options: Options,
    pub(crate) random: fastrand::Rng,
    /// First connections are opened a few at a time; those that return ask nobody.
    pub(crate) gate: Arc<Semaphore>,
    /// Its latency counts.
    pub(crate) timed: bool,
    pub(crate) stalled: bool,
    pub(crate) cut_at: Option<Instant>,
}

enum End {
    /// Nobody will give orders any more.
    Over,
    Cut(Duration),
    Lost {
        wait: Option<Duration>,
    },
}

impl Life {
    pub(crate) async fn live(mut self) {
        let mut been_here = false;
        let mut attempt = 0;
        while !self.orders.is_closed() {
            // Held until the first join is answered, or the handshakes of a big crowd would outrun their joins.
            let permit = if been_here { None } else { self.gate.clone().acquire_owned().await.ok() };
            let opened = socket::open(self.client, self.world.port, self.dialect.path(), &self.options).await;
            let end = match opened {
                Ok(socket) => self.visit(socket, &mut been_here, &mut attempt, permit).await,
                Err(_) => {
                    self.world.tally.borrow_mut().failed_opens += 1;
                    End::Lost { wait: None }
                }
            };
            self.dialect.lost();
            self.world.gone(self.client);
            match end {
                End::Over => return,
                End::Cut(away) => sleep(away).await,
                End::Lost { wait: Some(wait) } => sleep(wait).await,
                End::Lost { wait: None } => {
                    sleep(self.dialect.backoff(attempt, &mut self.random)).await;
                    attempt += 1;
                }
            }
        }
    }

    async fn visit(
        &mut self,
        mut socket: Socket,
        been_here: &mut bool,
        attempt: &mut u32,
        permit: Option<OwnedSemaphorePermit>,
    ) -> End {
        let mut permit = permit;
        let (mut io, mut visit) = (Io::default(), Visit::default());
        self.dialect.opened(&mut io);
        loop {
            if self.settle(&mut socket, &mut io, &mut visit).await.is_err() {
                return self.ended("write failed");
            }
            if visit.kind.is_some() {
                drop(permit.take());
                (*been_here, *attempt) = (true, 0);
            }
            if self.stalled {
                match self.orders.recv().await {
                    None => return End::Over,
                    Some(order) => self.obey(order, &socket, &mut io),
                }
                continue;
            }
            let cutting = self.world.cutting.get();
            let cut_at = cutting.map(|cutting| self.cut_at(cutting));
            let due_at = self.dialect.deadline();
            let far = Instant::now() + Duration::from_secs(3600);
            tokio::select! {
                biased;
                () = sleep_until(cut_at.unwrap_or(far).into()), if cut_at.is_some() => {
                    return self.cut(&socket, cutting);
                }
                order = self.orders.recv() => match order {
                    None => return End::Over,
                    Some(order) => self.obey(order, &socket, &mut io),
                },
                () = sleep_until(due_at.unwrap_or(far).into()), if due_at.is_some() => {
                    self.dialect.due(Instant::now(), &mut io);
                }
                frame = socket.next() => match frame {
                    Some(Ok(Message::Text(text))) => self.dialect.heard(&text, Instant::now(), &mut io),
                    Some(Ok(Message::Close(frame))) => return self.closed(frame),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return self.ended(kind_of(&error)),
                    None => return self.ended("ended without a close"),
                },
            }
        }
    }

    /// Counts what was told and writes what is to be said.
    async fn settle(&mut self, socket: &mut Socket, io: &mut Io, visit: &mut Visit) -> Result<(), ()> {
        let now = Instant::now();
        for happening in io.told.drain(..) {
            self.world.tell(self.client, happening, now, visit, self.timed);
        }
        if io.out.is_empty() {
            return Ok(());
        }
        for text in io.out.drain(..) {
            socket.feed(Message::text(text)).await.map_err(drop)?;
        }
        socket.flush().await.map_err(drop)
    }

    fn obey(&mut self, order: Order, socket: &Socket, io: &mut Io) {
        match order {
            Order::Publish(post) => self.dialect.publish(post, Instant::now(), io),
            Order::Stall => {
                self.stalled = true;
                socket::window(socket, false);
            }
            Order::Wake => {
                // Whoever returns has a path like the others'.
                (self.stalled, self.options.narrow) = (false, false);
                socket::window(socket, true);
            }
        }
    }

    fn cut_at(&mut self, cutting: Cutting) -> Instant {
        let random = &mut self.random;
        // The first one anywhere within the whole span: else all would be cut for the first time at once.
        *self.cut_at.get_or_insert_with(|| Instant::now() + cutting.every.mul_f64(random.f64()))
    }

    fn cut(&mut self, socket: &Socket, cutting: Option<Cutting>) -> End {
        let Some(cutting) = cutting else { return End::Lost { wait: None } };
        // A failure means that the peer has closed it already.
        let _ = socket::cut(socket);
        self.world.tally.borrow_mut().cuts += 1;
        let next = cutting.away + cutting.every.mul_f64(0.5 + self.random.f64());
        self.cut_at = Some(Instant::now() + next);
        End::Cut(cutting.away)
    }

    fn closed(&mut self, frame: Option<CloseFrame>) -> End {
        let Some(CloseFrame { code, reason }) = frame else { return self.ended("closed without a code") };
        let code = u16::from(code);
        let wait = self.dialect.asked_to_wait(code, &reason);
        self.world.tally.borrow_mut().hints += u64::from(wait.is_some());
        self.ended(&format!("closed {code}"));
        End::Lost { wait }
    }

    fn ended(&self, how: &str) -> End {
        *self.world.tally.borrow_mut().endings.entry(how.to_owned()).or_default() += 1;
        End::Lost { wait: None }
    }
}

fn kind_of(error: &tungstenite::Error) -> &'static str {
    match error {
        tungstenite::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionReset => "reset",
        tungstenite::Error::Io(_) => "I/O error",
        tungstenite::Error::Protocol(_) => "ended without a close",
        _ => "protocol error",
    }
}
