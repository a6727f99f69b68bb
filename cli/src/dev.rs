//! `holdfast dev`: one node with everything in one process, for trying and developing.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::bus::Bus;
use crate::failure::Failure;
use crate::node;
use crate::notifications::inside::MAIL;
use crate::settings::{Resolved, Settings};

/// Run a single node; no other program is needed, data stays in the folder
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Address that clients use
    #[arg(long, env = "HOLDFAST_HTTP", default_value = "127.0.0.1:3000", value_name = "ADDR")]
    pub http: SocketAddr,
    /// Folder of the data; made if it is not there
    #[arg(long, env = "HOLDFAST_DATA", default_value = "holdfast-data", value_name = "DIR")]
    pub data: PathBuf,
    /// Address that operators use; port 0: any free one
    #[arg(long, env = "HOLDFAST_OPERATOR", default_value = "127.0.0.1:0", value_name = "ADDR")]
    pub operator: SocketAddr,
}

/// Runs a node that is its whole cluster: begun if the folder is new, continued if not.
pub async fn run(args: DevArgs) -> Result<(), Failure> {
    let settings = Settings {
        data: Some(args.data),
        http: Some(args.http),
        operator: Some(args.operator),
        peer: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        bootstrap: Some(true),
        voters_target: Some(1),
        ..Settings::default()
    };
    let settings = Resolved { bus: Bus::Inside, ..settings.resolve()? };
    let mail = settings.data.join(MAIL);
    node::run(settings, false, |addresses| {
        say!("Holdfast is ready: {}", addresses.url);
        say!("Mails: {}", mail.display());
        say!("Operators: http://{}  ·  Ctrl-C stops it, the data stays.", addresses.operator);
    })
    .await
}
