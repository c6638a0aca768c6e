//! The server's certificates: read from files, read again when the files change; and whose the clients' are.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use corten_api::error::with_causes;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};

use crate::authn::front_proxy::{FrontProxyTrust, Rules};
use crate::authn::{AuthnError, Identity};
use crate::connect::aggregated::reach::FrontProxyTls;

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub client_ca: PathBuf,
    pub front_proxy: Option<FrontProxyTrust>,
    /// Shown to servers that we are a front proxy for.
    pub front_proxy_client: Option<FrontProxyTls>,
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {} for {flag}: give a PEM file", path.display())]
    Read {
        flag: &'static str,
        path: PathBuf,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("{} has no certificate: give {flag} the CA that signs client certificates", path.display())]
    NoCa { flag: &'static str, path: PathBuf },
    #[error("the certificate in --tls-cert-file and the key in --tls-key-file cannot be used together")]
    Pair(#[source] rustls::Error),
    #[error("the CA in {flag} cannot be used")]
    Ca {
        flag: &'static str,
        #[source]
        source: rustls::Error,
    },
    #[error("client certificates cannot be verified with --client-ca-file and --requestheader-client-ca-file")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// What new connections are made with.
#[derive(Debug)]
pub struct Current {
    pub config: Arc<ServerConfig>,
    verifier: Arc<dyn ClientCertVerifier>,
    front_proxy: Option<(Arc<dyn ClientCertVerifier>, Arc<Rules>)>,
}

impl Current {
    fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |flag, path: &PathBuf| {
            let path = path.clone();
            move |source| TlsError::Read { flag, path, source }
        };
        let certs = |flag, path: &PathBuf| {
            CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(read(flag, path))
        };
        let chain = certs("--tls-cert-file", &files.cert)?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(read("--tls-key-file", &files.key))?;
        let roots = |flag, path: &PathBuf| {
            let mut roots = RootCertStore::empty();
            for ca in certs(flag, path)? {
                roots.add(ca).map_err(|source| TlsError::Ca { flag, source })?;
            }
            if roots.is_empty() {
                return Err(TlsError::NoCa { flag, path: path.clone() });
            }
            Ok(roots)
        };
        let verifier = |roots: RootCertStore| -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
            Ok(WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated().build()?)
        };
        let clients = roots("--client-ca-file", &files.client_ca)?;
        // Clients show a certificate of an authority that they are told of.
        let mut hinted = clients.clone();
        let mut front_proxy = None;
        if let Some(FrontProxyTrust { ca, rules }) = &files.front_proxy {
            let proxies = roots("--requestheader-client-ca-file", ca)?;
            hinted.extend(proxies.roots.iter().cloned());
            front_proxy = Some((verifier(proxies)?, rules.clone()));
        }
        let mut config = ServerConfig::builder()
            .with_client_cert_verifier(Arc::new(Later(verifier(hinted)?)))
            .with_single_cert(chain, key)
            .map_err(TlsError::Pair)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), verifier: verifier(clients)?, front_proxy })
    }

    /// Whose connection it is, by the chain it has shown.
    pub fn identify(&self, chain: &[CertificateDer<'_>]) -> Identity {
        let Some((own, intermediates)) = chain.split_first() else { return Identity::anonymous() };
        let now = UnixTime::now();
        let itself = match self.verifier.verify_client_cert(own, intermediates, now) {
            Ok(_) => Identity::of_certificate(own),
            Err(err) => Identity::Refused(AuthnError::Refused(err.to_string())),
        };
        match &self.front_proxy {
            Some((verifier, rules)) if verifier.verify_client_cert(own, intermediates, now).is_ok() => {
                Identity::of_front_proxy(own, rules, itself)
            }
            Some(_) | None => itself,
        }
    }
}

/// Whose a connection is, by the chain that it has shown and the authorities that count now: one that has been taken out of a file
/// counts for connections no more that are open.
#[derive(Debug)]
pub struct Owner {
    keeper: Arc<TlsKeeper>,
    chain: Vec<CertificateDer<'static>>,
    known: ArcSwap<(Arc<Current>, Arc<Identity>)>,
}

