//! Events in other forms than the JSON in which they are kept: encoded once for all watchers that ask for the same.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use corten_api::ApiError;
use parking_lot::Mutex;

use super::accept::Form;
use crate::resources::{Event, EventKind};

/// Of all frames that are kept, with the objects that they were made of. Watchers that keep up ask for the newest alone; who is
/// behind encodes for itself.
const BYTES_MAX: usize = 4 << 20;

/// The newest frames. One for the process.
pub(super) static NEWEST: Frames = Frames::new(BYTES_MAX);

#[derive(Debug)]
pub(super) struct Frames {
    bytes_max: usize,
    kept: Mutex<Option<Kept>>,
}

/// An object, by where it is, and what its frame is.
type Key = (usize, EventKind, Form, bool);

#[derive(Debug, Default)]
struct Kept {
    /// Each with its event, so that nothing else comes to be where its object is.
    frames: HashMap<Key, (Event, Bytes)>,
    /// The oldest first.
    order: VecDeque<Key>,
    bytes: usize,
}

impl Frames {
    const fn new(bytes_max: usize) -> Self {
        Self { bytes_max, kept: Mutex::new(None) }
    }

    /// The event's frame in a form, as `encode` makes it. Two that ask at once may both encode it.
    pub(super) fn shared(
        &self,
        event: &Event,
        form: Form,
        is_protobuf: bool,
        encode: impl FnOnce() -> Result<Bytes, ApiError>,
    ) -> Result<Bytes, ApiError> {
        let key = (Arc::as_ptr(&event.item).addr(), event.kind, form, is_protobuf);
        if let Some((_, frame)) = self.kept.lock().get_or_insert_default().frames.get(&key) {
            return Ok(frame.clone());
        }
        let frame = encode()?;
        self.kept.lock().get_or_insert_default().put(key, event, &frame, self.bytes_max);
        Ok(frame)
    }
}

impl Kept {
    fn put(&mut self, key: Key, event: &Event, frame: &Bytes, bytes_max: usize) {
        if self.frames.contains_key(&key) {
            return;
        }
        self.bytes += weight(event, frame);
        self.frames.insert(key, (event.clone(), frame.clone()));
        self.order.push_back(key);
        while self.bytes > bytes_max
            && let Some(oldest) = self.order.pop_front()
        {
            let gone = self.frames.remove(&oldest);
            self.bytes -= gone.map_or(0, |(event, frame)| weight(&event, &frame));
        }
    }
}

fn weight(event: &Event, frame: &Bytes) -> usize {
    event.item.weight() + frame.len() + size_of::<(Key, Event, Bytes)>()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::cache::Item;

    fn event(kind: EventKind, bytes: usize) -> Event {
        let json = format!(r#"{{"metadata":{{"name":"a"}},"data":"{}"}}"#, "x".repeat(bytes));
        Event { kind, item: Arc::new(Item::new("a", json.as_bytes(), 5, kind, &[]).unwrap()) }
    }

    #[test]
    fn a_frame_is_made_once_for_all_who_ask_for_the_same() {
        let (frames, made) = (Frames::new(10_000), Cell::new(0));
        let ask = |event: &Event, form, is_protobuf| {
            let encode = || {
                made.set(made.get() + 1);
                Ok(Bytes::from(made.get().to_string()))
            };
            frames.shared(event, form, is_protobuf, encode).unwrap()
        };
        let (one, other) = (event(EventKind::Added, 9), event(EventKind::Added, 9));
        let as_modified = Event { kind: EventKind::Modified, ..one.clone() };
        for _ in 0..3 {
            assert_eq!(ask(&one, Form::Object, true), "1");
            assert_eq!(ask(&other, Form::Object, true), "2", "of another object");
            assert_eq!(ask(&as_modified, Form::Object, true), "3", "another event of the object");
            assert_eq!(ask(&one, Form::Metadata, true), "4");
            assert_eq!(ask(&one, Form::Metadata, false), "5");
        }
        frames.shared(&one, Form::Table, true, || Err(ApiError::bad_request("x"))).unwrap_err();
        assert_eq!(ask(&one, Form::Table, true), "6", "a failure is not kept");
    }

    #[test]
    fn the_oldest_go_and_with_them_their_objects() {
        let frames = Frames::new(10_000);
        let events: Vec<Event> = (0..50).map(|_| event(EventKind::Added, 900)).collect();
        for event in &events {
            frames.shared(event, Form::Object, true, || Ok(Bytes::from(vec![0; 600]))).unwrap();
        }
        let kept = frames.kept.lock();
        let kept = kept.as_ref().unwrap();
        assert!(kept.bytes <= 10_000 && kept.frames.len() >= 4, "{} of {}", kept.bytes, kept.frames.len());
        assert_eq!(kept.frames.len(), kept.order.len());
        assert_eq!(kept.bytes, kept.frames.values().map(|(event, frame)| weight(event, frame)).sum::<usize>());
        let held = |event: &Event| Arc::strong_count(&event.item) - 1;
        assert_eq!((events.first().map(held), events.last().map(held)), (Some(0), Some(1)));
    }
}
