//! What an operator asks of the list.

use super::State;
use crate::ids::{DomainId, UserId};
use crate::limits::{ROOMS_LISTED_DEFAULT, ROOMS_LISTED_MAX};
use crate::protocol::error::ClientError;
use crate::protocol::query::Query;

/// `GET /rooms`. Newest first: in the order in which something last happened.
pub struct RoomsQuery {
    pub domain: DomainId,
    pub filter: Filter,
    /// Whose unread messages are counted.
    pub reader: Option<UserId>,
    pub limit: usize,
    pub cursor: Option<Cursor>,
}

#[derive(Default)]
pub struct Filter {
    pub state: Option<State>,
    pub assignee: Assignee,
}

#[derive(Default)]
pub enum Assignee {
    #[default]
    Anyone,
    Nobody,
    One(UserId),
}

/// Where a reader of the list stands. Rooms that change meanwhile move to the top, behind the reader's back, so the cursor
/// remembers where the top was: those that have passed it since follow at the end. Nothing is missed, and what is seen
/// twice has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub way: Way,
    /// The last change that the first page knew of.
    pub top: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Rooms whose last change is before this one, newest first.
    Down(u64),
    /// Rooms that have changed since, oldest first.
    Up(u64),
}

const CURSOR_RULE: &str = "must be one that the page before came with";

impl RoomsQuery {
    pub fn parse(query: &str) -> Result<Self, ClientError> {
        let query = Query::parse(query);
        let state = query.get("state").map(|state| {
            State::parse(state)
                .ok_or_else(|| ClientError::invalid("state", "must be open, waiting, live or closed"))
        });
        let assignee = match query.get("assignee") {
            Some("") => Assignee::Nobody,
            _ => query.user("assignee")?.map_or(Assignee::Anyone, Assignee::One),
        };
        let cursor = query
            .get("cursor")
            .map(|cursor| Cursor::parse(cursor).ok_or_else(|| ClientError::invalid("cursor", CURSOR_RULE)));
        Ok(Self {
            domain: query.domain()?,
            filter: Filter { state: state.transpose()?, assignee },
            reader: query.user("userId")?,
            limit: query.limit(ROOMS_LISTED_DEFAULT, ROOMS_LISTED_MAX)?,
            cursor: cursor.transpose()?,
        })
    }
}

impl Cursor {
    pub fn parse(text: &str) -> Option<Self> {
        let (way, rest) = text.split_at_checked(1)?;
        let (at, top) = rest.split_once('.')?;
        let number = |text: &str| text.parse().ok().filter(|number| *number < 1 << 52);
        let (at, top) = (number(at)?, number(top)?);
        let way = match way {
            "d" => Way::Down(at),
            "u" => Way::Up(at),
            _ => return None,
        };
        Some(Self { way, top })
    }

    pub fn written(self) -> String {
        match self.way {
            Way::Down(at) => format!("d{at}.{}", self.top),
            Way::Up(at) => format!("u{at}.{}", self.top),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for cursor in [Cursor { way: Way::Down(7), top: 9 }, Cursor { way: Way::Up(0), top: 1 << 51 }] {
            assert_eq!(Cursor::parse(&cursor.written()), Some(cursor));
        }
    }

    #[test]
    fn what_no_page_came_with_is_no_cursor() {
        for garbage in
            ["", "d", "d1", "d1.", "d.1", "x1.1", "d-1.1", "d1.1 OR 1=1", "ü1.1", "d99999999999999999999.1"]
        {
            assert_eq!(Cursor::parse(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn refusals_name_what_is_wrong() {
        for (query, field) in [
            ("", "domainId"),
            ("domainId=a%00", "domainId"),
            ("domainId=a&state=lively", "state"),
            ("domainId=a&limit=0", "limit"),
            ("domainId=a&limit=many", "limit"),
            ("domainId=a&cursor=1", "cursor"),
            ("domainId=a&userId=", "userId"),
        ] {
            let refused = RoomsQuery::parse(query).map(|_| ()).map_err(|error| error.message);
            assert!(matches!(&refused, Err(why) if why.starts_with(field)), "{query}: {refused:?}");
        }
        assert!(RoomsQuery::parse("domainId=a&state=live&assignee=&limit=9999").is_ok_and(|query| {
            matches!(query.filter.assignee, Assignee::Nobody) && query.limit == ROOMS_LISTED_MAX
        }));
    }
}
