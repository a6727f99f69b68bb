//! How many streams there may be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::error::Fault;
use crate::limits::Peer;

/// Streams of this node.
const STREAMS_MAX: usize = 2_000;
/// Streams of one address.
const STREAMS_PER_ADDRESS_MAX: usize = 50;

/// The streams that there are.
#[derive(Clone)]
pub struct Slots {
    streams_max: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    streams: usize,
    by_address: BTreeMap<[u8; 8], usize>,
}

/// Room for one stream, until it is dropped.
pub struct Slot {
    slots: Slots,
    address: Option<[u8; 8]>,
}

impl Default for Slots {
    fn default() -> Slots {
        Slots { streams_max: STREAMS_MAX, taken: Arc::default() }
    }
}

impl Slots {
    /// A slot; 503 where all are taken, 429 where this address has too many. `peer` is `None` for who is not limited.
    pub fn take(&self, peer: Option<Peer>) -> Result<Slot, Fault> {
        let address = peer.map(|peer| peer.network());
        let mut taken = self.taken.lock().expect("nothing panics while it holds the slots");
        if taken.streams >= self.streams_max {
            return Err(Fault::busy(
                "too_many_streams",
                "This node has as many streams as it may; ask another or later",
            ));
        }
        if let Some(address) = address {
            let streams = taken.by_address.entry(address).or_default();
            if *streams >= STREAMS_PER_ADDRESS_MAX {
                return Err(Fault::rate_limited(30));
            }
            *streams += 1;
        }
        taken.streams += 1;
        Ok(Slot { slots: self.clone(), address })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock().expect("nothing panics while it holds the slots");
        taken.streams -= 1;
        if let Some(address) = self.address
            && let Some(streams) = taken.by_address.get_mut(&address)
        {
            *streams -= 1;
            if *streams == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_comes_back_when_its_stream_ends() {
        let slots = Slots { streams_max: 2, ..Slots::default() };
        let peer = Some(Peer("10.0.0.1".parse().unwrap()));
        let first = slots.take(peer).unwrap();
        let _second = slots.take(None).unwrap();
        assert_eq!(slots.take(peer).err().unwrap().first().code, "too_many_streams");
        drop(first);
        assert!(slots.taken.lock().unwrap().by_address.is_empty());
        assert!(slots.take(peer).is_ok());
    }

    #[test]
    fn one_address_does_not_take_all_slots() {
        let slots = Slots::default();
        let peer = |text: &str| Some(Peer(text.parse().unwrap()));
        let taken: Vec<_> = (0..STREAMS_PER_ADDRESS_MAX).map(|_| slots.take(peer("10.0.0.1")).unwrap()).collect();
        assert_eq!(slots.take(peer("10.0.0.1")).err().unwrap().first().code, "rate_limited");
        assert!(slots.take(peer("10.0.0.2")).is_ok());
        drop(taken);
        assert_eq!(slots.taken.lock().unwrap().streams, 0);
    }
}
