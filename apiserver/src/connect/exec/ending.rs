//! How a process ended, as the `Status` that exec's error channel carries.

use corten_api::{ApiError, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusCause, StatusDetails};

/// What there is to say at the end.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    Exited(i32),
    Failed(ApiError),
}

impl Ending {
    /// What the output's last message, or its absence, means.
    pub fn of(result: Result<Option<i32>, &tonic::Status>) -> Self {
        match result {
            Ok(Some(code)) => Self::Exited(code),
            Ok(None) => Self::Failed(ApiError::internal("the node ended the stream without an exit code")),
            Err(status) => Self::Failed(super::kubelets::error_of("", status)),
        }
    }

    /// What went wrong, for clients that are told of nothing else.
    pub fn failure(&self) -> Option<String> {
        match self {
            Self::Exited(0) => None,
            Self::Exited(code) => exited(*code).message,
            Self::Failed(err) => Some(err.message().to_owned()),
        }
    }

    pub fn status_json(&self) -> Vec<u8> {
        let status = match self {
            Self::Exited(0) => Status { status: Some("Success".into()), ..Status::default() },
            Self::Exited(code) => exited(*code),
            Self::Failed(err) => err.status().clone(),
        };
        serde_json::to_vec(&status)
            .unwrap_or_else(|err| format!(r#"{{"status":"Failure","message":{:?}}}"#, err.to_string()).into_bytes())
    }
}

/// kubectl takes its own exit code from the cause.
fn exited(code: i32) -> Status {
    let cause = StatusCause { reason: Some("ExitCode".into()), message: Some(code.to_string()), field: None };
    Status {
        status: Some("Failure".into()),
        reason: Some("NonZeroExitCode".into()),
        message: Some(format!("command terminated with non-zero exit code: exit status {code}")),
        details: Some(StatusDetails { causes: Some(vec![cause]), ..StatusDetails::default() }),
        code: Some(i32::from(Reason::InternalError.code())),
        ..Status::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_read_as_clients_expect() {
        let read = |ending: Ending| serde_json::from_slice::<serde_json::Value>(&ending.status_json()).unwrap();
        assert_eq!(read(Ending::Exited(0))["status"], "Success");
        let failed = read(Ending::Exited(3));
        assert_eq!((&failed["status"], &failed["reason"]), (&"Failure".into(), &"NonZeroExitCode".into()));
        assert_eq!(failed["details"]["causes"][0], serde_json::json!({"reason": "ExitCode", "message": "3"}));
        let lost = read(Ending::of(Err(&tonic::Status::unavailable("gone"))));
        assert_eq!(lost["status"], "Failure");
    }
}
