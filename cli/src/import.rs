//! `holdfast import`: a CSV file's lines become tickets, in bulk.
//!
//! Every line carries the seller's own id of the ticket. A line whose id is known already changes nothing, so an import
//! that was cut off, or whose answers were lost, is simply run again.
//!
//! What this deliberately does not do: change tickets that are there. An import creates.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value};

use crate::client::{Account, Ask, Client};
use crate::failure::Failure;
use crate::sale::bulk_results;

/// Lines that travel in one request.
const PAGE_LINES: usize = 500;
/// The longest line, in bytes: a page stays well below the server's limit.
const LINE_BYTES_MAX: usize = 4_096;
/// How long one page may keep being refused with 503 before the import gives up.
const PATIENCE: Duration = Duration::from_secs(20);
/// The account that is used, and made, when none is named.
const DEFAULT_EMAIL: &str = "seller@holdfast.example";
const DEFAULT_PASSWORD: &str = "holdfast-development";

/// Put the tickets of a CSV file on sale; lines whose external id is known already change nothing
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// CSV file with a header line
    pub file: PathBuf,
    /// URL of a node; several, comma-separated, are tried in turn
    #[arg(long, env = "HOLDFAST_URL", value_delimiter = ',', required = true, value_name = "URL")]
    pub url: Vec<String>,
    /// Seller's account; signed up if it is not there [default: a development account]
    #[arg(long, env = "HOLDFAST_EMAIL", requires = "password")]
    pub email: Option<String>,
    /// Seller's password
    #[arg(long, env = "HOLDFAST_PASSWORD", requires = "email", hide_env_values = true)]
    pub password: Option<String>,
    #[command(flatten)]
    pub columns: Columns,
    /// ISO currency of prices where the file has no currency column
    #[arg(long, default_value = "USD", value_name = "CODE")]
    pub default_currency: String,
}

/// Which column of the file says what.
#[derive(Debug, Args)]
pub struct Columns {
    /// Column of your own id of the ticket
    #[arg(long, default_value = "external_id", value_name = "COL")]
    pub external_id: String,
    /// Column of the title
    #[arg(long, default_value = "title", value_name = "COL")]
    pub title: String,
    /// Column of the price, such as 20 or 20.50
    #[arg(long, default_value = "price", value_name = "COL")]
    pub price: String,
    /// Column of the ISO currency
    #[arg(long, value_name = "COL")]
    pub currency: Option<String>,
    /// Column of the event's name
    #[arg(long, value_name = "COL")]
    pub event_name: Option<String>,
    /// Column of the venue
    #[arg(long, value_name = "COL")]
    pub venue: Option<String>,
    /// Column of the section
    #[arg(long, value_name = "COL")]
    pub section: Option<String>,
    /// Column of the row
    #[arg(long, value_name = "COL")]
    pub row: Option<String>,
    /// Column of the seat
    #[arg(long, value_name = "COL")]
    pub seat: Option<String>,
    /// Column of the start (RFC 3339)
    #[arg(long, value_name = "COL")]
    pub starts_at: Option<String>,
    /// Column of the end of sale (RFC 3339)
    #[arg(long, value_name = "COL")]
    pub sale_ends_at: Option<String>,
}

/// A member of the ticket's body, and the position of its column.
type Mapping = Vec<(&'static str, usize)>;

/// What became of the lines.
#[derive(Debug, Default)]
struct Summary {
    created: u64,
    known: u64,
    refused: Vec<(u64, String)>,
}

/// Imports the file; fails if a line was refused.
pub async fn run(args: ImportArgs) -> Result<(), Failure> {
    let client = Client::new(&args.url, PATIENCE)?;
    let complain = |error: csv::Error| Failure::usage(format!("{}: {error}", args.file.display()));
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(&args.file).map_err(complain)?;
    let header = reader.headers().map_err(complain)?.clone();
    let mapping = args.columns.locate(&header, &args.file)?;

    let email = args.email.as_deref().unwrap_or(DEFAULT_EMAIL);
    let password = args.password.as_deref().unwrap_or(DEFAULT_PASSWORD);
    let account = client.account(email, password, 0).await?;

    let bar = progress_bar(&args.file);
    let mut summary = Summary::default();
    let mut page = Vec::with_capacity(PAGE_LINES);
    let mut record = csv::StringRecord::new();
    loop {
        let line = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => match ticket(&record, header.len(), &mapping, &args.default_currency) {
                Ok(body) => page.push((record.position().map_or(line, csv::Position::line), body)),
                Err(why) => summary.refused.push((record.position().map_or(line, csv::Position::line), why)),
            },
            Err(error) if !error.is_io_error() => summary.refused.push((line, "not UTF-8 text".into())),
            Err(error) => return Err(complain(error)),
        }
        bar.set_position(reader.position().byte());
        if page.len() == PAGE_LINES {
            send(&client, &account, &mut page, &mut summary).await?;
        }
    }
    send(&client, &account, &mut page, &mut summary).await?;
    bar.finish_and_clear();
    summary.conclude(&account)
}

