//! Changes of the members: planned, and made.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use holdfast_raft::node::{ManageError, Node, Unavailable};
use holdfast_raft::plan::{Change, Plan};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::noted::{By, named};

/// What to plan, or to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// `None`: how the members stand.
    pub change: Option<Change>,
    /// The membership that was planned on; a change is made on no other.
    pub basis: Option<u64>,
}

/// Why a change was not planned or not made: a status, a name that stays the same, one line.
pub struct Declined {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl IntoResponse for Declined {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.message, "code": self.code }))).into_response()
    }
}

impl From<Unavailable> for Declined {
    fn from(error: Unavailable) -> Declined {
        let code = match error {
            Unavailable::NoLeader => "no_leader",
            Unavailable::Unknown => "unknown",
            Unavailable::Overloaded => "overloaded",
            Unavailable::TooLarge => "too_large",
            Unavailable::Stopping => "stopping",
            Unavailable::Version { .. } => "version",
        };
        Declined { status: StatusCode::SERVICE_UNAVAILABLE, code, message: error.to_string() }
    }
}

impl From<ManageError> for Declined {
    fn from(error: ManageError) -> Declined {
        match error {
            ManageError::Unavailable(error) => error.into(),
            ManageError::Refused(refusal) => {
                Declined { status: StatusCode::CONFLICT, code: refusal.code(), message: refusal.to_string() }
            }
            ManageError::NotTakenOver(_) => {
                Declined { status: StatusCode::SERVICE_UNAVAILABLE, code: "not_taken_over", message: error.to_string() }
            }
        }
    }
}

impl From<JsonRejection> for Declined {
    fn from(rejection: JsonRejection) -> Declined {
        Declined { status: rejection.status(), code: "bad_request", message: rejection.body_text() }
    }
}

/// `POST /cluster/plan`: what a change would do.
pub async fn plan(State(node): State<Node>, body: Result<Json<Asked>, JsonRejection>) -> Result<Json<Plan>, Declined> {
    let Json(asked) = body?;
    Ok(Json(node.plan(asked.change).await?))
}

/// `POST /cluster/change`: makes a change, which the audit tells, and says how the members stand then.
pub async fn change(
    State(node): State<Node>,
    by: By,
    body: Result<Json<Asked>, JsonRejection>,
) -> Result<Json<Option<Plan>>, Declined> {
    let Json(asked) = body?;
    let change = asked.change.ok_or_else(|| Declined {
        status: StatusCode::BAD_REQUEST,
        code: "bad_request",
        message: "change: which one?".into(),
    })?;
    let (operation, of) = named(&change);
    by.asks(&node, operation, of).await?;
    let made = node.change(change, asked.basis).await;
    by.ended(&node, operation, of, made.is_ok()).await;
    made?;
    // The change is made; where no leader is known for the moment, only the look at it is missing.
    Ok(Json(node.plan(None).await.ok()))
}
