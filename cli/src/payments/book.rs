//! The sandbox bank as a process: one book for several workers.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use holdfast_services::payments::sandbox::Sandbox;
use holdfast_services::payments::sandbox_server;

use crate::failure::Failure;
use crate::service::listen;
use crate::stop;

#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// Address; port 0: any free one. Workers use it with --provider stripe --stripe-url http://ADDR
    #[arg(long, env = "HOLDFAST_LISTEN", default_value = "127.0.0.1:8420", value_name = "ADDR")]
    listen: SocketAddr,
    /// Stop when standard input is closed: a parent's children do not outlive it
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

pub async fn run(args: SandboxArgs) -> Result<(), Failure> {
    let stopping = stop::flag(args.stop_with_stdin);
    let served = listen(args.listen, sandbox_server::routes(Arc::new(Sandbox::default())), stopping).await?;
    let _ = served.await;
    Ok(())
}
