//! A server that speaks S3, for backups.

use std::path::Path;

use holdfast_cli::guard::Guarded;
use holdfast_cli::tools;

use super::{WAIT, program};

/// The server, with one bucket, `backups`. Dropping it ends it.
pub struct S3 {
    pub url: String,
    _process: Guarded,
}

impl S3 {
    pub async fn start(dir: &Path) -> S3 {
        let python = tools::find("s3/bin/python", &program()).expect("the test tools");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/s3.py");
        let log = dir.join("s3.log");
        let mut process = Guarded::start(&program(), &python, [script, "backups"], &[], &log).expect("moto starts");
        let ready = process.wait_for_line("ready: ", WAIT).await.expect("moto is ready");
        let url = format!("http://127.0.0.1:{}", ready.trim_start_matches("ready: ").trim());
        S3 { url, _process: process }
    }

    /// What the commands are told in the environment.
    pub fn variables(&self) -> [(&str, &str); 5] {
        [
            ("AWS_ENDPOINT", self.url.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ]
    }
}
