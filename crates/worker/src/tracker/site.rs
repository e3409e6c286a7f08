//! What the object of a domain knows of its site: settings (kept in KV, at hand here), documents, and what answers have cost.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use weeziq_core::domains::DomainSettings;
use weeziq_core::ids::{DomainId, VisitorId};
use weeziq_core::knowledge::document::{Document, DocumentName};
use weeziq_core::limits::DOCUMENTS_MAX;
use weeziq_core::protocol::command::Page;
use weeziq_core::protocol::error::{ClientError, ErrorCode};
use weeziq_core::protocol::http;
use weeziq_core::spending::{Allowance, SHARED_ACCOUNT, Spent, report};
use weeziq_core::store::{SqlError, knowledge, register, spending};
use weeziq_core::time::UnixMs;
use worker::{Error, Request, Response, Result, console_error};

use super::{Inputs, Tracker};
use crate::clock::entropy;
use crate::domains::{self, Asked, Told};
use crate::places::Place;
use crate::reply;
use crate::store::{Failed, Store, transact};

#[derive(Default)]
pub(super) struct Site {
    settings: RefCell<Option<AtHand>>,
    /// Whether there are documents or a helpdesk; None: not looked yet.
    has_learned: Cell<Option<bool>>,
    /// Whether the register of conversations has been opened in this life of the object.
    has_register: Cell<bool>,
}

impl Site {
    /// The rows are others than they were.
    pub(super) fn forget(&self) {
        self.settings.take();
        self.has_learned.set(None);
        self.has_register.set(false);
    }
}

#[derive(Clone)]
pub(super) struct AtHand {
    pub(super) settings: Arc<DomainSettings>,
    is_set: bool,
    read_at: UnixMs,
}

/// Settings change here, so this object is never behind. Somebody may have put a value into KV by hand.
const READ_AGAIN_MS: i64 = 60_000;

/// A document on its way from the Worker.
#[derive(Serialize, Deserialize)]
pub(crate) struct Upload {
    pub(crate) name: String,
    pub(crate) content_type: Option<String>,
    pub(crate) text: String,
}

/// What is asked of documents and accounts.
#[derive(Serialize, Deserialize)]
pub(crate) enum Wish {
    List,
    Search { question: String, limit: usize },
    Read { name: String },
    Remove { name: String },
    Spending { from: Option<String>, to: Option<String>, daily_tokens: u64 },
}

impl Tracker {
    pub(super) async fn answer_site(
        self: &Rc<Self>,
        domain: &DomainId,
        path: &str,
        mut request: Request,
    ) -> Result<Response> {
        let body = request.text().await?;
        match path {
            "brief" => self.brief(domain, serde_json::from_str(&body)?).await,
            "settings" => self.set(domain, DomainSettings::of_stored(&body)).await,
            "document" => self.put_document(domain, serde_json::from_str(&body)?),
            "wish" => self.grant(domain, serde_json::from_str(&body)?),
            _ => Response::error("there is nothing here", 404),
        }
    }

