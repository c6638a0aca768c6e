//! A cluster's certificates and keys as files in one directory: planned, issued, and kept while they are good.
//!
//! `plan` says which certificates a cluster wants (pure data), `check` judges one that exists, `issue` makes one,
//! `files` writes them. [`Pki`] puts these together. Follows
//! <https://kubernetes.io/docs/setup/best-practices/certificates/> in names and uses.
mod check;
mod files;
mod issue;
mod plan;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use jiff::Timestamp;

pub use check::{Facts, Verdict, facts};
use files::Owner;
pub use files::mode_of;
pub use plan::{Authority, CertPlan, ClusterPlan, Usage, canonical, node_plan};

/// Leaf certificates are issued for this long.
pub const LEAF_VALID_DAYS: i64 = 365;
/// Authorities are issued for this long.
pub const AUTHORITY_VALID_DAYS: i64 = 3650;
/// A leaf with less time than this left is issued anew.
pub const RENEW_BEFORE_DAYS: i64 = 30;

/// Why certificates could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("cannot {doing} {}: check that the directory exists and that you may write there (root usually)", path.display())]
    File { doing: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{} is not a {what} in PEM: restore it from a backup, or move it away and run this again", path.display())]
    NotPem { what: &'static str, path: PathBuf },
    #[error("{} exists but its key {} does not: restore the key, or move the certificate away to get a new pair", cert.display(), key.display())]
    KeyMissing { cert: PathBuf, key: PathBuf },
    #[error(
        "{} is not the key of {}: what it signs, nobody believes; restore the pair from a backup, or from another master",
        key.display(), cert.display()
    )]
    AuthorityOtherKey { cert: PathBuf, key: PathBuf },
    #[error(
        "the authority {} expired on {until}: every certificate under it is void; move {} away and run `cortenadm pki init` again",
        cert.display(), dir.display()
    )]
    AuthorityExpired { cert: PathBuf, dir: PathBuf, until: Timestamp },
    #[error("no authority in {}: run `cortenadm pki init --dir {}` first", dir.display(), dir.display())]
    NoAuthority { dir: PathBuf },
    #[error("cannot issue the certificate {name}: is {san:?} a valid DNS name or IP address?")]
    Issue { name: String, san: Vec<String>, source: rcgen::Error },
    #[error("cannot make a key: the system's random source failed")]
    Key { source: rcgen::Error },
}

/// What happened to one file pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Kept,
    Issued,
    /// There was one, but it was near its end, for other names, or of another authority.
    Renewed(Verdict),
}

/// One directory of certificates: `ca.crt`, `etcd/ca.crt`, `apiserver.crt`, …
pub struct Pki {
    dir: PathBuf,
    now: Timestamp,
}

impl Pki {
    pub fn new(dir: impl Into<PathBuf>, now: Timestamp) -> Self {
        Self { dir: dir.into(), now }
    }

    /// Makes what `plan` wants and is missing or no longer good; says what was done to each, in order.
    pub fn init(&self, plan: &ClusterPlan) -> Result<Vec<(String, Outcome)>, PkiError> {
        let mut done = Vec::new();
        for authority in Authority::ALL {
            done.push((authority.file_stem().to_owned(), self.ensure_authority(authority)?));
        }
        done.push(("sa".to_owned(), self.ensure_service_account_key()?));
        done.extend(self.issue_all(&plan.certificates())?);
        Ok(done)
    }

    /// Makes the certificates of one node's kubelet and proxy; the authorities must exist.
    pub fn issue_all(&self, plans: &[CertPlan]) -> Result<Vec<(String, Outcome)>, PkiError> {
        plans.iter().map(|plan| Ok((plan.file_stem.clone(), self.ensure(plan)?))).collect()
    }

    /// The stems of what `init` and `issue_all` would issue now, in order.
    pub fn lacking(&self, plan: &ClusterPlan, more: &[CertPlan]) -> Result<Vec<String>, PkiError> {
        let mut lacking = Vec::new();
        for authority in Authority::ALL {
            match self.cert(authority.file_stem()).exists() {
                true => self.check_authority(authority)?,
                false => lacking.push(authority.file_stem().to_owned()),
            }
        }
        if !self.key("sa").exists() || !self.dir.join("sa.pub").exists() {
            lacking.push("sa".to_owned());
        }
        for plan in plan.certificates().iter().chain(more) {
            let authority = self.cert(plan.authority.file_stem());
            let there = authority.exists() && self.cert(&plan.file_stem).exists() && self.key(&plan.file_stem).exists();
            if !there || self.judge(plan, &files::read(&authority)?)? != Verdict::Good {
                lacking.push(plan.file_stem.clone());
            }
        }
        Ok(lacking)
    }

