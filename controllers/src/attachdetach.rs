//! Volumes of CSI drivers: attached to the nodes whose pods use them, and detached when these are done with them. What is to be
//! attached is a VolumeAttachment; the driver's own attacher does it, and says so in its status.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/volume-attachment-v1/>

pub mod decide;
pub mod maps;
pub mod memory;
pub mod report;
pub mod said;
pub mod seen;
pub mod volume;

use std::sync::Arc;
use std::time::Duration;

use corten_api::k8s_openapi::api::core::v1::Node;
use corten_api::k8s_openapi::api::storage::v1::{VolumeAttachment, VolumeAttachmentSource, VolumeAttachmentSpec};
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{EventType, Next, Patch, WorkQueue};
use serde_json::json;
use tokio::time::Instant;
use tracing::info;

use crate::context::Context;
use crate::controller::{Controller, Loop, Setup};
use crate::pods::SeenPod;
use decide::{Action, FORCE_AFTER, Observed};
use memory::Memory;
use seen::Seen;
use volume::{Volume, volume_name};

/// Attachments of nodes come and go together, and so do the pods that use them.
const WORKERS: usize = 10;
/// Until a node that still used a volume a moment ago is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Until the cache shows what nobody knows of whether it was made.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);
const SUCCEEDED: &str = "SuccessfulAttachVolume";
const FAILED: &str = "FailedAttachVolume";

/// A persistent volume, by name, and a node that it is or should be attached to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub node: String,
    pub volume: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Work {
    Place(Place),
    /// An attachment of what its persistent volume is no more, by name.
    Stray(String),
    /// What this node's status says is attached to it.
    Node(String),
}

pub fn controller(setup: &Setup) -> Loop {
    let (seen, memory) = (Seen::of(&setup.caches), Arc::new(Memory::default()));
    let (described, may_force) = (Controller::new(setup).workers(WORKERS), setup.settings.force_detach_on_timeout);
    let (queue, begun, noting) = (described.queue(), Arc::clone(&memory), Arc::clone(&memory));
    let [pods, claims, volumes, attachments, drivers, nodes] = std::array::from_fn(|_| seen.clone());
    described
        .source(move |_, _| begun.clear())
        .watches(&seen.pods, move |change| maps::of_pod(&pods, change))
        .watches(&seen.claims, move |change| maps::of_claim(&claims, change))
        .watches(&seen.volumes, move |change| maps::of_volume(&volumes, change))
        .watches(&seen.attachments, move |change| {
            noting.note(change);
            maps::of_attachment(&attachments, change)
        })
        .watches(&seen.drivers, move |change| maps::of_driver(&drivers, change))
        .watches(&seen.nodes, move |change| maps::of_node(&nodes, change))
        .run(move |context, work| {
            let (seen, memory, queue) = (seen.clone(), Arc::clone(&memory), queue.clone());
            let this = AttachDetach { context, seen, memory, queue, may_force };
            async move {
                match work {
                    Work::Place(place) => this.sync_place(&place).await,
                    Work::Stray(name) => this.sync_stray(&name).await,
                    Work::Node(node) => this.sync_node(&node).await,
                }
            }
        })
}

struct AttachDetach {
    context: Context,
    seen: Seen,
    memory: Arc<Memory>,
    queue: WorkQueue<Work>,
    /// Whether a node that is not ready loses what it uses after a while.
    may_force: bool,
}

/// An attachment that may have to go.
struct Going {
    place: Place,
    attachment: Arc<VolumeAttachment>,
    /// `None`: what it is of is not the persistent volume's any more.
    volume: Option<Volume>,
}

/// What a node says of an attachment.
enum Live {
    /// That its kubelet may mount it.
    Reported,
    Used,
    Free,
}

impl AttachDetach {
    async fn sync_place(&self, place: &Place) -> Result<Next, ApiError> {
        if let Some(volume) = self.memory.doubted(place) {
            self.clear_doubt(place, &volume).await?;
        }
        let found = self.seen.at(place);
        found.strays.iter().for_each(|stray| self.queue.add(Work::Stray(stray.clone())));
        let is_wanted = !found.users.is_empty();
        let action = decide::decide(&Observed {
            is_wanted,
            is_kept: found.is_kept,
            attachment: found.attachment.as_deref(),
            elsewhere: &found.elsewhere,
            node: &found.node,
            idle: self.idle(found.attachment.as_deref(), found.is_kept),
            may_force: self.may_force,
        });
        if is_wanted && let Some(attachment) = &found.attachment {
            self.tell_attached(place, attachment, &found.users);
        }
        if !is_wanted {
            self.memory.forget_told(place);
        }
        match (action, &found.attachment, &found.volume) {
            (Action::Attach, _, Some(volume)) => self.attach(place, volume, found.is_shareable).await,
            (Action::Refuse, ..) => {
                self.tell_refused(place, &found.users, &self.seen.users_elsewhere(place));
                Ok(Next::Done)
            }
            // Nobody tells this place of the end of one that is made for another persistent volume.
            (Action::Keep, Some(attachment), _)
                if is_wanted && attachment.is_deleting() && volume_name(attachment) != Some(&place.volume) =>
            {
                Ok(Next::After(ASK_AGAIN))
            }
            (action, Some(attachment), volume) => {
                let (place, volume) = (place.clone(), volume.clone());
                self.let_go(&Going { place, attachment: Arc::clone(attachment), volume }, action).await
            }
            (..) => Ok(Next::Done),
        }
    }

