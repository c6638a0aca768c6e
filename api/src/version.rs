//! The version of the Kubernetes API that all programs speak. Clients compare theirs with it.

/// `v1.MINOR`: what clients check for skew.
pub const MINOR: &str = "37";
/// The release whose API this is, as the published document names it.
pub const API: &str = "v1.37.0";
/// The same with who made it: what `kubectl version` and a node's status show.
pub const GIT: &str = "v1.37.0+corten";

#[cfg(test)]
mod tests {
    #[test]
    fn all_forms_name_one_release() {
        assert_eq!(super::API, format!("v1.{}.0", super::MINOR));
        assert_eq!(super::GIT, format!("{}+corten", super::API));
    }
}
