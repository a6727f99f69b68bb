//! openraft's runtime on madsim.
//!
//! Four things differ from a plain adapter, each because without it two runs of one seed were not the same, or madsim
//! panicked: a sleep arms one timer (madsim's own arms another at every poll); watch channels wake in order; the random
//! numbers come from the simulation's seed; blocking calls run inline, as a simulated node may not start threads.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use openraft_rt::{AsyncRuntime, OptionalSend};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::OrderedWatch;

/// A madsim runtime; as a value it exists for openraft's own tests alone, a node runs in the simulator's.
pub struct SimulatedRuntime {
    runtime: madsim::runtime::Runtime,
}

impl fmt::Debug for SimulatedRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedRuntime")
    }
}

/// Wakes whoever polled the sleep last.
#[derive(Default)]
struct Alarm(AtomicWaker);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.wake();
    }
}

/// A sleep that arms exactly one timer.
pub struct Sleep {
    inner: madsim::time::Sleep,
    alarm: Option<Arc<Alarm>>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.get_mut();
        if sleep.inner.is_elapsed() {
            return Poll::Ready(());
        }
        let armed = sleep.alarm.is_some();
        let alarm = sleep.alarm.get_or_insert_default().clone();
        alarm.0.register(context.waker());
        if armed {
            return Poll::Pending;
        }
        Pin::new(&mut sleep.inner).poll(&mut Context::from_waker(&Waker::from(alarm)))
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(alarm) = &self.alarm {
            alarm.0.take();
        }
    }
}

/// The time was up first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

pin_project_lite::pin_project! {
    /// A future with a deadline.
    pub struct Timeout<F> { #[pin] future: F, sleep: Sleep }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let timeout = self.project();
        if let Poll::Ready(value) = timeout.future.poll(context) {
            return Poll::Ready(Ok(value));
        }
        Pin::new(timeout.sleep).poll(context).map(|()| Err(Elapsed))
    }
}

impl AsyncRuntime for SimulatedRuntime {
    type JoinError = madsim::task::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = madsim::task::JoinHandle<T>;
    type Sleep = Sleep;
    /// Virtual: madsim answers `clock_gettime`.
    type Instant = Instant;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = SmallRng;
    type Mpsc = openraft_rt_tokio::TokioMpsc;
    type Watch = OrderedWatch;
    type Oneshot = openraft_rt_tokio::TokioOneshot;
    type Mutex<T: OptionalSend + 'static> = openraft_rt_tokio::TokioMutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        madsim::task::spawn(future)
    }

    fn sleep(duration: Duration) -> Sleep {
        Self::sleep_until(Instant::now() + duration)
    }

    fn sleep_until(deadline: Instant) -> Sleep {
        Sleep { inner: madsim::time::sleep_until(deadline), alarm: None }
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Timeout<F> {
        Timeout { future, sleep: Self::sleep(duration) }
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Instant, future: F) -> Timeout<F> {
        Timeout { future, sleep: Self::sleep_until(deadline) }
    }

    fn is_panic(error: &Self::JoinError) -> bool {
        error.is_panic()
    }

    fn thread_rng() -> SmallRng {
        SmallRng::seed_from_u64(madsim::rand::random())
    }

    fn new(_threads: usize) -> Self {
        SimulatedRuntime { runtime: madsim::runtime::Runtime::with_seed_and_config(0, madsim::Config::default()) }
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.runtime.block_on(future)
    }

    fn spawn_blocking<F, T>(call: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        std::future::ready(Ok(call()))
    }
}
