//! The server's certificate, and who may call: holders of a certificate of the client CA that may act for the cluster.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::{Server, ServerError};

/// What `cortenadm` names the apiserver in its certificate for kubelets.
const APISERVER: &str = "kube-apiserver-kubelet-client";
const MASTERS: &str = "system:masters";

/// The files as they were last read, and what was made of them.
#[derive(Clone, Default)]
pub struct Credentials(Arc<Mutex<Option<Kept>>>);

struct Kept {
    stamps: Vec<Stamp>,
    config: Arc<ServerConfig>,
}

/// What changes with a file: device, inode, size, and the time of the last change in seconds and nanoseconds.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// Looked at for every connection and read when a file has changed, so that a renewed certificate needs no restart. While the
/// files do not go together (a renewal writes one after the other) what was good before goes on serving.
pub(super) fn config(server: &Server) -> Result<Arc<ServerConfig>, ServerError> {
    let stamps: Vec<Stamp> =
        [&server.cert_file, &server.key_file, &server.client_ca_file].map(|path| stamp(path)).into();
    let mut last = server.credentials.0.lock();
    match &*last {
        Some(kept) if kept.stamps == stamps => return Ok(Arc::clone(&kept.config)),
        _ => {}
    }
    match (read_all(server), &*last) {
        (Ok(config), _) => {
            *last = Some(Kept { stamps, config: Arc::clone(&config) });
            Ok(config)
        }
        (Err(why), Some(kept)) => {
            tracing::warn!(
                why = corten_api::error::with_causes(&why),
                "the server's files cannot be used; serving with what they were"
            );
            Ok(Arc::clone(&kept.config))
        }
        (Err(why), None) => Err(why),
    }
}

fn stamp(path: &Path) -> Stamp {
    use std::os::unix::fs::MetadataExt as _;
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec()))
}

fn read_all(server: &Server) -> Result<Arc<ServerConfig>, ServerError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&server.client_ca_file)? {
        roots.add(certificate)?;
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build()?;
    let key = read(&server.key_file)?;
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|_| ServerError::Pem { path: server.key_file.clone(), what: "private key" })?;
    let chain = certificates(&server.cert_file)?;
    let mut config = ServerConfig::builder().with_client_cert_verifier(verifier).with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn read(path: &Path) -> Result<Vec<u8>, ServerError> {
    std::fs::read(path).map_err(|source| ServerError::Read { path: path.into(), source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ServerError> {
    let bad = || ServerError::Pem { path: path.into(), what: "certificate" };
    let pem = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or_else(bad)
}

/// A certificate that is signed by the CA but belongs to a node or a user opens nothing here.
pub(super) fn may_call(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return false };
    let subject = parsed.subject();
    let is = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>, wanted: &str| attribute.as_str() == Ok(wanted);
    subject.iter_common_name().any(|cn| is(cn, APISERVER)) || subject.iter_organization().any(|o| is(o, MASTERS))
}
