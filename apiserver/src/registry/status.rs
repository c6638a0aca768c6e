//! What a write through a subresource leaves alone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// All metadata stay but for the note of who wrote which field.
pub fn keep_metadata(new: &mut ObjectMeta, old: &ObjectMeta) {
    let managed_fields = new.managed_fields.take();
    *new = ObjectMeta { managed_fields, ..old.clone() };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stay_and_who_writes_is_noted() {
        let meta = |json: &str| serde_json::from_str::<ObjectMeta>(json).unwrap();
        let mut new = meta(r#"{"name":"a","labels":{"a":"b"},"managedFields":[{"manager":"new"}]}"#);
        keep_metadata(&mut new, &meta(r#"{"name":"a","annotations":{"c":"d"},"managedFields":[{"manager":"old"}]}"#));
        assert_eq!(new, meta(r#"{"name":"a","annotations":{"c":"d"},"managedFields":[{"manager":"new"}]}"#));
    }
}
