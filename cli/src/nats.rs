//! Which NATS servers, and how they are spoken to: what every command that follows or reads events is told.

use std::path::PathBuf;

use clap::Args;
use holdfast_events::nats::Nats;

use crate::failure::Failure;

#[derive(Debug, Clone, Args)]
pub struct NatsArgs {
    /// NATS servers, separated by commas: nats://HOST:PORT or tls://HOST:PORT, with a user and his password before the host
    /// where they are needed
    #[arg(long, env = "HOLDFAST_NATS", hide_env_values = true, value_delimiter = ',', value_name = "URL")]
    nats: Vec<String>,
    /// Credentials file for NATS
    #[arg(long, env = "HOLDFAST_NATS_CREDENTIALS", value_name = "FILE")]
    nats_credentials: Option<PathBuf>,
    /// Certificates (PEM) of the authorities that NATS's own may be from, instead of the system's; the connection must be
    /// encrypted then
    #[arg(long, env = "HOLDFAST_NATS_CA", value_name = "FILE")]
    nats_ca: Option<PathBuf>,
}

impl NatsArgs {
    pub fn is_told(&self) -> bool {
        !self.nats.is_empty()
    }

    /// The servers, not connected to yet.
    pub fn servers(&self) -> Result<Nats, Failure> {
        if !self.is_told() {
            return Err(Failure::usage("--nats: the URL of a NATS server is needed"));
        }
        let nats = Nats::new(&self.nats, self.nats_credentials.as_deref());
        let nats = nats.map_err(|error| Failure::usage(format!("--nats: {error}")))?;
        Ok(nats.trusting(self.nats_ca.as_deref()))
    }
}
