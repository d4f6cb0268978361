//! Owns the names of events: what a listener asks for, without what an event carries.

use std::fmt;

use evenkeel_balance::event::EventKind;

macro_rules! names {
    ($($name:ident $word:literal $exchange:literal,)+) => {
        /// The name of an event; [`EventKind`] has what each says and carries.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventName {
            $(#[doc = concat!("[`EventKind::", stringify!($name), "`].")] $name,)+
        }

        impl EventName {
            /// All of them, in the order of [`EventKind`].
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name of this one.
            #[must_use]
            pub fn of(kind: &EventKind) -> Self {
                match kind {
                    $(EventKind::$name { .. } => Self::$name,)+
                }
            }

            /// The word for it in logs.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }

            /// Whether it is told of single attempts: only while somebody wants it.
            #[must_use]
            pub const fn is_of_exchanges(self) -> bool {
                match self {
                    $(Self::$name => $exchange,)+
                }
            }
        }
    };
}

names! {
    ServiceStarted "service_started" false,
    ServiceStopped "service_stopped" false,
    BackendAdded "backend_added" false,
    BackendRemoved "backend_removed" false,
    BackendUpdated "backend_updated" false,
    SettingsChanged "settings_changed" false,
    StandingChanged "standing_changed" false,
    Checked "checked" false,
    BreakerOpened "breaker_opened" false,
    BreakerHalfOpened "breaker_half_opened" false,
    BreakerClosed "breaker_closed" false,
    BreakerWithheld "breaker_withheld" false,
    AllDown "all_down" false,
    Recovered "recovered" false,
    TierChanged "tier_changed" false,
    Drained "drained" false,
    LimitReached "limit_reached" false,
    PolicyFailed "policy_failed" false,
    RetryBudgetSpent "retry_budget_spent" false,
    Picked "picked" true,
    Refused "refused" true,
    Answered "answered" true,
    Finished "finished" true,
    Abandoned "abandoned" true,
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
