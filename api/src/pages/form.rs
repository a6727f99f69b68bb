//! Forms: what was posted, and what is shown again when it was not good.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;

use super::Pages;
use super::problem::{Complaint, Problem};
use crate::body::{self, BODY_BYTES_MAX};
use crate::csrf;
use crate::session::Identity;

/// The fields of a posted form, in order, of at most `MAX` bytes. Its token was checked.
#[derive(Clone, Default)]
pub struct Form<const MAX: usize = BODY_BYTES_MAX>(Vec<(String, String)>);

impl<const MAX: usize> Form<MAX> {
    /// The first field of this name, without blanks around it; empty where there is none.
    pub fn get(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// The first field of this name as it was typed.
    pub fn raw(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }

    /// What is shown again: everything but secrets, with what is wrong.
    pub fn refused(&self, problem: &Problem) -> Sheet {
        let shown = self.0.iter().filter(|(name, _)| !name.to_ascii_lowercase().contains("password"));
        Sheet { values: shown.cloned().collect(), complaints: problem.complaints.clone() }
    }
}

impl<const MAX: usize> FromRequest<Pages> for Form<MAX> {
    type Rejection = Problem;

    async fn from_request(request: Request, pages: &Pages) -> Result<Form<MAX>, Problem> {
        let (parts, body) = request.into_parts();
        let bytes: Bytes = body::read(body, MAX).await.map_err(|fault| Problem::from(&fault))?;
        let (headers, identity) = (parts.headers.clone(), parts.extensions.get::<Identity>().cloned());
        let whole = Request::from_parts(parts, Body::from(bytes));
        let fields = axum::Form::<Vec<(String, String)>>::from_request(whole, &()).await;
        let unread = |_| Problem::bad("malformed_form", "The form could not be read. Go back and send it again.");
        let axum::Form(fields) = fields.map_err(unread)?;
        let form = Form(fields);
        let identity = identity.unwrap_or(Identity::Anonymous);
        let checked = csrf::check(&pages.app, &identity, &headers, form.get(csrf::FIELD)).await;
        checked.map_err(|fault| Problem::from(&fault))?;
        Ok(form)
    }
}

/// A form as it is shown: what stands in its fields and what is wrong with them.
#[derive(Clone, Default)]
pub struct Sheet {
    values: Vec<(String, String)>,
    complaints: Vec<Complaint>,
}

impl Sheet {
    /// A form with these values and nothing wrong.
    pub fn of(values: &[(&str, &str)]) -> Sheet {
        let values = values.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Sheet { values, complaints: Vec::new() }
    }

    /// Adds what is wrong.
    pub fn complain(&mut self, problem: &Problem) {
        self.complaints.extend(problem.complaints.iter().cloned());
    }

    pub fn value(&self, name: &str) -> &str {
        self.values.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }

    pub fn is(&self, name: &str, value: &str) -> bool {
        self.value(name) == value
    }

    /// What is wrong with this field; empty if nothing is.
    pub fn error(&self, name: &str) -> &str {
        self.complaints.iter().find(|complaint| complaint.field == name).map_or("", |complaint| &complaint.message)
    }

    /// What is wrong with no field that this form shows.
    pub fn errors_beside(&self, fields: &[&str]) -> Vec<&str> {
        let beside = |complaint: &&Complaint| !fields.contains(&complaint.field.as_str());
        self.complaints.iter().filter(beside).map(|complaint| complaint.message.as_str()).collect()
    }

    pub fn is_refused(&self) -> bool {
        !self.complaints.is_empty()
    }
}

/// A key that makes a form's request happen once, however often it is sent.
pub fn fresh_key() -> String {
    format!("page-{:016x}{:016x}", rand::random::<u64>(), rand::random::<u64>())
}
