//! Owns what a request asks for, before a backend is picked for it.

use crate::ask::Ask;

/// What a request asks for. Implement it where a function of the request ([`Balance::asking`](super::Balance::asking)) does not
/// say enough.
///
/// ```
/// use evenkeel::{Ask, tower::Asking};
///
/// struct Request { user: String, urgent: bool }
///
/// #[derive(Clone)]
/// struct ByUser;
///
/// impl Asking<Request> for ByUser {
///     fn ask<'a>(&'a self, request: &'a Request) -> Ask<'a> {
///         Ask::new().queue_class(if request.urgent { 10 } else { 100 })
///     }
///     fn client<'a>(&'a self, request: &'a Request) -> Option<&'a [u8]> {
///         Some(request.user.as_bytes())
///     }
/// }
/// ```
pub trait Asking<Req> {
    /// Key, class, class in the queue, subset. Asked again when a backend's inner service is broken; those are then left out.
    fn ask<'a>(&'a self, request: &'a Req) -> Ask<'a>;

    /// Whose request it is: it is sent where that client is kept, and the client is kept where it is answered well. Heeded where
    /// [`keep_clients`](crate::ServiceHandle::keep_clients) was asked for; none by default.
    fn client<'a>(&'a self, _request: &'a Req) -> Option<&'a [u8]> {
        None
    }

    /// Whether picks wait for the request. Where it is never looked at, a backend is picked before it is known.
    fn waits(&self) -> bool {
        true
    }
}

/// Requests ask for any backend: it is picked before the request is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unkeyed;

impl<Req> Asking<Req> for Unkeyed {
    fn ask<'a>(&'a self, _request: &'a Req) -> Ask<'a> {
        Ask::new()
    }

    fn waits(&self) -> bool {
        false
    }
}

/// Requests ask by a key: a function of them to a [hash](crate::balance::hashing::key).
#[derive(Clone, Copy, Debug)]
pub struct Keyed<F>(pub F);

impl<Req, F: Fn(&Req) -> u64> Asking<Req> for Keyed<F> {
    fn ask<'a>(&'a self, request: &'a Req) -> Ask<'a> {
        Ask::new().key_hash(self.0(request))
    }
}

impl<Req, F> Asking<Req> for F
where
    F: for<'a> Fn(&'a Req) -> Ask<'a>,
{
    fn ask<'a>(&'a self, request: &'a Req) -> Ask<'a> {
        self(request)
    }
}
