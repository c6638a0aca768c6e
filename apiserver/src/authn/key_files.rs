//! The files with the keys of service-account tokens: read, and read again when they change, so that keys rotate without a
//! restart.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use corten_api::error::with_causes;

use super::keys::{KeyError, Keys};
use super::tokens::Tokens;

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct KeyFiles {
    /// Its private key signs new tokens.
    pub signing: PathBuf,
    /// Tokens of these keys are good, too: those of other apiservers, and those that signed before.
    pub verifying: Vec<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("cannot read {} for {flag}: give a PEM file", path.display())]
    Read {
        flag: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the keys in --service-account-signing-key-file and --service-account-key-file cannot be used")]
    Keys(#[from] KeyError),
}

impl KeyFiles {
    pub fn load(&self) -> Result<Keys, KeyFileError> {
        let read = |flag, path: &PathBuf| {
            std::fs::read(path).map_err(|source| KeyFileError::Read { flag, path: path.clone(), source })
        };
        let signing = read("--service-account-signing-key-file", &self.signing)?;
        let verifying: Result<Vec<_>, _> =
            self.verifying.iter().map(|path| read("--service-account-key-file", path)).collect();
        Ok(Keys::of_pem(&signing, &verifying?)?)
    }

    /// Looks at the files now and then, for ever. Files that are no good change nothing: they may be half written.
    pub async fn keep(self, tokens: Arc<Tokens>) {
        let mut seen = self.changed_at();
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let now = self.changed_at();
            if now == seen {
                continue;
            }
            match self.load() {
                Ok(keys) => {
                    tracing::info!(
                        signing = keys.signing().public().id(),
                        "the keys of service accounts are read again"
                    );
                    tokens.replace_keys(keys);
                    seen = now;
                }
                Err(err) => tracing::warn!("changed key files of service accounts are not used: {}", with_causes(&err)),
            }
        }
    }

    fn changed_at(&self) -> Vec<Option<SystemTime>> {
        let files = std::iter::once(&self.signing).chain(&self.verifying);
        files.map(|file| file.metadata().and_then(|meta| meta.modified()).ok()).collect()
    }
}
