//! PodTemplate: a pod's description kept for later use.

use corten_api::Problems;
use k8s_openapi::api::core::v1::PodTemplate;

use super::path::Path;
use super::{Cell, Column, Kind, WriteContext, cells, workload};

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Containers", "Names of the template's containers"),
    cells::text("Images", "Images of the template's containers"),
    cells::text("Pod Labels", "Labels of pods made from it"),
];

impl Kind for PodTemplate {
    const SINGULAR: &'static str = "podtemplate";
    const STORE_PREFIX: &'static str = "podtemplates";
    const DELETE_RETURNS_OBJECT: bool = true;
    const HAS_GENERATION: bool = true;

    strategy!(template);
    fn fill_defaults(&mut self) {
        if let Some(template) = &mut self.template {
            workload::default_template(template);
        }
    }
    fn prepare_create(&mut self, _: &WriteContext<'_>) {
        workload::drop_unserved(self.template.as_mut(), None);
    }
    fn prepare_update(&mut self, old: &Self, _: &WriteContext<'_>) {
        workload::drop_unserved(self.template.as_mut(), old.template.as_ref());
    }
    fn validate(&self, problems: &mut Problems) {
        let none = k8s_openapi::api::core::v1::PodTemplateSpec::default();
        let template = self.template.as_ref().unwrap_or(&none);
        workload::validate_pod_template(template, &self.metadata, &Path::root("template"), problems);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        let at = Path::root("template");
        workload::validate_template_update(self.template.as_ref(), old.template.as_ref(), &at, problems);
    }
    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let (at, old) = (Path::root("template"), old.map(|old| &old.metadata));
        workload::warnings(&self.metadata, old, false, self.template.as_ref(), &at).into_vec()
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, _now_secs: i64) -> Vec<Cell> {
        let template = self.template.as_ref();
        let [containers, images] = cells::containers_and_images(template.and_then(|t| t.spec.as_ref()));
        let labels = template.and_then(|t| t.metadata.as_ref()).and_then(|m| m.labels.as_ref());
        vec![cells::name(&self.metadata), containers, images, cells::labels(labels)]
    }
}
