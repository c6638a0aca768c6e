//! The apiserver's process: arguments in, a running server out.

fn main() {}
