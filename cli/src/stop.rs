//! When to stop: a signal, or the end of standard input for a node that a parent watches over.

use std::io::Read;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Resolves at the first SIGINT or SIGTERM.
pub async fn requested() {
    let interrupt = signal(SignalKind::interrupt());
    let terminate = signal(SignalKind::terminate());
    match (interrupt, terminate) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                biased;
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        // Without handlers the signals end the process at once, which is safe too.
        _ => std::future::pending().await,
    }
}

/// Raises a flag at the first signal, or at the end of standard input if `with_stdin`.
pub fn flag(with_stdin: bool) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = requested() => {}
            () = stdin_closed(), if with_stdin => {}
        }
        sender.send_replace(true);
        // Who asks later is answered too.
        std::future::pending::<()>().await;
    });
    receiver
}

/// Resolves once the flag is raised.
pub async fn raised(mut flag: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is the end as well.
    let _ = flag.wait_for(|raised| *raised).await;
}

/// Resolves when standard input ends: the parent closed it, or is gone.
pub async fn stdin_closed() {
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    // A thread of its own, as a blocked read of standard input cannot be cancelled.
    let watch = std::thread::Builder::new().name("stdin".into()).spawn(move || {
        let mut sink = [0; 256];
        let mut stdin = std::io::stdin().lock();
        while matches!(stdin.read(&mut sink), Ok(1..)) {}
        drop(sender);
    });
    match watch {
        Ok(_) => drop(receiver.await),
        Err(_) => std::future::pending().await,
    }
}
