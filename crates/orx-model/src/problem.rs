//! Problem documents (RFC 9457) with a stable code, for programs and people.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::names;

names! {
    /// Stable codes of problems. Codes are added, never renamed.
    #[derive(utoipa::ToSchema)]
    pub enum Code {
        /// The request cannot be understood, or a value is out of range.
        BadRequest = "bad_request",
        /// The request, or a part of it, is too large.
        TooLarge = "too_large",
        /// There is no token, or no valid one.
        Unauthenticated = "unauthenticated",
        /// The token does not have the required scope.
        NotAllowed = "not_allowed",
        /// The secret of the request is not that of the worker's incarnation.
        NotThisWorker = "not_this_worker",
        /// The `Host` or `Origin` header is not allowed.
        ForeignOrigin = "foreign_origin",
        /// The resource does not exist.
        NotFound = "not_found",
        /// The route does not support this method.
        MethodNotAllowed = "method_not_allowed",
        /// The route does not support the type of the body.
        UnsupportedMediaType = "unsupported_media_type",
        /// The idempotency key was used with another request.
        KeyConflict = "key_conflict",
        /// The status of the job does not allow this.
        StateConflict = "state_conflict",
        /// More would change than the request allows.
        TooMany = "too_many",
        /// The filter would have to read too much.
        TooBroad = "too_broad",
        /// Too many wrong tokens were sent from the caller's address.
        RateLimited = "rate_limited",
        /// The request arrived too slowly.
        SlowRequest = "slow_request",
        /// Temporarily unavailable: nothing was accepted, and the same request may succeed later.
        Unavailable = "unavailable",
        /// The disk is full: nothing was accepted.
        StoreFull = "store_full",
        /// No response in time: the request may have been carried out.
        TimedOut = "timed_out",
        /// A defect of the server; its log contains details.
        Internal = "internal",
        /// A code of a later version.
        #[serde(other)]
        Unknown = "unknown",
    }
}

impl Code {
    /// The HTTP status that goes with it.
    #[must_use]
    pub fn http_status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthenticated => 401,
            Self::NotAllowed | Self::NotThisWorker | Self::ForeignOrigin => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::SlowRequest => 408,
            Self::KeyConflict | Self::StateConflict => 409,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::TooMany | Self::TooBroad => 422,
            Self::RateLimited => 429,
            Self::Internal | Self::Unknown => 500,
            Self::Unavailable => 503,
            Self::TimedOut => 504,
            Self::StoreFull => 507,
        }
    }

    /// A short title, the same for every problem with this code.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "the request cannot be understood",
            Self::TooLarge => "the request is too large",
            Self::Unauthenticated => "a valid token is needed",
            Self::NotAllowed => "the token does not allow this",
            Self::NotThisWorker => "the secret is not that worker's",
            Self::ForeignOrigin => "requests from web pages are refused",
            Self::NotFound => "there is no such thing",
            Self::MethodNotAllowed => "this path does not take that method",
            Self::UnsupportedMediaType => "the body is not JSON",
            Self::KeyConflict => "the key was used for another request",
            Self::StateConflict => "the state does not allow this",
            Self::TooMany => "more would change than allowed",
            Self::TooBroad => "the filter reads too much",
            Self::RateLimited => "too many wrong tokens",
            Self::SlowRequest => "the request came too slowly",
            Self::Unavailable => "not possible now",
            Self::StoreFull => "the disk of the store is full",
            Self::TimedOut => "no answer in time",
            Self::Internal => "an error of ours",
            Self::Unknown => "an error",
        }
    }
}

/// The body of every response that is not 2xx, as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// `urn:orx:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short title, the same for every problem with this code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The code of the problem.
    pub code: Code,
    /// What happened, with the value in backticks.
    pub detail: String,
    /// The cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Existing names similar to the one that was not found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
    /// The id of the request in the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Problem {
    /// A problem without cause and hint.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:orx:problem:{code}"),
            title: code.title().to_owned(),
            status: code.http_status(),
            code,
            detail: detail.into(),
            cause: None,
            hint: None,
            candidates: Vec::new(),
            request_id: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds a hint about what the caller can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds similar names.
    #[must_use]
    pub fn candidates(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.candidates = names.into_iter().collect();
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}
