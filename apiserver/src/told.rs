//! What is told of a request beside its answer: annotations to who keeps its audit event, and what warned its sender before it was
//! refused. Whoever answers it leaves word here, wherever he stands.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Of all annotations of one request; more are left out.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;
/// Of one request's warnings; no client is shown more.
pub const WARNINGS_MAX: usize = 50;

tokio::task_local! {
    /// Of the request that is being answered.
    static TOLD: Told;
}

/// How much of a request an annotation shows, as upstream's levels have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    Metadata,
    /// What its body may hold, too.
    Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    pub value: String,
    pub shows: Shows,
}

#[derive(Debug, Default)]
struct Words {
    annotations: BTreeMap<String, Annotation>,
    bytes: usize,
    warnings: Vec<String>,
}

/// One request's. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<Mutex<Words>>);

impl Told {
    /// Does `work`, and keeps what is told meanwhile.
    pub async fn of<F: Future>(&self, work: F) -> F::Output {
        TOLD.scope(self.clone(), work).await
    }
    pub fn annotations(&self) -> BTreeMap<String, Annotation> {
        self.0.lock().annotations.clone()
    }
    pub fn warnings(&self) -> Vec<String> {
        self.0.lock().warnings.clone()
    }
    /// The first word counts.
    fn annotate(&self, key: &str, value: String, shows: Shows) {
        let mut words = self.0.lock();
        let bytes = words.bytes + key.len() + value.len();
        if bytes > ANNOTATIONS_BYTES_MAX || words.annotations.contains_key(key) {
            tracing::debug!(key, bytes, "an annotation is left out: there is one of its name, or there are too many");
            return;
        }
        words.bytes = bytes;
        words.annotations.insert(key.to_owned(), Annotation { value, shows });
    }
    fn warn(&self, warnings: Vec<String>) {
        let told = &mut self.0.lock().warnings;
        let room = WARNINGS_MAX.saturating_sub(told.len());
        told.extend(warnings.into_iter().take(room));
    }
}

/// Annotates the audit event of the request that is being answered, if it is one.
pub fn annotate(key: &str, value: impl FnOnce() -> String, shows: Shows) {
    // What the server does of itself nobody keeps events of.
    let _nobody = TOLD.try_with(|told| told.annotate(key, value(), shows));
}

/// Warns the sender of the request that is being answered, which is to be refused: what is done has its warnings with it.
pub fn warn_of_refused(warnings: Vec<String>) {
    let _nobody = TOLD.try_with(|told| told.warn(warnings));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_request_has_its_own_words() {
        let (one, other) = (Told::default(), Told::default());
        annotate("a", || unreachable!("nobody listens"), Shows::Metadata);
        let work = async {
            annotate("a", || "first".into(), Shows::Metadata);
            annotate("a", || "second".into(), Shows::Body);
            warn_of_refused(vec!["w".to_owned(); 2 * WARNINGS_MAX]);
        };
        tokio::join!(
            one.of(work),
            other.of(async { annotate("b", || "x".repeat(ANNOTATIONS_BYTES_MAX), Shows::Body) })
        );
        let first = Annotation { value: "first".into(), shows: Shows::Metadata };
        assert_eq!(one.annotations().into_iter().collect::<Vec<_>>(), [("a".to_owned(), first)]);
        assert_eq!(one.warnings().len(), WARNINGS_MAX);
        assert!(other.annotations().is_empty(), "too large");
    }
}
