//! A watch channel that wakes its receivers in the order in which they subscribed.
//!
//! tokio's watch picks the queue to wake first by a counter that all runtimes of a process share, so under the simulator
//! two runs of one seed wake their tasks in different orders and drift apart. This one is slower and has a fixed order.
//! It is compiled and tested in every build, and used where the simulator is.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::{Poll, Waker};

use openraft_rt::{OptionalSend, OptionalSync, watch};

/// The channel's type, as openraft's runtime trait names it.
pub struct OrderedWatch;

#[derive(Default)]
struct Waiting {
    version: u64,
    senders: usize,
    receivers: usize,
    next_id: u64,
    wakers: BTreeMap<u64, Waker>,
}

struct Shared<T> {
    value: RwLock<T>,
    waiting: Mutex<Waiting>,
}

/// A panic of a user's closure leaves the value as it was written so far, which is what tokio's watch does too.
impl<T> Shared<T> {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, T> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.value.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes everybody, outside the lock; `changed` says whether there is a new value.
    fn wake(&self, changed: bool) {
        let wakers = {
            let mut waiting = self.waiting();
            waiting.version += u64::from(changed);
            std::mem::take(&mut waiting.wakers)
        };
        wakers.into_values().for_each(Waker::wake);
    }
}

/// The sending half. Clones send to the same receivers.
pub struct Sender<T>(Arc<Shared<T>>);

/// The receiving half.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    id: u64,
    seen: u64,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.0.waiting().senders += 1;
        Sender(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let last = {
            let mut waiting = self.0.waiting();
            waiting.senders -= 1;
            waiting.senders == 0
        };
        if last {
            self.0.wake(false);
        }
    }
}

impl<T> Receiver<T> {
    /// A receiver that has seen everything up to version `seen`; `None`: up to now.
    fn subscribe(shared: &Arc<Shared<T>>, seen: Option<u64>) -> Receiver<T> {
        let mut waiting = shared.waiting();
        waiting.receivers += 1;
        waiting.next_id += 1;
        Receiver { shared: shared.clone(), id: waiting.next_id, seen: seen.unwrap_or(waiting.version) }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        Receiver::subscribe(&self.shared, Some(self.seen))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut waiting = self.shared.waiting();
        waiting.receivers -= 1;
        waiting.wakers.remove(&self.id);
    }
}

impl watch::Watch for OrderedWatch {
    type Sender<T: OptionalSend + OptionalSync> = Sender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Receiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = RwLockReadGuard<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(value: T) -> (Sender<T>, Receiver<T>) {
        let waiting = Mutex::new(Waiting { senders: 1, ..Waiting::default() });
        let shared = Arc::new(Shared { value: RwLock::new(value), waiting });
        let receiver = Receiver::subscribe(&shared, None);
        (Sender(shared), receiver)
    }
}

impl<T: OptionalSend + OptionalSync> watch::WatchSender<OrderedWatch, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), watch::SendError<T>> {
        if self.0.waiting().receivers == 0 {
            return Err(watch::SendError(value));
        }
        *self.0.write() = value;
        self.0.wake(true);
        Ok(())
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        let modified = modify(&mut *self.0.write());
        if modified {
            self.0.wake(true);
        }
        modified
    }

    fn borrow_watched(&self) -> RwLockReadGuard<'_, T> {
        self.0.read()
    }

    fn subscribe(&self) -> Receiver<T> {
        Receiver::subscribe(&self.0, None)
    }
}

impl<T: OptionalSend + OptionalSync> watch::WatchReceiver<OrderedWatch, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), watch::RecvError> {
        poll_fn(|context| {
            let mut waiting = self.shared.waiting();
            if waiting.version != self.seen {
                self.seen = waiting.version;
                return Poll::Ready(Ok(()));
            }
            if waiting.senders == 0 {
                return Poll::Ready(Err(watch::RecvError(())));
            }
            waiting.wakers.insert(self.id, context.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn borrow_watched(&self) -> RwLockReadGuard<'_, T> {
        self.shared.read()
    }

    fn borrow_and_update(&mut self) -> RwLockReadGuard<'_, T> {
        self.seen = self.shared.waiting().version;
        self.shared.read()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::{Context, Wake};

    use openraft_rt::watch::{Watch, WatchReceiver, WatchSender};

    use super::*;

    struct Turn {
        number: u64,
        order: Arc<Mutex<Vec<u64>>>,
    }

    impl Wake for Turn {
        fn wake(self: Arc<Self>) {
            self.order.lock().expect("not poisoned").push(self.number);
        }
    }

    #[test]
    fn receivers_wake_in_the_order_of_their_subscription() {
        let (sender, first) = OrderedWatch::channel(0u32);
        let mut receivers: Vec<_> = std::iter::once(first).chain((0..9).map(|_| sender.subscribe())).collect();
        let order = Arc::new(Mutex::new(Vec::new()));
        let numbers = AtomicU64::new(0);
        let mut futures: Vec<_> = receivers.iter_mut().map(|receiver| Box::pin(receiver.changed())).collect();
        for future in &mut futures {
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            let waker = Waker::from(Arc::new(Turn { number, order: order.clone() }));
            assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        sender.send(1).expect("receivers are there");
        assert_eq!(*order.lock().expect("not poisoned"), (0..10).collect::<Vec<_>>());
        for future in futures {
            let mut future = pin!(future);
            assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        }
    }

    #[test]
    fn nobody_left_is_an_error_on_either_side() {
        let (sender, receiver) = OrderedWatch::channel(0u32);
        drop(receiver);
        assert!(sender.send(1).is_err());
        let mut receiver = sender.subscribe();
        drop(sender);
        let mut changed = pin!(receiver.changed());
        assert!(matches!(changed.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_))));
    }
}
