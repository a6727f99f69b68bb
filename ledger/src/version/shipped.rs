//! A build without the tests' next version.

use super::Next;
use crate::entities::Ticket;

/// Nothing plays the next version in this build.
pub const NEXT: Option<Next> = None;

impl Ticket {
    /// Locks are not counted in any version that is shipped.
    #[inline(always)]
    pub(crate) fn count_lock(&mut self, _version: super::Version) {}
}
