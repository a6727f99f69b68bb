//! Who a service is: an Ed25519 key of its own, and the short-lived tokens that it signs with it.
//!
//! The public half stands in the ledger, so that every node can check a token without asking anybody; the secret half never
//! leaves the service. A token is explicitly typed (RFC 8725, section 3.11), so that it can never be taken for a session's.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_ledger::command::{Command, Service};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

/// The `typ` of a service's token.
pub const TOKEN_TYPE: &str = "holdfast-service+jwt";
/// The `iss` of a service's token.
pub const TOKEN_ISSUER: &str = "holdfast:service";
/// How long a token is valid, in seconds. The nodes refuse more than five minutes.
pub const TOKEN_TTL_S: u64 = 120;
/// The length of a key's secret seed (RFC 8032), in bytes.
pub const SEED_BYTES: usize = 32;
/// The DER of an Ed25519 private key in PKCS#8 (RFC 8410, section 7), before its 32 bytes.
const PKCS8_PREFIX: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

/// The name of a service in tokens and on the command line.
pub fn service_name(service: Service) -> &'static str {
    match service {
        Service::Payments => "payments",
        Service::Notifications => "notifications",
    }
}

/// A service's own signing key.
pub struct ServiceKey {
    service: Service,
    key_id: String,
    public_key: Vec<u8>,
    private: EncodingKey,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'static str,
    aud: &'a str,
    sub: &'static str,
    iat: u64,
    exp: u64,
}

impl ServiceKey {
    /// The key that grows from 32 secret random bytes. The same seed gives the same key.
    pub fn from_seed(service: Service, seed: &[u8; SEED_BYTES]) -> ServiceKey {
        let private = EncodingKey::from_ed_der(&[&PKCS8_PREFIX[..], seed].concat());
        let jwk = Jwk::from_encoding_key(&private, Algorithm::EdDSA).expect("32 bytes are an Ed25519 seed");
        let AlgorithmParameters::OctetKeyPair(pair) = &jwk.algorithm else {
            unreachable!("an Ed25519 key is an octet key pair")
        };
        let public_key = URL_SAFE_NO_PAD.decode(&pair.x).expect("a JWK is base64url");
        let key_id = jwk.thumbprint(ThumbprintHash::SHA256).expect("an octet key pair has a thumbprint");
        ServiceKey { service, key_id, public_key, private }
    }

    pub fn service(&self) -> Service {
        self.service
    }

    /// The RFC 7638 thumbprint: the `kid` of this key's tokens.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The public half, which the ledger is told.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The command that makes the cluster accept this key's tokens. Actor: the system, or an operator-admin.
    pub fn register(&self) -> Command {
        Command::RegisterServiceKey {
            service: self.service,
            key_id: self.key_id.clone(),
            public_key: self.public_key.clone(),
        }
    }

    /// A token for the cluster whose tokens are issued as `audience`, valid from `now_s` on (seconds since the Unix epoch).
    pub fn token(&self, audience: &str, now_s: u64) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.into());
        header.kid = Some(self.key_id.clone());
        let claims = Claims {
            iss: TOKEN_ISSUER,
            aud: audience,
            sub: service_name(self.service),
            iat: now_s,
            exp: now_s.saturating_add(TOKEN_TTL_S),
        };
        jsonwebtoken::encode(&header, &claims, &self.private).expect("our own key signs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_which_service_under_which_key_and_that_it_is_no_session() {
        let key = ServiceKey::from_seed(Service::Payments, &[1; SEED_BYTES]);
        let token = key.token("holdfast", 1_000);
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!((header.typ.as_deref(), header.kid.as_deref()), (Some(TOKEN_TYPE), Some(key.key_id())));
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["sub"], "payments");
        assert_eq!(claims["exp"], 1_000 + TOKEN_TTL_S);
    }
}
