//! A node's signing key: Ed25519, grown from a seed that never leaves the node's folder.
//!
//! Its public half stands in the ledger under its RFC 7638 thumbprint, which is the `kid` of what it signs.

use holdfast_ledger::command::Command;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey};

use crate::token::base64url_decode;

/// The DER of an Ed25519 private key in PKCS#8 (RFC 8410, section 7), before its 32 bytes.
const PKCS8_PREFIX: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

/// A node's own signing key.
pub struct SigningKey {
    key_id: String,
    pub(crate) public_key: Vec<u8>,
    pub(crate) private: EncodingKey,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_of_rfc_8032_gives_its_public_key() {
        let seed = b"\x9d\x61\xb1\x9d\xef\xfd\x5a\x60\xba\x84\x4a\xf4\x92\xec\x2c\xc4\x44\x49\xc5\x69\x7b\x32\x69\x19\x70\x3b\xac\x03\x1c\xae\x7f\x60";
        let key = SigningKey::from_seed(seed);
        assert_eq!(key.public_key[..4], [0xd7, 0x5a, 0x98, 0x01]);
        // The thumbprint that RFC 8037, appendix A.3, computes for this key.
        assert_eq!(key.key_id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
