//! `holdfast events status`: what a node's relay is at.

use clap::Args;
use serde_json::Value;

use crate::failure::Failure;
use crate::keys::ask_operator;

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Operator address of the node; the one that leads relays
    #[arg(long, env = "HOLDFAST_OPERATOR", value_name = "ADDR")]
    operator: String,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub async fn run(args: StatusArgs) -> Result<(), Failure> {
    let status = ask_operator(&args.operator, "/events/relay", None).await?;
    let text = |name: &str| status[name].as_str().unwrap_or("none").to_string();
    if args.json {
        say!("{status}");
    } else if status == Value::Null {
        say!("This node relays nowhere: it was started without --nats.");
    } else {
        say!("phase:      {}", text("phase"));
        say!("stream:     {}", text("stream"));
        say!("published:  {} of {}, {} waiting", status["published"], status["emitted"], status["waiting"]);
        say!("trouble:    {}", text("trouble"));
    }
    match status["phase"].as_str() {
        Some("stopped") => Err(Failure::failed(format!("the relay has stopped: {}", text("trouble")))),
        _ => Ok(()),
    }
}
