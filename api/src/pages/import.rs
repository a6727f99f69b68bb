//! Import of a CSV file: pasted or picked, shown line by line with what is wrong, and put on sale when confirmed.
//!
//! The preview asks the interface to check the lines and creates nothing. Lines that carry an id of the seller's own are
//! created once, so a file that is sent twice does no harm.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::chrome::{Chrome, ok, page};
use super::form::{Form, fresh_key};
use super::problem::{Complaint, Problem};
use super::visit::{Visit, go};

/// A posted file, in bytes, as a form writes it.
const IMPORT_BYTES_MAX: usize = 2 << 20;
/// Lines of one import: the interface takes as many at once.
const LINES_MAX: usize = 1_000;
/// Lines that the preview shows besides those with errors.
const LINES_SHOWN: usize = 50;

/// Columns that a file may have, and the member each of them is.
const COLUMNS: [(&str, &str); 11] = [
    ("external_id", "externalId"),
    ("title", "title"),
    ("price", "price"),
    ("currency", "currency"),
    ("event_name", "eventName"),
    ("venue", "venue"),
    ("section", "section"),
    ("row", "row"),
    ("seat", "seat"),
    ("starts_at", "startsAt"),
    ("sale_ends_at", "saleEndsAt"),
];

/// One line, as the preview shows it.
struct LineShown {
    number: u64,
    title: String,
    price: String,
    errors: Vec<String>,
}

#[derive(Template)]
#[template(path = "import.html")]
struct ImportPage {
    chrome: Chrome,
    csv: String,
    /// Why the file as a whole cannot be read.
    alert: String,
    lines: Vec<LineShown>,
    /// Lines that can go on sale, and all lines.
    good: usize,
    all: usize,
    hidden: usize,
    key: String,
}

/// What the interface says about one line.
#[derive(Deserialize)]
struct Checked {
    #[serde(default)]
    errors: Vec<Complaint>,
}

/// A line of the file: its number and its fields.
type Line = (u64, Map<String, Value>);

/// A file's lines as bodies of tickets, each with its number in the file.
fn read(csv: &str) -> Result<Vec<Line>, String> {
    // A form ends its lines with two characters, and the first of them would pass for the whole end when lines are counted.
    let csv = csv.replace("\r\n", "\n");
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(csv.as_bytes());
    let header = reader.headers().map_err(|error| error.to_string())?.clone();
    let member =
        |name: &str| COLUMNS.iter().find(|(column, _)| column.eq_ignore_ascii_case(name)).map(|(_, member)| *member);
    let members: Vec<Option<&str>> = header.iter().map(member).collect();
    for needed in ["title", "price"] {
        if !members.contains(&Some(needed)) {
            return Err(format!("The first line must name the columns, and there is no column “{needed}”."));
        }
    }
    let mut lines = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        if lines.len() == LINES_MAX {
            return Err(format!("There are more than {LINES_MAX} lines. Import the file in parts."));
        }
        let number = record.position().map_or(0, csv::Position::line);
        let fields = members.iter().zip(record.iter()).filter(|(_, text)| !text.is_empty());
        let body = fields.filter_map(|(member, text)| Some((member.as_ref()?.to_string(), json!(text)))).collect();
        lines.push((number, body));
    }
    if lines.is_empty() { Err("There are no lines below the first.".into()) } else { Ok(lines) }
}

/// The lines of a seller's file, or why they cannot be had. A file is too long for an address, so whoever is signed out by now keeps
/// it on this page.
fn lines(visit: &Visit, csv: &str) -> Result<Vec<Line>, (StatusCode, String)> {
    if visit.viewer.is_none() {
        let alert = "You are signed out. Your lines are still here: sign in in another tab, then send them again.";
        return Err((StatusCode::UNAUTHORIZED, alert.into()));
    }
    read(csv).map_err(|alert| (StatusCode::BAD_REQUEST, alert))
}

/// The file again, with why nothing came of it.
fn refused(visit: &Visit, csv: &str, problem: &Problem) -> Result<Response, Problem> {
    page(problem.status, &ImportPage::new(visit, csv, problem.message().to_string()))
}

