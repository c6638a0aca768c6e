//! A webhook that converts the objects of a kind, as its definition says; and what becomes of an object that it has converted.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition, CustomResourceDefinitionVersion, WebhookConversion,
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::convert::{self, Versions};
use crate::registry::apiextensions::customresourcedefinition::WEBHOOK;
use crate::registry::webhook_client::WebhookClient;

/// Plain data: who asks it has the connections.
pub struct ConversionWebhook {
    /// Of the definition.
    definition: String,
    /// Tells all that it is from another.
    id: [u8; 32],
    said: WebhookConversion,
    versions: Arc<Versions>,
}

impl fmt::Debug for ConversionWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConversionWebhook").field(&self.definition).finish()
    }
}

/// What a definition says of its conversion, if a webhook is to do it.
pub(super) fn said(of: Option<&CustomResourceConversion>) -> Option<&WebhookConversion> {
    of.filter(|conversion| conversion.strategy == WEBHOOK)?.webhook.as_ref()
}

impl ConversionWebhook {
    /// `None`: only `apiVersion` changes between the versions of this kind, or there are no two.
    pub(super) fn of(
        crd: &CustomResourceDefinition,
        versions: &Arc<Versions>,
    ) -> Result<Option<Arc<Self>>, serde_json::Error> {
        let Some(said) = said(crd.spec.conversion.as_ref()).filter(|_| versions.all.len() > 1) else { return Ok(None) };
        let schemas: Vec<_> = crd
            .spec
            .versions
            .iter()
            .map(|CustomResourceDefinitionVersion { name, storage, schema, .. }| (name, storage, schema))
            .collect();
        let id = Sha256::digest(serde_json::to_vec(&(said, crd.metadata.uid.as_deref(), schemas))?).into();
        let definition = crd.metadata.name.clone().unwrap_or_default();
        Ok(Some(Arc::new(Self { definition, id, said: said.clone(), versions: versions.clone() })))
    }
    /// The name of the definition.
    pub fn definition(&self) -> &str {
        &self.definition
    }
    /// Whether both ask the same of the same, and make the same of what it answers.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.id == other.id
    }
    /// Where it is.
    pub fn client(&self) -> WebhookClient<'_> {
        self.said.client_config.as_ref().map(WebhookClient::from).unwrap_or_default()
    }
    pub fn review_versions(&self) -> &[String] {
        &self.said.conversion_review_versions
    }
    /// In which objects are stored now.
    pub fn stored(&self) -> &str {
        &self.versions.stored.0.api_version
    }
    /// Whether an object is of a version already.
    pub fn is_in(&self, object: &[u8], api_version: &str) -> bool {
        convert::says(object, api_version)
    }
    /// What is kept of an object that has been converted: what the schema of its version knows. What is stored has the defaults of the
    /// version that it is stored in, too.
    pub fn finished(
        &self,
        object: Map<String, Value>,
        api_version: &str,
        is_to_be_stored: bool,
    ) -> Result<Vec<u8>, serde_json::Error> {
        let known = self.versions.all.iter().find(|(of, _)| of.api_version == api_version);
        convert::fitted(object, known.unwrap_or(&self.versions.stored), is_to_be_stored)
    }
}
