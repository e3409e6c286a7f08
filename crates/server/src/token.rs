//! `weeziq token`: making a token, for whoever has the secret that they are signed with.

use weeziq_core::access::token::{ALL_DOMAINS, Claims, Domains, Role};
use weeziq_core::ids::{DomainId, ID_RULE, RoomId, UserId};
use weeziq_core::time::UnixMs;

use crate::settings::Settings;

#[derive(Clone, clap::Args)]
pub(crate) struct Wanted {
    /// What its bearer may do.
    #[arg(long, value_parser = role)]
    role: Role,
    /// Who its bearer is: the userId of its events.
    #[arg(long, value_parser = user, value_name = "USER")]
    sub: UserId,
    /// As whom others see it [default: the same]
    #[arg(long)]
    name: Option<String>,
    /// A web site that it is for; may be given again, * is all of them.
    #[arg(long = "domain", required = true, value_name = "DOMAIN")]
    domains: Vec<String>,
    /// A room that it is for, and no other; may be given again.
    #[arg(long = "room", value_parser = room, value_name = "ROOM")]
    rooms: Vec<RoomId>,
    /// How long it holds: a number and s, m, h or d.
    #[arg(long, value_parser = span_ms, default_value = "12h", value_name = "SPAN")]
    expires: i64,
}

impl Wanted {
    pub(crate) fn mint(self, settings: &Settings, now: UnixMs) -> Result<String, String> {
        let key = settings.key()?.ok_or("AUTH_SECRET is not set; a token is signed with it")?;
        let domains = match self.domains.iter().any(|domain| domain == ALL_DOMAINS) {
            true => Domains::All,
            false => {
                let named = |domain: &String| {
                    DomainId::parse(domain).ok_or_else(|| format!("--domain {domain:?} {ID_RULE}"))
                };
                Domains::Only(self.domains.iter().map(named).collect::<Result<_, _>>()?)
            }
        };
        let claims = Claims {
            name: self.name.as_deref().unwrap_or(self.sub.as_str()).into(),
            subject: self.sub,
            role: self.role,
            domains,
            rooms: Some(self.rooms).filter(|rooms| !rooms.is_empty()).map(Into::into),
            expires_at: now.plus(self.expires),
        };
        let token = key.mint(&claims).ok_or(
            "a public key only checks tokens: make them where the private one is, or set AUTH_SECRET instead",
        )?;
        // What this service would refuse is not handed out.
        key.verify(&token, now).map_err(|error| error.message.into_owned())?;
        Ok(token)
    }
}

fn role(text: &str) -> Result<Role, String> {
    [Role::Visitor, Role::Agent, Role::Admin]
        .into_iter()
        .find(|role| role.as_str() == text)
        .ok_or_else(|| "must be visitor, agent or admin".into())
}

fn user(text: &str) -> Result<UserId, String> {
    UserId::parse(text).ok_or_else(|| ID_RULE.into())
}

fn room(text: &str) -> Result<RoomId, String> {
    RoomId::parse(text).ok_or_else(|| ID_RULE.into())
}

fn span_ms(text: &str) -> Result<i64, String> {
    let rule = || "must be a number and s, m, h or d, as 12h".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(rule)?;
    let unit_ms = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(rule()),
    };
    let number: i64 = number.parse().map_err(|_| rule())?;
    number.checked_mul(unit_ms).filter(|ms| *ms > 0).ok_or_else(rule)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::settings::{Cli, Command};

    #[test]
    fn spans_have_a_unit() {
        assert_eq!(span_ms("12h"), Ok(43_200_000));
        assert_eq!(span_ms("90s"), Ok(90_000));
        for bad in ["", "12", "h", "-1h", "0d", "12é", "99999999999999999d"] {
            assert!(span_ms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_made_says_what_was_wanted() {
        let made = |args: &[&str]| {
            let secret = "0123456789abcdef0123456789abcdef";
            let cli =
                Cli::try_parse_from([&["weeziq", "token", "--auth-secret", secret], args].concat()).unwrap();
            let Some(Command::Token(wanted)) = cli.command else { unreachable!("another command") };
            let token = wanted.mint(&cli.settings, UnixMs(0)).unwrap();
            cli.settings.key().unwrap().unwrap().verify(&token, UnixMs(1)).unwrap()
        };
        let ann = made(&["--role", "agent", "--sub", "ann", "--domain", "shop.example", "--expires", "1h"]);
        assert_eq!((ann.subject.as_str(), &*ann.name, ann.role), ("ann", "ann", Role::Agent));
        assert!(ann.domains.hold(&DomainId::parse("shop.example").unwrap()));
        assert!(!ann.domains.hold(&DomainId::parse("other.example").unwrap()));
        assert_eq!(ann.expires_at, UnixMs(3_600_000));
        let all = made(&["--role", "admin", "--sub", "b", "--domain", "*", "--room", "r", "--name", "Bob"]);
        assert!(all.domains == Domains::All && all.rooms.is_some_and(|rooms| rooms.len() == 1));
    }
}
