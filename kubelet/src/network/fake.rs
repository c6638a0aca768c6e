//! A pod network in memory: it hands out addresses and remembers who has which.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use ipnet::IpNet;
use parking_lot::Mutex;

use super::address;
use super::{Attachment, NetworkError, PodNetwork, PodRef};

/// Cheap to clone; clones share one state.
#[derive(Clone, Default)]
pub struct FakeNetwork {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    pod_cidr: Option<IpNet>,
    attachments: BTreeMap<String, Attachment>,
    last: Option<IpAddr>,
}

#[async_trait]
impl PodNetwork for FakeNetwork {
    async fn set_pod_cidr(&self, pod_cidr: IpNet) -> Result<(), NetworkError> {
        address::check(pod_cidr)?;
        self.shared.lock().pod_cidr = Some(pod_cidr);
        Ok(())
    }

    async fn attach(&self, pod: &PodRef) -> Result<Attachment, NetworkError> {
        let mut shared = self.shared.lock();
        if let Some(existing) = shared.attachments.get(&pod.uid) {
            return Ok(existing.clone());
        }
        let pod_cidr = shared.pod_cidr.ok_or(NetworkError::NoPodCidr)?;
        let used = shared.attachments.values().flat_map(|a| a.addresses.iter().copied()).collect();
        let address = address::next_free(pod_cidr, &used, shared.last).ok_or(NetworkError::Exhausted { pod_cidr })?;
        shared.last = Some(address);
        let netns = format!("/fake/netns/{}", pod.uid).into();
        let attachment = Attachment { pod_uid: pod.uid.clone(), netns, addresses: vec![address] };
        shared.attachments.insert(pod.uid.clone(), attachment.clone());
        Ok(attachment)
    }

    async fn detach(&self, pod_uid: &str) -> Result<(), NetworkError> {
        self.shared.lock().attachments.remove(pod_uid);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Attachment>, NetworkError> {
        Ok(self.shared.lock().attachments.values().cloned().collect())
    }

    async fn ready(&self) -> Result<(), NetworkError> {
        self.shared.lock().pod_cidr.map(|_| ()).ok_or(NetworkError::NoPodCidr)
    }
}
