//! What a node is told: by flags, by `HOLDFAST_*` variables, or by a TOML file, which all say the same things.
//!
//! One struct serves all three, so they cannot drift apart. A flag wins over a variable, a variable over the file, the
//! file over the default. An unknown key in the file is an error that names it.
//!
//! What this deliberately does not hold: rules of the sale (lock time, limits). They are policy in the replicated state,
//! so that every node applies the same.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use holdfast_api::{CardForm, PasswordCost, STRIPE_SCRIPT};
use holdfast_raft::transport::tls::TlsFiles;
use holdfast_raft::types::Intent;
use serde::Deserialize;

use crate::backup::Schedule;
use crate::bus::Bus;
use crate::failure::Failure;
use crate::tls::TlsArgs;

/// The settings of one node. `None`: not said here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Folder of the node's data; made if it is not there
    #[arg(long, env = "HOLDFAST_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Address that clients use [default: 127.0.0.1:3000]
    #[arg(long, env = "HOLDFAST_HTTP", value_name = "ADDR")]
    pub http: Option<SocketAddr>,

    /// Address that the other nodes use [default: 127.0.0.1:4000]
    #[arg(long, env = "HOLDFAST_PEER", value_name = "ADDR")]
    pub peer: Option<SocketAddr>,

    /// Address that operators and joining nodes use [default: 127.0.0.1:5000]
    #[arg(long, env = "HOLDFAST_OPERATOR", value_name = "ADDR")]
    pub operator: Option<SocketAddr>,

    /// Where clients reach this node from outside, if not at --http
    #[arg(long, env = "HOLDFAST_HTTP_ADVERTISE", value_name = "HOST:PORT")]
    pub http_advertise: Option<String>,

    /// Where peers reach this node from outside, if not at --peer
    #[arg(long, env = "HOLDFAST_PEER_ADVERTISE", value_name = "HOST:PORT")]
    pub peer_advertise: Option<String>,

    /// Public URL of the service: decides whether cookies are Secure [default: http:// and the address of --http]
    #[arg(long, env = "HOLDFAST_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,

    /// Origins of other sites whose scripts may use the API with their visitors' sessions, such as https://shop.example
    #[arg(long, env = "HOLDFAST_CORS_ORIGINS", value_delimiter = ',', value_name = "ORIGIN")]
    pub cors_origins: Option<Vec<String>>,

    /// Begin a new cluster with this node alone; ignored on a folder that is initialised. Without this and --join, a new node waits for `holdfast cluster init` or `add`
    #[arg(long, env = "HOLDFAST_BOOTSTRAP", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub bootstrap: Option<bool>,

    /// Join the cluster that answers at one of these operator addresses; ignored on a folder that is initialised
    #[arg(long, env = "HOLDFAST_JOIN", value_delimiter = ',', value_name = "OPERATOR_ADDR")]
    pub join: Option<Vec<String>>,

    /// What `holdfast cluster token` has given for joining, where nodes ask for it
    #[arg(long, env = "HOLDFAST_JOIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub join_token: Option<String>,

    /// Let nobody join through this node without a token that works once; `holdfast cluster add` and `init` bring theirs
    #[arg(long, env = "HOLDFAST_REQUIRE_JOIN_TOKEN", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub require_join_token: Option<bool>,

    /// Join as a learner that stays one: it serves stale reads and never votes
    #[arg(long, env = "HOLDFAST_LEARNER", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub learner: Option<bool>,

    /// Joined nodes become voters while there are fewer voters than this; set at bootstrap [default: 3]
    #[arg(long, env = "HOLDFAST_VOTERS_TARGET", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=9))]
    pub voters_target: Option<u32>,

    /// Allow --peer and --operator to listen beyond loopback although they are not encrypted
    #[arg(long, env = "HOLDFAST_INSECURE", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub insecure: Option<bool>,

    /// Memory that hashing one password takes (argon2id) [default: 19456]
    #[arg(long, env = "HOLDFAST_PASSWORD_MEMORY_KIB", value_name = "KIB", value_parser = clap::value_parser!(u32).range(8..=1_048_576))]
    pub password_memory_kib: Option<u32>,

    /// Passes over that memory [default: 2]
    #[arg(long, env = "HOLDFAST_PASSWORD_PASSES", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub password_passes: Option<u32>,

    /// NATS servers that events are relayed to, such as nats://127.0.0.1:4222
    #[arg(long, env = "HOLDFAST_NATS", hide_env_values = true, value_delimiter = ',', value_name = "URL")]
    pub nats: Option<Vec<String>>,

    /// The certificate of the node, its key and the authorities; flags of all commands
    #[arg(skip)]
    pub tls_cert: Option<PathBuf>,
    #[arg(skip)]
    pub tls_key: Option<PathBuf>,
    #[arg(skip)]
    pub tls_ca: Option<PathBuf>,

    /// Credentials file for NATS
    #[arg(long, env = "HOLDFAST_NATS_CREDENTIALS", value_name = "FILE")]
    pub nats_credentials: Option<PathBuf>,

    /// Certificates (PEM) of the authorities that NATS's own may be from, instead of the system's; the connection must be encrypted then
    #[arg(long, env = "HOLDFAST_NATS_CA", value_name = "FILE")]
    pub nats_ca: Option<PathBuf>,

    /// Back the state up to this folder or s3://bucket/prefix now and then, while this node leads
    #[arg(long, env = "HOLDFAST_BACKUP_TO", value_name = "STORE")]
    pub backup_to: Option<String>,

    /// Time between two backups, in seconds [default: 3600]
    #[arg(long, env = "HOLDFAST_BACKUP_INTERVAL_S", value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=31_536_000))]
    pub backup_interval_s: Option<u32>,

    /// How many of the backups stay that can be restored; older ones are removed after each [default: all]
    #[arg(long, env = "HOLDFAST_BACKUP_KEEP", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub backup_keep: Option<u32>,

    /// Carry payments through beside this node, with the sandbox bank, or leave them to `holdfast payments` [default: beside; with --nats: elsewhere]
    #[arg(long, env = "HOLDFAST_PAYMENTS", value_enum, value_name = "WHERE")]
    pub payments: Option<Payments>,

    /// Publishable key of Stripe, where `holdfast payments` uses it: the order's page has Stripe's card form then, not the sandbox's cards
    #[arg(long, env = "HOLDFAST_STRIPE_PUBLISHABLE_KEY", value_name = "pk_…")]
    pub stripe_publishable_key: Option<String>,

    /// Where the script of that form is
    #[arg(long, env = "HOLDFAST_STRIPE_SCRIPT", hide = true, value_name = "URL")]
    pub stripe_script: Option<String>,
}

