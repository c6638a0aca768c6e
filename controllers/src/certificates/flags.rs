//! Which authorities sign as Kubernetes' own signers, and for how long: the flags, and what they come to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::SignedDuration;

use super::authority::{AuthorityError, Files};
use super::signer::Signer;

/// As upstream names them.
#[derive(Clone, Debug, clap::Args)]
pub struct SigningArgs {
    /// The authority's certificate (PEM) for requests to any of Kubernetes' own signers. Without it, and without those of
    /// single signers, nothing is signed here.
    #[arg(long)]
    pub cluster_signing_cert_file: Option<PathBuf>,
    /// The key of --cluster-signing-cert-file (PEM, PKCS#8).
    #[arg(long)]
    pub cluster_signing_key_file: Option<PathBuf>,
    /// The authority's certificate for kubernetes.io/kubelet-serving alone.
    #[arg(long)]
    pub cluster_signing_kubelet_serving_cert_file: Option<PathBuf>,
    #[arg(long)]
    pub cluster_signing_kubelet_serving_key_file: Option<PathBuf>,
    /// The authority's certificate for kubernetes.io/kube-apiserver-client-kubelet alone.
    #[arg(long)]
    pub cluster_signing_kubelet_client_cert_file: Option<PathBuf>,
    #[arg(long)]
    pub cluster_signing_kubelet_client_key_file: Option<PathBuf>,
    /// The authority's certificate for kubernetes.io/kube-apiserver-client alone.
    #[arg(long)]
    pub cluster_signing_kube_apiserver_client_cert_file: Option<PathBuf>,
    #[arg(long)]
    pub cluster_signing_kube_apiserver_client_key_file: Option<PathBuf>,
    /// The authority's certificate for kubernetes.io/legacy-unknown alone.
    #[arg(long)]
    pub cluster_signing_legacy_unknown_cert_file: Option<PathBuf>,
    #[arg(long)]
    pub cluster_signing_legacy_unknown_key_file: Option<PathBuf>,
    /// How long certificates are good at most. A request may ask for less by spec.expirationSeconds.
    #[arg(long, default_value = "8760h0m0s")]
    pub cluster_signing_duration: SignedDuration,
}

#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    #[error(
        "cannot specify --cluster-signing-{{cert,key}}-file and other --cluster-signing-*-file flags at the same time"
    )]
    Both,
    #[error("--cluster-signing-{0}cert-file and --cluster-signing-{0}key-file go together: give both, or neither")]
    Half(String),
    #[error("--cluster-signing-duration must be more than 0, not {0}")]
    Duration(SignedDuration),
    #[error("cannot sign with {} and {}", files.cert.display(), files.key.display())]
    Authority {
        files: Files,
        #[source]
        source: AuthorityError,
    },
}

/// What the flags come to, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signing {
    /// The signers that this program is.
    pub files: BTreeMap<Signer, Files>,
    /// The life of a certificate for which nothing shorter is asked.
    pub longest: SignedDuration,
}

impl Signing {
    pub fn of(args: &SigningArgs) -> Result<Self, SigningError> {
        let longest = args.cluster_signing_duration;
        if !longest.is_positive() {
            return Err(SigningError::Duration(longest));
        }
        let all = pair("", args.cluster_signing_cert_file.as_ref(), args.cluster_signing_key_file.as_ref())?;
        let mut files = BTreeMap::new();
        for signer in Signer::ALL {
            let (name, cert, key) = flags_of(args, signer);
            let own = pair(name, cert, key)?;
            if own.is_some() && all.is_some() {
                return Err(SigningError::Both);
            }
            files.extend(own.or_else(|| all.clone()).map(|files| (signer, files)));
        }
        Ok(Self { files, longest })
    }

    /// Whether each of them could sign: said when the program starts, and not when somebody waits for a certificate.
    pub fn check(&self) -> Result<(), SigningError> {
        for files in self.files.values() {
            files.read().map_err(|source| SigningError::Authority { files: files.clone(), source })?;
        }
        Ok(())
    }
}

fn flags_of(args: &SigningArgs, signer: Signer) -> (&'static str, Option<&PathBuf>, Option<&PathBuf>) {
    let (name, cert, key) = match signer {
        Signer::KubeletServing => (
            "kubelet-serving-",
            &args.cluster_signing_kubelet_serving_cert_file,
            &args.cluster_signing_kubelet_serving_key_file,
        ),
        Signer::KubeletClient => (
            "kubelet-client-",
            &args.cluster_signing_kubelet_client_cert_file,
            &args.cluster_signing_kubelet_client_key_file,
        ),
        Signer::KubeApiserverClient => (
            "kube-apiserver-client-",
            &args.cluster_signing_kube_apiserver_client_cert_file,
            &args.cluster_signing_kube_apiserver_client_key_file,
        ),
        Signer::LegacyUnknown => (
            "legacy-unknown-",
            &args.cluster_signing_legacy_unknown_cert_file,
            &args.cluster_signing_legacy_unknown_key_file,
        ),
    };
    (name, cert.as_ref(), key.as_ref())
}

fn pair(name: &str, cert: Option<&PathBuf>, key: Option<&PathBuf>) -> Result<Option<Files>, SigningError> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(Files { cert: cert.clone(), key: key.clone() })),
        (None, None) => Ok(None),
        _ => Err(SigningError::Half(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        signing: SigningArgs,
    }

    fn read(flags: &str) -> Result<String, String> {
        let words = flags.split_whitespace().map(|flag| format!("--cluster-signing-{flag}"));
        let program =
            Program::try_parse_from(std::iter::once("p".to_owned()).chain(words)).map_err(|e| e.to_string())?;
        let signing = Signing::of(&program.signing).map_err(|err| err.to_string())?;
        let files = signing.files.iter().map(|(signer, files)| format!("{signer:?} {}", files.cert.display()));
        Ok(format!("{} for {} h", files.collect::<Vec<_>>().join(", "), signing.longest.as_hours()))
    }

    #[test]
    fn flags_table() {
        let both = "cannot specify --cluster-signing-{cert,key}-file and other --cluster-signing-*-file flags at the same time";
        for (why, flags, expected) in [
            ("nobody signs", "", Ok(" for 8760 h")),
            (
                "all by one",
                "cert-file=a key-file=b duration=24h",
                Ok("KubeletServing a, KubeletClient a, KubeApiserverClient a, LegacyUnknown a for 24 h"),
            ),
            (
                "one by its own",
                "kubelet-serving-cert-file=c kubelet-serving-key-file=d",
                Ok("KubeletServing c for 8760 h"),
            ),
            ("both", "cert-file=a key-file=b legacy-unknown-cert-file=c legacy-unknown-key-file=d", Err(both)),
            (
                "half",
                "kubelet-client-cert-file=c",
                Err(
                    "--cluster-signing-kubelet-client-cert-file and --cluster-signing-kubelet-client-key-file go together: give both, or neither",
                ),
            ),
            ("no time", "duration=0s", Err("--cluster-signing-duration must be more than 0, not PT0S")),
        ] {
            assert_eq!(read(flags), expected.map(str::to_owned).map_err(str::to_owned), "{why}");
        }
        assert!(read("duration=soon").is_err());
    }
}
