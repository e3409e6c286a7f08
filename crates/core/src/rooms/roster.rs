//! Who is in a room. Everything that happens at each arrival and parting takes a time that does not grow with the room,
//! so that thousands may drop out and come back at once; only a list of all takes longer, and that is told seldom.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Member;
use crate::ids::{ConnId, UserId};
use crate::time::UnixMs;

#[derive(Default)]
pub(super) struct Roster {
    members: HashMap<ConnId, Arc<Member>>,
    /// Whose connection died a moment ago, by when they stop counting as present and the row that they are kept in.
    leaving: BTreeMap<(UnixMs, i64), Arc<Member>>,
    users: HashMap<UserId, Presence>,
}

/// What stands for a user.
#[derive(Default)]
struct Presence {
    connections: u32,
    /// In `leaving`, oldest first.
    dropped: Vec<(UnixMs, i64)>,
}

impl Roster {
    pub(super) fn of(members: impl IntoIterator<Item = (ConnId, Arc<Member>)>) -> Self {
        let mut roster = Self::default();
        for (conn, member) in members {
            roster.seat(conn, member);
        }
        roster
    }

    /// Takes a connection in, or changes who it is. Who it was before.
    pub(super) fn seat(&mut self, conn: ConnId, member: Arc<Member>) -> Option<Arc<Member>> {
        self.users.entry(member.user.clone()).or_default().connections += 1;
        let known = self.members.insert(conn, member);
        if let Some(known) = &known {
            self.release(known, |presence| presence.connections -= 1);
        }
        known
    }

    pub(super) fn unseat(&mut self, conn: ConnId) -> Option<Arc<Member>> {
        let member = self.members.remove(&conn)?;
        self.release(&member, |presence| presence.connections -= 1);
        Some(member)
    }

    pub(super) fn get(&self, conn: ConnId) -> Option<&Arc<Member>> {
        self.members.get(&conn)
    }

    pub(super) fn members(&self) -> &HashMap<ConnId, Arc<Member>> {
        &self.members
    }

    /// Counts as present until then.
    pub(super) fn drop_out(&mut self, member: Arc<Member>, row: i64, until: UnixMs) {
        let dropped = &mut self.users.entry(member.user.clone()).or_default().dropped;
        dropped.push((until, row));
        self.leaving.insert((until, row), member);
    }

    /// A connection of this user that dropped out counts as back. Its row.
    pub(super) fn take_back(&mut self, user: &UserId, now: UnixMs) -> Option<i64> {
        let newest = *self.users.get(user)?.dropped.last().filter(|(until, _)| *until > now)?;
        let member = self.leaving.remove(&newest)?;
        self.release(&member, |presence| presence.dropped.retain(|dropped| *dropped != newest));
        Some(newest.1)
    }

    /// Takes out one that did not come back in time, and its row.
    pub(super) fn take_gone(&mut self, now: UnixMs) -> Option<(i64, Arc<Member>)> {
        let first = self.leaving.first_entry().filter(|first| first.key().0 <= now)?;
        let (key, member) = first.remove_entry();
        self.release(&member, |presence| presence.dropped.retain(|dropped| *dropped != key));
        Some((key.1, member))
    }

    /// When the first of those who dropped out stops counting.
    pub(super) fn due(&self) -> Option<UnixMs> {
        self.leaving.first_key_value().map(|((until, _), _)| *until)
    }

    pub(super) fn connections(&self) -> usize {
        self.members.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.leaving.is_empty()
    }

    /// How many people that are, each counted once.
    pub(super) fn count(&self) -> usize {
        self.users.len()
    }

    /// Each user once, in the order in which they came.
    pub(super) fn people(&self) -> Vec<&Member> {
        let mut people: HashMap<&UserId, &Member> = HashMap::with_capacity(self.users.len());
        for member in self.members.values().chain(self.leaving.values()) {
            let listed = people.entry(&member.user).or_insert(member);
            // Several connections of one user: the newest speaks for them.
            if (member.since, member.socket.as_str()) > (listed.since, listed.socket.as_str()) {
                *listed = member;
            }
        }
        let mut people: Vec<&Member> = people.into_values().collect();
        people.sort_by(|a, b| (a.since, &a.user).cmp(&(b.since, &b.user)));
        people
    }

    fn release(&mut self, member: &Member, change: impl FnOnce(&mut Presence)) {
        if let Some(presence) = self.users.get_mut(&member.user) {
            change(presence);
            if presence.connections == 0 && presence.dropped.is_empty() {
                self.users.remove(&member.user);
            }
        }
    }
}
