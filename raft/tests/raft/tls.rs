//! The network of real nodes, with certificates: who gets as far as a frame.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use holdfast_raft::transport::grpc::Grpc;
use holdfast_raft::transport::principal::{Principal, Who};
use holdfast_raft::transport::tls::{Tls, TlsError, TlsFiles};
use holdfast_raft::transport::{Connection, Transport};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType, date_time_ymd,
};

const TIMEOUT: Duration = Duration::from_secs(10);
const CLUSTER: u128 = 0xc1;

/// Signs certificates, into a folder.
struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(dir: &Path) -> Authority {
        std::fs::create_dir_all(dir).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(dir.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { dir: dir.to_path_buf(), issuer: Issuer::new(params, key) }
    }

    /// Writes a certificate for `uri` that ends with that year.
    fn issue(&self, name: &str, uri: &str, last_year: i32) -> TlsFiles {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(last_year, 12, 31);
        let path = |suffix: &str| self.dir.join(format!("{name}{suffix}.pem"));
        std::fs::write(path(""), params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(path("-key"), key.serialize_pem()).unwrap();
        // Two that are made within one step of the kernel's clock would look alike.
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(last_year as u64);
        File::options().write(true).open(path("")).unwrap().set_modified(changed).unwrap();
        TlsFiles { cert: path(""), key: path("-key"), ca: self.dir.join("ca.pem") }
    }

    fn node(&self, name: &str, cluster_id: u128, last_year: i32) -> Tls {
        let uri = Principal { cluster_id, who: Who::Node(7) }.to_string();
        Tls::load(self.issue(name, &uri, last_year)).unwrap()
    }
}

/// Connects to a listener and says something; what the listener has heard, and of whom.
async fn spoken(from: &Grpc, to: &Grpc) -> Option<(Connection, Connection)> {
    let mut listener = to.listen("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr();
    let near = from.connect(&addr, TIMEOUT).await.ok()?;
    near.outgoing.send(Bytes::from_static(b"hello")).await.ok()?;
    let mut far = tokio::time::timeout(TIMEOUT, listener.accept()).await.ok()?.ok()?;
    assert_eq!(far.incoming.recv().await.unwrap(), &b"hello"[..]);
    Some((near, far))
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_one_cluster_know_each_other_and_nobody_else_is_heard() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new(&dir.path().join("ours"));
    let others = Authority::new(&dir.path().join("others"));
    let member = Grpc::secured(ours.node("member", CLUSTER, 2199));
    let (near, far) = spoken(&member, &member).await.expect("members");
    let seven = Some(Principal { cluster_id: CLUSTER, who: Who::Node(7) });
    assert_eq!((near.principal, far.principal), (seven, seven));

    let strangers = [
        ("without TLS", Grpc::default()),
        ("another cluster, the same authority", Grpc::secured(ours.node("other-cluster", 0xc2, 2199))),
        ("another authority", Grpc::secured(others.node("other-authority", CLUSTER, 2199))),
        ("expired", Grpc::secured(ours.node("expired", CLUSTER, 2020))),
    ];
    for (who, stranger) in &strangers {
        assert!(spoken(stranger, &member).await.is_none(), "{who} is let in");
        assert!(spoken(&member, stranger).await.is_none(), "{who} is talked to");
    }
}

#[test]
fn files_are_read_again_when_they_change_and_only_for_the_same_holder() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path());
    let uri = Principal { cluster_id: CLUSTER, who: Who::Node(7) }.to_string();
    let tls = Tls::load(authority.issue("node", &uri, 2100)).unwrap();
    let until = tls.not_after_s();
    assert!(!tls.reload().unwrap(), "nothing has changed");
    authority.issue("node", &uri, 2150);
    assert!(tls.reload().unwrap());
    assert!(tls.not_after_s() > until);

    let until = tls.not_after_s();
    authority.issue("node", &Principal { cluster_id: CLUSTER, who: Who::Node(8) }.to_string(), 2160);
    assert!(matches!(tls.reload(), Err(TlsError::Somebody { .. })));
    std::fs::write(dir.path().join("node.pem"), "half of a certif").unwrap();
    assert!(tls.reload().is_err());
    assert_eq!(tls.not_after_s(), until, "the old one stays");
    assert!(matches!(Tls::load(authority.issue("nobody", "https://holdfast.example", 2100)), Err(TlsError::Nobody(_))));
}
