//! A connection whose other side must take what is written within a bounded time.
//!
//! A client that asks and then reads nothing would hold its connection, and with a stream its slot, for ever: TCP itself
//! waits as long as the other side answers probes. Time counts only while a write waits, and starts anew with every byte
//! that is taken.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// `io`, of which no write waits longer than `wait`.
pub struct BoundedWrite<T> {
    io: T,
    wait: Duration,
    /// Runs while a write waits.
    until: Option<Pin<Box<Sleep>>>,
}

impl<T> BoundedWrite<T> {
    pub fn new(io: T, wait: Duration) -> BoundedWrite<T> {
        BoundedWrite { io, wait, until: None }
    }
}

impl<T: AsyncWrite + Unpin> BoundedWrite<T> {
    /// Polls a write, or ends it where it has waited for too long.
    fn bounded<R>(
        &mut self,
        context: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if let Poll::Ready(done) = poll(Pin::new(&mut self.io), context) {
            self.until = None;
            return Poll::Ready(done);
        }
        let wait = self.wait;
        let until = self.until.get_or_insert_with(|| Box::pin(sleep(wait)));
        ready!(until.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for BoundedWrite<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for BoundedWrite<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.bounded(context, |io, context| io.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.bounded(context, |io, context| io.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.bounded(context, |io, context| io.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.bounded(context, |io, context| io.poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_write_that_nobody_takes_ends() {
        let (ours, _theirs) = duplex(16);
        let mut bounded = BoundedWrite::new(ours, Duration::from_millis(20));
        let error = bounded.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_reader_who_takes_a_little_at_a_time_gets_everything() {
        let (ours, mut theirs) = duplex(16);
        let mut bounded = BoundedWrite::new(ours, Duration::from_secs(60));
        let writing = async move {
            bounded.write_all(&[7; 4_096]).await.unwrap();
            bounded.shutdown().await.unwrap();
        };
        let mut taken = Vec::new();
        let (_, read) = tokio::join!(writing, theirs.read_to_end(&mut taken));
        assert_eq!((read.unwrap(), taken), (4_096, vec![7; 4_096]));
    }
}
