//! The messages in what one call of `recv` brought: `struct nlmsghdr` and payload, one after the other
//! (`linux/netlink.h`). Lengths are not trusted.

use crate::NetlinkError;

/// Length of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;

/// Rounded up to `NLMSG_ALIGNTO`.
pub(crate) fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: &'a [u8],
    /// Header and payload.
    pub(crate) whole: &'a [u8],
}

/// The messages in these bytes; an error ends it.
pub(crate) fn frames(bytes: &[u8]) -> impl Iterator<Item = Result<Frame<'_>, NetlinkError>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let frame = first(rest);
        rest = match &frame {
            Ok(frame) => rest.get(aligned(frame.whole.len())..).unwrap_or(&[]),
            Err(_) => &[],
        };
        Some(frame)
    })
}

fn first(bytes: &[u8]) -> Result<Frame<'_>, NetlinkError> {
    let malformed = || NetlinkError::Malformed {
        why: format!("{} bytes hold no whole message", bytes.len()),
    };
    let (header, _) = bytes.split_first_chunk::<HEADER>().ok_or_else(malformed)?;
    let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
    let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
    let whole = bytes.get(..length).ok_or_else(malformed)?;
    let payload = whole.get(HEADER..).ok_or_else(malformed)?;
    Ok(Frame {
        kind: u16::from_ne_bytes([k0, k1]),
        flags: u16::from_ne_bytes([f0, f1]),
        sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
        payload,
        whole,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = (HEADER + payload.len()) as u32;
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(payload);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    #[test]
    fn messages_follow_one_another() {
        let bytes = [message(2, b"abc"), message(3, b""), message(16, b"defg")].concat();
        let seen: Vec<_> = frames(&bytes).map(|it| it.expect("a frame")).collect();
        let seen: Vec<_> = seen.iter().map(|it| (it.kind, it.payload)).collect();
        assert_eq!(seen, [(2, &b"abc"[..]), (3, b""), (16, b"defg")]);
    }

    #[test]
    fn a_length_that_lies_is_an_error() {
        for (length, kept) in [(15u32, 20), (0, 20), (21, 20), (u32::MAX, 20), (20, 12)] {
            let mut bytes = message(2, b"abcd");
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            bytes.truncate(kept);
            let seen: Vec<_> = frames(&bytes).collect();
            assert!(matches!(seen.as_slice(), [Err(_)]), "{length}: {seen:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(frames(&bytes).count() <= bytes.len());
        }
    }
}
