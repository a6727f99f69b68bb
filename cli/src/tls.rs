//! `--tls-cert`, `--tls-key` and `--tls-ca`: who this process is to nodes and operators' listeners. All commands take them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use clap::Args;
use holdfast_raft::disk;
use holdfast_raft::identity::Identity;
use holdfast_raft::transport::tls::{Tls, TlsFiles};

use crate::failure::Failure;

/// A listener that is not connected to by then is not there: a machine that is cut off says nothing, and the next address is asked.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The files, as they were said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct TlsArgs {
    /// Certificate of this process for the cluster's inside, as PEM; see `holdfast certs`
    #[arg(long, global = true, env = "HOLDFAST_TLS_CERT", value_name = "FILE", help_heading = "TLS")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's key
    #[arg(long, global = true, env = "HOLDFAST_TLS_KEY", value_name = "FILE", help_heading = "TLS")]
    pub tls_key: Option<PathBuf>,
    /// Certificates of the authorities that the others' certificates may be signed by
    #[arg(long, global = true, env = "HOLDFAST_TLS_CA", value_name = "FILE", help_heading = "TLS")]
    pub tls_ca: Option<PathBuf>,
}

/// What the command line said. It is of the process, as the TLS provider is.
static GIVEN: OnceLock<TlsArgs> = OnceLock::new();

/// Notes what the command line said, once.
pub fn give(args: TlsArgs) {
    let _ = GIVEN.set(args);
}

/// What the command line said.
pub fn given() -> TlsArgs {
    GIVEN.get().cloned().unwrap_or_default()
}

impl TlsArgs {
    /// The files, if they were said: all three or none.
    pub fn files(self) -> Result<Option<TlsFiles>, Failure> {
        match (self.tls_cert, self.tls_key, self.tls_ca) {
            (None, None, None) => Ok(None),
            (Some(cert), Some(key), Some(ca)) => Ok(Some(TlsFiles { cert, key, ca })),
            _ => Err(Failure::usage("--tls-cert, --tls-key, --tls-ca: all three are needed, or none of them")),
        }
    }
}

/// Reads the files.
pub fn load(files: TlsFiles) -> Result<Tls, Failure> {
    Tls::load(files).map_err(|error| Failure::cannot_start(format!("--tls-*: {error}")))
}

/// A client of operators' listeners, and how URLs for it begin.
pub struct OperatorClient {
    pub http: reqwest::Client,
    pub scheme: &'static str,
}

/// A client for who this process is; `None` speaks without TLS.
pub fn client(tls: Option<&Tls>, timeout: Duration) -> Result<OperatorClient, Failure> {
    let builder = reqwest::Client::builder().timeout(timeout).connect_timeout(CONNECT_TIMEOUT).no_proxy();
    let (builder, scheme) = match tls {
        Some(tls) => (builder.tls_backend_preconfigured(tls.client_config()), "https"),
        None => (builder.tls_certs_only([]), "http"),
    };
    let http = builder.build().map_err(|error| Failure::cannot_start(format!("HTTP client: {error}")))?;
    Ok(OperatorClient { http, scheme })
}

/// Who the command line says that this process is.
pub fn own() -> Result<Option<Tls>, Failure> {
    given().files()?.map(load).transpose()
}

/// [`client`], for who the command line says that this process is.
pub fn own_client(timeout: Duration) -> Result<OperatorClient, Failure> {
    client(own()?.as_ref(), timeout)
}

/// Refuses a certificate that is for another node than the folder is: with it no peer would let this one in.
pub fn check(tls: &Tls, data: &Path) -> Result<(), Failure> {
    let complain = |error: std::io::Error| Failure::cannot_start(format!("--data {}: {error}", data.display()));
    let identity = Identity::open(&disk::Folder::open(data).map_err(complain)?).map_err(complain)?;
    let (principal, instance) = (tls.principal(), identity.instance);
    let found = match identity.place {
        Some(place) if place.cluster_id != principal.cluster_id => {
            format!("belongs to cluster {:032x}", place.cluster_id)
        }
        Some(place) if !principal.may_be(place.node_id, instance) => {
            format!("is node {} with instance {instance:032x}", place.node_id)
        }
        _ => return Ok(()),
    };
    Err(Failure::usage(format!("--tls-cert: is for {principal}, but --data {} {found}", data.display())))
}
