//! Shapes that many bodies share, as the document describes them. Only ever described, never made.
#![expect(dead_code, reason = "fields of shapes that are described and never made")]

use utoipa::openapi::schema::{ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::error::Complaint;

/// An entity's id.
pub struct EntityId;

impl PartialSchema for EntityId {
    fn schema() -> RefOr<Schema> {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[0-9a-f]{24}$"))
            .description(Some("24 lowercase hex digits, ordered by creation"));
        schema.examples([serde_json::json!("000000000000000100000000")]).into()
    }
}

impl ToSchema for EntityId {}

/// An amount of money.
pub struct Amount;

impl PartialSchema for Amount {
    fn schema() -> RefOr<Schema> {
        let schema = ObjectBuilder::new().schema_type(Type::Number).description(Some(
            "A decimal with no more decimals than its currency has; sent as a number or as a string",
        ));
        schema.examples([serde_json::json!(19.99)]).into()
    }
}

impl ToSchema for Amount {}

/// An RFC 3339 time.
pub struct Time;

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("RFC 3339; answers are in UTC to the millisecond"))
            .into()
    }
}

impl ToSchema for Time {}

/// An ISO 4217 code.
pub struct CurrencyCode;

impl PartialSchema for CurrencyCode {
    fn schema() -> RefOr<Schema> {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[A-Z]{3}$"))
            .description(Some("An ISO 4217 code; USD where none is given"));
        schema.examples([serde_json::json!("USD")]).into()
    }
}

impl ToSchema for CurrencyCode {}

/// Why a request was not carried out (RFC 9457). Further members tell what the caller needs to go on: `reservedUntil`,
/// `orderId`, `price` and `seenPrice`, and so on.
#[derive(ToSchema)]
pub struct Problem {
    /// `urn:holdfast:problem:` and the first code.
    r#type: String,
    title: String,
    status: u16,
    detail: String,
    /// The path that was asked for.
    instance: String,
    errors: Vec<Complaint>,
    #[schema(rename = "requestId")]
    request_id: String,
}

/// A price from the next release on.
#[derive(ToSchema)]
pub struct NextPrice {
    /// `null` takes it back.
    price: Option<Amount>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct IdempotencyParam {
    /// 1 to 255 printable characters. A repeat under the same key is answered like the first, for 24 hours.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct IfMatchParam {
    /// Only if it still has this entity tag; else 412.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct IfNoneMatchParam {
    /// 304 if it still has this entity tag.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}
