//! A body in its normal form: what a Go server would keep of it, and what was found on the way.

use corten_api::{ApiError, Reason};
use k8s_openapi::Resource;
use serde::de::DeserializeOwned;

use super::MAX_HELD_BYTES;
use super::text::SyntaxError;
use super::walk::{Walked, duplicates, walk};
use crate::schema::{Shape, builtin};

/// Why a body is no object.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// A value is not of its field's type; in upstream's words.
    #[error("{0}")]
    Type(String),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("Request entity too large: its lists and maps would take more than {MAX_HELD_BYTES} bytes of memory")]
    TooLarge,
}

impl DecodeError {
    /// As upstream tells of a body that was to be of a kind:
    /// `Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field
    /// DeploymentSpec.spec.replicas of type int32`.
    pub fn of_kind(self, kind: &str, version: &str) -> ApiError {
        match self {
            Self::Type(_) | Self::Json(_) => {
                ApiError::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {self}"))
            }
            Self::Syntax(_) | Self::TooLarge => self.into(),
        }
    }
}

impl From<DecodeError> for ApiError {
    fn from(err: DecodeError) -> Self {
        match err {
            DecodeError::TooLarge => Self::new(Reason::RequestEntityTooLarge, err.to_string()),
            DecodeError::Syntax(_) | DecodeError::Type(_) | DecodeError::Json(_) => Self::bad_request(err.to_string()),
        }
    }
}

/// An object's text as it is kept, and what strict decoding objects to.
#[derive(Debug)]
pub struct Normal {
    json: String,
    /// In the order of the text: `unknown field "spec.foo"`, `duplicate field "metadata.name"`.
    pub findings: Vec<String>,
    /// At the top; empty if absent.
    pub api_version: String,
    pub kind: String,
    fault: Option<String>,
    changed: bool,
}

/// The normal form of a text that is to be of the type `of`; without a type, nothing is known of it, and all is kept.
/// Errors are about the text; what is of the wrong type is told of when the object is asked for.
pub fn normal(of: Option<Shape<'_>>, json: &[u8]) -> Result<Normal, DecodeError> {
    let Some(of) = of else {
        let findings = duplicates(json)?;
        let json = String::from_utf8(json.to_vec()).map_err(|_| SyntaxError::NotUtf8)?;
        return Ok(Normal {
            json,
            findings,
            api_version: String::new(),
            kind: String::new(),
            fault: None,
            changed: false,
        });
    };
    let Walked { json, findings, fault, changed, api_version, kind } = walk(of, json)?;
    Ok(Normal { json, findings, api_version, kind, fault, changed })
}

impl Normal {
    /// The text, if all in it is of its type.
    pub fn json(&self) -> Result<&str, DecodeError> {
        match &self.fault {
            None => Ok(&self.json),
            Some(words) => Err(DecodeError::Type(words.clone())),
        }
    }
    /// The same with another text, and more that strict decoding objects to.
    #[must_use]
    pub fn replaced(mut self, json: String, findings: Vec<String>) -> Self {
        self.json = json;
        self.findings.extend(findings);
        self
    }
    /// Whether an object made of it would be written otherwise than the text was, but for the order and what is white.
    pub fn is_changed(&self) -> bool {
        self.changed
    }
}

/// An object of a kind of ours that is no object of the registry: a Scale, a Binding, a review. What it has that its kind
/// does not is left out.
pub fn object<K: Resource + DeserializeOwned>(json: &[u8]) -> Result<K, ApiError> {
    let read = || {
        let normal = normal(builtin().kind(K::API_VERSION, K::KIND), json)?;
        Ok::<_, DecodeError>(serde_json::from_str(normal.json()?)?)
    };
    read().map_err(|err| err.of_kind(K::KIND, K::VERSION))
}

#[cfg(test)]
mod tests;
