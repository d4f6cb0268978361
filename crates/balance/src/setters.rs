//! Owns how settings are told: by a method for each field, named as it is, so that a field more breaks nobody's program.

/// Methods of a type whose fields are public: those of the first list take a value, those behind the semicolon one that may be missing,
/// `Some` or not.
macro_rules! setters {
    ($type:ident { $($field:ident: $given:ty,)* ; $($maybe:ident: $inner:ty,)* }) => {
        impl $type {
            $(
                #[doc = concat!("The same with another [`", stringify!($field), "`](#structfield.", stringify!($field), ").")]
                #[must_use]
                pub fn $field(mut self, $field: $given) -> Self {
                    self.$field = $field;
                    self
                }
            )*
            $(
                #[doc = concat!("The same with another [`", stringify!($maybe), "`](#structfield.", stringify!($maybe), "), or with none.")]
                #[must_use]
                pub fn $maybe(mut self, $maybe: impl Into<Option<$inner>>) -> Self {
                    self.$maybe = $maybe.into();
                    self
                }
            )*
        }
    };
}

pub(crate) use setters;
