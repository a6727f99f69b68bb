//! Panics of runs belong into their reports, with the place where they happened, and not between the lines of a swarm.

use std::cell::RefCell;
use std::panic;

thread_local! {
    static LAST_PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on panics are noted, not printed.
pub fn panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(|place| format!("{}:{}", place.file(), place.line()));
        LAST_PLACE.with(|last| *last.borrow_mut() = place);
    }));
}

/// Where this thread panicked last, if that was noted.
pub(crate) fn last_place() -> Option<String> {
    LAST_PLACE.with(|last| last.borrow_mut().take())
}
