//! The keys' part of the operator's listener.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use super::rotation::{Rotation, RotationError};
use super::views::KeysView;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotate {
    #[serde(default)]
    now: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Retire {
    key_id: String,
}

impl IntoResponse for RotationError {
    fn into_response(self) -> Response {
        let status = match self {
            RotationError::Folder(_) => StatusCode::INTERNAL_SERVER_ERROR,
            RotationError::Unavailable(_) | RotationError::Unfinished => StatusCode::SERVICE_UNAVAILABLE,
            RotationError::Refused(_) | RotationError::Signs => StatusCode::CONFLICT,
        };
        (status, Json(json!({ "error": self.to_string() }))).into_response()
    }
}

/// `/keys`, `/keys/rotate` and `/keys/retire`.
pub fn routes(rotation: Arc<Rotation>) -> Router {
    Router::new()
        .route("/keys", get(show))
        .route("/keys/rotate", post(rotate))
        .route("/keys/retire", post(retire))
        .with_state(rotation)
}

async fn show(State(rotation): State<Arc<Rotation>>) -> Result<Json<KeysView>, RotationError> {
    Ok(Json(rotation.view().await?))
}

async fn rotate(
    State(rotation): State<Arc<Rotation>>,
    body: Result<Json<Rotate>, JsonRejection>,
) -> Result<Response, RotationError> {
    match body {
        Ok(Json(rotate)) => {
            rotation.begin(rotate.now).await?;
            Ok(Json(rotation.view().await?).into_response())
        }
        Err(rejection) => Ok(malformed(&rejection)),
    }
}

async fn retire(
    State(rotation): State<Arc<Rotation>>,
    body: Result<Json<Retire>, JsonRejection>,
) -> Result<Response, RotationError> {
    match body {
        Ok(Json(retire)) => {
            rotation.retire(&retire.key_id).await?;
            Ok(Json(rotation.view().await?).into_response())
        }
        Err(rejection) => Ok(malformed(&rejection)),
    }
}

fn malformed(rejection: &JsonRejection) -> Response {
    (rejection.status(), Json(json!({ "error": rejection.body_text() }))).into_response()
}
