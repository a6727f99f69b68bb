//! What becomes of the bytes of one direction.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::{End, Flows};

/// Bytes that are carried at once.
const CHUNK_BYTES: usize = 16 << 10;

/// What becomes of what one end says to another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Flow {
    #[default]
    Open,
    /// Nothing arrives and nobody is told, the end of the connection included: it is half open. What was said meanwhile arrives when the
    /// line is open again, as TCP would send it again.
    Held,
    /// So many bytes a second at most.
    Slow { bytes_per_s: u32 },
    /// What comes is thrown away, and the connection is closed.
    Lost,
}

/// The flow between two ends, once it is anything but held.
pub async fn passable(flows: &mut watch::Receiver<Flows>, ends: (End, End)) -> Flow {
    let flow = |flows: &Flows| flows.get(&ends).copied().unwrap_or_default();
    match flows.wait_for(|flows| flow(flows) != Flow::Held).await {
        Ok(flows) => flow(&flows),
        // The network is gone, and with it this connection.
        Err(_) => Flow::Lost,
    }
}

/// Carries bytes until their end. An error closes the other direction too.
pub async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    ends: (End, End),
    mut flows: watch::Receiver<Flows>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let length = from.read(&mut chunk).await?;
        match passable(&mut flows, ends).await {
            Flow::Lost => return Err(io::ErrorKind::ConnectionReset.into()),
            Flow::Slow { bytes_per_s } => {
                let seconds = length as f64 / f64::from(bytes_per_s.max(1));
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            }
            Flow::Open | Flow::Held => {}
        }
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&chunk[..length]).await?;
    }
}
