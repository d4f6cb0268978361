//! Owns the status codes (`statuscodes.md`), and which of them stand for HTTP's statuses and HTTP/2's errors.

/// Each code with its number and name, so that none is forgotten in any of the lists.
macro_rules! codes {
    ($($case:ident = $number:literal, $name:literal, $doc:literal;)*) => {
        /// How a call ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Status {
            $(#[doc = $doc] $case = $number,)*
        }

        impl Status {
            /// All of them, in the order of their numbers, which begin with 0.
            pub const ALL: &'static [Self] = &[$(Self::$case),*];

            /// Its name, as in gRPC's own texts; for logs and metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$case => $name,)*
                }
            }

            /// What `grpc-status` says for it.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$case => stringify!($number),)*
                }
            }
        }
    };
}

codes! {
    Ok = 0, "OK", "The call did what it should.";
    Cancelled = 1, "CANCELLED", "Most often by the client.";
    Unknown = 2, "UNKNOWN", "No code that says more; also what could not be read.";
    InvalidArgument = 3, "INVALID_ARGUMENT", "The client's fault, whatever the state.";
    DeadlineExceeded = 4, "DEADLINE_EXCEEDED", "The time was over first.";
    NotFound = 5, "NOT_FOUND", "What was asked for is not there.";
    AlreadyExists = 6, "ALREADY_EXISTS", "What was to be made is there.";
    PermissionDenied = 7, "PERMISSION_DENIED", "This client may not.";
    ResourceExhausted = 8, "RESOURCE_EXHAUSTED", "A limit or a quota was met.";
    FailedPrecondition = 9, "FAILED_PRECONDITION", "Not in this state; to try again does not help.";
    Aborted = 10, "ABORTED", "Given up, as for a conflict.";
    OutOfRange = 11, "OUT_OF_RANGE", "Past the end of what there is.";
    Unimplemented = 12, "UNIMPLEMENTED", "There is no such method.";
    Internal = 13, "INTERNAL", "Something broke that should not.";
    Unavailable = 14, "UNAVAILABLE", "Not now; another try may help.";
    DataLoss = 15, "DATA_LOSS", "Lost or spoilt for good.";
    Unauthenticated = 16, "UNAUTHENTICATED", "Nobody knows who the client is.";
}

impl Status {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// What a `grpc-status` says: plain digits, no zero before others. What cannot be read is [`Unknown`](Self::Unknown), and so is a
    /// number without a code ("Error parsing returned status", `statuscodes.md`).
    #[must_use]
    pub fn read(value: &[u8]) -> Self {
        let same = |status: &&Self| status.text().as_bytes() == value;
        Self::ALL
            .iter()
            .find(same)
            .copied()
            .unwrap_or(Self::Unknown)
    }

    /// What stands for the status of a response without `grpc-status` (`http-grpc-status-mapping.md`). Not for own refusals: those
    /// know more.
    #[must_use]
    pub const fn of_http(status: u16) -> Self {
        match status {
            400 | 431 => Self::Internal,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::Unimplemented,
            429 | 502..=504 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }

    /// What stands for a stream that the backend reset, by the error's number (`PROTOCOL-HTTP2.md`, "Errors"; RFC 9113 section 7). An
    /// error that is not in that table is [`Unknown`](Self::Unknown).
    #[must_use]
    pub const fn of_reset(error: u32) -> Self {
        match error {
            // NO_ERROR to SETTINGS_TIMEOUT, FRAME_SIZE_ERROR, COMPRESSION_ERROR, CONNECT_ERROR.
            0..=4 | 6 | 9 | 10 => Self::Internal,
            // REFUSED_STREAM: nothing has been done, it may be tried elsewhere.
            7 => Self::Unavailable,
            // CANCEL.
            8 => Self::Cancelled,
            // ENHANCE_YOUR_CALM.
            11 => Self::ResourceExhausted,
            // INADEQUATE_SECURITY.
            12 => Self::PermissionDenied,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts() {
        assert_eq!(Status::ALL.len(), 17);
        for (number, status) in Status::ALL.iter().enumerate() {
            assert_eq!(usize::from(status.number()), number);
            assert_eq!(status.text(), number.to_string());
            assert_eq!(Status::read(status.text().as_bytes()), *status);
        }
        for value in [
            "",
            "17",
            "00",
            "01",
            "-1",
            "+0",
            "0 ",
            " 0",
            "0, 0",
            "OK",
            "99999999999999999999",
            "\u{660}",
        ] {
            assert_eq!(Status::read(value.as_bytes()), Status::Unknown, "{value}");
        }
    }

    #[test]
    fn other_signs() {
        for (http, expect) in [
            (400, Status::Internal),
            (401, Status::Unauthenticated),
            (403, Status::PermissionDenied),
            (404, Status::Unimplemented),
            (429, Status::Unavailable),
            (431, Status::Internal),
            (502, Status::Unavailable),
            (503, Status::Unavailable),
            (504, Status::Unavailable),
            (200, Status::Unknown),
            (500, Status::Unknown),
            (501, Status::Unknown),
            (505, Status::Unknown),
        ] {
            assert_eq!(Status::of_http(http), expect, "{http}");
        }
        for (error, expect) in [
            (0, Status::Internal),
            (5, Status::Unknown),
            (7, Status::Unavailable),
            (8, Status::Cancelled),
            (10, Status::Internal),
            (11, Status::ResourceExhausted),
            (12, Status::PermissionDenied),
            (13, Status::Unknown),
            (u32::MAX, Status::Unknown),
        ] {
            assert_eq!(Status::of_reset(error), expect, "{error}");
        }
    }
}
