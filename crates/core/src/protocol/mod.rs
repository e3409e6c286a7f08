//! The wire: what clients may say ([`command`]), what they hear ([`event`]) and how they are refused ([`error`]).
//! Parsing happens here and nowhere else; past this module every value keeps its limits.

pub mod command;
pub mod error;
pub mod event;
pub mod fields;
