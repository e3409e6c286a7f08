//! The wire: what clients may say ([`command`]), what they hear ([`event`]) how they are refused ([`error`]) and
//! what all of it looks like over HTTP ([`http`]).
//! Parsing happens here and nowhere else; past this module every value keeps its limits.

pub mod ack;
pub mod command;
pub mod error;
pub mod event;
pub mod fields;
pub mod http;
pub mod query;
pub mod resumption;
pub mod routes;
pub mod use_chat;
