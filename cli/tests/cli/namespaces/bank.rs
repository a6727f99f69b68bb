//! The bank of a deployment in namespaces: the built-in one, under the name and the port that production asks, with a certificate
//! that the containers trust as an image trusts the authorities that it brings.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use holdfast_cli::guard::Guarded;
use holdfast_cli::tools;
use holdfast_services::payments::sandbox_server::ChargeView;
use rcgen::CertifiedKey;

use crate::support::{WAIT, program};

/// Whom `holdfast payments` asks unless it is told otherwise.
pub const NAME: &str = "api.stripe.com";
const PORT: u16 = 443;

pub struct Bank {
    url: String,
    /// The bank, and what takes TLS off before it.
    _processes: [Guarded; 2],
}

impl Bank {
    /// Starts the bank at an address of this machine's; what is to be trusted for it is put into `trust`.
    pub async fn start(address: Ipv4Addr, trust: &Path, folder: &Path) -> Bank {
        let args = ["payments", "sandbox", "--listen", "127.0.0.1:0"];
        let mut process = Guarded::start(&program(), &program(), args, &[], &folder.join("bank")).expect("it starts");
        let ready = process.wait_for_line("ready: ", WAIT).await.expect("the bank is ready");
        let url = ready.trim_start_matches("ready:").trim().to_string();
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed([NAME.to_string()]).expect("a key");
        fs::create_dir(trust).expect("a folder");
        fs::write(trust.join("ca-certificates.crt"), cert.pem()).expect("written");
        let pair = folder.join("bank.pem");
        fs::write(&pair, signing_key.serialize_pem() + &cert.pem()).expect("written");
        let python = tools::find("python/bin/python", &program()).expect("the test tools");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/tls.py");
        let (pair, listen) = (pair.display().to_string(), format!("{address}:{PORT}"));
        let args = [script, &pair, &listen, url.trim_start_matches("http://")];
        let mut front = Guarded::start(&program(), &python, args, &[], &folder.join("bank-tls")).expect("it starts");
        front.wait_for_line("ready", WAIT).await.expect("its address is taken");
        Bank { url, _processes: [process, front] }
    }

    pub async fn charges(&self) -> Vec<ChargeView> {
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(WAIT).build().expect("a client");
        let answer = http.get(format!("{}/sandbox/charges", self.url)).send().await.expect("an answer");
        answer.json().await.expect("the book")
    }
}
