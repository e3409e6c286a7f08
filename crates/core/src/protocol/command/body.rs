//! The bodies of HTTP requests: the same fields, without `type`.

use serde::Deserialize;

use super::{Ask, HistoryQuery, SendMessage, VisitorsCommand};
use crate::domains::DomainSettings;
use crate::ids::{DomainId, RoomId, UserId};
use crate::inbox::{DeskCommand, Person, Rating};
use crate::limits::{FRAME_BYTES_MAX, RATING_COMMENT_CHARS_MAX, RATING_MAX};
use crate::protocol::error::{ClientError, ErrorCode};
use crate::protocol::fields::{Field, Fields};
use crate::protocol::use_chat;
use crate::visitors::whence::Whence;

/// A question, and the conversation that it belongs to.
pub struct Question {
    pub conversation: Option<RoomId>,
    pub ask: Ask,
    /// The AI SDK's `useChat` asks, and wants its own stream.
    pub is_use_chat: bool,
}

pub fn ask(json: &str, streamed: bool) -> Result<Question, ClientError> {
    let mut fields = Fields::parse(json)?;
    let messages = fields.messages.filter(|_| matches!(fields.message, Field::Missing));
    if let Some(messages) = messages {
        fields.message = Field::Text(use_chat::last_question(messages)?.into());
        let chat = std::mem::take(&mut fields.id).id("id", RoomId::parse)?;
        if let (Field::Missing, Some(chat)) = (&fields.conversation_id, chat) {
            fields.conversation_id = Field::Text(chat.as_str().to_owned().into());
        }
    }
    if messages.is_none() && json.len() > FRAME_BYTES_MAX {
        let why = format!("the body must have {FRAME_BYTES_MAX} bytes at most");
        return Err(ClientError::new(ErrorCode::TooLarge, why));
    }
    let room = std::mem::take(&mut fields.room_id).id("roomId", RoomId::parse)?;
    let (conversation, ask) = Ask::parse(fields, streamed)?;
    let ask = Ask { room, ..ask };
    Ok(Question { conversation, ask, is_use_chat: messages.is_some() })
}

/// What is asked of one room of the inbox: `verb` is what its route does.
pub fn desk(verb: &str, query: &str, json: &str) -> Result<DeskCommand, ClientError> {
    Ok(match verb {
        "history" => DeskCommand::History(HistoryQuery::of_query(query)?),
        "send" => DeskCommand::Send(SendMessage::parse(Fields::parse(json)?)?),
        "assign" => DeskCommand::Assign(assignee(json)?),
        "close" => DeskCommand::Close,
        "reopen" => DeskCommand::Reopen,
        "rate" => DeskCommand::Rate(rating(json)?),
        "remembered" => DeskCommand::Remembered(query.parse().unwrap_or(0)),
        "erase" => DeskCommand::Erase,
        "retain" => DeskCommand::Retain(DomainSettings::of_stored(json).retention),
        "anonymise" => {
            let user = Fields::parse(json)?.user_id.required_id("userId", UserId::parse)?;
            DeskCommand::Anonymise(user)
        }
        _ => DeskCommand::Show,
    })
}

/// Whose a room is from here on; `userId: null` is nobody.
fn assignee(json: &str) -> Result<Option<Person>, ClientError> {
    let fields = Fields::parse(json)?;
    let Some(user_id) = fields.user_id.id("userId", UserId::parse)? else { return Ok(None) };
    let user_name = fields.user_name.required_label("userName")?.into();
    Ok(Some(Person { user_id, user_name }))
}

fn rating(json: &str) -> Result<Rating, ClientError> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default)]
        score: Field<'a>,
        #[serde(borrow, default)]
        comment: Field<'a>,
    }
    let refuse = |_| ClientError::new(ErrorCode::InvalidJson, "expected one JSON object");
    let body: Body<'_> = serde_json::from_str(json).map_err(refuse)?;
    let rule = "must be a whole number from 1 to 5";
    let score = body.score.count("score").ok().flatten().filter(|score| (1..=RATING_MAX).contains(score));
    let score = score.ok_or_else(|| ClientError::invalid("score", rule))?;
    let comment = body.comment.message("comment")?.filter(|comment| !comment.is_empty());
    if comment.as_ref().is_some_and(|comment| comment.chars().count() > RATING_COMMENT_CHARS_MAX) {
        let why = format!("comment must have {RATING_COMMENT_CHARS_MAX} characters at most");
        return Err(ClientError::new(ErrorCode::TooLarge, why));
    }
    Ok(Rating { score: score as u8, comment })
}

/// `kind` is the event that the route stands for.
pub fn visitors(kind: &str, json: &str, whence: &Whence) -> Result<(DomainId, VisitorsCommand), ClientError> {
    let mut fields = Fields::parse(json)?;
    let domain = std::mem::take(&mut fields.domain_id).required_id("domainId", DomainId::parse)?;
    let command = VisitorsCommand::parse(kind, fields, &domain, whence)?;
    Ok((domain, command))
}
