//! Which provider, and with which secret.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use holdfast_services::payments::provider::PaymentProvider;
use holdfast_services::payments::sandbox::Sandbox;
use holdfast_services::payments::stripe::{STRIPE_URL, Stripe};

use crate::failure::Failure;

/// The longest file of a secret that is read, in bytes.
const SECRET_BYTES_MAX: u64 = 1_024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProviderName {
    /// The built-in bank, in this process: no money moves
    Sandbox,
    /// Stripe, or what speaks its API at --stripe-url
    Stripe,
}

#[derive(Debug, Args)]
pub struct ProviderArgs {
    /// Who moves the money
    #[arg(long, env = "HOLDFAST_PROVIDER", value_enum, default_value = "sandbox", value_name = "NAME")]
    pub provider: ProviderName,
    /// Where Stripe's API is
    #[arg(long, env = "HOLDFAST_STRIPE_URL", default_value = STRIPE_URL, value_name = "URL")]
    pub stripe_url: String,
    /// File with the secret key for it; or the variable HOLDFAST_STRIPE_KEY with the key itself
    #[arg(long, env = "HOLDFAST_STRIPE_KEY_FILE", value_name = "FILE")]
    pub stripe_key_file: Option<PathBuf>,
    /// Where buyers reach the pages: who had to go to his bank comes back to his order there
    #[arg(long, env = "HOLDFAST_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
}

/// A provider that is ready to be asked.
pub struct Opened {
    pub provider: Arc<dyn PaymentProvider>,
    /// The built-in bank, if it is that.
    pub sandbox: Option<Arc<Sandbox>>,
}

impl ProviderArgs {
    pub fn open(&self) -> Result<Opened, Failure> {
        if self.provider == ProviderName::Sandbox {
            let sandbox = Arc::new(Sandbox::default());
            return Ok(Opened { provider: sandbox.clone(), sandbox: Some(sandbox) });
        }
        let key = secret("--stripe-key-file", self.stripe_key_file.as_ref(), "HOLDFAST_STRIPE_KEY")?;
        let key = key.ok_or_else(|| Failure::usage("--stripe-key-file: the secret key is needed"))?;
        let stripe = Stripe::new(&self.stripe_url, &key);
        let stripe = stripe.map_err(|error| Failure::usage(format!("--stripe-url: {error}")))?;
        let stripe = match &self.public_url {
            Some(url) => stripe.returning_to(url),
            None => stripe,
        };
        Ok(Opened { provider: Arc::new(stripe), sandbox: None })
    }
}

/// A secret from a file, or from a variable that no help text shows the value of.
pub fn secret(flag: &str, file: Option<&PathBuf>, variable: &str) -> Result<Option<String>, Failure> {
    let Some(path) = file else { return Ok(std::env::var(variable).ok().filter(|secret| !secret.is_empty())) };
    let complain = |error: &dyn std::fmt::Display| Failure::usage(format!("{flag} {}: {error}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| complain(&error))?.len();
    if length > SECRET_BYTES_MAX {
        return Err(complain(&format!("longer than {SECRET_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| complain(&error))?;
    Ok(Some(text.trim().to_string()))
}
