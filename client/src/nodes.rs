//! Hints of the apiservers that a node may have died: its connections to them have ended.

use std::sync::Arc;
use std::time::Duration;

use corten_api::ApiError;
use corten_proto::api::WatchConnectionsRequest;
use corten_proto::api::nodes_client::NodesClient;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::client::Client;

/// Between tries to listen to an apiserver: what it would have told meanwhile, leases tell later.
const RETRY_EVERY: Duration = Duration::from_secs(2);

/// Listens at every apiserver until `stop`, over connections of its own. `on_lost` must be quick. A node that only went
/// to another apiserver is told of as well, and some that died may not be: look before you believe it.
pub fn watch_lost(client: &Client, stop: &CancellationToken, on_lost: impl Fn(&str) + Send + Sync + 'static) {
    let on_lost = Arc::new(on_lost);
    for one in client.each() {
        let (stop, on_lost) = (stop.clone(), Arc::clone(&on_lost));
        tokio::spawn(async move {
            stop.run_until_cancelled(async {
                loop {
                    let err = listen(&one, &*on_lost).await;
                    debug!(%err, "an apiserver tells of no lost nodes; trying again");
                    tokio::time::sleep(RETRY_EVERY).await;
                }
            })
            .await
        });
    }
}

/// One stream, until it ends; returns why it did.
async fn listen(client: &Client, on_lost: &impl Fn(&str)) -> ApiError {
    let connection = match client.connection().await {
        Ok(open) => open,
        Err(err) => return err,
    };
    let mut stub = NodesClient::new(connection.channel.clone());
    let mut told = match stub.watch_connections(WatchConnectionsRequest {}).await {
        Ok(told) => told.into_inner(),
        Err(status) => return client.explain(&connection, status),
    };
    loop {
        match told.message().await {
            Ok(Some(lost)) => lost.nodes.iter().for_each(|node| on_lost(node)),
            Ok(None) => return ApiError::unavailable("the apiserver ended the stream"),
            Err(status) => return client.explain(&connection, status),
        }
    }
}