fn bodies(lines: &[(u64, Map<String, Value>)]) -> Value {
    lines.iter().map(|(_, body)| Value::Object(body.clone())).collect()
}

impl ImportPage {
    fn new(visit: &Visit, csv: &str, alert: String) -> ImportPage {
        let chrome = Chrome::new(visit, "sell");
        let key = fresh_key();
        ImportPage { chrome, csv: csv.to_string(), alert, lines: Vec::new(), good: 0, all: 0, hidden: 0, key }
    }
}

/// `GET /sell/import`
pub async fn ask(visit: Visit) -> Result<Response, Problem> {
    visit.signed_in()?;
    ok(&ImportPage::new(&visit, "", String::new()))
}

/// `POST /sell/import`: what would become of each line.
pub async fn preview(visit: Visit, form: Form<IMPORT_BYTES_MAX>) -> Result<Response, Problem> {
    let csv = form.raw("csv");
    let lines = match lines(&visit, csv) {
        Ok(lines) => lines,
        Err((status, alert)) => return page(status, &ImportPage::new(&visit, csv, alert)),
    };
    let ask = visit.api.post("/api/tickets/bulk?check=true", bodies(&lines));
    let checked: Vec<Checked> = match ask.json().await {
        Err(problem) if problem.is_mendable() => return refused(&visit, csv, &problem),
        checked => checked?,
    };
    let mut import = ImportPage::new(&visit, csv, String::new());
    import.all = lines.len();
    import.good = checked.iter().filter(|line| line.errors.is_empty()).count();
    let text =
        |body: &Map<String, Value>, name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_string();
    for ((number, body), line) in lines.iter().zip(checked) {
        if line.errors.is_empty() && import.lines.len() >= LINES_SHOWN {
            import.hidden += 1;
            continue;
        }
        let errors = line.errors.into_iter().map(|error| match error.field.as_str() {
            "" => error.message,
            field => format!("{field}: {}", error.message),
        });
        let (title, price) = (text(body, "title"), format!("{} {}", text(body, "price"), text(body, "currency")));
        import.lines.push(LineShown { number: *number, title, price, errors: errors.collect() });
    }
    ok(&import)
}

/// `POST /sell/import/confirm`: the good lines go on sale.
pub async fn confirm(visit: Visit, form: Form<IMPORT_BYTES_MAX>) -> Result<Response, Problem> {
    let csv = form.raw("csv");
    let lines = match lines(&visit, csv) {
        Ok(lines) => lines,
        Err((status, alert)) => return page(status, &ImportPage::new(&visit, csv, alert)),
    };
    let ask = visit.api.post("/api/tickets/bulk", bodies(&lines)).once(form.get("key"));
    let results: Vec<Checked> = match ask.json().await {
        Err(problem) if problem.is_mendable() => return refused(&visit, csv, &problem),
        results => results?,
    };
    let created = results.iter().filter(|line| line.errors.is_empty()).count();
    Ok(go(&format!("/sell?imported={created}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_by_its_first_line() {
        let lines = read("Title,price,ignored,seat\n\"A, B\",20.00,x,7\nC,5,,\n").unwrap();
        assert_eq!(lines[0].0, 2);
        assert_eq!(Value::Object(lines[0].1.clone()), json!({"title": "A, B", "price": "20.00", "seat": "7"}));
        assert_eq!(Value::Object(lines[1].1.clone()), json!({"title": "C", "price": "5"}));
        let numbers = |csv: &str| read(csv).unwrap().iter().map(|(number, _)| *number).collect::<Vec<_>>();
        assert_eq!(numbers("title,price\r\na,1\r\nb,2\r\n"), [2, 3], "as a browser sends them");
    }

    #[test]
    fn what_is_no_list_of_tickets_is_said() {
        assert!(read("").is_err());
        assert!(read("name,cost\na,1").unwrap_err().contains("title"));
        assert!(read("title,price\n").unwrap_err().contains("no lines"));
        assert!(read(&format!("title,price\n{}", "a,1\n".repeat(1_001))).unwrap_err().contains("1000"));
    }
}
