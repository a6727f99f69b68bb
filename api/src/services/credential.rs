//! A service's token: a JWT of at most five minutes, signed with a key whose public half the ledger has.
//!
//! The type in its header (RFC 8725, section 3.11) tells it apart from a session's before anything is looked up. The key decides
//! which service it is: what the token says must agree. A token whose signature was checked once is remembered; its key and its
//! time are looked at each time.

use std::sync::Arc;

use holdfast_ledger::command::Service;
use holdfast_ledger::entities::ServiceKey;
use holdfast_ledger::query;
use holdfast_raft::node::Consistency;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use crate::app::{App, Ledger};
use crate::error::Fault;
use crate::remembered::Remembered;
use crate::token::LEEWAY_S;

/// The `typ` of a service's token, and its `iss`.
const TYPE: &str = "holdfast-service+jwt";
const ISSUER: &str = "holdfast:service";
/// The longest life of a service's token, in seconds.
const TTL_S_MAX: u64 = 300;
/// The longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 2_048;

/// Checked tokens that are remembered, twice over: there are few services, and each has one for minutes.
const REMEMBERED_MAX: usize = 256;

#[derive(Clone, Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
}

/// A token whose signature, issuer and audience are right, and the public key that says so.
#[derive(Clone)]
struct Checked {
    public_key: Arc<[u8]>,
    claims: Claims,
}

/// The tokens of services that were checked before.
pub struct ServiceTokens(Remembered<Checked>);

impl Default for ServiceTokens {
    fn default() -> ServiceTokens {
        ServiceTokens(Remembered::new(REMEMBERED_MAX))
    }
}

/// Whether a token says that it is a service's.
pub fn is_service_token(token: &str) -> bool {
    token.len() <= TOKEN_BYTES_MAX
        && jsonwebtoken::decode_header(token).is_ok_and(|header| header.typ.as_deref() == Some(TYPE))
}

/// The service that has signed a token; `None` for one that does not count.
pub async fn verify(app: &App, token: &str) -> Result<Option<Service>, Fault> {
    let Some(key_id) = jsonwebtoken::decode_header(token).ok().and_then(|header| header.kid) else { return Ok(None) };
    let find = |state: &Ledger| query::service_key(state, &key_id);
    let key = match app.read(Consistency::Stale, find).await?.value {
        Some(key) => Some(key),
        // A key that was registered a moment ago may not have arrived here.
        None => app.read(Consistency::Linearizable, find).await?.value,
    };
    Ok(key.and_then(|key| app.service_tokens.signed_by(token, &key, &app.settings.issuer, app.now_s())))
}

/// The service that has signed a token, by the keys that have arrived at this node.
pub async fn verify_here(app: &App, token: &str) -> Option<Service> {
    let key_id = jsonwebtoken::decode_header(token).ok()?.kid?;
    let key = app.read(Consistency::Stale, |state: &Ledger| query::service_key(state, &key_id)).await.ok()?.value?;
    app.service_tokens.signed_by(token, &key, &app.settings.issuer, app.now_s())
}

impl ServiceTokens {
    /// The service that `key` is, if it has signed the token for this audience and the token counts at `now_s`.
    fn signed_by(&self, token: &str, key: &ServiceKey, audience: &str, now_s: u64) -> Option<Service> {
        let remembered = self.0.get(token).filter(|checked| *checked.public_key == *key.public_key);
        let claims = match remembered {
            Some(checked) => checked.claims,
            None => {
                let claims = check(token, &key.public_key, audience)?;
                self.0.insert(token, Checked { public_key: key.public_key[..].into(), claims: claims.clone() });
                claims
            }
        };
        let in_time =
            now_s <= claims.exp.saturating_add(LEEWAY_S) && claims.exp <= now_s.saturating_add(TTL_S_MAX + LEEWAY_S);
        (in_time && claims.sub == name(key.service)).then_some(key.service)
    }
}

/// What a token says that this key has signed for this audience, whatever its time.
fn check(token: &str, public_key: &[u8], audience: &str) -> Option<Claims> {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_audience(&[audience]);
    validation.set_issuer(&[ISSUER]);
    validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
    // By the node's own clock, at each use.
    validation.validate_exp = false;
    Some(jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_ed_der(public_key), &validation).ok()?.claims)
}

fn name(service: Service) -> &'static str {
    match service {
        Service::Payments => "payments",
        Service::Notifications => "notifications",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing_key::SigningKey;
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::{Value, json};

    fn private(seed: u8) -> EncodingKey {
        let prefix = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
        EncodingKey::from_ed_der(&[&prefix[..], &[seed; 32]].concat())
    }

    fn registered(seed: u8, service: Service) -> ServiceKey {
        let holdfast_ledger::command::Command::RegisterNodeKey { public_key, .. } =
            SigningKey::from_seed(&[seed; 32]).register()
        else {
            unreachable!("a node's key is registered as such")
        };
        ServiceKey { service, public_key, registered_ms: 0 }
    }

    fn claims() -> Value {
        json!({"iss": ISSUER, "aud": "holdfast", "sub": "payments", "iat": 1_000, "exp": 1_100})
    }

    fn token(claims: &Value, seed: u8) -> String {
        let header = Header { typ: Some(TYPE.into()), kid: Some("k".into()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, claims, &private(seed)).unwrap()
    }

    #[test]
    fn a_token_counts_under_its_own_key_name_audience_and_time_only() {
        let (tokens, key) = (ServiceTokens::default(), registered(1, Service::Payments));
        let signed = |claims: &Value, seed, now_s| tokens.signed_by(&token(claims, seed), &key, "holdfast", now_s);
        assert_eq!(signed(&claims(), 1, 1_000), Some(Service::Payments));
        assert_eq!(signed(&claims(), 1, 1_105), Some(Service::Payments));
        assert_eq!(signed(&claims(), 1, 1_106), None, "it has expired");
        assert_eq!(signed(&claims(), 1, 700), None, "it lives too long");
        assert_eq!(signed(&claims(), 2, 1_000), None, "another key");
        for (member, value) in [("iss", "holdfast"), ("aud", "elsewhere"), ("sub", "notifications")] {
            let mut other = claims();
            other[member] = json!(value);
            assert_eq!(signed(&other, 1, 1_000), None, "{member}");
        }
        let as_other = |key: &ServiceKey| tokens.signed_by(&token(&claims(), 1), key, "holdfast", 1_000);
        assert_eq!(as_other(&registered(1, Service::Notifications)), None);
        assert_eq!(
            as_other(&registered(2, Service::Payments)),
            None,
            "what one key has signed is remembered for that one"
        );
    }

    #[test]
    fn only_a_typed_token_is_taken_for_a_services() {
        assert!(is_service_token(&token(&claims(), 1)));
        let session = jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims(), &private(1)).unwrap();
        assert!(!is_service_token(&session));
        assert!(!is_service_token("x"));
    }
}
