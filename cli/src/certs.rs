//! `holdfast certs`: certificates for those who have no authority of their own.
//!
//! The authority is a folder: its certificate, its key, and the id of the cluster that it is for. The id is chosen here, before
//! there is a cluster, so that a node which begins one takes it from its certificate. The folder is not needed by any node, and
//! its key must not be on one.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use holdfast_raft::disk;
use holdfast_raft::identity::Identity;
use holdfast_raft::transport::principal::{Principal, Who};
use holdfast_raft::transport::tls::{Tls, TlsFiles};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::failure::Failure;
use crate::folder::write_once;
use crate::operator::parse_hex;

const CA: &str = "ca.pem";
const CA_KEY: &str = "ca-key.pem";
const CLUSTER_ID: &str = "cluster-id";
/// A certificate is good from a little before now: clocks differ.
const BEFORE_S: u64 = 5 * 60;
const DAY_S: u64 = 24 * 60 * 60;

/// Make and renew the certificates of a cluster
#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// Make an authority, for a new cluster whose id is chosen with it
    Init(InitArgs),
    /// Make a certificate for a node or an operator
    Issue(IssueArgs),
    /// Make the same certificate anew, in the place of the old one; nodes read it by themselves
    Rotate(RotateArgs),
}

#[derive(Debug, Args)]
pub struct InitArgs {
    /// Folder of the authority; made if it is not there. Keep it off the nodes
    #[arg(long, value_name = "DIR")]
    authority: PathBuf,
    /// Days until the authority's own certificate ends
    #[arg(long, default_value_t = 3650, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
}

#[derive(Debug, Args)]
pub struct IssueArgs {
    /// Folder of the authority
    #[arg(long, value_name = "DIR")]
    authority: PathBuf,
    #[command(flatten)]
    holder: HolderArgs,
    /// Where the certificate goes; its key stands beside it, in a name that ends with -key.pem
    #[arg(long, value_name = "FILE.pem")]
    out: PathBuf,
    /// Days until it ends
    #[arg(long, default_value_t = 90, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=3_650))]
    days: u32,
}

/// Whom a certificate is for: one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct HolderArgs {
    /// For the node with this id; the one that begins a cluster has 1
    #[arg(long, value_name = "ID")]
    node: Option<u64>,
    /// For the node with this data folder, which may be new
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// For nodes that share one certificate
    #[arg(long)]
    any_node: bool,
    /// For somebody who operates the cluster
    #[arg(long)]
    operator: bool,
}

#[derive(Debug, Args)]
pub struct RotateArgs {
    /// Folder of the authority
    #[arg(long, value_name = "DIR")]
    authority: PathBuf,
    /// The certificate, as `issue` has made it; its key is replaced too
    #[arg(long, value_name = "FILE.pem")]
    cert: PathBuf,
    /// Days until the new one ends
    #[arg(long, default_value_t = 90, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=3_650))]
    days: u32,
}

pub async fn run(command: CertsCommand) -> Result<(), Failure> {
    match command {
        CertsCommand::Init(args) => init(&args),
        CertsCommand::Issue(args) => issue(&args),
        CertsCommand::Rotate(args) => rotate(&args),
    }
}

fn init(args: &InitArgs) -> Result<(), Failure> {
    let dir = &args.authority;
    let complain = |error: std::io::Error| Failure::cannot_start(format!("--authority {}: {error}", dir.display()));
    std::fs::create_dir_all(dir).map_err(complain)?;
    if dir.join(CA_KEY).exists() {
        return Err(Failure::usage(format!("--authority {}: there is an authority already", dir.display())));
    }
    let cluster_id: u128 = rand::random();
    let key = KeyPair::generate().map_err(unusable)?;
    let mut params = params(&format!("Holdfast cluster {cluster_id:032x}"), args.days)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).map_err(unusable)?;
    put(&dir.join(CLUSTER_ID), &format!("{cluster_id:032x}\n"))?;
    put(&dir.join(CA), &certificate.pem())?;
    // Last: with it there is an authority.
    put(&dir.join(CA_KEY), &key.serialize_pem())?;
    say!("cluster {cluster_id:032x}; nodes need {}, and certificates by: holdfast certs issue", dir.join(CA).display());
    Ok(())
}

