//! Places under the caps.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::refused::Refused;

/// Counts connections, all together and by peer.
#[derive(Debug)]
pub(crate) struct Slots {
    most: Option<usize>,
    most_per_peer: Option<usize>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Only where there is a cap per peer.
    by_peer: HashMap<Arc<str>, usize>,
}

/// One place; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    peer: Option<Arc<str>>,
}

impl Slots {
    pub(crate) fn new(most: Option<usize>, most_per_peer: Option<usize>) -> Arc<Self> {
        Arc::new(Self { most, most_per_peer, taken: Mutex::default() })
    }

    pub(crate) fn most(&self) -> Option<usize> {
        self.most
    }

    pub(crate) fn take(self: &Arc<Self>, peer: Option<&Arc<str>>) -> Result<Slot, Refused> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(most) = self.most.filter(|most| taken.all >= *most) {
            return Err(Refused::Full { most });
        }
        let mut counted = None;
        if let (Some(most), Some(peer)) = (self.most_per_peer, peer) {
            let of_peer = taken.by_peer.get(peer).copied().unwrap_or(0);
            if of_peer >= most {
                return Err(Refused::PeerFull { most });
            }
            taken.by_peer.insert(Arc::clone(peer), of_peer + 1);
            counted = Some(Arc::clone(peer));
        }
        taken.all += 1;
        drop(taken);
        Ok(Slot { slots: Arc::clone(self), peer: counted })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        let Some(peer) = &self.peer else { return };
        if let Some(of_peer) = taken.by_peer.get_mut(peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                taken.by_peer.remove(peer);
                // A storm of peers must not leave its table behind.
                if taken.by_peer.is_empty() {
                    taken.by_peer = HashMap::new();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back_and_peers_forgotten() {
        let slots = Slots::new(Some(3), Some(2));
        let (a, b) = (Arc::<str>::from("a"), Arc::<str>::from("b"));
        let first = slots.take(Some(&a)).unwrap();
        let _second = slots.take(Some(&a)).unwrap();
        assert!(matches!(slots.take(Some(&a)), Err(Refused::PeerFull { most: 2 })));
        let _third = slots.take(Some(&b)).unwrap();
        assert!(matches!(slots.take(None), Err(Refused::Full { most: 3 })));
        drop(first);
        drop(slots.take(Some(&a)).unwrap());
        drop(_second);
        assert_eq!(slots.taken.lock().unwrap().by_peer.len(), 1);
    }
}
