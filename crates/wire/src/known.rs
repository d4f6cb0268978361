//! Owns the fields that mean something to a proxy: their names, and what kind of field each is.

macro_rules! known {
    ($($variant:ident $name:literal $kind:ident,)*) => {
        /// A field that means something to a proxy.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Known {
            /// Any other field.
            Other,
            $(#[doc = concat!("`", $name, "`.")] $variant,)*
        }

        impl Known {
            /// The names of all of them, in lower case.
            pub const NAMES: &[&str] = &[$($name),*];

            /// What a field of this name is. Cost: one comparison for the names of its length and first letter.
            #[must_use]
            #[inline]
            pub const fn of(name: &[u8]) -> Self {
                let Some(first) = name.first() else {
                    return Self::Other;
                };
                match (name.len(), *first | 0x20) {
                    $((length, first) if length == $name.len() && first == $name.as_bytes()[0]
                        && name.eq_ignore_ascii_case($name.as_bytes()) => Self::$variant,)*
                    _ => Self::Other,
                }
            }

            /// What kind of field it is.
            #[must_use]
            pub const fn kind(self) -> Kind {
                match self {
                    Self::Other => Kind::EndToEnd,
                    $(Self::$variant => Kind::$kind,)*
                }
            }
        }
    };
}

/// What a proxy does with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes on, unless `Connection` names it.
    EndToEnd,
    /// Goes on, even if `Connection` names it: it authenticates or routes, and its loss would change what the request is.
    Protected,
    /// Ends here (RFC 9110 section 7.6.1).
    HopByHop,
    /// Says where the body ends: written anew for the next hop.
    Framing,
    /// Says who the client is: written anew, or believed from a trusted peer. Or is meant for the proxy alone.
    Forwarding,
}

known! {
    Host "host" Framing,
    ContentLength "content-length" Framing,
    TransferEncoding "transfer-encoding" Framing,
    Connection "connection" HopByHop,
    KeepAlive "keep-alive" HopByHop,
    ProxyConnection "proxy-connection" HopByHop,
    Te "te" HopByHop,
    Upgrade "upgrade" HopByHop,
    Http2Settings "http2-settings" HopByHop,
    Expect "expect" Protected,
    Trailer "trailer" Protected,
    Authorization "authorization" Protected,
    ProxyAuthorization "proxy-authorization" Protected,
    ProxyAuthenticate "proxy-authenticate" Protected,
    Cookie "cookie" Protected,
    SetCookie "set-cookie" Protected,
    CacheControl "cache-control" Protected,
    ContentType "content-type" Protected,
    ContentEncoding "content-encoding" Protected,
    ContentRange "content-range" Protected,
    Range "range" Protected,
    Location "location" Protected,
    Referer "referer" EndToEnd,
    UserAgent "user-agent" EndToEnd,
    Via "via" Protected,
    ForwardedFor "x-forwarded-for" Forwarding,
    ForwardedProto "x-forwarded-proto" Forwarding,
    ForwardedHost "x-forwarded-host" Forwarding,
    ForwardedPort "x-forwarded-port" Forwarding,
    Forwarded "forwarded" Forwarding,
    RealIp "x-real-ip" Forwarding,
    ClientCert "client-cert" Forwarding,
    ClientCertChain "client-cert-chain" Forwarding,
    ClientCertSubject "x-client-cert-subject" Forwarding,
    ClientCertFingerprint "x-client-cert-fingerprint" Forwarding,
    ClientCertSan "x-client-cert-san" Forwarding,
    RequestId "x-request-id" Forwarding,
    Traceparent "traceparent" Forwarding,
    Tracestate "tracestate" Forwarding,
    Explain "x-evenkeel-explain" Forwarding,
}

/// Whether a name is one of the forwarding fields spelled with underscores. Servers that map `-` and `_` to the same
/// variable (CGI, WSGI) would read it as the real one.
#[must_use]
pub fn is_disguised(name: &[u8]) -> bool {
    if !name.contains(&b'_') || name.len() > 32 {
        return false;
    }
    let mut dashed = [0; 32];
    for (to, &from) in dashed.iter_mut().zip(name) {
        *to = if from == b'_' { b'-' } else { from };
    }
    !matches!(
        Known::of(&dashed[..name.len()]).kind(),
        Kind::EndToEnd | Kind::HopByHop
    )
}

/// Whether a field may not stand in trailers: it frames, routes, authenticates or says who the client is
/// (RFC 9110 section 6.5.1).
#[must_use]
pub fn is_forbidden_in_trailers(name: &[u8]) -> bool {
    Known::of(name).kind() != Kind::EndToEnd || is_disguised(name)
}
