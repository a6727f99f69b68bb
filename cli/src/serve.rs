//! `holdfast serve`: one node of a cluster.

use std::path::PathBuf;

use clap::Args;

use crate::failure::Failure;
use crate::node;
use crate::settings::Settings;
use crate::tls::{self, TlsArgs};

/// Run one node of a cluster
///
/// Every flag can also be said by a variable HOLDFAST_* or in the TOML file of --config, under the flag's name without
/// dashes in front. A flag wins over a variable, a variable over the file.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// TOML file with the same settings
    #[arg(long, env = "HOLDFAST_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub settings: Settings,
    /// Stop when standard input is closed: a parent's children do not outlive it
    #[arg(long, hide = true)]
    pub stop_with_stdin: bool,
}

pub async fn run(args: ServeArgs) -> Result<(), Failure> {
    let file = args.config.as_deref().map(Settings::read).transpose()?.unwrap_or_default();
    let TlsArgs { tls_cert, tls_key, tls_ca } = tls::given();
    let settings = Settings { tls_cert, tls_key, tls_ca, ..args.settings }.over(file).resolve()?;
    node::run(settings, args.stop_with_stdin, |addresses| {
        say!("ready: {}  operator: http://{}", addresses.url, addresses.operator);
    })
    .await
}
