//! The bytes of an upload as a request brings them, a piece at a time: the body as it is, or the part `file` of a form. A host
//! brings the stream, and the patience.

mod lead;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use lead::{Bounded, Lead, TooLong};
use multer::{Constraints, Field, Multipart, SizeLimit};
use weeziq_core::files::{Upload, named};
use weeziq_core::protocol::error::{ClientError, ErrorCode};

/// What a form may bring before each of its parts is there: the part before, its boundary, its headers.
const LEAD_BYTES_MAX: u64 = 64 * 1024;
/// A refused body is read that far all the same: whoever is still writing would not see the refusal.
const DRAINED_BYTES_MAX: u64 = 32 * 1024 * 1024;

pub struct Source(Kind);

enum Kind {
    Raw(BoxStream<'static, Result<Bytes, String>>),
    Form(Box<Form>),
    Over,
}

struct Form {
    /// The part that brings the file, once it is found.
    field: Option<Field<'static>>,
    parts: Multipart<'static>,
    lead: Arc<Lead>,
}

impl Source {
    pub fn new(body: impl Stream<Item = Result<Bytes, String>> + Send + 'static) -> Self {
        Self(Kind::Raw(body.boxed()))
    }

    pub fn empty() -> Self {
        Self(Kind::Over)
    }

    /// If it is a form, goes to the part that brings the file. What it says of that is added to what the query says.
    pub async fn find_file(&mut self, upload: &mut Upload, bytes_max: u64) -> Result<(), ClientError> {
        let boundary = upload.content_type.as_deref().and_then(|kind| multer::parse_boundary(kind).ok());
        let Some(boundary) = boundary else { return Ok(()) };
        let Kind::Raw(body) = std::mem::replace(&mut self.0, Kind::Over) else { return Ok(()) };
        let lead = Arc::new(Lead::of(LEAD_BYTES_MAX));
        let limits = SizeLimit::new().whole_stream(bytes_max.max(DRAINED_BYTES_MAX) + LEAD_BYTES_MAX);
        let body = Bounded::new(body, lead.clone());
        let parts = Multipart::with_constraints(body, boundary, Constraints::new().size_limit(limits));
        self.0 = Kind::Form(Box::new(Form { field: None, parts, lead }));
        let Kind::Form(form) = &mut self.0 else { return Ok(()) };
        let field = loop {
            let next = form.parts.next_field().await.map_err(|error| broken(&error))?;
            match next {
                Some(field) if field.name() == Some("file") => break field,
                Some(_) => form.lead.set(LEAD_BYTES_MAX),
                None => {
                    let why = "is required: the part of the form that brings the file";
                    return Err(ClientError::invalid("file", why));
                }
            }
        };
        if upload.name.is_none() {
            upload.name = field.file_name().map(named).transpose()?;
        }
        upload.content_type = field.content_type().map(|kind| kind.as_ref().into());
        form.lead.lift();
        form.field = Some(field);
        Ok(())
    }

    /// None at the end of the file.
    pub async fn read(&mut self) -> Result<Option<Bytes>, ClientError> {
        match &mut self.0 {
            Kind::Raw(body) => body.next().await.transpose().map_err(|_| broke_off()),
            Kind::Form(form) => match &mut form.field {
                Some(field) => field.chunk().await.map_err(|error| broken(&error)),
                None => Ok(None),
            },
            Kind::Over => Ok(None),
        }
    }

    /// Nor is it waited for any more.
    pub fn give_up(&mut self) {
        self.0 = Kind::Over;
    }

    /// Reads what is left, so that the answer is heard: behind the file, or after a refusal.
    pub async fn drain(mut self) {
        let mut left = DRAINED_BYTES_MAX;
        while let Ok(Some(piece)) = self.read().await {
            left = left.saturating_sub(piece.len() as u64);
            if left == 0 {
                return;
            }
        }
        if let Kind::Form(form) = self.0 {
            let Form { field, mut parts, lead } = *form;
            // A form gives its next part once this one is let go.
            drop(field);
            lead.set(LEAD_BYTES_MAX);
            while let Ok(Some(_)) = parts.next_field().await {}
        }
    }
}

pub fn too_slow() -> ClientError {
    ClientError::invalid("body", "came too slowly, or did not end; nothing of it was kept")
}

fn broke_off() -> ClientError {
    ClientError::invalid("body", "broke off; nothing of it was kept")
}

fn broken(error: &multer::Error) -> ClientError {
    let too_large = |why| ClientError::new(ErrorCode::TooLarge, why);
    match error {
        multer::Error::StreamReadFailed(error) if error.is::<TooLong>() => {
            too_large("each field of a form but its file must have 64 KiB at most; let `file` be the first")
        }
        multer::Error::StreamSizeExceeded { .. } | multer::Error::FieldSizeExceeded { .. } => {
            too_large("the form is too large")
        }
        multer::Error::StreamReadFailed(_)
        | multer::Error::IncompleteStream
        | multer::Error::IncompleteFieldData { .. } => broke_off(),
        error => ClientError::invalid("body", &format!("is no multipart/form-data: {error}")),
    }
}

#[cfg(test)]
mod tests;
