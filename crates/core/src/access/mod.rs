//! Who may do what, and how often.

pub mod address;
pub mod origins;
pub mod rate;
pub mod secret;
