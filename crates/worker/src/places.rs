//! Where things live: one object a room, one a domain, one for all domains, one an address. And how they are reached.

use serde::{Deserialize, Serialize};
use wasm_bindgen::JsValue;
use weeziq_core::access::address::subscriber;
use weeziq_core::access::identity::Identity;
use weeziq_core::ids::{DomainId, RoomId, SocketId, UserId, fnv1a};
use weeziq_core::protocol::error::ClientError;
use weeziq_core::visitors::whence::Whence;
use worker::{Env, Error, Headers, Method, Request, RequestInit, Response, Result, Stub, Url, WebSocket};

use crate::settings::Settings;

/// What a connection or an object may have to say something to.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Room(RoomId),
    Domain(DomainId),
    /// Knows every domain's numbers.
    Directory,
    /// Knows which rooms and domains there are.
    Registry,
    /// The directory again, for those who watch: whoever asks it a question need not be one of them.
    Observed,
}

/// What a `VisitorTracker` is, by its name.
#[derive(Clone)]
pub(crate) enum Role {
    Domain(DomainId),
    Directory,
    Registry,
    /// Counts the AI requests of an address.
    Address,
}

/// How a socket introduces itself to an object.
#[derive(Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) socket: SocketId,
    /// Tells two sockets of one connection to one object apart, where the old one is still closing.
    pub(crate) nonce: u64,
    pub(crate) is_direct: bool,
    pub(crate) observes: bool,
    pub(crate) user_agent: Option<String>,
    #[serde(default, skip_serializing_if = "Whence::is_unknown")]
    pub(crate) whence: Whence,
    /// The name of the object that counts its address; only a direct one needs it.
    pub(crate) address: Option<String>,
    /// Who it is, as far as that is proved.
    #[serde(default, skip_serializing_if = "Identity::is_open")]
    pub(crate) identity: Identity,
}

/// What a connection that a room holds has to say to a domain or to the directory.
#[derive(Serialize, Deserialize)]
pub(crate) struct Consultation {
    pub(crate) socket: SocketId,
    pub(crate) user_agent: Option<String>,
    #[serde(default, skip_serializing_if = "Whence::is_unknown")]
    pub(crate) whence: Whence,
    pub(crate) room: String,
    pub(crate) frame: String,
    #[serde(default, skip_serializing_if = "Identity::is_open")]
    pub(crate) identity: Identity,
}

// No domain can be called so: names hold no control characters.
const DIRECTORY: &str = "\u{1}directory";
const REGISTRY: &str = "\u{1}registry";
const ADDRESS: &str = "\u{1}address-";

impl Role {
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name {
            DIRECTORY => Some(Self::Directory),
            REGISTRY => Some(Self::Registry),
            name if name.starts_with(ADDRESS) => Some(Self::Address),
            name => DomainId::parse(name).map(Self::Domain),
        }
    }
}

impl Place {
    fn stub(&self, env: &Env) -> Result<Stub> {
        match self {
            Self::Room(room) => env.durable_object("CHAT_ROOM")?.get_by_name(room.as_str()),
            Self::Domain(domain) => tracker(env, domain.as_str()),
            Self::Directory | Self::Observed => tracker(env, DIRECTORY),
            Self::Registry => tracker(env, REGISTRY),
        }
    }

    /// A request of ours; nothing that a client sent decides its address.
    pub(crate) async fn post(&self, env: &Env, path: &str, body: &str) -> Result<Response> {
        post(&self.stub(env)?, path, body).await
    }

    pub(crate) async fn get(&self, env: &Env, path: &str) -> Result<Response> {
        self.stub(env)?.fetch_with_str(&format!("http://object{path}")).await
    }

    /// A socket of its own to that object.
    pub(crate) async fn connect(&self, env: &Env, hello: &Hello) -> Result<WebSocket> {
        let response = self.upgrade(env, hello).await?;
        response.websocket().ok_or_else(|| Error::RustError("the object took no socket".into()))
    }

    pub(crate) async fn upgrade(&self, env: &Env, hello: &Hello) -> Result<Response> {
        let hello = serde_json::to_string(hello)?;
        let url = Url::parse_with_params("http://object/connect", [("hello", hello)])?;
        let headers = Headers::new();
        headers.set("upgrade", "websocket")?;
        let mut init = RequestInit::new();
        init.with_headers(headers);
        self.stub(env)?.fetch_with_request(Request::new_with_init(url.as_str(), &init)?).await
    }
}

/// The object that counts this address, by a name that does not tell the address.
pub(crate) fn address_name(address: &str) -> String {
    let known = address.parse().map_or_else(|_| address.to_owned(), |ip| subscriber(ip).to_string());
    format!("{ADDRESS}{:016x}", fnv1a(&known))
}

/// The object that counts a subject's AI requests, likewise.
fn subject_name(subject: &UserId) -> String {
    format!("{ADDRESS}subject-{:016x}", fnv1a(subject.as_str()))
}

/// Takes a question to the AI from the quotas of its address and of its token's subject.
pub(crate) async fn admit_question(
    env: &Env,
    settings: &Settings,
    address_name: &str,
    identity: &Identity,
) -> Result<std::result::Result<(), ClientError>> {
    let subject = identity.subject().map(subject_name);
    let quotas = [
        (Some(address_name), settings.ai_per_address.count, "AI requests from this address"),
        (subject.as_deref(), settings.policy.ai_per_user.count, "AI requests of this token's subject"),
    ];
    for (name, count, what) in quotas {
        let Some(name) = name.filter(|_| count > 0) else { continue };
        if let Err(ms) = admit(env, name, &count.to_string()).await? {
            return Ok(Err(ClientError::rate_limited(what, ms)));
        }
    }
    Ok(Ok(()))
}

/// Takes one AI request from an address's quota, or says in how many milliseconds one will be free.
async fn admit(env: &Env, address_name: &str, quota: &str) -> Result<std::result::Result<(), u64>> {
    let mut response = post(&tracker(env, address_name)?, "/admit", quota).await?;
    Ok(match response.text().await?.parse() {
        Ok(retry_after_ms) => Err(retry_after_ms),
        Err(_) => Ok(()),
    })
}

/// The frames that answer it.
pub(crate) async fn consult(env: &Env, place: &Place, question: &Consultation) -> Result<Vec<String>> {
    let mut response = place.post(env, "/consult", &serde_json::to_string(question)?).await?;
    Ok(serde_json::from_str(&response.text().await?)?)
}

fn tracker(env: &Env, name: &str) -> Result<Stub> {
    env.durable_object("VISITOR_TRACKER")?.get_by_name(name)
}

async fn post(stub: &Stub, path: &str, body: &str) -> Result<Response> {
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(JsValue::from_str(body)));
    stub.fetch_with_request(Request::new_with_init(&format!("http://object{path}"), &init)?).await
}
