//! Owns a retry from when it is granted to when it is made.

use evenkeel_balance::retry::Decision;

use crate::service::ServiceHandle;

/// A retry that was granted: given back unless it is made, however its future ends.
pub(super) struct Granted<'a>(Option<(&'a ServiceHandle, Decision)>);

impl<'a> Granted<'a> {
    pub(super) fn new(service: &'a ServiceHandle, granted: Decision) -> Self {
        Self(Some((service, granted)))
    }

    pub(super) fn made(mut self) {
        self.0 = None;
    }
}

impl Drop for Granted<'_> {
    fn drop(&mut self) {
        if let Some((service, granted)) = self.0.take() {
            service.retry_not_made(granted);
        }
    }
}
