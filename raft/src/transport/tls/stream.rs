//! A connection, with TLS or without.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use crate::transport::principal::Principal;

/// Bytes in both directions.
pub enum Stream {
    Plain(TcpStream),
    Secured {
        stream: Box<TlsStream<TcpStream>>,
        /// Who is on the other side.
        principal: Principal,
    },
}

impl Stream {
    /// `stream` has shaken hands: the other side's certificate has been verified.
    pub(super) fn secured(stream: TlsStream<TcpStream>) -> io::Result<Stream> {
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(|chain| chain.first());
        let holder = certificate.and_then(|certificate| super::holder(certificate).ok()?.0);
        let principal = holder.ok_or_else(|| io::Error::other("the certificate names nobody"))?;
        Ok(Stream::Secured { stream: Box::new(stream), principal })
    }

    /// Who is on the other side, by a certificate.
    pub fn principal(&self) -> Option<Principal> {
        match self {
            Stream::Plain(_) => None,
            Stream::Secured { principal, .. } => Some(*principal),
        }
    }

    /// The certificate of the other side, as it was shown.
    pub fn certificate(&self) -> Option<&[u8]> {
        let Stream::Secured { stream, .. } = self else { return None };
        let (_, session) = stream.get_ref();
        Some(session.peer_certificates()?.first()?)
    }

    /// The connection below.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Secured { stream, .. } => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Secured { stream, .. } => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Secured { stream, .. } => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Secured { stream, .. } => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Secured { stream, .. } => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Secured { stream, .. } => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Secured { stream, .. } => stream.is_write_vectored(),
        }
    }
}
