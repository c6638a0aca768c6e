//! How AppArmor confines a container.

use corten_api::Problems;
use k8s_openapi::api::core::v1::AppArmorProfile;

use crate::registry::path::Path;

/// `PATH_MAX`, without the byte that ends it.
const PROFILE_BYTES_MAX: usize = 4095;

pub fn profile(profile: Option<&AppArmorProfile>, at: &Path<'_>, problems: &mut Problems) {
    let Some(profile) = profile else { return };
    let (type_at, local_at) = (at.field("type"), at.field("localhostProfile"));
    match (profile.type_.as_str(), profile.localhost_profile.as_deref()) {
        ("Localhost", local) => localhost(local.unwrap_or_default(), &local_at, problems),
        ("RuntimeDefault" | "Unconfined", None) => {}
        ("RuntimeDefault" | "Unconfined", local) => {
            problems.invalid(local_at, local, "can only be set when AppArmor type is Localhost");
        }
        ("", _) => problems.required(type_at, "type is required when appArmorProfile is set"),
        (other, _) => problems.unsupported(type_at, other, super::PROFILE_TYPES),
    }
}

fn localhost(name: &str, at: &Path<'_>, problems: &mut Problems) {
    if name.trim() != name {
        problems.invalid(at, name, "must not be padded with whitespace");
    } else if name.is_empty() {
        problems.required(at, "must be set when AppArmor type is Localhost");
    }
    if name.len() > PROFILE_BYTES_MAX {
        problems.too_long(at, PROFILE_BYTES_MAX);
    }
}
