//! What both sides of the wire share: the object model (names, selectors, quantities, errors), the rule by which their doors
//! share places, and the hardware addresses of pods. Pure: no I/O, no async.

pub mod conditions;
pub mod connections;
pub mod cron;
pub mod duration;
pub mod error;
pub mod handshakes;
pub mod hardware_address;
pub mod json;
pub mod names;
pub mod networks;
pub mod node;
pub mod object;
pub mod pod;
pub mod quantity;
pub mod rbac;
pub mod resource_names;
pub mod rollout;
pub mod selector;
pub mod version;
pub mod volumes;

pub use error::{ApiError, Cause, Problems, Reason};
pub use json::Json;
pub use k8s_openapi;
pub use object::{Key, Object, Scope};
pub use serde_json;
