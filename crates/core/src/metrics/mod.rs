//! What a host tells whoever watches over it, in Prometheus' text form: the page, and the families that both hosts tell.
//! What is counted, and how it comes together, is a host's own.

pub mod families;
mod histogram;
mod text;

pub use histogram::Histogram;
pub use text::{CONTENT_TYPE, Labels, Page, sample};
