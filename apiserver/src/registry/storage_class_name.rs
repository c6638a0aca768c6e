//! The StorageClass of a volume or a claim: its field, or the annotation of old.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub const ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
pub const ANNOTATION_WHY: &str = r#"deprecated since v1.8; use "storageClassName" attribute instead"#;

/// What the annotation says, of old.
pub fn annotated(meta: &ObjectMeta) -> Option<&str> {
    meta.annotations.as_ref()?.get(ANNOTATION).map(String::as_str)
}

/// The annotation counts first. `None`: nothing is said; "": no class is wanted.
pub fn of<'a>(meta: &'a ObjectMeta, field: Option<&'a String>) -> Option<&'a str> {
    annotated(meta).or(field.map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annotation_counts_first() {
        let meta = |class: Option<&str>| ObjectMeta {
            annotations: class.map(|class| [(ANNOTATION.to_owned(), class.to_owned())].into()),
            ..ObjectMeta::default()
        };
        let field = "new".to_owned();
        for (annotation, field, expected) in [
            (None, None, None),
            (None, Some(&field), Some("new")),
            (Some("old"), Some(&field), Some("old")),
            (Some(""), Some(&field), Some("")),
        ] {
            assert_eq!(of(&meta(annotation), field), expected);
        }
    }
}
