//! containerd's image side for [`crate::images`]: content, leases, snapshots, unpacking and image records.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use containerd_client::services::v1::Resource as LeaseResource;
use containerd_client::services::v1::snapshots::{
    CommitSnapshotRequest, PrepareSnapshotRequest, RemoveSnapshotRequest, StatSnapshotRequest, UsageRequest,
};
use containerd_client::services::v1::{
    AddResourceRequest, ApplyRequest, CreateImageRequest, CreateRequest, DeleteImageRequest, DeleteRequest,
    GetImageRequest, Image, InfoRequest, ListImagesRequest, ReadContentRequest, UpdateImageRequest, WriteAction,
    WriteContentRequest,
};
use containerd_client::tonic::Request;
use containerd_client::types::Descriptor;
use futures::{Stream, StreamExt};

use super::rpc::{Rpc, gone_is_fine};
use super::stall::{stalled, unless_stalled};
use super::{Containerd, RuntimeError};

/// A blob by what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    pub media_type: String,
    /// `sha256:…`.
    pub digest: String,
    pub size_bytes: u64,
}

/// A name and the manifest it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRecord {
    pub name: String,
    pub target: Blob,
    pub labels: HashMap<String, String>,
}

/// Blobs that are read whole (manifests, configs) are at most this large.
pub(crate) const DOCUMENT_MAX_BYTES: u64 = 4 * 1024 * 1024;
const WRITES_IN_FLIGHT: usize = 4;
/// A lease nobody gives back (we crashed) ends by itself.
const LEASE_HOURS: i64 = 24;

#[derive(Clone)]
pub struct Store {
    runtime: Containerd,
}

impl Store {
    pub(super) fn new(runtime: Containerd) -> Self {
        Self { runtime }
    }
    fn rpc(&self) -> &Rpc {
        self.runtime.rpc()
    }

    /// Until it is released, nothing that is made under it is garbage.
    pub async fn lease(&self) -> Result<Lease, RuntimeError> {
        let id = format!("corten-pull-{}", uuid::Uuid::new_v4().simple());
        let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(LEASE_HOURS);
        let labels = HashMap::from([("containerd.io/gc.expire".to_owned(), expires.to_string())]);
        let request = CreateRequest { id: id.clone(), labels };
        self.rpc().ask("taking a lease", &id, self.rpc().client().leases().create(Rpc::request(request))).await?;
        Ok(Lease { id })
    }

    pub async fn release(&self, lease: Lease) -> Result<(), RuntimeError> {
        let request = DeleteRequest { id: lease.id.clone(), sync: false };
        gone_is_fine(
            self.rpc()
                .ask("releasing a lease", &lease.id, self.rpc().client().leases().delete(Rpc::request(request)))
                .await,
        )
    }

    /// As [`has_blob`](Self::has_blob), and from then on the blob is no garbage: an image that was not kept may have brought it,
    /// and the collector would take it while a layer is made of it.
    pub async fn hold_blob(&self, lease: &Lease, digest: &str) -> Result<bool, RuntimeError> {
        self.hold(lease, "content", digest).await?;
        self.has_blob(digest).await
    }

    /// As [`hold_blob`](Self::hold_blob), for a layer that is unpacked.
    pub async fn hold_snapshot(&self, lease: &Lease, name: &str) -> Result<bool, RuntimeError> {
        let kind = format!("snapshots/{}", self.runtime.snapshotter().await?);
        self.hold(lease, &kind, name).await?;
        self.has_snapshot(name).await
    }