    /// The certificate file of a plan's or authority's stem, such as `apiserver` or `etcd/ca`.
    pub fn cert(&self, stem: &str) -> PathBuf {
        self.dir.join(format!("{stem}.crt"))
    }

    /// The private key file of a stem.
    pub fn key(&self, stem: &str) -> PathBuf {
        self.dir.join(format!("{stem}.key"))
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Every certificate in the directory with what it says of itself, sorted by path.
    pub fn list(&self) -> Result<Vec<(PathBuf, Facts)>, PkiError> {
        files::certificates_under(&self.dir)?
            .into_iter()
            .map(|path| {
                let pem = files::read(&path)?;
                let facts = check::facts(&pem).ok_or(PkiError::NotPem { what: "certificate", path: path.clone() })?;
                Ok((path, facts))
            })
            .collect()
    }

    fn ensure_authority(&self, authority: Authority) -> Result<Outcome, PkiError> {
        let (cert, key) = (self.cert(authority.file_stem()), self.key(authority.file_stem()));
        if !cert.exists() {
            let pair = issue::authority(authority, self.now)?;
            files::write_pair(&cert, &key, &pair, Owner::Writer)?;
            return Ok(Outcome::Issued);
        }
        self.check_authority(authority)?;
        Ok(Outcome::Kept)
    }

    /// One that there is is never made anew by itself: every certificate under it would be void.
    fn check_authority(&self, authority: Authority) -> Result<(), PkiError> {
        let (cert, key) = (self.cert(authority.file_stem()), self.key(authority.file_stem()));
        if !key.exists() {
            return Err(PkiError::KeyMissing { cert, key });
        }
        let pem = files::read(&cert)?;
        let found = check::facts(&pem).ok_or_else(|| PkiError::NotPem { what: "certificate", path: cert.clone() })?;
        if found.not_after <= self.now {
            return Err(PkiError::AuthorityExpired { cert, dir: self.dir.clone(), until: found.not_after });
        }
        match check::fits(&pem, &issue::key_from_pem(&files::read(&key)?, &key)?) {
            true => Ok(()),
            false => Err(PkiError::AuthorityOtherKey { cert, key }),
        }
    }

    fn ensure_service_account_key(&self) -> Result<Outcome, PkiError> {
        let key = self.key("sa");
        let public = self.dir.join("sa.pub");
        if key.exists() && public.exists() {
            return Ok(Outcome::Kept);
        }
        let pair = if key.exists() { issue::key_from_pem(&files::read(&key)?, &key)? } else { issue::new_key()? };
        files::write_private(&key, &pair.serialize_pem())?;
        files::write_public(&public, &pair.public_key_pem())?;
        Ok(Outcome::Issued)
    }

    fn ensure(&self, plan: &CertPlan) -> Result<Outcome, PkiError> {
        let (cert, key) = (self.cert(&plan.file_stem), self.key(&plan.file_stem));
        let stem = plan.authority.file_stem();
        if !self.cert(stem).exists() {
            return Err(PkiError::NoAuthority { dir: self.dir.clone() });
        }
        let authority_pem = files::read(&self.cert(stem))?;
        let verdict = match cert.exists() && key.exists() {
            true => Some(self.judge(plan, &authority_pem)?),
            false => None,
        };
        if verdict == Some(Verdict::Good) {
            return Ok(Outcome::Kept);
        }
        let authority_key = issue::key_from_pem(&files::read(&self.key(stem))?, &self.key(stem))?;
        let pair = issue::leaf(plan, &authority_pem, authority_key, self.now)?;
        // Of a key without a certificate nobody knows how it came there.
        let owner = if verdict.is_some() { Owner::AsBefore } else { Owner::Writer };
        files::write_pair(&cert, &key, &pair, owner)?;
        Ok(verdict.map_or(Outcome::Issued, Outcome::Renewed))
    }

    /// What is on disk of a plan, certificate and key.
    fn judge(&self, plan: &CertPlan, authority_pem: &str) -> Result<Verdict, PkiError> {
        let (cert, key) = (self.cert(&plan.file_stem), self.key(&plan.file_stem));
        let pem = files::read(&cert)?;
        let verdict = check::judge(&pem, authority_pem, plan, self.now);
        let fits = issue::key_from_pem(&files::read(&key)?, &key).is_ok_and(|key| check::fits(&pem, &key));
        Ok(if verdict == Verdict::Good && !fits { Verdict::OtherKey } else { verdict })
    }
}
