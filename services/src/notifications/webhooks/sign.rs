//! Signatures of webhooks, as Standard Webhooks 1.0 has them.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// How a secret begins whose rest is base64; any other is taken as it stands.
const SECRET_PREFIX: &str = "whsec_";

/// What goes into the header `webhook-signature`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature(pub String);

/// Signs `body`, sent under `id` at `timestamp_s` (seconds since the Unix epoch): HMAC-SHA256 over `id.timestamp.body`.
pub fn sign(secret: &str, id: &str, timestamp_s: u64, body: &[u8]) -> Signature {
    let key = secret.strip_prefix(SECRET_PREFIX).and_then(|encoded| STANDARD.decode(encoded).ok());
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_deref().unwrap_or(secret.as_bytes()));
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{id}.{timestamp_s}.").as_bytes());
    context.update(body);
    Signature(format!("v1,{}", STANDARD.encode(context.sign())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        let signature = sign(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            b"{\"test\": 2432232314}",
        );
        assert_eq!(signature.0, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_without_the_prefix_is_taken_as_it_stands() {
        let signed = |secret: &str| sign(secret, "a", 1, b"{}");
        assert_eq!(signed("whsec_c2VjcmV0"), signed("secret"));
        assert_ne!(signed("secret"), signed("Secret"));
        assert_ne!(sign("secret", "a", 2, b"{}"), signed("secret"), "the time is signed");
    }
}
