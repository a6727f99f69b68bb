//! `holdfast events check`: is the stream what the outbox says?

use clap::Args;
use holdfast_events::check::{CheckError, RowPage, Rows, check};

use super::{BrokerArgs, failed};
use crate::failure::Failure;
use crate::keys::ask_operator;

#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    nats: BrokerArgs,
    /// Operator address of a node whose outbox is compared
    #[arg(long, env = "HOLDFAST_OPERATOR", value_name = "ADDR")]
    operator: String,
}

/// The outbox of a running node.
struct Remote(String);

impl Rows for Remote {
    async fn page(&self, after: u64) -> Result<RowPage, String> {
        let page = ask_operator(&self.0, &format!("/events/rows?after={after}"), None).await;
        let page = page.map_err(|failure| failure.message)?;
        serde_json::from_value(page).map_err(|error| format!("--operator {}: {error}", self.0))
    }
}

pub async fn run(args: CheckArgs) -> Result<(), Failure> {
    let connection = args.nats.connect().await?;
    let report = check(&Remote(args.operator), &*connection).await.map_err(|error| match error {
        CheckError::Broker(error) => failed(error),
        CheckError::Outbox(error) => Failure::unreachable(error),
    })?;
    if args.nats.json {
        say!("{}", serde_json::to_string(&report).expect("a report has a JSON form"));
    } else {
        say!("{}: events {} to {} compared", report.stream, report.from, report.upto);
        let (equal, waiting) = (report.equal, report.waiting);
        say!(
            "equal {equal}, missing {}, duplicates {}, different {}, waiting {waiting}",
            report.missing,
            report.duplicates,
            report.different
        );
        report.differences.iter().for_each(|difference| say!("  {difference}"));
    }
    match report.is_clean() {
        true => Ok(()),
        false => Err(Failure::failed(format!("{} is not what the outbox says", report.stream))),
    }
}
