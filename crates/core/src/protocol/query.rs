//! The query of an address, as routes read it.

use std::borrow::Cow;

use crate::ids::{DomainId, ID_RULE, UserId};
use crate::protocol::error::ClientError;

/// Its pairs, decoded. Of several of one name the first counts.
pub struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Without its question mark.
    pub fn parse(query: &'a str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref())
    }

    pub fn domain(&self) -> Result<DomainId, ClientError> {
        let name = self.get("domainId").ok_or_else(|| ClientError::invalid("domainId", "is required"))?;
        DomainId::parse(name).ok_or_else(|| ClientError::invalid("domainId", ID_RULE))
    }

    pub fn user(&self, name: &str) -> Result<Option<UserId>, ClientError> {
        let user =
            self.get(name).map(|id| UserId::parse(id).ok_or_else(|| ClientError::invalid(name, ID_RULE)));
        user.transpose()
    }

    pub fn count(&self, name: &str) -> Result<Option<u64>, ClientError> {
        let number = self.get(name).map(|value| {
            value.parse().map_err(|_| ClientError::invalid(name, "must be a whole number, 0 or more"))
        });
        number.transpose()
    }

    /// How many of something are wanted. A larger number is clamped.
    pub fn limit(&self, default: usize, most: usize) -> Result<usize, ClientError> {
        match self.count("limit")? {
            Some(0) => Err(ClientError::invalid("limit", "must be 1 or more")),
            limit => Ok(limit.map_or(default, |limit| limit.min(most as u64) as usize)),
        }
    }
}