/// Where payments are carried through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Payments {
    /// Beside the node, in its process: no money moves
    Beside,
    /// Elsewhere, by `holdfast payments`
    Elsewhere,
}

/// The settings of one node, complete and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    pub data: PathBuf,
    pub http: SocketAddr,
    pub peer: SocketAddr,
    pub operator: SocketAddr,
    pub http_advertise: Option<String>,
    pub peer_advertise: Option<String>,
    pub public_url: Option<String>,
    pub cors_origins: Vec<String>,
    pub bootstrap: bool,
    pub join: Vec<String>,
    pub join_token: Option<String>,
    pub require_join_token: bool,
    /// What it wants to become where it joins.
    pub intent: Intent,
    pub voters_target: u32,
    pub password_cost: PasswordCost,
    pub payments: Payments,
    pub bus: Bus,
    /// What the node shows to peers and at the operator's listener, and asks of them. `None`: no TLS there.
    pub tls: Option<TlsFiles>,
    pub backups: Option<Schedule>,
    /// The provider's card form on the order's page.
    pub card_form: Option<CardForm>,
}

/// The longest configuration file that is read, in bytes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Addresses that `--join` may name.
pub const JOIN_ADDRESSES_MAX: usize = 16;
/// Origins that `--cors-origins` may name.
const CORS_ORIGINS_MAX: usize = 64;

