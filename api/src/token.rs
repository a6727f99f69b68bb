//! What this cluster signs: session tokens, form tokens, mailed links and tickets, all of them compact JWTs.
//!
//! They are signed with a node's own Ed25519 key and any node and any other service can check them. What one is for is its
//! audience, so that none passes for another; the algorithm is pinned, so that none chooses its own. A session token whose
//! signature was checked once is remembered; whether the session still holds is looked up at each request (see
//! [`session`](crate::session)).

use std::sync::{Arc, RwLock};

use holdfast_ledger::entities::SignedIn;
use holdfast_ledger::id::{SessionId, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::remembered::Remembered;
use crate::signing_key::SigningKey;

/// How far clocks may differ, in seconds.
pub const LEEWAY_S: u64 = 5;
/// The longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 4_096;
/// Checked tokens that are remembered, twice over.
const REMEMBERED_MAX: usize = 16_384;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Says who is asking. Its audience is the issuer itself, so that other services need to know one name only.
    Session,
    /// Stands in a form, and says that we have made it for this browser.
    Form,
    /// Stands in a mailed link that lets its reader choose a new password.
    Reset,
    /// Stands in a mailed link that shows that its reader gets mail at the address.
    Verification,
    /// A bought ticket.
    Ticket,
}

impl Purpose {
    fn audience(self, issuer: &str) -> String {
        match self {
            Purpose::Session => issuer.to_string(),
            Purpose::Form => format!("{issuer}/form"),
            Purpose::Reset => format!("{issuer}/reset"),
            Purpose::Verification => format!("{issuer}/verification"),
            Purpose::Ticket => format!("{issuer}/ticket"),
        }
    }
}

pub fn base64url_encode(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

pub fn base64url_decode(text: &str) -> Option<Vec<u8>> {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()
}

/// What every token says, and what one of its purpose says besides.
#[derive(Serialize, Deserialize)]
struct Signed<T> {
    iss: String,
    aud: String,
    iat: u64,
    /// `None`: for as long as its key is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
    #[serde(flatten)]
    claims: T,
}

/// What a session token says besides. No personal data.
#[derive(Serialize, Deserialize)]
struct SessionClaims {
    sub: UserId,
    sid: SessionId,
    epoch: u32,
}

/// A token whose signature, issuer and audience are right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub signed_in: SignedIn,
    /// The key that has signed it.
    pub key_id: Arc<str>,
    /// Seconds since the Unix epoch.
    pub issued_s: u64,
    pub expires_s: u64,
}

impl Verified {
    pub fn is_expired(&self, now_s: u64) -> bool {
        is_expired(self.expires_s, now_s)
    }
}

fn is_expired(expires_s: u64, now_s: u64) -> bool {
    now_s > expires_s.saturating_add(LEEWAY_S)
}

/// Makes and checks tokens.
pub struct Tokens {
    /// Replaced when the node's key is rotated.
    key: RwLock<Arc<SigningKey>>,
    issuer: String,
    remembered: Remembered<Verified>,
}

impl Tokens {
    pub fn new(key: SigningKey, issuer: &str) -> Tokens {
        let remembered = Remembered::new(REMEMBERED_MAX);
        Tokens { key: RwLock::new(Arc::new(key)), issuer: issuer.into(), remembered }
    }

    /// The key that signs at the moment.
    pub fn key(&self) -> Arc<SigningKey> {
        self.key.read().expect("no panic while the key is held").clone()
    }

    /// Signs with `key` from now on. Its public half must be registered.
    pub fn use_key(&self, key: SigningKey) {
        *self.key.write().expect("no panic while the key is held") = Arc::new(key);
    }

    /// A token for a session, valid from `now_s` on for `ttl_s` seconds.
    pub fn issue(&self, signed_in: SignedIn, now_s: u64, ttl_s: u64) -> String {
        let claims = SessionClaims { sub: signed_in.user, sid: signed_in.session, epoch: signed_in.epoch };
        self.sign(Purpose::Session, claims, now_s, Some(now_s.saturating_add(ttl_s)))
    }

    /// A token for `purpose` that says `claims`, which must be a struct or a map. Times are seconds since the Unix epoch.
    pub fn sign(&self, purpose: Purpose, claims: impl Serialize, now_s: u64, expires_s: Option<u64>) -> String {
        let key = self.key();
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(key.key_id().into());
        let aud = purpose.audience(&self.issuer);
        let signed = Signed { iss: self.issuer.clone(), aud, iat: now_s, exp: expires_s, claims };
        jsonwebtoken::encode(&header, &signed, &key.private).expect("our own key signs")
    }

    /// The session of a token that was checked before.
    pub fn remembered(&self, token: &str) -> Option<Verified> {
        self.remembered.get(token)
    }

