//! The async runtime that replication runs on, real or simulated, behind openraft's `AsyncRuntime`.
//!
//! The real one is tokio as openraft adapts it. The simulated one is madsim, adapted here: the same node then runs in
//! virtual time, with every wake-up in the same order for the same seed. Besides the trait there are the two things that
//! storage needs of a runtime: a place for calls that block on a disk, and one for a loop that blocks on it all its life.
//! Under the simulator both run inline: its disk does not block, and it has no threads.
//!
//! What this deliberately does not do: hide tokio. First-party code takes `tokio` from the workspace, which is the
//! simulator's facade; only channels that wake several tasks ([`Watch`](watch)) must come from here.

use std::future::Future;

use openraft::type_config::TypeConfigExt;
use openraft::type_config::alias::{WatchReceiverOf, WatchSenderOf};

use crate::types::TypeConfig;

#[cfg(madsim)]
mod simulated;
mod watch;

#[cfg(not(madsim))]
pub use openraft_rt_tokio::TokioRuntime as Runtime;
#[cfg(madsim)]
pub use simulated::SimulatedRuntime as Runtime;
pub use watch::OrderedWatch;

/// The sending half of a watch channel whose wake-ups are in a fixed order under the simulator.
pub type WatchSender<T> = WatchSenderOf<TypeConfig, T>;
/// The receiving half; see [`openraft_rt::WatchReceiver`] for its methods.
pub type WatchReceiver<T> = WatchReceiverOf<TypeConfig, T>;

/// A watch channel: receivers see the latest value and may wait for it to change.
pub fn watch_channel<T: Send + Sync + 'static>(value: T) -> (WatchSender<T>, WatchReceiver<T>) {
    TypeConfig::watch_channel(value)
}

/// Runs `call`, which may block on a disk, where it keeps no async task waiting. Panics if `call` does.
#[cfg(not(madsim))]
pub async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(call).await {
        Ok(value) => value,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down: nobody will poll this again.
        Err(_) => std::future::pending().await,
    }
}

/// Runs `call` inline: the simulator's disk does not block, and it has no threads.
#[cfg(madsim)]
pub async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    call()
}

/// Runs a loop that blocks on a disk on a thread of the runtime's, all its life. It ends when `future` does.
///
/// Must be called inside a tokio runtime, whose timers `future` may use. The thread is the runtime's own, because whoever ends
/// the runtime then waits for it: a database that is still closing while the process exits finds its mutexes gone, and aborts.
#[cfg(not(madsim))]
pub fn dedicated(future: impl Future<Output = ()> + Send + 'static) {
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(future));
}

/// Runs `future` as a task of the simulated node: it dies with the node.
#[cfg(madsim)]
pub fn dedicated(future: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(future);
}

#[cfg(test)]
mod tests {
    #[test]
    fn openraft_runtime_suite() {
        openraft_rt::testing::Suite::<super::Runtime>::test_all();
    }

    #[cfg(not(madsim))]
    #[test]
    fn blocking_calls_and_dedicated_loops_run() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            assert_eq!(super::blocking(|| 7).await, 7);
            let (sender, receiver) = tokio::sync::oneshot::channel();
            super::dedicated(async move {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                sender.send(8).expect("somebody waits");
            });
            assert_eq!(receiver.await, Ok(8));
        });
    }
}