    /// An attachment of what a persistent volume was before.
    async fn sync_stray(&self, name: &str) -> Result<Next, ApiError> {
        let Some(stray) = self.seen.stray(name) else { return Ok(Next::Done) };
        let Some(place) = memory::place(&stray.attachment) else { return Ok(Next::Done) };
        let action = decide::decide(&Observed {
            is_wanted: false,
            is_kept: stray.is_kept,
            attachment: Some(&stray.attachment),
            elsewhere: &[],
            node: &stray.node,
            idle: self.idle(Some(&stray.attachment), stray.is_kept),
            may_force: self.may_force && !stray.is_doubtful,
        });
        let next = self.let_go(&Going { place, attachment: stray.attachment, volume: None }, action).await?;
        // What keeps it names another persistent volume, and nobody asks for this one when it goes.
        Ok(if stray.is_kept && next == Next::Done { Next::After(FORCE_AFTER) } else { next })
    }

    fn idle(&self, attachment: Option<&VolumeAttachment>, is_kept: bool) -> Duration {
        attachment.map(|a| self.memory.idle(a.name(), !is_kept, Instant::now())).unwrap_or_default()
    }

    /// Does what is decided of an attachment that is there.
    async fn let_go(&self, going: &Going, action: Action) -> Result<Next, ApiError> {
        let Going { place, attachment, .. } = going;
        match action {
            Action::Unreport => {
                self.memory.leave(attachment.name(), place);
                self.queue.add(Work::Node(place.node.clone()));
                Ok(Next::Done)
            }
            Action::Detach { is_forced } => self.detach(going, is_forced).await,
            Action::Keep | Action::Attach | Action::Refuse => {
                self.stay(going);
                Ok(Next::Done)
            }
            Action::Wait(wait) => {
                self.stay(going);
                Ok(Next::After(wait))
            }
        }
    }

    /// The node's status may say again that it is attached.
    fn stay(&self, going: &Going) {
        let Going { place, attachment, .. } = going;
        if attachment.is_deleting() {
            return;
        }
        let (was_leaving, others) = self.memory.stay(attachment.name(), place);
        if was_leaving {
            self.queue.add(Work::Node(place.node.clone()));
        }
        others.into_iter().for_each(|other| self.queue.add(Work::Place(other)));
    }

    async fn attach(&self, place: &Place, volume: &Volume, is_shareable: bool) -> Result<Next, ApiError> {
        if !is_shareable && !self.memory.claim(volume, &place.node) {
            return Ok(Next::After(ASK_AGAIN));
        }
        // Who had the claim before has attached it meanwhile.
        if !self.seen.at(place).elsewhere.is_empty() {
            self.memory.release(volume, &place.node);
            return Ok(Next::After(Duration::ZERO));
        }
        let made = self.create(place, volume).await;
        if made.as_ref().is_err_and(ApiError::is_doubtful) {
            self.memory.doubt(place, volume);
        } else {
            self.memory.release(volume, &place.node);
        }
        made.map(|()| Next::Done)
    }

    /// Returns once it is known whether what was to be made is there, and the cache shows it if it is.
    async fn clear_doubt(&self, place: &Place, volume: &Volume) -> Result<(), ApiError> {
        let key = Key::cluster(volume.attachment(&place.node));
        let made = match self.context.client.get::<VolumeAttachment>(&key).await {
            Ok(made) => made.revision(),
            Err(err) if err.is(Reason::NotFound) => 0,
            Err(err) => return Err(err),
        };
        let revision = self.context.client.newest_revision().await?.max(made);
        let caught_up = tokio::time::timeout(CATCH_UP_MAX, self.seen.attachments.catch_up(revision)).await;
        caught_up.map_err(|_| {
            ApiError::unavailable(format!("VolumeAttachments are not known as of revision {revision} yet"))
        })?;
        self.memory.settle(place, volume);
        Ok(())
    }

    /// Returns once the cache shows it.
    async fn create(&self, place: &Place, volume: &Volume) -> Result<(), ApiError> {
        let source = VolumeAttachmentSource {
            persistent_volume_name: Some(place.volume.clone()),
            ..VolumeAttachmentSource::default()
        };
        let mut attachment = VolumeAttachment {
            spec: VolumeAttachmentSpec { attacher: volume.driver.clone(), node_name: place.node.clone(), source },
            ..VolumeAttachment::default()
        };
        attachment.metadata.name = Some(volume.attachment(&place.node));
        let made = match self.context.width.send(|| self.context.prompt.create(&attachment)).await {
            // By an earlier try, or for another persistent volume that is the same.
            Err(err) if err.is(Reason::AlreadyExists) => self.context.client.get(&attachment.key()).await?,
            made => made?,
        };
        info!(volume = place.volume, node = place.node, attachment = made.name(), "is to be attached");
        self.context.caught_up(&self.seen.attachments, made.revision()).await;
        Ok(())
    }