impl Owner {
    /// `current`: what the connection was made with.
    pub fn new(keeper: Arc<TlsKeeper>, current: Arc<Current>, chain: Vec<CertificateDer<'static>>) -> Self {
        let identity = Arc::new(current.identify(&chain));
        Self { keeper, chain, known: ArcSwap::from_pointee((current, identity)) }
    }
    pub fn identity(&self) -> Arc<Identity> {
        let (known, current) = (self.known.load(), self.keeper.current());
        if Arc::ptr_eq(&known.0, &current) {
            return known.1.clone();
        }
        let identity = Arc::new(current.identify(&self.chain));
        self.known.store(Arc::new((current, identity.clone())));
        identity
    }
}

/// Keeps the newest good certificates.
#[derive(Debug)]
pub struct TlsKeeper {
    files: TlsFiles,
    current: ArcSwap<Current>,
}

impl TlsKeeper {
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let current = ArcSwap::from_pointee(Current::load(&files)?);
        Ok(Self { files, current })
    }
    pub fn client_ca_file(&self) -> &Path {
        &self.files.client_ca
    }
    pub fn front_proxy_client(&self) -> Option<&FrontProxyTls> {
        self.files.front_proxy_client.as_ref()
    }
    pub fn front_proxy(&self) -> Option<&FrontProxyTrust> {
        self.files.front_proxy.as_ref()
    }
    pub fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }
    /// Looks at the files now and then, for ever. Files that are no good change nothing: a renewal may be half written.
    pub async fn keep(&self) {
        let mut seen = self.changed_at();
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let now = self.changed_at();
            if now == seen {
                continue;
            }
            match self.read_again() {
                Ok(()) => {
                    tracing::info!("the serving certificate and client CA are read again");
                    seen = now;
                }
                Err(err) => tracing::warn!("changed certificate files are not used: {}", with_causes(&err)),
            }
        }
    }
    fn read_again(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(Current::load(&self.files)?));
        Ok(())
    }
    fn changed_at(&self) -> Vec<Option<SystemTime>> {
        let files = [&self.files.cert, &self.files.key, &self.files.client_ca];
        let front_proxy = self.files.front_proxy.as_ref().map(|trust| &trust.ca);
        files.into_iter().chain(front_proxy).map(|f| f.metadata().and_then(|m| m.modified()).ok()).collect()
    }
}

/// Lets any client certificate through the handshake, once it is proved that the client has its key. Whether it is
/// good is asked afterwards, so that a bad one gets a 401 that can be read and not a broken connection.
#[derive(Debug)]
struct Later(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Later {
    fn client_auth_mandatory(&self) -> bool {
        false
    }
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }
    fn verify_client_cert(
        &self,
        _own: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, signed)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, signed)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;
    use crate::authn::front_proxy;

    fn authority() -> (String, Issuer<'static, KeyPair>) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        (pem, Issuer::new(params, key))
    }

    #[test]
    fn a_connection_is_a_front_proxys_while_its_authority_counts() {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let ((old, issuer), (new, _)) = (authority(), authority());
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "front-proxy-client");
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let shown = params.signed_by(&key, &issuer).unwrap();
        for (name, text) in [("tls.crt", shown.pem()), ("tls.key", key.serialize_pem()), ("ca.crt", new.clone())] {
            std::fs::write(path(name), text).unwrap();
        }
        std::fs::write(path("proxy.crt"), old).unwrap();
        let rules = Arc::new(front_proxy::rules(&[]));
        let keeper = TlsKeeper::open(TlsFiles {
            cert: path("tls.crt"),
            key: path("tls.key"),
            client_ca: path("ca.crt"),
            front_proxy: Some(FrontProxyTrust { ca: path("proxy.crt"), rules }),
            front_proxy_client: None,
        });
        let keeper = Arc::new(keeper.unwrap());
        let owner = Owner::new(keeper.clone(), keeper.current(), vec![shown.der().clone()]);
        assert!(owner.identity().front_proxy(0).is_some());
        std::fs::write(path("proxy.crt"), new).unwrap();
        keeper.read_again().unwrap();
        assert!(owner.identity().front_proxy(0).is_none());
        assert!(Arc::ptr_eq(&owner.identity(), &owner.identity()), "it is found out once");
    }
}
