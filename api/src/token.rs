//! Session tokens: compact JWTs, signed with this node's own Ed25519 key, that any node and any other service can check.
//!
//! The public half of every node's key stands in the ledger under its RFC 7638 thumbprint, which is the token's `kid`. A
//! signature that was checked once is remembered; whether the session still holds is looked up at each request (see
//! [`session`](crate::session)). The algorithm is pinned: a token cannot choose one.

use std::collections::HashMap;
use std::sync::Mutex;

use holdfast_ledger::command::Command;
use holdfast_ledger::entities::SignedIn;
use holdfast_ledger::id::{SessionId, UserId};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

/// How far clocks may differ, in seconds.
pub const LEEWAY_S: u64 = 5;
/// The longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 1_024;
/// Checked tokens that are remembered, twice over: a full table becomes the older one, and the older one is dropped.
const REMEMBERED_MAX: usize = 16_384;
/// The DER of an Ed25519 private key in PKCS#8 (RFC 8410, section 7), before its 32 bytes.
const PKCS8_PREFIX: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

/// A node's own signing key.
pub struct SigningKey {
    key_id: String,
    public_key: Vec<u8>,
    private: EncodingKey,
}

impl SigningKey {
    /// The key that grows from 32 secret random bytes (RFC 8032). The same seed gives the same key.
    pub fn from_seed(seed: &[u8; 32]) -> SigningKey {
        let private = EncodingKey::from_ed_der(&[&PKCS8_PREFIX[..], seed].concat());
        let jwk = Jwk::from_encoding_key(&private, Algorithm::EdDSA).expect("32 bytes are an Ed25519 seed");
        let AlgorithmParameters::OctetKeyPair(pair) = &jwk.algorithm else {
            unreachable!("an Ed25519 key is an octet key pair")
        };
        let public_key = base64url_decode(&pair.x).expect("a JWK is base64url");
        let key_id = jwk.thumbprint(ThumbprintHash::SHA256).expect("an octet key pair has a thumbprint");
        SigningKey { key_id, public_key, private }
    }

    /// The command that makes the cluster accept this key's tokens. Actor: the system.
    pub fn register(&self) -> Command {
        Command::RegisterNodeKey { key_id: self.key_id.clone(), public_key: self.public_key.clone() }
    }

    /// The `kid` of this key's tokens.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }
}

pub fn base64url_encode(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

fn base64url_decode(text: &str) -> Option<Vec<u8>> {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()
}

/// What a token says on the wire. No personal data.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: UserId,
    sid: SessionId,
    epoch: u32,
    iat: u64,
    exp: u64,
}

/// A token whose signature, issuer and audience are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    pub signed_in: SignedIn,
    /// Seconds since the Unix epoch.
    pub issued_s: u64,
    pub expires_s: u64,
}

impl Verified {
    pub fn is_expired(&self, now_s: u64) -> bool {
        now_s > self.expires_s.saturating_add(LEEWAY_S)
    }
}

/// Makes and checks tokens.
pub struct Tokens {
    key: SigningKey,
    issuer: String,
    validation: Validation,
    remembered: Mutex<[HashMap<Box<str>, Verified>; 2]>,
}

impl Tokens {
    pub fn new(key: SigningKey, issuer: &str) -> Tokens {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[issuer]);
        validation.set_issuer(&[issuer]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        // Expiry is checked at each use, by the node's own clock; the signature only once.
        validation.validate_exp = false;
        Tokens { key, issuer: issuer.into(), validation, remembered: Mutex::default() }
    }