    async fn brief(self: &Rc<Self>, domain: &DomainId, asked: Asked) -> Result<Response> {
        let known = self.at_hand(domain).await?;
        if asked.is_unasked && !known.settings.ai.auto_reply {
            let settings = known.settings.to_stored();
            let told = Told { is_set: known.is_set, settings, ..Told::default() };
            return Response::ok(serde_json::to_string(&told)?);
        }
        let may_have_budget = known.is_set || domain.as_str() == SHARED_ACCOUNT;
        let daily_tokens = if may_have_budget { asked.daily_tokens } else { 0 };
        let page = self.page_of(domain, &known.settings, asked.visitor.as_deref());
        let (settings, site, now) = (known.settings.clone(), domain.clone(), self.clock.now());
        let has_learned = self.site.has_learned.get();
        let is_registered = self.site.has_register.replace(true);
        let looked_up = self.store(move |sql| {
            knowledge::put_helpdesk(sql, &site, &settings.helpdesk, now)?;
            let has_learned = match has_learned {
                Some(has_learned) => has_learned,
                None => knowledge::has_learned(sql, &site)?,
            };
            let passages = match has_learned || !settings.helpdesk.is_empty() {
                true => knowledge::passages_for(sql, &site, &asked.message)?,
                false => Vec::new(),
            };
            let allowance = spending::reserve(sql, &site, daily_tokens, entropy(), now)?;
            if let Some(conversation) = &asked.conversation {
                if !is_registered {
                    register::open(sql)?;
                }
                register::note(sql, conversation, asked.user.as_ref(), now)?;
            }
            Ok((has_learned, passages, allowance))
        });
        let (passages, allowance) = match looked_up {
            Ok((has_learned, passages, allowance)) => {
                self.site.has_learned.set(Some(has_learned));
                (passages, allowance)
            }
            Err(failed) => {
                self.site.has_register.set(is_registered);
                console_error!("a question goes on without what the site knows: {failed}");
                (Vec::new(), if daily_tokens > 0 { Allowance::Exhausted } else { Allowance::Free })
            }
        };
        let settings = known.settings.to_stored();
        let told = Told { is_set: known.is_set, settings, passages, page, allowance };
        Response::ok(serde_json::to_string(&told)?)
    }

    fn page_of(
        self: &Rc<Self>,
        domain: &DomainId,
        settings: &DomainSettings,
        visitor: Option<&str>,
    ) -> Option<Page> {
        let visitor = visitor.filter(|_| settings.ai.share_page).and_then(VisitorId::parse)?;
        if self.visitors.borrow().is_none() {
            self.tell(domain, Inputs::default()); // opens it from its rows
        }
        self.visitors.borrow().as_ref().and_then(|open| open.page_of(&visitor))
    }

    pub(super) async fn at_hand(&self, domain: &DomainId) -> Result<AtHand> {
        let now = self.clock.now();
        let known = self.site.settings.borrow().clone();
        if let Some(known) = known.filter(|known| now.since(known.read_at) < READ_AGAIN_MS) {
            return Ok(known);
        }
        let read = domains::read(&self.env, domain).await?;
        let known =
            AtHand { is_set: read.is_some(), settings: Arc::new(read.unwrap_or_default()), read_at: now };
        *self.site.settings.borrow_mut() = Some(known.clone());
        Ok(known)
    }

    /// The origins first, so that whoever is told that they are kept can connect; then KV; then what hangs on it here.
    pub(super) async fn set(
        self: &Rc<Self>,
        domain: &DomainId,
        settings: DomainSettings,
    ) -> Result<Response> {
        let before = self.at_hand(domain).await?;
        if before.settings.allowed_origins != settings.allowed_origins {
            let listed = json!({ "domain": domain, "origins": settings.allowed_origins }).to_string();
            let told = Place::Directory.post(&self.env, "/origins", &listed).await?;
            if told.status_code() != 200 {
                return reply::refusal(&ClientError::unavailable());
            }
        }
        if domains::write(&self.env, domain, &settings).await?.is_none() {
            let rule = "is too long to keep settings for: 505 bytes at most";
            return reply::refusal(&ClientError::invalid("domainId", rule));
        }
        let body = settings.body(domain);
        let settings = Arc::new(settings);
        let known = AtHand { is_set: true, settings: settings.clone(), read_at: self.clock.now() };
        *self.site.settings.borrow_mut() = Some(known);
        self.site.has_learned.set(None);
        let (site, now) = (domain.clone(), self.clock.now());
        // If that fails now, the next question does it.
        if let Err(failed) =
            self.store(move |sql| knowledge::put_helpdesk(sql, &site, &settings.helpdesk, now))
        {
            console_error!("a helpdesk is not indexed yet: {failed}");
        }
        reply::json(&body)
    }

