//! Who a caller is, as far as it has proved it, and what it may do.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::token::{self, Claims, Domains, Key, Role};
use crate::ids::{DomainId, RoomId, UserId};
use crate::protocol::error::{ClientError, ErrorCode};
use crate::time::UnixMs;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    /// Open mode: there is no key that a token could be held against, so anyone may do anything. Also what the host
    /// itself asks for, once it has checked who wants it.
    #[default]
    Open,
    /// Without a token.
    Anonymous,
    Known(Arc<Claims>),
}

impl Identity {
    /// Of whoever gives this token, or none. Without a key, everybody is [`Identity::Open`] and no token is looked at.
    pub fn of(key: Option<&Key>, token: Option<&str>, now: UnixMs) -> Result<Self, ClientError> {
        match (key, token.filter(|token| !token.is_empty())) {
            (None, _) => Ok(Self::Open),
            (Some(_), None) => Ok(Self::Anonymous),
            (Some(key), Some(token)) => Ok(Self::Known(Arc::new(key.verify(token, now)?))),
        }
    }

    /// The token in the value of an `Authorization` header; None if it is of another scheme.
    pub fn bearer(header: &str) -> Option<&str> {
        let (scheme, token) = header.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    pub fn claims(&self) -> Option<&Claims> {
        match self {
            Self::Known(claims) => Some(claims),
            Self::Open | Self::Anonymous => None,
        }
    }

    pub fn subject(&self) -> Option<&UserId> {
        self.claims().map(|claims| &claims.subject)
    }

    /// When it ends, if it does.
    pub fn expires_at(&self) -> Option<UnixMs> {
        self.claims().map(|claims| claims.expires_at)
    }

    pub fn has_expired(&self, now: UnixMs) -> bool {
        self.expires_at().is_some_and(|at| at <= now)
    }

    /// Whether it has come as an agent or an admin.
    pub fn is_staff(&self) -> bool {
        self.claims().is_some_and(|claims| claims.role >= Role::Agent)
    }

    /// Whether it may hear what observers of that domain hear; of what belongs to no domain, where there is none.
    pub fn may_observe(&self, domain: Option<&DomainId>) -> bool {
        self.require_staff(domain).is_ok()
    }

    /// Agents and admins: of this domain, or of all of them where there is none. Not those whose token is for some rooms:
    /// what is a site's holds others.
    pub fn require_staff(&self, domain: Option<&DomainId>) -> Result<(), ClientError> {
        self.require(Role::Agent, domain)
    }

    /// Admins: of this domain, or of all of them where there is none.
    pub fn require_admin(&self, domain: Option<&DomainId>) -> Result<(), ClientError> {
        self.require(Role::Admin, domain)
    }

    /// Whether any such claim is there at all: agents and admins, whatever their domains.
    pub fn require_some_staff(&self) -> Result<(), ClientError> {
        match self.is_open() || self.is_staff() {
            true => Ok(()),
            false => Err(needs("agent")),
        }
    }

    /// The same, of sites as a whole.
    pub fn require_some_site_staff(&self) -> Result<(), ClientError> {
        self.require_some_staff().and_then(|()| self.require_all_rooms())
    }

    /// Who reads or posts in one room from outside of it: staff of its domain whose token is not for other rooms, and a
    /// visitor whose token names the room. A room of no domain is anybody's among the staff.
    pub fn require_room(&self, room: &RoomId, domain: Option<&DomainId>) -> Result<(), ClientError> {
        let Some(claims) = self.claims() else {
            return if self.is_open() { Ok(()) } else { Err(needs("agent")) };
        };
        let is_named = claims.rooms.as_ref().is_some_and(|rooms| rooms.contains(room));
        // What takes no knowledge of the room first: or the reason would tell whether there is one.
        if claims.role < Role::Agent && !is_named {
            return Err(needs("agent"));
        }
        self.require_scope(room, domain)
    }

    /// That nothing in its token keeps it out of that room. Whoever has none may go wherever it can name. Of which site the
    /// room is, somebody who is kept out is not told.
    pub fn require_scope(&self, room: &RoomId, domain: Option<&DomainId>) -> Result<(), ClientError> {
        let Some(claims) = self.claims() else { return Ok(()) };
        let is_other_room = claims.rooms.as_ref().is_some_and(|rooms| !rooms.contains(room));
        if is_other_room || self.require_domain(domain).is_err() {
            return Err(forbidden(format!("the token is not for room {room}")));
        }
        Ok(())
    }

    /// That its token is for that domain, if it has one and there is one.
    pub fn require_domain(&self, domain: Option<&DomainId>) -> Result<(), ClientError> {
        match (self.claims(), domain) {
            (Some(claims), Some(domain)) if !claims.domains.hold(domain) => {
                Err(forbidden(format!("the token is not for domain {domain}")))
            }
            _ => Ok(()),
        }
    }

    fn require(&self, role: Role, domain: Option<&DomainId>) -> Result<(), ClientError> {
        if self.is_open() {
            return Ok(());
        }
        let known = self.claims().filter(|claims| claims.role >= role);
        let claims = known.ok_or_else(|| needs(if role == Role::Admin { "admin" } else { "agent" }))?;
        self.require_all_rooms()?;
        match domain {
            Some(domain) => self.require_domain(Some(domain)),
            None if claims.domains == Domains::All => Ok(()),
            None => Err(forbidden("this takes a token for all domains (\"*\")".into())),
        }
    }

    /// That its token is not for some rooms alone: what concerns a whole site would show it the others.
    fn require_all_rooms(&self) -> Result<(), ClientError> {
        match self.claims().is_some_and(|claims| claims.rooms.is_some()) {
            true => {
                Err(forbidden("this concerns a whole domain, and the token is for some rooms only".into()))
            }
            false => Ok(()),
        }
    }

    /// That it still holds.
    pub fn require_current(&self, now: UnixMs) -> Result<(), ClientError> {
        if self.has_expired(now) { Err(token::expired()) } else { Ok(()) }
    }
}

impl Domains {
    pub fn hold(&self, domain: &DomainId) -> bool {
        match self {
            Self::All => true,
            Self::Only(domains) => domains.contains(domain),
        }
    }
}

fn needs(role: &str) -> ClientError {
    forbidden(format!("this takes a token with role {role}"))
}

pub(super) fn forbidden(why: String) -> ClientError {
    ClientError::new(ErrorCode::Forbidden, why)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;

    fn known(role: Role, domains: Domains, rooms: Option<&[&str]>) -> Identity {
        Identity::Known(Arc::new(Claims {
            subject: UserId::parse("ann").unwrap(),
            name: "Ann".into(),
            role,
            domains,
            rooms: rooms.map(|rooms| rooms.iter().map(|room| RoomId::known(room)).collect()),
            expires_at: UnixMs(1_000),
        }))
    }

    fn shop() -> DomainId {
        DomainId::parse("shop.example").unwrap()
    }

    fn of_shop() -> Domains {
        Domains::Only([shop()].into())
    }

    #[test]
    fn in_open_mode_anyone_may_do_anything() {
        let open = Identity::of(None, Some("whatever"), UnixMs(0)).unwrap();
        assert!(open.require_admin(None).is_ok() && open.require_room(&RoomId::known("r"), None).is_ok());
    }

    #[test]
    fn rights_end_at_the_domains_of_a_token() {
        let (shop, other) = (shop(), DomainId::parse("other.example").unwrap());
        let agent = known(Role::Agent, of_shop(), None);
        assert!(agent.require_staff(Some(&shop)).is_ok());
        assert!(agent.require_staff(Some(&other)).is_err());
        assert!(agent.require_staff(None).is_err(), "all domains are more than one");
        assert!(agent.require_admin(Some(&shop)).is_err(), "an agent is no admin");
        assert!(known(Role::Admin, Domains::All, None).require_admin(None).is_ok());
        for nobody in [Identity::Anonymous, known(Role::Visitor, Domains::All, None)] {
            assert_eq!(nobody.require_staff(Some(&shop)).unwrap_err().code, ErrorCode::Forbidden);
            assert!(nobody.require_some_staff().is_err() && !nobody.may_observe(Some(&shop)));
        }
    }

    #[test]
    fn rights_end_at_the_rooms_of_a_token() {
        let (one, two) = (RoomId::known("one"), RoomId::known("two"));
        let agent = known(Role::Agent, Domains::All, Some(&["one"]));
        assert!(agent.require_room(&one, None).is_ok() && agent.require_room(&two, None).is_err());
        assert!(agent.require_staff(Some(&shop())).is_err(), "a site has other rooms");
        let visitor = known(Role::Visitor, of_shop(), Some(&["one"]));
        assert!(visitor.require_room(&one, Some(&shop())).is_ok());
        assert!(visitor.require_room(&two, Some(&shop())).is_err());
        assert!(known(Role::Visitor, of_shop(), None).require_room(&one, None).is_err(), "it is not named");
        assert!(Identity::Anonymous.require_room(&one, None).is_err());
    }

    #[test]
    fn who_is_kept_out_learns_neither_of_which_site_a_room_is_nor_whether_there_is_one() {
        let (room, other) = (RoomId::known("one"), DomainId::parse("other.example").unwrap());
        let agent = known(Role::Agent, of_shop(), None);
        for refused in [agent.require_scope(&room, Some(&other)), agent.require_room(&room, Some(&other))] {
            assert!(!refused.unwrap_err().message.contains("other.example"));
        }
        let visitor = known(Role::Visitor, of_shop(), None);
        let reason = |domain| visitor.require_room(&room, domain).unwrap_err().message;
        assert_eq!(reason(Some(&other)), reason(None));
    }

    #[test]
    fn a_token_for_some_rooms_is_none_for_a_whole_site() {
        for role in [Role::Agent, Role::Admin] {
            let of_one = known(role, Domains::All, Some(&["one"]));
            for refused in [
                of_one.require_staff(Some(&shop())),
                of_one.require_staff(None),
                of_one.require_some_site_staff(),
            ] {
                let error = refused.unwrap_err();
                assert_eq!(error.code, ErrorCode::Forbidden);
                assert!(error.message.contains("some rooms only"), "{}", error.message);
            }
            assert!(of_one.require_admin(Some(&shop())).is_err() && !of_one.may_observe(Some(&shop())));
            assert!(of_one.require_some_staff().is_ok(), "it still is somebody of the staff, in its room");
        }
    }

    #[test]
    fn a_bearer_is_read_whatever_its_case() {
        assert_eq!(Identity::bearer("Bearer a.b.c"), Some("a.b.c"));
        assert_eq!(Identity::bearer("bearer  a"), Some("a"));
        assert_eq!(Identity::bearer("Basic a"), None);
        assert_eq!(Identity::bearer("a"), None);
    }
}