impl Settings {
    /// Reads a TOML file whose keys are the flags' names.
    pub fn read(path: &Path) -> Result<Settings, Failure> {
        let complain = |error: &dyn std::fmt::Display| Failure::usage(format!("--config {}: {error}", path.display()));
        let length = std::fs::metadata(path).map_err(|error| complain(&error))?.len();
        if length > CONFIG_BYTES_MAX {
            return Err(complain(&format!("longer than {CONFIG_BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| complain(&error))?;
        toml::from_str::<Settings>(&text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            match line {
                Some(line) => complain(&format!("line {line}: {}", error.message())),
                None => complain(&error.message()),
            }
        })
    }

    /// These settings, and those of `below` where they say nothing.
    pub fn over(self, below: Settings) -> Settings {
        Settings {
            data: self.data.or(below.data),
            http: self.http.or(below.http),
            peer: self.peer.or(below.peer),
            operator: self.operator.or(below.operator),
            http_advertise: self.http_advertise.or(below.http_advertise),
            peer_advertise: self.peer_advertise.or(below.peer_advertise),
            public_url: self.public_url.or(below.public_url),
            cors_origins: self.cors_origins.or(below.cors_origins),
            bootstrap: self.bootstrap.or(below.bootstrap),
            join: self.join.or(below.join),
            learner: self.learner.or(below.learner),
            join_token: self.join_token.or(below.join_token),
            require_join_token: self.require_join_token.or(below.require_join_token),
            voters_target: self.voters_target.or(below.voters_target),
            insecure: self.insecure.or(below.insecure),
            password_memory_kib: self.password_memory_kib.or(below.password_memory_kib),
            password_passes: self.password_passes.or(below.password_passes),
            nats: self.nats.or(below.nats),
            nats_credentials: self.nats_credentials.or(below.nats_credentials),
            nats_ca: self.nats_ca.or(below.nats_ca),
            payments: self.payments.or(below.payments),
            stripe_publishable_key: self.stripe_publishable_key.or(below.stripe_publishable_key),
            stripe_script: self.stripe_script.or(below.stripe_script),
            tls_cert: self.tls_cert.or(below.tls_cert),
            tls_key: self.tls_key.or(below.tls_key),
            tls_ca: self.tls_ca.or(below.tls_ca),
            backup_to: self.backup_to.or(below.backup_to),
            backup_interval_s: self.backup_interval_s.or(below.backup_interval_s),
            backup_keep: self.backup_keep.or(below.backup_keep),
        }
    }

    /// Fills in the defaults and checks what belongs together.
    pub fn resolve(self) -> Result<Resolved, Failure> {
        let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let cost = PasswordCost::default();
        let bus = match self.nats {
            Some(urls) if !urls.is_empty() => Bus::Nats { urls, credentials: self.nats_credentials, ca: self.nats_ca },
            _ => Bus::Nowhere,
        };
        let payments = if bus == Bus::Nowhere { Payments::Beside } else { Payments::Elsewhere };
        let tls = TlsArgs { tls_cert: self.tls_cert, tls_key: self.tls_key, tls_ca: self.tls_ca }.files()?;
        let script = self.stripe_script.as_deref().unwrap_or(STRIPE_SCRIPT);
        let card_form = self.stripe_publishable_key.map(|key| CardForm::new(&key, script)).transpose();
        let card_form = card_form.map_err(|error| Failure::usage(format!("--stripe-publishable-key: {error}")))?;
        let interval_s = self.backup_interval_s.unwrap_or(3_600).max(1);
        let keep = self.backup_keep.map(|keep| keep.max(1));
        let resolved = Resolved {
            tls,
            data: self.data.ok_or_else(|| Failure::usage("--data: the folder of the node's data must be given"))?,
            http: self.http.unwrap_or(local(3000)),
            peer: self.peer.unwrap_or(local(4000)),
            operator: self.operator.unwrap_or(local(5000)),
            http_advertise: self.http_advertise,
            peer_advertise: self.peer_advertise,
            public_url: self.public_url,
            cors_origins: self.cors_origins.unwrap_or_default(),
            bootstrap: self.bootstrap.unwrap_or(false),
            join: self.join.unwrap_or_default(),
            join_token: self.join_token,
            require_join_token: self.require_join_token.unwrap_or(false),
            intent: if self.learner.unwrap_or(false) { Intent::Learner } else { Intent::Voter },
            voters_target: self.voters_target.unwrap_or(3),
            payments: self.payments.unwrap_or(payments),
            backups: self.backup_to.map(|to| Schedule {
                to,
                interval: Duration::from_secs(interval_s.into()),
                keep: keep.map(|keep| keep as usize),
            }),
            bus,
            card_form,
            password_cost: PasswordCost {
                memory_kib: self.password_memory_kib.unwrap_or(cost.memory_kib),
                passes: self.password_passes.unwrap_or(cost.passes),
            },
        };
        resolved.check(self.insecure.unwrap_or(false))?;
        Ok(resolved)
    }
}

impl Resolved {
    fn check(&self, insecure: bool) -> Result<(), Failure> {
        for (flag, address) in [("--peer", self.peer), ("--operator", self.operator)] {
            if !address.ip().is_loopback() && self.tls.is_none() && !insecure {
                return Err(Failure::usage(format!(
                    "{flag} {address}: not a loopback address, and this listener is not encrypted: use --tls-cert, --tls-key and --tls-ca, or say --insecure if the network is trusted"
                )));
            }
        }
        for (flag, listens, advertised) in [
            ("--http-advertise", self.http, &self.http_advertise),
            ("--peer-advertise", self.peer, &self.peer_advertise),
        ] {
            match advertised {
                Some(text) => host_and_port(flag, text)?,
                None if listens.ip().is_unspecified() => {
                    return Err(Failure::usage(format!(
                        "{flag}: needed, as {listens} is not an address others can reach"
                    )));
                }
                None => {}
            }
        }
        if self.bootstrap && !self.join.is_empty() {
            return Err(Failure::usage("--bootstrap and --join: only one of them can be meant"));
        }
        if self.join.len() > JOIN_ADDRESSES_MAX {
            return Err(Failure::usage(format!("--join: more than {JOIN_ADDRESSES_MAX} addresses")));
        }
        self.join.iter().try_for_each(|address| host_and_port("--join", address))?;
        if self.cors_origins.len() > CORS_ORIGINS_MAX {
            return Err(Failure::usage(format!("--cors-origins: more than {CORS_ORIGINS_MAX} origins")));
        }
        self.cors_origins.iter().try_for_each(|origin| is_origin("--cors-origins", origin))?;
        // clap checks flags and variables; these may come from the file.
        within("--voters-target", self.voters_target, 1..=9)?;
        within("--password-memory-kib", self.password_cost.memory_kib, 8..=1 << 20)?;
        within("--password-passes", self.password_cost.passes, 1..=100)?;
        match &self.public_url {
            Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
                Err(Failure::usage(format!("--public-url {url}: not an http:// or https:// URL")))
            }
            _ => Ok(()),
        }
    }
}

fn within(flag: &str, value: u32, range: RangeInclusive<u32>) -> Result<(), Failure> {
    match range.contains(&value) {
        true => Ok(()),
        false => Err(Failure::usage(format!("{flag} {value}: not in {}..={}", range.start(), range.end()))),
    }
}

/// Refuses what no browser sends as `Origin`: a scheme and a host in lower case, a port where it is not the scheme's own.
fn is_origin(flag: &str, text: &str) -> Result<(), Failure> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]".contains(&byte);
    match host {
        Some(host) if !host.is_empty() && host.bytes().all(is_plain) => Ok(()),
        _ => Err(Failure::usage(format!("{flag} {text}: not an origin, such as https://shop.example"))),
    }
}