fn issue(args: &IssueArgs) -> Result<(), Failure> {
    let HolderArgs { node, data, any_node, .. } = &args.holder;
    let who = match (*node, data) {
        (Some(id), _) => Who::Node(id),
        (None, Some(data)) => Who::Instance(instance(data)?),
        (None, None) if *any_node => Who::AnyNode,
        (None, None) => Who::Operator,
    };
    let authority = Authority::open(&args.authority)?;
    if args.out.exists() {
        return Err(Failure::usage(format!("--out {}: is there already; use certs rotate", args.out.display())));
    }
    authority.certify(who, &args.out, args.days)
}

fn rotate(args: &RotateArgs) -> Result<(), Failure> {
    let authority = Authority::open(&args.authority)?;
    let files = TlsFiles { cert: args.cert.clone(), key: key_beside(&args.cert)?, ca: args.authority.join(CA) };
    let old = Tls::load(files).map_err(|error| Failure::usage(format!("--cert: {error}")))?.principal();
    if old.cluster_id != authority.cluster_id {
        return Err(Failure::usage(format!("--cert {}: is of another cluster, {old}", args.cert.display())));
    }
    authority.certify(old.who, &args.cert, args.days)
}

/// The folder's random id, which is made with the folder.
fn instance(data: &Path) -> Result<u128, Failure> {
    let complain = |error: std::io::Error| Failure::cannot_start(format!("--data {}: {error}", data.display()));
    std::fs::create_dir_all(data).map_err(complain)?;
    let disk = disk::Folder::open(data).map_err(complain)?;
    Ok(Identity::open(&disk).map_err(complain)?.instance)
}

/// Who signs.
struct Authority {
    cluster_id: u128,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn open(dir: &Path) -> Result<Authority, Failure> {
        let read = |name: &str| {
            let path = dir.join(name);
            std::fs::read_to_string(&path)
                .map_err(|error| Failure::usage(format!("--authority: {}: {error}; see certs init", path.display())))
        };
        let bad = |name: &str| Failure::usage(format!("--authority: {}: cannot be used", dir.join(name).display()));
        let cluster_id = parse_hex(read(CLUSTER_ID)?.trim()).ok_or_else(|| bad(CLUSTER_ID))?;
        let key = KeyPair::from_pem(&read(CA_KEY)?).map_err(|_| bad(CA_KEY))?;
        let issuer = Issuer::from_ca_cert_pem(&read(CA)?, key).map_err(|_| bad(CA))?;
        Ok(Authority { cluster_id, issuer })
    }

    /// Writes a certificate for `who`, and its key.
    fn certify(&self, who: Who, out: &Path, days: u32) -> Result<(), Failure> {
        let principal = Principal { cluster_id: self.cluster_id, who };
        let key_path = key_beside(out)?;
        let key = KeyPair::generate().map_err(unusable)?;
        let mut params = params("Holdfast", days)?;
        let uri = principal.to_string().try_into().map_err(unusable)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(unusable)?;
        // A node that looks in between finds a pair that does not fit, keeps what it has, and looks again.
        put(&key_path, &key.serialize_pem())?;
        put(out, &certificate.pem())?;
        say!("{principal}: {}, {} (good for {days} days)", out.display(), key_path.display());
        Ok(())
    }
}

/// What all certificates have in common.
fn params(name: &str, days: u32) -> Result<CertificateParams, Failure> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let at = |since_s: u64| date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(since_s);
    let mut params = CertificateParams::new(Vec::<String>::new()).map_err(unusable)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = at(now_s - BEFORE_S);
    // One second less: a certificate for no day at all has ended.
    params.not_after = at(now_s + u64::from(days) * DAY_S - 1);
    Ok(params)
}

fn key_beside(cert: &Path) -> Result<PathBuf, Failure> {
    let stem = cert.file_name().and_then(|name| name.to_str()?.strip_suffix(".pem"));
    let stem =
        stem.ok_or_else(|| Failure::usage(format!("{}: a name that ends with .pem is needed", cert.display())))?;
    Ok(cert.with_file_name(format!("{stem}-key.pem")))
}

fn put(path: &Path, text: &str) -> Result<(), Failure> {
    write_once(path, text.as_bytes()).map_err(|error| Failure::cannot_start(format!("{}: {error}", path.display())))
}

fn unusable(error: rcgen::Error) -> Failure {
    Failure::cannot_start(format!("the certificate cannot be made: {error}"))
}