    /// Nobody says meanwhile that it is attached there.
    async fn detach(&self, going: &Going, is_forced: bool) -> Result<Next, ApiError> {
        let Going { place, attachment, .. } = going;
        let turn = self.memory.turn(&place.node).await;
        if self.is_kept(going) {
            return Ok(Next::After(Duration::ZERO));
        }
        self.memory.leave(attachment.name(), place);
        match self.live(going).await? {
            Live::Reported => {
                self.queue.add(Work::Node(place.node.clone()));
                return Ok(Next::After(ASK_AGAIN));
            }
            // The cache may not have what the kubelet wrote just before it mounted the volume.
            Live::Used if !is_forced => {
                self.stay(going);
                return Ok(Next::After(ASK_AGAIN));
            }
            Live::Used | Live::Free => {}
        }
        let (key, uid) = (attachment.key(), attachment.uid());
        if self.context.delete::<VolumeAttachment>(&key, uid).await?.is_some() {
            info!(volume = place.volume, node = place.node, is_forced, "is to be detached");
        }
        drop(turn);
        let is_going = |seen: &VolumeAttachment| seen.uid() != uid || seen.is_deleting();
        self.context.seen_gone(&self.seen.attachments, &key, is_going).await;
        Ok(Next::Done)
    }

    fn is_kept(&self, going: &Going) -> bool {
        match going.volume {
            Some(_) => self.seen.at(&going.place).is_kept,
            None => self.seen.stray(going.attachment.name()).is_none_or(|stray| stray.is_kept),
        }
    }

    /// What the node says, as the apiserver has it and not the cache alone.
    async fn live(&self, going: &Going) -> Result<Live, ApiError> {
        let Going { place, attachment, volume } = going;
        match self.context.client.get::<Node>(&Key::cluster(place.node.as_str())).await {
            Ok(node) if report::says(&node, attachment, volume.as_ref()) => Ok(Live::Reported),
            Ok(node) if volume::is_in_use(&node, attachment, volume.as_ref()) => Ok(Live::Used),
            Ok(_) => Ok(Live::Free),
            Err(err) if err.is(Reason::NotFound) => Ok(Live::Free),
            Err(err) => Err(err),
        }
    }

    fn tell_attached(&self, place: &Place, attachment: &VolumeAttachment, users: &[Arc<SeenPod>]) {
        if self.memory.is_new(attachment.name()) {
            self.memory.forget_told(place);
            self.tell(users, EventType::Normal, SUCCEEDED, &said::attached(&place.volume));
        }
        let error = attachment.status.as_ref().filter(|status| !status.attached).and_then(|s| s.attach_error.as_ref());
        if let Some(why) = error.and_then(|error| error.message.as_deref())
            && self.memory.is_untold(place, why)
        {
            self.tell(users, EventType::Warning, FAILED, &said::failed(&place.volume, why));
        }
    }

    fn tell_refused(&self, place: &Place, users: &[Arc<SeenPod>], others: &[Arc<SeenPod>]) {
        if !self.memory.is_untold(place, "Multi-Attach error") {
            return;
        }
        for user in users {
            let message = said::refused(&place.volume, &user.key.namespace, others);
            self.tell(std::slice::from_ref(user), EventType::Warning, FAILED, &message);
        }
    }

    fn tell(&self, pods: &[Arc<SeenPod>], kind: EventType, reason: &'static str, message: &str) {
        for pod in pods {
            self.context.recorder.event(&pod.reference(), kind, reason, message);
        }
    }

    /// A kubelet mounts what its node's status says is attached, so nothing is detached before that no longer says so.
    async fn sync_node(&self, node: &str) -> Result<Next, ApiError> {
        let _turn = self.memory.turn(node).await;
        let key = Key::cluster(node);
        let Some(seen) = self.seen.nodes.get(&key) else { return Ok(Next::Done) };
        let mut attached = self.seen.attached_to(node);
        attached.retain(|(attachment, _)| !self.memory.is_leaving(attachment));
        let names = attached.into_iter().map(|(_, name)| name).collect();
        let is_leaving = |attachment: &str| self.memory.is_leaving(attachment);
        let may_go = |volume: &Volume| self.seen.may_unreport(node, volume, is_leaving);
        let Some(list) = report::changed(&seen, names, may_go) else { return Ok(Next::Done) };
        let patch = Patch::Merge(json!({"status": {"volumesAttached": list}}));
        let sent = self.context.width.send(|| self.context.prompt.patch::<Node>(&key, "status", patch.clone())).await;
        match sent {
            Ok(written) => self.context.caught_up(&self.seen.nodes, written.revision()).await,
            Err(err) if err.is(Reason::NotFound) => {}
            Err(err) => return Err(err),
        }
        Ok(Next::Done)
    }
}
