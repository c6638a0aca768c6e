//! Every object the store has, in memory: what reads are served from.

mod item;
mod scan;

pub use item::Item;