    /// A token for a session, valid from `now_s` on for `ttl_s` seconds.
    pub fn issue(&self, signed_in: SignedIn, now_s: u64, ttl_s: u64) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.key.key_id.clone());
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.issuer.clone(),
            sub: signed_in.user,
            sid: signed_in.session,
            epoch: signed_in.epoch,
            iat: now_s,
            exp: now_s.saturating_add(ttl_s),
        };
        jsonwebtoken::encode(&header, &claims, &self.key.private).expect("our own key signs")
    }

    /// A token that was checked before.
    pub fn remembered(&self, token: &str) -> Option<Verified> {
        let tables = self.remembered.lock().expect("no panic while tokens are remembered");
        tables.iter().find_map(|table| table.get(token)).copied()
    }

    /// The key that a token says it was signed with; `None` for what is no token.
    pub fn key_id(&self, token: &str) -> Option<String> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        jsonwebtoken::decode_header(token).ok()?.kid
    }

    /// Checks signature, issuer and audience under `public_key`, and remembers a good token.
    pub fn verify(&self, token: &str, public_key: &[u8]) -> Option<Verified> {
        let key = DecodingKey::from_ed_der(public_key);
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &self.validation).ok()?.claims;
        let verified = Verified {
            signed_in: SignedIn { user: claims.sub, session: claims.sid, epoch: claims.epoch },
            issued_s: claims.iat,
            expires_s: claims.exp,
        };
        let mut tables = self.remembered.lock().expect("no panic while tokens are remembered");
        if tables[0].len() >= REMEMBERED_MAX {
            tables.swap(0, 1);
            tables[0].clear();
        }
        tables[0].insert(token.into(), verified);
        Some(verified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_ledger::id::Id;

    fn signed_in() -> SignedIn {
        SignedIn { user: UserId(Id::mint(0, 1, 0)), session: SessionId(Id::mint(0, 1, 1)), epoch: 3 }
    }

    #[test]
    fn the_seed_of_rfc_8032_gives_its_public_key() {
        let seed = b"\x9d\x61\xb1\x9d\xef\xfd\x5a\x60\xba\x84\x4a\xf4\x92\xec\x2c\xc4\x44\x49\xc5\x69\x7b\x32\x69\x19\x70\x3b\xac\x03\x1c\xae\x7f\x60";
        let key = SigningKey::from_seed(seed);
        assert_eq!(key.public_key[..4], [0xd7, 0x5a, 0x98, 0x01]);
        // The thumbprint that RFC 8037, appendix A.3, computes for this key.
        assert_eq!(key.key_id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_token_is_accepted_under_its_own_key_issuer_and_algorithm_only() {
        let ours = Tokens::new(SigningKey::from_seed(&[1; 32]), "holdfast");
        let token = ours.issue(signed_in(), 1_000, 900);
        let verified = ours.verify(&token, &ours.key.public_key).expect("our own token");
        assert_eq!((verified.signed_in, verified.issued_s, verified.expires_s), (signed_in(), 1_000, 1_900));
        assert_eq!(ours.remembered(&token), Some(verified));
        assert!(!verified.is_expired(1_905) && verified.is_expired(1_906));

        let other_key = SigningKey::from_seed(&[2; 32]);
        assert_eq!(ours.verify(&token, &other_key.public_key), None);
        let other_issuer = Tokens::new(SigningKey::from_seed(&[1; 32]), "elsewhere");
        assert_eq!(other_issuer.verify(&token, &ours.key.public_key), None);

        let secret = EncodingKey::from_secret(&ours.key.public_key);
        let claims = serde_json::json!({"iss": "holdfast", "aud": "holdfast", "exp": 9_999_999_999u64, "iat": 1,
            "sub": "000000000000000100000000", "sid": "000000000000000100000001", "epoch": 0});
        let confused = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &secret).unwrap();
        assert_eq!(ours.verify(&confused, &ours.key.public_key), None, "HMAC under a public key is the old confusion");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let tokens = Tokens::new(SigningKey::from_seed(&[1; 32]), "holdfast");
        let verified = Verified { signed_in: signed_in(), issued_s: 0, expires_s: 0 };
        for n in 0..REMEMBERED_MAX {
            tokens.remembered.lock().unwrap()[0].insert(n.to_string().into(), verified);
        }
        let token = tokens.issue(signed_in(), 1_000, 900);
        tokens.verify(&token, &tokens.key.public_key).unwrap();
        let tables = tokens.remembered.lock().unwrap();
        assert_eq!((tables[0].len(), tables[1].len()), (1, REMEMBERED_MAX));
    }
}
