//! Who may do what, and how often.

pub mod address;
pub mod identity;
pub mod origins;
pub mod rate;
pub mod rights;
pub mod secret;
pub mod token;
