//! What a host looks up for a question before the room takes its turn with it.

use std::sync::Arc;

use crate::domains::DomainSettings;
use crate::ids::DomainId;
use crate::knowledge::Passage;
use crate::protocol::command::Page;
use crate::spending::Allowance;

/// Of the domain that the question is asked on.
#[derive(Clone, Default)]
pub struct Briefing {
    pub settings: Arc<DomainSettings>,
    /// What the domain's documents say to the question, the best first.
    pub passages: Arc<[Passage]>,
    /// Where the visitor is, as far as the domain may tell.
    pub page: Option<Page>,
    pub allowance: Allowance,
    /// Whose account the answer is for; None keeps none.
    pub account: Option<DomainId>,
}
