//! Why an evaluation has no value.

/// In cel-go's words, which Kubernetes shows its users.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EvalError {
    #[error("no such key: {0}")]
    NoSuchKey(String),
    #[error("no such attribute(s): {0}")]
    NoSuchVariable(String),
    #[error("no such overload")]
    NoSuchOverload,
    #[error("index out of bounds: {0}")]
    OutOfBounds(i64),
    #[error("unsupported index type '{0}' in list")]
    BadIndex(String),
    #[error("unsupported key type: {0}")]
    BadKey(String),
    #[error("insert failed: key {0} already exists")]
    KeyExists(String),
    #[error("division by zero")]
    DivisionByZero,
    #[error("modulus by zero")]
    ModulusByZero,
    #[error("integer overflow")]
    IntOverflow,
    #[error("unsigned integer overflow")]
    UintOverflow,
    #[error("timestamp overflow")]
    TimestampOverflow,
    #[error("duration overflow")]
    DurationOverflow,
    #[error("type conversion error from '{from}' to '{to}'")]
    Conversion { from: String, to: String },
    #[error("optional.none() dereference")]
    NoneDereferenced,
    #[error("invalid data, {0}")]
    InvalidData(String),
    #[error("error parsing regexp: {0}")]
    Regex(String),
    /// What one function has to say of its arguments.
    #[error("{0}")]
    Function(String),
    /// One call may cost no more than [`crate::PER_CALL_LIMIT`].
    #[error("operation cancelled: actual cost limit exceeded")]
    CostLimit,
    /// Nothing is left for this call and those after it.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    OutOfBudget,
    #[error("operation cancelled: memory limit exceeded")]
    MemoryLimit,
    #[error("operation interrupted")]
    Interrupted,
}

impl EvalError {
    /// Not a result of the expression: no `||` makes up for it.
    pub fn is_cancellation(&self) -> bool {
        matches!(self, Self::CostLimit | Self::OutOfBudget | Self::MemoryLimit | Self::Interrupted)
    }
    pub(crate) fn conversion(from: &str, to: &str) -> Self {
        Self::Conversion { from: from.into(), to: to.into() }
    }
    pub(crate) fn function(message: impl Into<String>) -> Self {
        Self::Function(message.into())
    }
}
