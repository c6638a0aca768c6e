//! Which kinds the cluster serves, as it changes.

use std::sync::Arc;
use std::time::Duration;

use corten_api::ApiError;
use corten_proto::api::WatchKindsRequest;
use corten_proto::api::kinds_client::KindsClient;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::client::Client;
use crate::resource::ApiResource;

/// Between tries to listen to an apiserver.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// All kinds that are served, in the order that discovery has; `None` until they are known. What one apiserver told stays
/// until another tells.
pub type ServedKinds = Option<Arc<[ApiResource]>>;

/// Listens until `stop`.
pub fn watch_kinds(client: &Client, stop: &CancellationToken) -> watch::Receiver<ServedKinds> {
    let (told, kinds) = watch::channel(None);
    let (client, stop) = (client.clone(), stop.clone());
    tokio::spawn(async move {
        stop.run_until_cancelled(async {
            loop {
                let err = listen(&client, &told).await;
                debug!(%err, "no apiserver tells which kinds it serves; trying again");
                tokio::time::sleep(RETRY_EVERY).await;
            }
        })
        .await
    });
    kinds
}

/// One stream, until it ends; returns why it did.
async fn listen(client: &Client, told: &watch::Sender<ServedKinds>) -> ApiError {
    let connection = match client.connection().await {
        Ok(open) => open,
        Err(err) => return err,
    };
    let mut stub = KindsClient::new(connection.channel.clone());
    let mut stream = match stub.watch_kinds(WatchKindsRequest {}).await {
        Ok(stream) => stream.into_inner(),
        Err(status) => return client.explain(&connection, status),
    };
    loop {
        let message = tokio::select! {
            message = stream.message() => message,
            () = connection.left() => return ApiError::unavailable("this apiserver is left for another"),
        };
        match message {
            Ok(Some(served)) => {
                let kinds: Arc<[ApiResource]> = served.kinds.into_iter().map(ApiResource::from).collect();
                told.send_if_modified(|known| {
                    let changed = known.as_ref() != Some(&kinds);
                    *known = Some(kinds);
                    changed
                });
            }
            Ok(None) => return ApiError::unavailable("the apiserver ended the stream"),
            Err(status) => return client.explain(&connection, status),
        }
    }
}