    /// The key that a token says it was signed with; `None` for what is no token.
    pub fn key_id(&self, token: &str) -> Option<String> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        jsonwebtoken::decode_header(token).ok()?.kid
    }

    /// What a token for `purpose` says, if it is good under `public_key` and has not expired at `now_s`.
    pub fn read<T: DeserializeOwned>(&self, purpose: Purpose, token: &str, public_key: &[u8], now_s: u64) -> Option<T> {
        let signed: Signed<T> = self.decode(purpose, token, public_key)?;
        signed.exp.is_none_or(|expires_s| !is_expired(expires_s, now_s)).then_some(signed.claims)
    }

    /// Checks a session token's signature, issuer and audience under the key `key_id`, and remembers a good one.
    pub fn verify(&self, token: &str, key_id: &str, public_key: &[u8]) -> Option<Verified> {
        let Signed { claims, iat, exp, .. }: Signed<SessionClaims> =
            self.decode(Purpose::Session, token, public_key)?;
        let verified = Verified {
            signed_in: SignedIn { user: claims.sub, session: claims.sid, epoch: claims.epoch },
            key_id: key_id.into(),
            issued_s: iat,
            expires_s: exp?,
        };
        self.remembered.insert(token, verified.clone());
        Some(verified)
    }

    /// Expiry is left to the caller: it is checked at each use, by the node's own clock.
    fn decode<T: DeserializeOwned>(&self, purpose: Purpose, token: &str, public_key: &[u8]) -> Option<Signed<T>> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[purpose.audience(&self.issuer)]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_required_spec_claims(&["aud", "iss"]);
        validation.validate_exp = false;
        let key = DecodingKey::from_ed_der(public_key);
        Some(jsonwebtoken::decode::<Signed<T>>(token, &key, &validation).ok()?.claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_ledger::id::Id;
    use jsonwebtoken::EncodingKey;
    use serde_json::{Value, json};

    fn signed_in() -> SignedIn {
        SignedIn { user: UserId(Id::mint(0, 1, 0)), session: SessionId(Id::mint(0, 1, 1)), epoch: 3 }
    }

    #[test]
    fn a_token_is_accepted_under_its_own_key_issuer_and_algorithm_only() {
        let ours = Tokens::new(SigningKey::from_seed(&[1; 32]), "holdfast");
        let public_key = &ours.key().public_key;
        let token = ours.issue(signed_in(), 1_000, 900);
        let verified = ours.verify(&token, "k1", public_key).expect("our own token");
        assert_eq!((verified.signed_in, verified.issued_s, verified.expires_s), (signed_in(), 1_000, 1_900));
        assert!(!verified.is_expired(1_905) && verified.is_expired(1_906));
        assert_eq!((&*verified.key_id, ours.remembered(&token)), ("k1", Some(verified.clone())));

        let other_key = SigningKey::from_seed(&[2; 32]);
        assert_eq!(ours.verify(&token, "k2", &other_key.public_key), None);
        let other_issuer = Tokens::new(SigningKey::from_seed(&[1; 32]), "elsewhere");
        assert_eq!(other_issuer.verify(&token, "k1", public_key), None);

        let secret = EncodingKey::from_secret(public_key);
        let claims = json!({"iss": "holdfast", "aud": "holdfast", "exp": 9_999_999_999u64, "iat": 1,
            "sub": "000000000000000100000000", "sid": "000000000000000100000001", "epoch": 0});
        let confused = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &secret).unwrap();
        assert_eq!(ours.verify(&confused, "k1", public_key), None, "HMAC under a public key is the old confusion");
    }

    #[test]
    fn a_token_for_one_purpose_is_none_for_another() {
        let ours = Tokens::new(SigningKey::from_seed(&[1; 32]), "holdfast");
        let public_key = &ours.key().public_key;
        let said = json!({"sub": "000000000000000100000000", "sid": "000000000000000100000001", "epoch": 0});
        let purposes = [Purpose::Session, Purpose::Form, Purpose::Reset, Purpose::Verification, Purpose::Ticket];
        for signed_for in purposes {
            let token = ours.sign(signed_for, &said, 1_000, Some(2_000));
            for read_for in purposes {
                let read: Option<Value> = ours.read(read_for, &token, public_key, 1_500);
                assert_eq!(read.is_some(), signed_for == read_for, "{signed_for:?} read as {read_for:?}");
            }
            assert_eq!(ours.verify(&token, "k1", public_key).is_some(), signed_for == Purpose::Session);
            assert_eq!(ours.read::<Value>(signed_for, &token, public_key, 2_006), None, "it has expired");
        }
        let lasting = ours.sign(Purpose::Ticket, &said, 1_000, None);
        assert!(ours.read::<Value>(Purpose::Ticket, &lasting, public_key, u64::MAX).is_some());
        let unending = ours.sign(Purpose::Session, &said, 1_000, None);
        assert_eq!(ours.verify(&unending, "k1", public_key), None, "a session token expires");
    }

    #[test]
    fn a_rotated_key_signs_and_the_old_ones_tokens_stay_good() {
        let tokens = Tokens::new(SigningKey::from_seed(&[1; 32]), "holdfast");
        let (old, token) = (tokens.key(), tokens.issue(signed_in(), 1_000, 900));
        tokens.use_key(SigningKey::from_seed(&[2; 32]));
        assert_ne!(tokens.key().key_id(), old.key_id());
        assert_eq!(tokens.key_id(&tokens.issue(signed_in(), 1_000, 900)).as_deref(), Some(tokens.key().key_id()));
        assert!(tokens.verify(&token, old.key_id(), &old.public_key).is_some());
    }
}
