//! Owns the list of what is refused on the wire: the case, the status that answers it, the word that logs and metrics say.

use std::fmt;

/// Why bytes are refused. In a request it is the client's fault and [`status`](Self::status) answers it; in a response it is the
/// backend's and 502 does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// The first line is not `METHOD target HTTP/1.x`, or `HTTP/1.x status reason`.
    StartLine,
    /// A method that is no token, or longer than 32 bytes.
    Method,
    /// `CONNECT`: this is no forward proxy.
    Connect,
    /// A target with a byte that may not stand in it, or of a form that its method does not have.
    Target,
    /// A target over the limit.
    TargetTooLong,
    /// A major version other than 1.
    Version,
    /// A line that ends without CR LF, or a CR elsewhere.
    LineEnd,
    /// A field name that is no token, a space before the colon, a line without a colon.
    FieldName,
    /// A control byte in a field value.
    FieldValue,
    /// A line that continues the one before (RFC 9112 section 5.2).
    Fold,
    /// A head over the limit in bytes.
    HeadTooLarge,
    /// A head with too many fields.
    TooManyFields,
    /// HTTP/1.1 without `Host`.
    HostMissing,
    /// Two `Host` fields.
    HostRepeated,
    /// A host that is none, or with userinfo, a path, a list, a port that is none.
    Host,
    /// The target's authority and `Host` name different ones.
    AuthorityDiffers,
    /// A `Content-Length` that is not plain digits below 2^63.
    ContentLength,
    /// Two `Content-Length` fields, or a list.
    ContentLengthRepeated,
    /// `Content-Length` beside `Transfer-Encoding`.
    LengthAndCoding,
    /// A `Transfer-Encoding` that is not exactly `chunked`, once.
    TransferEncoding,
    /// A transfer coding that is not known here.
    UnknownCoding,
    /// A `Transfer-Encoding` in HTTP/1.0.
    CodingInOldVersion,
    /// An expectation other than `100-continue`.
    Expectation,
    /// A path with a zero byte, a broken escape, or more `..` than segments.
    Path,
    /// A path that is not in normal form, where that is asked for.
    PathForm,
    /// A chunk size that is not 1 to 16 hexadecimal digits, or data without CR LF behind it.
    Chunk,
    /// A chunk extension with a control byte, or too many bytes of extensions.
    ChunkExtension,
    /// A trailer that is no field.
    Trailer,
    /// Trailers over the limit.
    TrailersTooLarge,
    /// A body where the status allows none.
    BodyForbidden,
    /// A status outside 100 to 599.
    Status,
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

/// Each case with its word, so that none is forgotten in any of the lists.
macro_rules! words {
    ($($case:ident => $word:literal,)*) => {
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
        }
    };
}

words! {
    StartLine => "start_line",
    Method => "method",
    Connect => "connect_refused",
    Target => "target",
    TargetTooLong => "target_too_long",
    Version => "version",
    LineEnd => "line_end",
    FieldName => "field_name",
    FieldValue => "field_value",
    Fold => "fold",
    HeadTooLarge => "head_too_large",
    TooManyFields => "too_many_fields",
    HostMissing => "host_missing",
    HostRepeated => "host_repeated",
    Host => "host",
    AuthorityDiffers => "authority_differs",
    ContentLength => "content_length",
    ContentLengthRepeated => "content_length_repeated",
    LengthAndCoding => "length_and_coding",
    TransferEncoding => "transfer_encoding",
    UnknownCoding => "unknown_coding",
    CodingInOldVersion => "coding_in_old_version",
    Expectation => "expectation",
    Path => "path",
    PathForm => "path_form",
    Chunk => "chunk",
    ChunkExtension => "chunk_extension",
    Trailer => "trailer",
    TrailersTooLarge => "trailers_too_large",
    BodyForbidden => "body_forbidden",
    Status => "status",
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl std::error::Error for Malformed {}
