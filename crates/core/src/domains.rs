//! What an operator sets for one web site. Hosts keep it where reading is cheap: it is read for each question and
//! written now and then.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ids::DomainId;
use crate::protocol::error::{ClientError, ErrorCode};
use crate::protocol::fields::Field;

/// A field that is left out has the service's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DomainSettings {
    /// As the site calls itself to its visitors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub welcome_message: Option<Box<str>>,
    /// What the AI is told first in every conversation of the site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<Box<str>>,
    /// Shown when no model answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_message: Option<Box<str>>,
    /// Answers where a question names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Box<str>>,
}

/// The body of `PUT /domains/:domainId`, before its limits are checked.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Body<'a> {
    #[serde(borrow)]
    name: Field<'a>,
    #[serde(borrow)]
    welcome_message: Field<'a>,
    #[serde(borrow)]
    system_prompt: Field<'a>,
    #[serde(borrow)]
    fallback_message: Field<'a>,
    #[serde(borrow)]
    model: Field<'a>,
}

impl DomainSettings {
    /// What a client asks for. It replaces all that was set before.
    pub fn parse(json: &str) -> Result<Self, ClientError> {
        let not_an_object = |_| ClientError::new(ErrorCode::InvalidJson, "the body must be a JSON object");
        let body: Body<'_> = match json.trim_start().starts_with('{') {
            true => serde_json::from_str(json).map_err(not_an_object)?,
            false => return Err(ClientError::new(ErrorCode::InvalidJson, "the body must be a JSON object")),
        };
        Ok(Self {
            name: body.name.label("name")?,
            welcome_message: body.welcome_message.message("welcomeMessage")?,
            system_prompt: body.system_prompt.message("systemPrompt")?,
            fallback_message: body.fallback_message.message("fallbackMessage")?,
            model: body.model.label("model")?,
        })
    }

    /// As they were kept. What a newer or a damaged record says that this release cannot read counts as not set.
    pub fn of_stored(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_default()
    }

    pub fn to_stored(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What `GET` and `PUT` answer.
    pub fn body(&self, domain: &DomainId) -> Value {
        let mut body = json!(self);
        if let Some(body) = body.as_object_mut() {
            body.insert("domainId".into(), json!(domain));
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_was_asked_for() {
        let asked = r#"{"name":"Shop","systemPrompt":"Be brief.","model":null,"unknown":1}"#;
        let Ok(settings) = DomainSettings::parse(asked) else { panic!("{asked} is refused") };
        assert_eq!(settings.name.as_deref(), Some("Shop"));
        assert_eq!(settings.model, None);
        assert_eq!(DomainSettings::of_stored(&settings.to_stored()), settings);
    }

    #[test]
    fn refusals_name_the_field() {
        for (body, word) in [
            (r#"{"systemPrompt":7}"#, "systemPrompt"),
            (r#"{"name":"a\nb"}"#, "name"),
            ("[]", "JSON object"),
            ("", "JSON object"),
        ] {
            let refused = DomainSettings::parse(body).map_err(|error| error.message);
            assert!(matches!(&refused, Err(why) if why.contains(word)), "{body}");
        }
        let long = format!(r#"{{"fallbackMessage":"{}"}}"#, "x".repeat(20_000));
        assert!(DomainSettings::parse(&long).is_err_and(|error| error.code == ErrorCode::TooLarge));
    }

    #[test]
    fn a_damaged_record_is_an_unset_one() {
        assert_eq!(DomainSettings::of_stored("{"), DomainSettings::default());
        assert_eq!(DomainSettings::of_stored(r#"{"name":[]}"#), DomainSettings::default());
    }
}
