//! Environments as users define them.
