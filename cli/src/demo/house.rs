//! What the demonstration starts, and what it reads there when the sale is over.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_services::payments::sandbox_server::ChargeView;

use super::{OPERATOR, PASSWORD, SELLER};
use crate::cluster::Plan;
use crate::estate::{Estate, EstatePlan};
use crate::failure::Failure;
use crate::guard::Guarded;
use crate::stream::{self, Scan};
use crate::tools;

/// How long the bank may take until it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks whether everything is where it belongs.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// The bank asks for some key, and takes any.
const BANK_KEY: &str = "sk_test_demo";

/// Everything that runs. Dropping it ends all of it.
pub struct House {
    pub estate: Estate,
    bank: Guarded,
    bank_url: String,
    mail: PathBuf,
    http: reqwest::Client,
}

/// What was found outside the nodes when nothing changed any more.
pub struct Settled {
    pub charges: Vec<ChargeView>,
    pub scan: Scan,
    /// Mails, by the files that they are in.
    pub mails: u64,
    /// Mails that should have been sent and were not.
    pub mails_missing: u64,
}

impl House {
    pub async fn start(plan: Plan) -> Result<House, Failure> {
        let dir = plan.dir.clone();
        let complain = |error: std::io::Error| Failure::cannot_start(format!("{}: {error}", dir.display()));
        std::fs::create_dir_all(&dir).map_err(complain)?;
        let args = ["payments", "sandbox", "--listen", "127.0.0.1:0"];
        let mut bank = Guarded::start(&plan.program, &plan.program, args, &[], &dir.join("bank.log"))?;
        let ready = bank.wait_for_line("ready: ", READY_TIMEOUT).await?;
        let bank_url = ready.trim_start_matches("ready:").trim().to_string();
        let key = dir.join("bank.key");
        std::fs::write(&key, BANK_KEY).map_err(complain)?;
        let mail = dir.join("mail");
        let told = |flag: &str, path: &Path| [flag.to_string(), path.display().to_string()];
        let mut provider: Vec<String> = ["--provider", "stripe", "--stripe-url"].map(str::to_string).to_vec();
        provider.push(bank_url.clone());
        provider.extend(told("--stripe-key-file", &key));
        let estate = Estate::start(EstatePlan {
            broker: tools::find("nats-server", &plan.program)?,
            nodes: plan,
            payments: (1, provider),
            notifications: (1, told("--outbox", &mail).to_vec()),
        })
        .await?;
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .tls_certs_only([])
            .no_proxy()
            .build()
            .map_err(|error| Failure::cannot_start(format!("HTTP client: {error}")))?;
        Ok(House { estate, bank, bank_url, mail, http })
    }

    /// Waits until no money is merely held, the stream has everything and the mails are out; at most for `patience`, and then
    /// tells what there is.
    pub async fn settle(&self, patience: Duration) -> Result<Settled, Failure> {
        let started = Instant::now();
        let mut last = None;
        loop {
            let settled = self.look().await?;
            let held = settled.charges.iter().filter(|charge| charge.held).count();
            let captured = settled.charges.iter().filter(|charge| charge.captured).count();
            // Two looks that find the same say that nothing is on its way any more.
            let now = (settled.scan.events, captured, settled.mails);
            let still = last == Some(now) && held == 0 && settled.mails_missing == 0;
            if still || started.elapsed() > patience {
                return Ok(settled);
            }
            last = Some(now);
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn look(&self) -> Result<Settled, Failure> {
        let url = format!("{}/sandbox/charges", self.bank_url);
        let complain = |error: reqwest::Error| Failure::unreachable(format!("{url}: {error}"));
        let charges = self.http.get(&url).send().await.map_err(complain)?.json().await.map_err(complain)?;
        let scan = stream::scan(&self.estate.broker.url()).await?;
        let names = mail_names(&self.mail);
        let sent = |name: &&String| names.iter().any(|sent| sent.contains(name.as_str()));
        let mails_missing = scan.mails_must.iter().filter(|name| !sent(name)).count() as u64;
        Ok(Settled { charges, scan, mails: names.len() as u64, mails_missing })
    }

    /// Says what there is to see, and as whom.
    pub fn tell(&self) {
        let urls = self.estate.cluster.urls();
        say!("\nLook at it:   {}   (any of {})", urls[0], urls.join("  "));
        say!("A seller:     {SELLER}  password {PASSWORD}   {}/sell", urls[0]);
        say!("An operator:  {OPERATOR}  password {PASSWORD}   {}/operator", urls[0]);
        say!("The mails:    {}", self.mail.display());
        say!("Everything stays up until Ctrl-C.");
    }

    /// Ends everything gracefully. Blocks.
    pub fn stop(self) {
        let House { mut estate, bank, .. } = self;
        estate.stop();
        // It has nothing to lose.
        bank.kill();
    }
}

/// The names of the mails in a folder.
fn mail_names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".eml")).collect()
}
