//! Who may do what, and how often.

pub mod origins;
pub mod rate;
