//! Bounded output: the newest bytes are kept, the older are counted.

/// Keeps the last `limit` bytes of a stream.
#[derive(Debug)]
pub(crate) struct Tail {
    kept: Vec<u8>,
    limit: usize,
    dropped: u64,
}

impl Tail {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            kept: Vec::new(),
            limit,
            dropped: 0,
        }
    }

    /// Appends; cuts only when twice the limit is reached, so that each byte moves at most once or twice.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        if self.kept.len() > self.limit.saturating_mul(2).max(4096) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let over = self.kept.len().saturating_sub(self.limit);
        self.kept.drain(..over);
        self.dropped += over as u64;
    }

    /// The bytes kept, and how many were dropped before them.
    pub(crate) fn finish(mut self) -> (Vec<u8>, u64) {
        self.cut();
        (self.kept, self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keeps_exactly_the_end(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..20), limit in 0_usize..5000) {
            let whole: Vec<u8> = parts.concat();
            let mut tail = Tail::new(limit);
            for part in &parts {
                tail.push(part);
            }
            let (kept, dropped) = tail.finish();
            let from = whole.len().saturating_sub(limit);
            prop_assert_eq!(&kept, &whole[from..]);
            prop_assert_eq!(dropped, from as u64);
        }
    }
}
