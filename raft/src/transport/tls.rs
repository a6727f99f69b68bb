//! TLS on both sides of every connection: who is no member of the cluster does not get as far as a frame.
//!
//! A certificate is good if the cluster's authority has signed it, it has not run out, and it names the same cluster as our
//! own ([`Principal`]). Host names are not looked at: nodes move, and what counts is who somebody is, not where. Which node it is
//! has to fit what the session says, and is checked there.
//!
//! The files are read again when they change, so certificates are replaced without a restart: connections that stand go on,
//! new ones use the new certificate. Files that cannot be used are reported and the old certificate stays.
//!
//! What this deliberately does not do: revocation. Certificates are to be short-lived; an authority that is not trusted any
//! more is taken out of the file.

mod stream;
mod verifier;

pub use stream::Stream;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::principal::Principal;
use verifier::Verifier;

/// Between two looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// What a certificate is called when a name has to be said; nobody checks it.
const NAME: &str = "holdfast";

/// Where the certificate chain, its key and the authorities' certificates stand, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub ca: PathBuf,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: String },
    #[error("{}: the certificate names nobody: a URI holdfast://<cluster>/<node> is needed among its names", .0.display())]
    Nobody(PathBuf),
    #[error("the certificate is for {found}, and this process is {ours}: that takes a restart")]
    Somebody { ours: String, found: String },
    #[error("certificate and key cannot be used: {0}")]
    Unusable(String),
}

/// The identity of this process, read from its files. Clones are the same one.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    files: TlsFiles,
    loaded: RwLock<Arc<Loaded>>,
}

struct Loaded {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    principal: Principal,
    not_after_s: u64,
    seen: Seen,
}

/// The files as they were when they were read: their times of change and lengths.
type Seen = [Option<(SystemTime, u64)>; 3];

impl Tls {
    /// Reads the files.
    pub fn load(files: TlsFiles) -> Result<Tls, TlsError> {
        let loaded = Arc::new(load(&files)?);
        show(&loaded);
        Ok(Tls(Arc::new(Shared { files, loaded: RwLock::new(loaded) })))
    }

    /// Reads the files again if they have changed. Returns whether there is another certificate now.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let old = self.loaded();
        if seen(&self.0.files) == old.seen {
            return Ok(false);
        }
        let fresh = load(&self.0.files)?;
        if fresh.principal != old.principal {
            let (ours, found) = (old.principal.to_string(), fresh.principal.to_string());
            return Err(TlsError::Somebody { ours, found });
        }
        show(&fresh);
        *self.0.loaded.write().expect("nothing panics while it holds this") = Arc::new(fresh);
        Ok(true)
    }

    /// Looks at the files now and then, and reads them when they have changed. Never ends.
    pub async fn watch(self) {
        let mut told = String::new();
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let tls = self.clone();
            match crate::runtime::blocking(move || tls.reload()).await {
                Ok(false) => {}
                Ok(true) => {
                    told.clear();
                    count("done");
                    tracing::info!(not_after_s = self.not_after_s(), "the certificate was replaced");
                }
                // Half of the new files may be there; what stays wrong is told once.
                Err(error) if error.to_string() == told => {}
                Err(error) => {
                    told = error.to_string();
                    count("failed");
                    tracing::warn!(%error, "the new certificate is not used; the old one stays");
                }
            }
        }
    }

    /// Who this process is.
    pub fn principal(&self) -> Principal {
        self.loaded().principal
    }

    /// Until when the certificate is good, in seconds since the Unix epoch.
    pub fn not_after_s(&self) -> u64 {
        self.loaded().not_after_s
    }

    /// For HTTP clients: they show our certificate, and talk to members of the cluster alone.
    pub fn client_config(&self) -> ClientConfig {
        ClientConfig::clone(&self.loaded().client)
    }

    /// Shakes hands with whoever connected. The caller bounds the time.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Stream> {
        let accepted = TlsAcceptor::from(self.loaded().server.clone()).accept(stream).await?;
        Stream::secured(accepted.into())
    }

    /// Shakes hands with whom we connected to. The caller bounds the time.
    pub async fn connect(&self, stream: TcpStream) -> io::Result<Stream> {
        let name = ServerName::try_from(NAME).expect("a host name");
        let connected = TlsConnector::from(self.loaded().client.clone()).connect(name, stream).await?;
        Stream::secured(connected.into())
    }

    fn loaded(&self) -> Arc<Loaded> {
        self.0.loaded.read().expect("nothing panics while it holds this").clone()
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("holdfast_tls_reloads_total", "outcome" => outcome).increment(1);
}

fn show(loaded: &Loaded) {
    metrics::gauge!("holdfast_tls_certificate_not_after_seconds").set(loaded.not_after_s as f64);
}

fn seen(files: &TlsFiles) -> Seen {
    [&files.cert, &files.key, &files.ca].map(|path| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.len()))
    })
}

fn load(files: &TlsFiles) -> Result<Loaded, TlsError> {
    // Before they are read: what changes in between is seen at the next look.
    let seen = seen(files);
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| file(&files.key, error))?;
    let mut roots = RootCertStore::empty();
    for authority in certificates(&files.ca)? {
        roots.add(authority).map_err(|error| file(&files.ca, error))?;
    }
    let (principal, not_after_s) = holder(&chain[0]).map_err(|error| file(&files.cert, error))?;
    let principal = principal.ok_or_else(|| TlsError::Nobody(files.cert.clone()))?;
    let unusable = |error: &dyn std::fmt::Display| TlsError::Unusable(error.to_string());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier::new(roots, principal.cluster_id, provider.clone()).map_err(|error| unusable(&error))?;
    let (server, client) = configs(provider, Arc::new(verifier), chain, key).map_err(|error| unusable(&error))?;
    Ok(Loaded { server: Arc::new(server), client: Arc::new(client), principal, not_after_s, seen })
}

fn configs(
    provider: Arc<CryptoProvider>,
    verifier: Arc<Verifier>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<(ServerConfig, ClientConfig), rustls::Error> {
    let versions = &[&rustls::version::TLS13];
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(verifier.clone())
        .with_single_cert(chain.clone(), key.clone_key())?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(chain, key)?;
    Ok((server, client))
}

fn file(path: &Path, error: impl std::fmt::Display) -> TlsError {
    TlsError::File { path: path.to_path_buf(), error: error.to_string() }
}

/// All certificates of a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| file(path, error))?;
    let certificates = read.collect::<Result<Vec<_>, _>>().map_err(|error| file(path, error))?;
    if certificates.is_empty() {
        return Err(file(path, "no certificate stands in it"));
    }
    Ok(certificates)
}

/// Whom a certificate names, and until when it is good, in seconds since the Unix epoch.
fn holder(certificate: &CertificateDer<'_>) -> Result<(Option<Principal>, u64), String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|error| error.to_string())?;
    let names = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
    let principal = names.and_then(|names| {
        names.value.general_names.iter().find_map(|name| match name {
            x509_parser::extensions::GeneralName::URI(uri) => Principal::parse(uri),
            _ => None,
        })
    });
    Ok((principal, u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default()))
}
