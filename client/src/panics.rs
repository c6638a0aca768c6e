//! A panic is a bug of ours. It is caught where it can be told apart from all else, counted, and tried again later.
//!
//! What panicked must leave nothing behind that is half done and seen by others: locks are released as it unwinds, and
//! what its owner kept is made anew or was not touched.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::LazyLock;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// What a panic said. Where it was, the program's own panic message in the log says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("panicked: {said}")]
pub struct Panicked {
    said: String,
}

/// By the name of what panicked: a controller, a watch.
static PANICS: LazyLock<Family<[(&'static str, String); 1], Counter>> = LazyLock::new(Family::default);

pub(crate) fn register(registry: &mut Registry) {
    registry.register("controller_panics", "Panics that were caught, by controller or watch", PANICS.clone());
}

/// Runs the future; a panic in it ends it alone. `name` is what it is counted under.
pub async fn catch_future<T>(name: &str, future: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut future = pin!(future);
    // After a panic the future is not polled again.
    poll_fn(|cx| match catch(name, || future.as_mut().poll(cx)) {
        Ok(poll) => poll.map(Ok),
        Err(panicked) => std::task::Poll::Ready(Err(panicked)),
    })
    .await
}

/// Calls the function; a panic in it ends the call alone.
pub fn catch<T>(name: &str, call: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        PANICS.get_or_create(&[("controller", name.to_owned())]).inc();
        Panicked { said: said(payload.as_ref()) }
    })
}

/// How many were caught under this name.
pub fn count(name: &str) -> u64 {
    PANICS.get_or_create(&[("controller", name.to_owned())]).get()
}

fn said(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_only_what_panicked_and_is_counted() {
        let late = async {
            tokio::task::yield_now().await;
            panic!("on purpose, {}", 7)
        };
        assert_eq!(catch_future::<()>("late", late).await.unwrap_err().to_string(), "panicked: on purpose, 7");
        assert_eq!(catch_future("well", async { 7 }).await, Ok(7));
        assert_eq!(catch::<()>("at once", || panic!("on purpose")).unwrap_err().said, "on purpose");
        assert_eq!((count("late"), count("well"), count("at once")), (1, 0, 1));
    }
}
