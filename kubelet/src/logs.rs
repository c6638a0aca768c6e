//! Containers' logs in CRI format: the process that writes them, and how they are read and followed.
//!
//! A line is `<RFC 3339 time with nanoseconds> <stdout|stderr> <F|P> <content>`; `P` says that the content goes on in the
//! next line of its stream.
//! <https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md>

mod changes;
mod line;
pub mod logger;
pub(crate) mod place;
mod reader;

pub use line::{Line, Stream};
pub use reader::{LogError, LogOptions, Reader, read, read_last};
