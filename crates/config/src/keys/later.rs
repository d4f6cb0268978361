//! Owns the keys whose feature comes later: they are refused as "not yet", and the schema leaves them out. A row goes when its
//! feature comes.

/// Where such keys stand, and which.
pub(crate) const LATER: &[(&str, &[&str])] = &[];

/// The keys that come later in a map of this place.
pub(crate) fn at(place: &str) -> &'static [&'static str] {
    LATER
        .iter()
        .find(|(at, _)| *at == place)
        .map_or(&[], |(_, keys)| keys)
}
