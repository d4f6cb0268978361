//! Owns the list of what is refused on the wire: the case, the status that answers it, the word that logs and metrics say.

use std::fmt;

/// Each case with its word and its meaning, so that none is forgotten in any of the lists.
macro_rules! cases {
    ($($case:ident $word:literal $meaning:literal,)*) => {
        /// Why bytes are refused. In a request it is the client's fault and [`status`](Self::status) answers it; in a response it
        /// is the backend's and 502 does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Malformed {
            $(#[doc = $meaning] $case,)*
        }

        impl Malformed {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$case),*];

            /// The word for it in logs, metrics and documentation.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$case => $word,)*
                }
            }

            /// The word for it when a backend sent it.
            #[must_use]
            pub const fn backend_word(self) -> &'static str {
                match self {
                    $(Self::$case => concat!("backend_", $word),)*
                }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$case => $meaning,)*
                }
            }
        }
    };
}

cases! {
    StartLine "start_line" "The first line is not `METHOD target HTTP/1.x`, or `HTTP/1.x status reason`.",
    Method "method" "A method that is no token, or longer than 32 bytes.",
    Connect "connect_refused" "`CONNECT`: this is no forward proxy.",
    Target "target" "A target with a byte that may not stand in it, or of a form that its method does not have.",
    TargetTooLong "target_too_long" "A target over the limit.",
    Version "version" "A major version other than 1.",
    LineEnd "line_end" "A line that ends without CR LF, or a CR elsewhere.",
    FieldName "field_name" "A field name that is no token, a space before the colon, a line without a colon.",
    FieldValue "field_value" "A control byte in a field value.",
    Fold "fold" "A line that continues the one before (RFC 9112 section 5.2).",
    HeadTooLarge "head_too_large" "A head over the limit in bytes.",
    TooManyFields "too_many_fields" "A head with too many fields.",
    HostMissing "host_missing" "HTTP/1.1 without `Host`.",
    HostRepeated "host_repeated" "Two `Host` fields.",
    Host "host" "A host that is none, or with userinfo, a path, a list, a port that is none.",
    AuthorityDiffers "authority_differs" "The target's authority and `Host` name different ones.",
    ContentLength "content_length" "A `Content-Length` that is not plain digits below 2^63.",
    ContentLengthRepeated "content_length_repeated" "Two `Content-Length` fields, or a list.",
    LengthAndCoding "length_and_coding" "`Content-Length` beside `Transfer-Encoding`.",
    TransferEncoding "transfer_encoding" "A `Transfer-Encoding` that is not exactly `chunked`, once.",
    UnknownCoding "unknown_coding" "A transfer coding that is not known here.",
    CodingInOldVersion "coding_in_old_version" "A `Transfer-Encoding` in HTTP/1.0.",
    Expectation "expectation" "An expectation other than `100-continue`.",
    Path "path" "A path with a zero byte, a broken escape, or more `..` than segments.",
    PathForm "path_form" "A path that is not in normal form, where that is asked for.",
    Chunk "chunk" "A chunk size that is not 1 to 16 hexadecimal digits, or data without CR LF behind it.",
    ChunkExtension "chunk_extension" "A chunk extension with a control byte, or too many bytes of extensions.",
    Trailer "trailer" "A trailer that is no field.",
    TrailersTooLarge "trailers_too_large" "Trailers over the limit.",
    BodyForbidden "body_forbidden" "A body where the status allows none.",
    Status "status" "A status outside 100 to 599.",
    Http2 "http2" "Something that HTTP/2 forbids: a field of one connection only, a stream or a connection that broke its rules.",
}

impl Malformed {
    /// The status that answers it when a client sent it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Connect | Self::UnknownCoding => 501,
            Self::TargetTooLong => 414,
            Self::Version => 505,
            Self::HeadTooLarge | Self::TooManyFields | Self::TrailersTooLarge => 431,
            Self::Expectation => 417,
            _ => 400,
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl std::error::Error for Malformed {}
