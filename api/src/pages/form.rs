//! Forms: what was posted, and what is shown again when it was not good.

use axum::body::Body;
use axum::extract::{FromRequest, Query, Request};
use bytes::Bytes;
use http::Uri;

use super::Pages;
use super::api::query;
use super::problem::{Complaint, Problem};
use super::visit::Visit;
use crate::body::{self, BODY_BYTES_MAX};
use crate::csrf;
use crate::session::Identity;

/// The longest address that carries what was typed, in bytes.
const CARRIED_BYTES_MAX: usize = 6_000;
/// What such an address is known by.
const KEPT: &str = "kept";

/// The fields of a posted form, in order, of at most `MAX` bytes. Its token was checked: where it is out of date, the visit may
/// write nothing.
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

    /// `page` with these of the form's fields in its address, so that they are there again after a sign-in; without them where
    /// they are too long for an address.
    pub fn carried_to(&self, page: &str, fields: &[&str]) -> String {
        let mut pairs: Vec<(&str, &str)> = fields.iter().map(|name| (*name, self.get(name))).collect();
        pairs.push((KEPT, "1"));
        let carried = format!("{page}{}", query(&pairs));
        if carried.len() > CARRIED_BYTES_MAX { page.to_string() } else { carried }
    }
}

impl<const MAX: usize> FromRequest<Pages> for Form<MAX> {
    type Rejection = Problem;

    async fn from_request(request: Request, pages: &Pages) -> Result<Form<MAX>, Problem> {
        let (parts, body) = request.into_parts();
        let bytes: Bytes = body::read(body, MAX).await.map_err(|fault| Problem::from(&fault))?;
        let (headers, identity) = (parts.headers.clone(), parts.extensions.get::<Identity>().cloned());
        let visit = Visit::of(&parts.extensions);
        let whole = Request::from_parts(parts, Body::from(bytes));
        let fields = axum::Form::<Vec<(String, String)>>::from_request(whole, &()).await;
        let unread = |_| Problem::bad("malformed_form", "The form could not be read. Go back and send it again.");
        let axum::Form(fields) = fields.map_err(unread)?;
        let form = Form(fields);
        let identity = identity.unwrap_or(Identity::Anonymous);
        if let Err(fault) = csrf::check(&pages.app, &identity, &headers, form.get(csrf::FIELD)).await {
            let problem = Problem::from(&fault);
            if !problem.is_out_of_date() {
                return Err(problem);
            }
            visit.api.bar(Problem::out_of_date());
        }
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
    /// A form whose fields stand in the page's address; `None` where none does.
    pub fn carried(uri: &Uri) -> Option<Sheet> {
        let Query(values) = Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
        let complaints = Vec::new();
        values.iter().any(|(name, _)| name == KEPT).then_some(Sheet { values, complaints })
    }

    /// Says beside each field what it holds by now, where that is something else.
    pub fn complain_of_changes(&mut self, saved: &Sheet, fields: &[&str]) {
        for name in fields {
            if self.value(name) == saved.value(name) {
                continue;
            }
            let message = match saved.value(name) {
                "" => "Saved meanwhile: nothing.".to_string(),
                value => format!("Saved meanwhile: {value}"),
            };
            self.complaints.push(Complaint { message, field: name.to_string(), code: String::new() });
        }
    }

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