impl Columns {
    /// Finds the named columns in the header.
    fn locate(&self, header: &csv::StringRecord, file: &Path) -> Result<Mapping, Failure> {
        let wanted = [
            ("--external-id", "externalId", Some(&self.external_id)),
            ("--title", "title", Some(&self.title)),
            ("--price", "price", Some(&self.price)),
            ("--currency", "currency", self.currency.as_ref()),
            ("--event-name", "eventName", self.event_name.as_ref()),
            ("--venue", "venue", self.venue.as_ref()),
            ("--section", "section", self.section.as_ref()),
            ("--row", "row", self.row.as_ref()),
            ("--seat", "seat", self.seat.as_ref()),
            ("--starts-at", "startsAt", self.starts_at.as_ref()),
            ("--sale-ends-at", "saleEndsAt", self.sale_ends_at.as_ref()),
        ];
        let mut mapping = Mapping::new();
        for (flag, member, column) in wanted {
            let Some(column) = column else { continue };
            let position = header.iter().position(|name| name.trim() == column).ok_or_else(|| {
                let there = header.iter().collect::<Vec<_>>().join(", ");
                Failure::usage(format!("{flag} {column}: {} has no such column; it has {there}", file.display()))
            })?;
            mapping.push((member, position));
        }
        Ok(mapping)
    }
}

/// The body of one line's ticket, or why there is none.
fn ticket(
    record: &csv::StringRecord,
    columns: usize,
    mapping: &Mapping,
    default_currency: &str,
) -> Result<Value, String> {
    if record.len() != columns {
        return Err(format!("{} fields where the header has {columns}", record.len()));
    }
    if record.as_slice().len() > LINE_BYTES_MAX {
        return Err(format!("longer than {LINE_BYTES_MAX} bytes"));
    }
    let mut body = Map::new();
    for (member, position) in mapping {
        let text = record[*position].trim();
        if *member == "externalId" && text.is_empty() {
            return Err("externalId: empty".into());
        }
        if !text.is_empty() {
            body.insert((*member).into(), text.into());
        }
    }
    if !body.contains_key("currency") {
        body.insert("currency".into(), default_currency.into());
    }
    Ok(Value::Object(body))
}

/// Sends the lines of `page` and empties it.
async fn send(
    client: &Client,
    account: &Account,
    page: &mut Vec<(u64, Value)>,
    summary: &mut Summary,
) -> Result<(), Failure> {
    if page.is_empty() {
        return Ok(());
    }
    let (lines, bodies): (Vec<u64>, Vec<Value>) = page.drain(..).unzip();
    let reply = client.send(Ask::post("/api/tickets/bulk", Value::Array(bodies)).by(account)).await?;
    let results = bulk_results(&reply)?;
    if results.len() != lines.len() {
        return Err(Failure::failed(format!("bulk: {} results for {} lines", results.len(), lines.len())));
    }
    for (line, result) in lines.into_iter().zip(results) {
        match result {
            Ok((_, true)) => summary.created += 1,
            Ok((_, false)) => summary.known += 1,
            Err(why) => summary.refused.push((line, why)),
        }
    }
    Ok(())
}

impl Summary {
    fn conclude(mut self, account: &Account) -> Result<(), Failure> {
        self.refused.sort();
        for (line, why) in &self.refused {
            say_aside!("line {line}: {why}");
        }
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.add_row(["seller".to_string(), account.email.clone()]);
        table.add_row(["created".to_string(), self.created.to_string()]);
        table.add_row(["known already".to_string(), self.known.to_string()]);
        table.add_row(["refused".to_string(), self.refused.len().to_string()]);
        say!("{table}");
        match self.refused.len() {
            0 => Ok(()),
            count => Err(Failure::failed(format!("{count} lines were refused"))),
        }
    }
}

fn progress_bar(file: &Path) -> ProgressBar {
    let bar = ProgressBar::new(std::fs::metadata(file).map_or(0, |metadata| metadata.len()));
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {eta}").expect("the template is valid");
    bar.set_style(style);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &[&str]) -> csv::StringRecord {
        csv::StringRecord::from(fields.to_vec())
    }

    #[test]
    fn a_line_becomes_a_body() {
        let mapping = vec![("externalId", 0), ("title", 1), ("price", 2), ("venue", 3)];
        let body = ticket(&record(&["a1", " Opening night ", "20.50", ""]), 4, &mapping, "EUR").unwrap();
        let expected = serde_json::json!({
            "externalId": "a1", "title": "Opening night", "price": "20.50", "currency": "EUR"
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_bad_line_says_why() {
        let mapping = vec![("externalId", 0)];
        let why = |fields: &[&str]| ticket(&record(fields), 2, &mapping, "USD").unwrap_err();
        assert!(why(&["a"]).contains("1 fields"));
        assert!(why(&["", "b"]).contains("externalId"));
        assert!(why(&["a", &"x".repeat(LINE_BYTES_MAX)]).contains("longer"));
    }
}
