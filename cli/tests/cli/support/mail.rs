//! A mail server for fault tests: a real SMTP server that stores what it takes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use holdfast_cli::guard::Guarded;
use holdfast_cli::tools;

use super::{WAIT, program};

/// The server. Dropping it ends it.
pub struct Mail {
    /// What the notifications service is told as `--smtp`.
    pub url: String,
    folder: PathBuf,
    _process: Guarded,
}

impl Mail {
    /// Starts a server that answers the first `refuse` mails with 451, and takes the `drop` after them without an answer.
    pub async fn start(dir: &Path, refuse: u32, drop: u32) -> Mail {
        let python = tools::find("python/bin/python", &program()).expect("the test tools");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/smtp.py");
        let folder = dir.join("mail");
        let args = [
            script.to_string(),
            folder.display().to_string(),
            "--refuse".into(),
            refuse.to_string(),
            "--drop".into(),
            drop.to_string(),
        ];
        let log = dir.join("mail.log");
        let mut process = Guarded::start(&program(), &python, args, &[], &log).expect("aiosmtpd starts");
        let ready = process.wait_for_line("ready:", WAIT).await.expect("aiosmtpd is ready");
        let url = format!("smtp://127.0.0.1:{}", ready.trim_start_matches("ready:").trim());
        Mail { url, folder, _process: process }
    }

    /// How often each message id was taken.
    pub fn taken(&self) -> BTreeMap<String, u32> {
        let mut taken = BTreeMap::new();
        for entry in std::fs::read_dir(&self.folder).expect("the mails") {
            let path = entry.expect("a mail").path();
            if path.extension().is_some_and(|extension| extension == "eml") {
                let mail = String::from_utf8_lossy(&std::fs::read(path).expect("a mail")).into_owned();
                *taken.entry(header(&mail, "message-id").expect("a Message-ID")).or_default() += 1;
            }
        }
        taken
    }
}

/// A header of a mail, whose lines may be folded.
fn header(mail: &str, name: &str) -> Option<String> {
    let head = mail.replace("\r\n", "\n");
    let head = head.split("\n\n").next()?.replace("\n ", " ").replace("\n\t", " ");
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_string())
    })
}