    fn put_document(&self, domain: &DomainId, upload: Upload) -> Result<Response> {
        let parsed = Document::parse(&upload.name, upload.content_type.as_deref(), upload.text.into_bytes());
        let document = match parsed {
            Ok(document) => document,
            Err(error) => return reply::refusal(&error),
        };
        let (site, now) = (domain.clone(), self.clock.now());
        let kept = self.store(move |sql| {
            let others = knowledge::list(sql, &site)?;
            let is_new = others.iter().all(|other| &*other.name != document.name.as_str());
            if is_new && others.len() >= DOCUMENTS_MAX {
                let rule = format!("must be one of at most {DOCUMENTS_MAX}; remove another first");
                return Ok(Err(ClientError::invalid("name", &rule)));
            }
            Ok(Ok((knowledge::put(sql, &site, &document, now)?, is_new)))
        });
        match kept {
            Ok(Ok((listed, is_new))) => {
                self.site.has_learned.set(Some(true));
                Ok(reply::json(&json!(listed))?.with_status(if is_new { 201 } else { 200 }))
            }
            Ok(Err(error)) => reply::refusal(&error),
            Err(failed) => refuse(&failed),
        }
    }

    fn grant(&self, domain: &DomainId, wish: Wish) -> Result<Response> {
        let (site, now) = (domain.clone(), self.clock.now());
        if matches!(wish, Wish::Remove { .. }) {
            self.site.has_learned.set(None);
        }
        let granted = self.store(move |sql| {
            Ok(match wish {
                Wish::List => Ok(Granted::Json(json!({ "documents": knowledge::list(sql, &site)? }))),
                Wish::Search { question, limit } => {
                    Ok(Granted::Json(http::passages(&knowledge::search(sql, &site, &question, limit)?)))
                }
                Wish::Read { name } => match DocumentName::parse(&name) {
                    Ok(name) => knowledge::read(sql, &site, &name)?
                        .map(|(kind, text)| Granted::Text(kind.content_type(), text))
                        .ok_or_else(no_document),
                    Err(error) => Err(error),
                },
                Wish::Remove { name } => match DocumentName::parse(&name) {
                    Ok(name) => match knowledge::remove(sql, &site, name.as_str())? {
                        true => Ok(Granted::Json(json!({ "success": true }))),
                        false => Err(no_document()),
                    },
                    Err(error) => Err(error),
                },
                Wish::Spending { from, to, daily_tokens } => {
                    report(sql, &site, (from.as_deref(), to.as_deref()), daily_tokens, now)?
                        .map(Granted::Json)
                }
            })
        });
        match granted {
            Ok(Ok(Granted::Json(body))) => reply::json(&body),
            Ok(Ok(Granted::Text(content_type, text))) => {
                let response = Response::ok(text)?;
                response.headers().set("content-type", content_type)?;
                response.headers().set("x-content-type-options", "nosniff")?;
                Ok(response)
            }
            Ok(Err(error)) => reply::refusal(&error),
            Err(failed) => refuse(&failed),
        }
    }

    /// False if it cannot be entered now.
    pub(super) fn settle(&self, domain: &DomainId, spent: &Spent) -> bool {
        let (site, spent) = (domain.clone(), spent.clone());
        let settled = self.store(move |sql| spending::settle(sql, &site, &spent));
        settled.inspect_err(|failed| console_error!("an answer is not entered: {failed}")).is_ok()
    }

    /// Conversations that live in objects of their own.
    pub(super) fn in_register<T: 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> std::result::Result<T, SqlError> + 'static,
    ) -> Result<T> {
        let done = self.store(move |sql| {
            register::open(sql)?;
            work(sql)
        });
        done.map_err(|failed| Error::RustError(failed.to_string()))
    }

    pub(super) fn store<T: 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> std::result::Result<T, SqlError> + 'static,
    ) -> std::result::Result<T, Failed> {
        transact(&self.state.storage(), work)
    }
}

enum Granted {
    Json(serde_json::Value),
    Text(&'static str, String),
}

fn no_document() -> ClientError {
    ClientError::new(ErrorCode::NotFound, "there is no document of that name")
}

fn refuse(failed: &Failed) -> Result<Response> {
    console_error!("what is known of a site cannot be read or kept: {failed}");
    match failed {
        Failed::Storage(_) => reply::refusal(&ClientError::unavailable()),
        Failed::Panic(why) => Err(Error::RustError(why.clone())),
    }
}