    /// Before the look whether it is there: between the two it could go.
    async fn hold(&self, lease: &Lease, kind: &str, id: &str) -> Result<(), RuntimeError> {
        let resource = Some(LeaseResource { id: id.into(), r#type: kind.into() });
        let request = Rpc::request(AddResourceRequest { id: lease.id.clone(), resource });
        self.rpc().ask("keeping for an image", id, self.rpc().client().leases().add_resource(request)).await.map(drop)
    }

    pub async fn has_blob(&self, digest: &str) -> Result<bool, RuntimeError> {
        let request = Rpc::request(InfoRequest { digest: digest.into() });
        match self.rpc().ask("looking for a blob", digest, self.rpc().client().content().info(request)).await {
            Ok(_) => Ok(true),
            Err(RuntimeError::NotFound { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// A whole blob, for documents.
    pub async fn read_blob(&self, digest: &str) -> Result<Vec<u8>, RuntimeError> {
        let request = Rpc::request(ReadContentRequest { digest: digest.into(), ..ReadContentRequest::default() });
        let mut stream = self.rpc().ask("reading a blob", digest, self.rpc().client().content().read(request)).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|status| self.rpc().error("reading a blob", digest, status))?;
            bytes.extend_from_slice(&chunk.data);
            if bytes.len() as u64 > DOCUMENT_MAX_BYTES {
                return Err(RuntimeError::TooLarge { id: digest.into(), max_bytes: DOCUMENT_MAX_BYTES });
            }
        }
        Ok(bytes)
    }

    /// Stores a blob; containerd checks its digest and size. `labels` say what the blob holds on to.
    pub async fn write_blob<S>(
        &self,
        lease: &Lease,
        blob: &Blob,
        labels: HashMap<String, String>,
        data: S,
    ) -> Result<(), RuntimeError>
    where
        S: Stream<Item = Vec<u8>> + Send + 'static,
    {
        let (tx, rx) = tokio::sync::mpsc::channel(WRITES_IN_FLIGHT);
        let name = format!("corten-{}-{}", lease.id, blob.digest);
        let (expected, total) = (blob.digest.clone(), i64::try_from(blob.size_bytes).unwrap_or(i64::MAX));
        let sent = Arc::new(AtomicI64::new(0));
        let so_far = Arc::clone(&sent);
        let feed = async move {
            let mut offset = 0;
            tokio::pin!(data);
            while let Some(bytes) = data.next().await {
                let length = bytes.len() as i64;
                let message = WriteContentRequest {
                    action: WriteAction::Write as i32,
                    r#ref: name.clone(),
                    total,
                    expected: expected.clone(),
                    offset,
                    data: bytes,
                    labels: HashMap::new(),
                };
                if tx.send(message).await.is_err() {
                    return;
                }
                offset += length;
                so_far.store(offset, Ordering::Relaxed);
            }
            let commit = WriteContentRequest {
                action: WriteAction::Commit as i32,
                r#ref: name,
                total,
                expected,
                offset,
                data: Vec::new(),
                labels,
            };
            // A receiver that is gone has answered with the reason.
            let _ = tx.send(commit).await;
        };
        let request = self.under(lease, tokio_stream::wrappers::ReceiverStream::new(rx));
        let mut client = self.rpc().client().content();
        let write = async {
            let mut replies = client.write(request).await?.into_inner();
            while replies.message().await?.is_some() {}
            Ok(containerd_client::tonic::Response::new(()))
        };
        let both = async { tokio::join!(write, feed).0 };
        // The registry's silence has its own bound; this one is for a containerd that takes nothing any more.
        let written = unless_stalled(both, || std::future::ready(Some(sent.load(Ordering::Relaxed)))).await;
        let Some(written) = written else { return Err(stalled("storing a blob")) };
        match written.map_err(|status| self.rpc().error("storing a blob", &blob.digest, status)) {
            Err(RuntimeError::Exists { .. }) => Ok(()),
            other => other.map(|_: containerd_client::tonic::Response<()>| ()),
        }
    }

    pub async fn has_snapshot(&self, name: &str) -> Result<bool, RuntimeError> {
        let request = StatSnapshotRequest { snapshotter: self.runtime.snapshotter().await?.into(), key: name.into() };
        match self
            .rpc()
            .ask("looking for a snapshot", name, self.rpc().client().snapshots().stat(Rpc::request(request)))
            .await
        {
            Ok(_) => Ok(true),
            Err(RuntimeError::NotFound { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Unpacks one layer on top of `parent` (empty for the first) as the snapshot `chain_id`. The layer's uncompressed digest.
    pub async fn unpack(
        &self,
        lease: &Lease,
        layer: &Blob,
        parent: &str,
        chain_id: &str,
        diff_id: &str,
    ) -> Result<Unpacked, RuntimeError> {
        let snapshotter = self.runtime.snapshotter().await?;
        let key = format!("corten-unpack-{}-{chain_id}", lease.id);
        let request = PrepareSnapshotRequest {
            snapshotter: snapshotter.into(),
            key: key.clone(),
            parent: parent.into(),
            labels: HashMap::new(),
        };
        let mut snapshots = self.rpc().client().snapshots();
        let prepared =
            self.rpc().ask("preparing a layer", chain_id, snapshots.prepare(self.under(lease, request))).await?;
        let diff = Descriptor {
            media_type: layer.media_type.clone(),
            digest: layer.digest.clone(),
            size: i64::try_from(layer.size_bytes).unwrap_or(i64::MAX),
            annotations: HashMap::new(),
        };
        let apply = ApplyRequest { diff: Some(diff), mounts: prepared.mounts, ..ApplyRequest::default() };
        let mut diffs = self.rpc().client().diff();
        // A large layer on a slow disk takes minutes; only one that does not get on is given up.
        let applied = unless_stalled(diffs.apply(self.under(lease, apply)), || self.written(&key)).await;
        let applied = match applied {
            Some(Ok(applied)) => Ok(applied.into_inner()),
            Some(Err(status)) => Err(self.rpc().error("unpacking a layer", &layer.digest, status)),
            None => Err(stalled("unpacking a layer")),
        };
        let finished = match applied {
            // Kept under its name it would be taken for the layer of every other image that has one of that name.
            Ok(applied) if applied.applied.as_ref().is_none_or(|d| d.digest != diff_id) => {
                Ok(Unpacked::Differs { diff_id: applied.applied.map(|d| d.digest).unwrap_or_default() })
            }
            Ok(_) => {
                let commit = CommitSnapshotRequest {
                    snapshotter: snapshotter.into(),
                    name: chain_id.into(),
                    key: key.clone(),
                    labels: HashMap::new(),
                };
                match self.rpc().ask("keeping a layer", chain_id, snapshots.commit(self.under(lease, commit))).await {
                    Ok(()) => Ok(Unpacked::Kept),
                    // Another image with the same layer was quicker.
                    Err(RuntimeError::Exists { .. }) => {
                        self.hold_snapshot(lease, chain_id).await.map(|_there| Unpacked::Kept)
                    }
                    Err(e) => Err(e),
                }
            }
            Err(e) => Err(e),
        };
        let kept = matches!(finished, Ok(Unpacked::Kept));
        if !kept || !self.has_snapshot(chain_id).await? {
            let remove = Rpc::request(RemoveSnapshotRequest { snapshotter: snapshotter.into(), key });
            gone_is_fine(self.rpc().ask("removing a layer", chain_id, snapshots.remove(remove)).await)?;
        }
        finished
    }

    /// How much is in a snapshot that is being made: bytes and files.
    async fn written(&self, key: &str) -> Option<(i64, i64)> {
        let snapshotter = self.runtime.snapshotter().await.ok()?;
        let request = UsageRequest { snapshotter: snapshotter.into(), key: key.into() };
        let mut snapshots = self.rpc().client().snapshots();
        let used = self.rpc().ask("measuring a layer", key, snapshots.usage(Rpc::request(request))).await.ok()?;
        Some((used.size, used.inodes))
    }

    /// Label of a config blob that keeps the unpacked layers from the garbage collector.
    pub async fn snapshot_label(&self, chain_id: &str) -> Result<(String, String), RuntimeError> {
        Ok((format!("containerd.io/gc.ref.snapshot.{}", self.runtime.snapshotter().await?), chain_id.into()))
    }

    /// Gives a name to a manifest, whatever it meant before.
    pub async fn name_image(&self, record: &ImageRecord) -> Result<(), RuntimeError> {
        let image = Image {
            name: record.name.clone(),
            labels: record.labels.clone(),
            target: Some(Descriptor {
                media_type: record.target.media_type.clone(),
                digest: record.target.digest.clone(),
                size: i64::try_from(record.target.size_bytes).unwrap_or(i64::MAX),
                annotations: HashMap::new(),
            }),
            ..Image::default()
        };
        let mut client = self.rpc().client().images();
        let create = CreateImageRequest { image: Some(image.clone()), ..CreateImageRequest::default() };
        match self.rpc().ask("naming the image", &record.name, client.create(Rpc::request(create))).await {
            Err(RuntimeError::Exists { .. }) => {
                let update = UpdateImageRequest { image: Some(image), ..UpdateImageRequest::default() };
                self.rpc().ask("naming the image", &record.name, client.update(Rpc::request(update))).await.map(drop)
            }
            other => other.map(drop),
        }
    }

    pub async fn image(&self, name: &str) -> Result<Option<ImageRecord>, RuntimeError> {
        let request = Rpc::request(GetImageRequest { name: name.into() });
        match self.rpc().ask("looking for the image", name, self.rpc().client().images().get(request)).await {
            Ok(found) => Ok(found.image.and_then(record_of)),
            Err(RuntimeError::NotFound { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub async fn images(&self) -> Result<Vec<ImageRecord>, RuntimeError> {
        let mut client = self.rpc().client().images().max_decoding_message_size(super::rpc::MESSAGE_MAX_BYTES);
        let found =
            self.rpc().ask("listing images", "", client.list(Rpc::request(ListImagesRequest::default()))).await?;
        Ok(found.images.into_iter().filter_map(record_of).collect())
    }

    pub async fn unname_image(&self, name: &str) -> Result<(), RuntimeError> {
        let request = DeleteImageRequest { name: name.into(), ..DeleteImageRequest::default() };
        gone_is_fine(
            self.rpc()
                .ask("removing the image", name, self.rpc().client().images().delete(Rpc::request(request)))
                .await,
        )
    }

    fn under<T>(&self, lease: &Lease, message: T) -> Request<T> {
        let mut request = Rpc::request(message);
        // Made of a fixed word and hex digits: always a valid header.
        if let Ok(value) = lease.id.parse() {
            request.metadata_mut().insert("containerd-lease", value);
        }
        request
    }
}

/// What came of unpacking a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unpacked {
    Kept,
    /// It is not the layer that the image's config names, and was thrown away: this is the digest of what was in it.
    Differs {
        diff_id: String,
    },
}

/// Held while an image is pulled.
#[derive(Debug)]
pub struct Lease {
    id: String,
}

fn record_of(image: Image) -> Option<ImageRecord> {
    let target = image.target?;
    let size_bytes = u64::try_from(target.size).unwrap_or(0);
    let target = Blob { media_type: target.media_type, digest: target.digest, size_bytes };
    Some(ImageRecord { name: image.name, target, labels: image.labels })
}