/// Refuses what is not `host:port`.
pub fn host_and_port(flag: &str, text: &str) -> Result<(), Failure> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(1..)) => Ok(()),
        _ => Err(Failure::usage(format!("{flag} {text}: not HOST:PORT"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, Failure> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Settings::read(file.path())
    }

    #[test]
    fn the_file_uses_the_flags_names_and_the_flags_win() {
        let file = read("data = '/srv/a'\nhttp = '127.0.0.1:1'\nvoters-target = 5\njoin = ['127.0.0.1:2']").unwrap();
        let flags = Settings { http: Some("127.0.0.1:9".parse().unwrap()), ..Settings::default() };
        let resolved = flags.over(file).resolve().unwrap();
        assert_eq!(resolved.http.port(), 9);
        assert_eq!(resolved.data, Path::new("/srv/a"));
        assert_eq!(resolved.voters_target, 5);
        assert_eq!(resolved.join, ["127.0.0.1:2"]);
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = read("data = 'a'\nvoter-target = 3").unwrap_err();
        assert_eq!(error.exit, crate::failure::Exit::Usage);
        assert!(error.message.contains("voter-target"), "{error}");
        assert!(error.message.contains("line 2"), "{error}");
    }

    #[test]
    fn what_does_not_belong_together_names_the_flag() {
        let settings = |text: &str| read(&format!("data = 'a'\n{text}")).unwrap().resolve();
        for (text, flag) in [
            ("peer = '10.0.0.1:4000'", "--peer"),
            ("operator = '10.0.0.1:4000'", "--operator"),
            ("http = '0.0.0.0:3000'", "--http-advertise"),
            ("bootstrap = true\njoin = ['a:1']", "--bootstrap"),
            ("join = ['nowhere']", "--join"),
            ("join = ['nowhere:0']", "--join"),
            ("voters-target = 0", "--voters-target"),
            ("password-passes = 0", "--password-passes"),
            ("public-url = 'example.org'", "--public-url"),
            ("cors-origins = ['*']", "--cors-origins"),
            ("stripe-publishable-key = 'sk_live_7'", "--stripe-publishable-key"),
            ("cors-origins = ['https://shop.example/']", "--cors-origins"),
        ] {
            let error = settings(text).unwrap_err();
            assert!(error.message.contains(flag), "{text}: {error}");
        }
        assert!(settings("peer = '10.0.0.1:4000'\ninsecure = true").is_ok());
        assert!(Settings::default().resolve().unwrap_err().message.contains("--data"));
    }
}
