//! Questions, with what is looked up for them: in order, on one thread, so that of two questions of a conversation the first
//! stays the first, and so that what is set aside for many of them is one commit.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use weeziq_core::Caller;
use weeziq_core::ai::briefing::Briefing;
use weeziq_core::ids::{DomainId, RoomId};
use weeziq_core::protocol::command::{Ask, Page};
use weeziq_core::rooms::RoomInput;
use weeziq_core::spending::{Allowance, SHARED_ACCOUNT, Spent};
use weeziq_core::store::{SqlError, knowledge, spending};

use super::Domains;
use crate::shard::mailbox::Shards;
use crate::shard::wall_clock;
use crate::store::Store;

/// The way to the thread.
#[derive(Clone)]
pub(crate) struct Briefings(SyncSender<Job>);

/// A question on its way to the conversation that it is for.
pub(crate) struct Question {
    pub(crate) conversation: RoomId,
    pub(crate) from: Caller,
    pub(crate) ask: Ask,
    /// Where the visitor is known to be.
    pub(crate) page: Option<Page>,
}

enum Job {
    Brief(Box<Question>),
    Settle(Box<Spent>),
}

/// Questions and accounts that wait; beyond it a question goes on without what would be looked up for it.
const WAITING_MAX: usize = 4_096;
/// Questions of one commit.
const BATCH_MAX: usize = 64;

impl Domains {
    /// Whether there is anything to look up for questions on it.
    pub(crate) fn must_brief(&self, domain: Option<&DomainId>) -> bool {
        self.daily_tokens > 0 || domain.is_some_and(|domain| self.known().learned.contains(domain))
    }

    /// What is known without looking anything up.
    pub(crate) fn briefing(&self, ask: &Ask) -> Briefing {
        let settings = self.of(ask.domain.as_ref());
        Briefing { settings, account: self.account(ask.domain.as_ref()), ..Briefing::default() }
    }

    /// Where there are budgets, a domain has an account of its own once an operator has set it up.
    fn account(&self, domain: Option<&DomainId>) -> Option<DomainId> {
        match domain {
            Some(domain) if self.daily_tokens == 0 || self.known().settings.contains_key(domain) => {
                Some(domain.clone())
            }
            None if self.daily_tokens == 0 => None,
            Some(_) | None => DomainId::parse(SHARED_ACCOUNT),
        }
    }

    fn brief(&self, store: &mut Store, question: &Question) -> Result<Briefing, SqlError> {
        let mut briefing = Briefing { page: question.page.clone(), ..self.briefing(&question.ask) };
        if let Some(account) = briefing.account.as_ref().filter(|_| self.daily_tokens > 0) {
            let id = getrandom::u64().map_err(|error| SqlError(error.to_string()))?;
            briefing.allowance = spending::reserve(store, account, self.daily_tokens, id, wall_clock())?;
        }
        if let Some(domain) =
            question.ask.domain.as_ref().filter(|domain| self.known().learned.contains(domain))
        {
            briefing.passages = knowledge::passages_for(store, domain, &question.ask.message)?.into();
        }
        Ok(briefing)
    }
}

impl Briefings {
    /// The thread ends with the process.
    pub(crate) fn start(domains: Arc<Domains>, shards: Shards) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        std::thread::Builder::new()
            .name("briefings".into())
            .spawn(move || run(&receiver, &domains, &shards))?;
        Ok(Self(sender))
    }

    /// The question, if there is no room for it.
    pub(crate) fn brief(&self, question: Question) -> Result<(), Box<Question>> {
        match self.0.try_send(Job::Brief(Box::new(question))) {
            Err(
                TrySendError::Full(Job::Brief(question)) | TrySendError::Disconnected(Job::Brief(question)),
            ) => Err(question),
            _ => Ok(()),
        }
    }

    pub(crate) fn settle(&self, spent: Box<Spent>) {
        if self.0.try_send(Job::Settle(spent)).is_err() {
            tracing::error!("an answer is missing in its domain's account: too many wait");
        }
    }
}

fn run(jobs: &Receiver<Job>, domains: &Domains, shards: &Shards) {
    while let Ok(first) = jobs.recv() {
        let batch: Vec<Job> = std::iter::once(first).chain(jobs.try_iter().take(BATCH_MAX - 1)).collect();
        let mut briefed = Vec::new();
        let done = domains.write(|store| {
            for job in &batch {
                match job {
                    Job::Brief(question) => briefed.push(domains.brief(store, question)?),
                    Job::Settle(spent) => settle(store, spent)?,
                }
            }
            Ok(())
        });
        if let Err(error) = &done {
            tracing::error!(%error, "questions go on without what the domains' database knows");
        }
        let questions = batch.into_iter().filter_map(|job| match job {
            Job::Brief(question) => Some(question),
            Job::Settle(_) => None,
        });
        let mut briefed = briefed.into_iter();
        for question in questions {
            let known = briefed.next().filter(|_| done.is_ok());
            let briefing = known.unwrap_or_else(|| domains.briefing_without_store(&question.ask));
            let Question { conversation, from, ask, .. } = *question;
            shards.to_room(conversation, RoomInput::Ask { from, ask, briefing: Box::new(briefing) });
        }
    }
}

fn settle(store: &mut Store, spent: &Spent) -> Result<(), SqlError> {
    spent.domain.as_ref().map_or(Ok(()), |domain| spending::settle(store, domain, spent))
}

impl Domains {
    /// A budget that cannot be looked at is not to be overrun: then no model is asked.
    pub(crate) fn briefing_without_store(&self, ask: &Ask) -> Briefing {
        let allowance = if self.daily_tokens > 0 { Allowance::Exhausted } else { Allowance::Free };
        Briefing { allowance, ..self.briefing(ask) }
    }
}
