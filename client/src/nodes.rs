//! What the apiservers know of the nodes by their connections: hints that a node may have died, or that it lives.

use std::sync::Arc;
use std::time::Duration;

use corten_api::ApiError;
use corten_proto::api::WatchConnectionsRequest;
use corten_proto::api::nodes_client::NodesClient;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::client::Client;

/// Between tries to listen to an apiserver.
const RETRY_EVERY: Duration = Duration::from_secs(2);

/// What one apiserver tells of the nodes that are connected to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told<'a> {
    /// These are connected.
    Connected(&'a [String]),
    /// The last connection of these has ended. One that only went to another apiserver is told of as well: look before
    /// you believe it.
    Lost(&'a [String]),
    /// All that were connected when the stream began have been told of.
    Complete,
    /// The stream has ended, or none could be opened: nothing is known of its connections any more. It is tried again.
    Ended,
}

/// Listens at every apiserver until `stop`, over connections of its own. `on_told` must be quick; it is given the number
/// of the apiserver, below [`Client::apiservers`]. What one apiserver tells comes in order.
pub fn watch_connections(
    client: &Client,
    stop: &CancellationToken,
    on_told: impl Fn(usize, Told<'_>) + Send + Sync + 'static,
) {
    let on_told = Arc::new(on_told);
    for (number, one) in client.each().into_iter().enumerate() {
        let (stop, on_told) = (stop.clone(), Arc::clone(&on_told));
        tokio::spawn(async move {
            stop.run_until_cancelled(async {
                loop {
                    let err = listen(&one, &|told: Told<'_>| on_told(number, told)).await;
                    debug!(%err, "an apiserver tells of no nodes' connections; trying again");
                    on_told(number, Told::Ended);
                    tokio::time::sleep(RETRY_EVERY).await;
                }
            })
            .await
        });
    }
}

/// One stream, until it ends; returns why it did.
async fn listen(client: &Client, on_told: &impl Fn(Told<'_>)) -> ApiError {
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
            Ok(Some(message)) => {
                for told in [Told::Connected(&message.connected), Told::Lost(&message.lost)] {
                    if !matches!(told, Told::Connected([]) | Told::Lost([])) {
                        on_told(told);
                    }
                }
                if message.state_complete {
                    on_told(Told::Complete);
                }
            }
            Ok(None) => return ApiError::unavailable("the apiserver ended the stream"),
            Err(status) => return client.explain(&connection, status),
        }
    }
}
