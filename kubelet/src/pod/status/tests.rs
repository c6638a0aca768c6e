//! What users see of a pod in each state.
