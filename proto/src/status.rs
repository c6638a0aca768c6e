//! A Kubernetes `Status` in a gRPC error: its JSON stands in the details, its HTTP code chooses the gRPC code.

use tonic::{Code, Status};

/// The gRPC error for a failed request. `status_json` is the serialised Kubernetes `Status`.
pub fn to_grpc(http_code: u16, message: &str, status_json: Vec<u8>) -> Status {
    let code = match http_code {
        400 | 413 | 415 | 422 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        405 => Code::Unimplemented,
        409 => Code::Aborted,
        410 => Code::OutOfRange,
        429 => Code::ResourceExhausted,
        503 => Code::Unavailable,
        504 => Code::DeadlineExceeded,
        _ => Code::Internal,
    };
    Status::with_details(code, message, status_json.into())
}

/// The Kubernetes `Status` JSON of an error made by [`to_grpc`]; empty for an error of the transport.
pub fn of_grpc(error: &Status) -> &[u8] {
    error.details()
}
