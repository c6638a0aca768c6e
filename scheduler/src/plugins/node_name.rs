//! A pod that names its node is bound from the beginning, and never comes to the scheduler: this plugin has nothing to do. It
//! has a name so that a configuration can enable and disable it.

use crate::framework::Plugin;

#[derive(Debug)]
pub struct NodeName;

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }
}
