//! The scan finds one damaged row of each kind.
