//! What a domain forgets of its visitors, and what it knows of one.

use serde_json::value::RawValue;

use super::{Turn, Visitors};
use crate::Caller;
use crate::ids::VisitorId;
use crate::protocol::event::Event;
use crate::store::erasure::{self, Removed};
use crate::store::{SqlError, visitors as rows};
use crate::time::UnixMs;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

impl Visitors {
    /// Whoever is there is not any more, and was never.
    pub(super) fn erase(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        id: VisitorId,
    ) -> Result<(), SqlError> {
        let was_here = self.here.remove(&id).is_some();
        let mut removed = Removed::default();
        if let Some(row) = self.row {
            erasure::visitor(turn.sql, row, &id, &mut removed)?;
            self.total = self.total.saturating_sub(removed.of("visitors"));
            self.updated_at = turn.cx.now;
            rows::update_domain(turn.sql, row, self.total, turn.cx.now)?;
        }
        if was_here {
            let event = self.left(turn.cx.now, id, true);
            turn.tell_observers(&self.id, event);
        }
        turn.reply(from, Event::VisitorErased { removed });
        Ok(())
    }

    /// Visitors who have not been there for so long, and what was counted before that. They were, so they go on counting
    /// as ever having been.
    pub(super) fn retain(&mut self, turn: &mut Turn<'_>, from: &Caller, days: u32) -> Result<(), SqlError> {
        let mut removed = Removed::default();
        let before = UnixMs(turn.cx.now.0 - i64::from(days) * DAY_MS);
        if let Some(row) = self.row {
            erasure::visitors_before(turn.sql, row, before, &mut removed)?;
        }
        self.forget_traffic(turn, before, &mut removed)?;
        turn.reply(from, Event::VisitorErased { removed });
        Ok(())
    }

    pub(super) fn know(&self, turn: &mut Turn<'_>, from: &Caller, id: &VisitorId) -> Result<(), SqlError> {
        let known = self.row.map(|row| erasure::known_visitor(turn.sql, row, id)).transpose()?.flatten();
        let visitor = known.and_then(|known| RawValue::from_string(known.to_string()).ok());
        turn.reply(from, Event::VisitorKnown { visitor });
        Ok(())
    }
}
