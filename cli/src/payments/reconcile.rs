//! `holdfast payments reconcile`: the provider's book against the ledger.

use clap::Args;
use comfy_table::{Table, presets};
use holdfast_ledger::command::Service;
use holdfast_services::payments::reconcile::{ReconcileError, Report, reconcile};

use super::provider::ProviderArgs;
use crate::failure::Failure;
use crate::service::ApiArgs;

#[derive(Debug, Args)]
pub struct ReconcileArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    provider: ProviderArgs,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(args: ReconcileArgs) -> Result<(), Failure> {
    let api = args.api.signed(Service::Payments)?;
    let opened = args.provider.open()?;
    if opened.sandbox.is_some() {
        return Err(Failure::usage(
            "--provider sandbox: its book is in the process of its worker; say --provider stripe --stripe-url",
        ));
    }
    let report = reconcile(&api, &*opened.provider).await.map_err(|error| match error {
        ReconcileError::TooMany => Failure::failed(error),
        other => Failure::unreachable(other),
    })?;
    match args.json {
        true => say!("{}", serde_json::to_string_pretty(&report).expect("a report has a JSON form")),
        false => show(&report),
    }
    match report.differences.len() {
        0 => Ok(()),
        1 => Err(Failure::failed("1 difference between the provider and the ledger")),
        more => Err(Failure::failed(format!("{more} differences between the provider and the ledger"))),
    }
}

fn show(report: &Report) {
    let Report { payments, charges, under_way, captured, .. } = report;
    say!("{payments} payments of the ledger, {charges} charges of the provider; {under_way} under way, not compared");
    let sums: Vec<_> =
        report.captured_minor.iter().map(|(currency, minor)| format!("{minor} minor units of {currency}")).collect();
    say!("{captured} charges captured: {}", if sums.is_empty() { "nothing".to_string() } else { sums.join(", ") });
    if report.differences.is_empty() {
        return;
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header([
        "difference",
        "payment",
        "charge",
        "ledger",
        "provider",
    ]);
    for difference in &report.differences {
        table.add_row([
            format!("{:?}", difference.kind),
            difference.payment.map(|payment| payment.to_string()).unwrap_or_default(),
            difference.intent_id.clone().unwrap_or_default(),
            difference.ledger.clone(),
            difference.provider.clone(),
        ]);
    }
    say!("{table}");
}
