//! What a model is told beside the conversation, and what a visitor is told when no model answers.

/// Shown when every attempt failed.
pub const FALLBACK: &str = "I'm sorry, I can't answer just now. Please try again in a moment, or leave a message and we will get back to you.";

/// The request's own prompt, else one that names the site.
pub fn system_prompt(own: Option<&str>, domain: Option<&str>) -> String {
    match (own.filter(|own| !own.trim().is_empty()), domain) {
        (Some(own), _) => own.into(),
        (None, Some(domain)) => {
            format!("You are the customer support assistant of {domain}. Be friendly, brief and honest; say so when you do not know.")
        }
        (None, None) => {
            "You are a customer support assistant. Be friendly, brief and honest; say so when you do not know.".into()
        }
    }
}
