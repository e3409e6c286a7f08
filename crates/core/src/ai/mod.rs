//! Answers from models: what is asked ([`context`]) of whom ([`models`], [`endpoints`]), when again or of another
//! ([`asking`], [`breaker`]), how the providers' wires are spoken ([`openai`], [`gemini`]) and what answers when there is no
//! provider ([`demo`]). The run of one answer lives in its room.

pub mod asking;
pub mod breaker;
pub mod briefing;
pub mod context;
pub mod demo;
pub mod ending;
pub mod endpoints;
pub mod gemini;
pub mod handover;
pub mod model;
pub mod models;
pub mod openai;
pub mod sse;
pub mod status;
pub mod tokens;
