//! One request that changes something, and the kernel's refusal of it.

use std::{fmt, io};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
};
use netlink_packet_route::RouteNetlinkMessage;

/// A request that changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    pub(crate) message: RouteNetlinkMessage,
    pub(crate) flags: u16,
}

impl Act {
    /// Make it; if it is there already the kernel refuses with `EEXIST`.
    pub fn create(message: RouteNetlinkMessage) -> Self {
        Self::with(message, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Make it, or put it in the place of what is there (`ip ... replace`).
    pub fn replace(message: RouteNetlinkMessage) -> Self {
        Self::with(message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Make it beside what is there (`ip route append`).
    pub fn append(message: RouteNetlinkMessage) -> Self {
        Self::with(message, NLM_F_CREATE | NLM_F_APPEND)
    }

    /// Make it where the kernel puts new ones, before what is alike but not the same (`ip route prepend`).
    pub fn prepend(message: RouteNetlinkMessage) -> Self {
        Self::with(message, NLM_F_CREATE)
    }

    /// Change or remove what is there.
    pub fn change(message: RouteNetlinkMessage) -> Self {
        Self::with(message, 0)
    }

    fn with(message: RouteNetlinkMessage, flags: u16) -> Self {
        Self {
            message,
            flags: flags | NLM_F_REQUEST | NLM_F_ACK,
        }
    }
}

/// Why the kernel did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `errno`, positive.
    pub errno: i32,
    /// The kernel's own words (extended acknowledgement), if it has any.
    pub words: Option<String>,
}

impl Refusal {
    /// Reads the payload of `NLMSG_ERROR`: the code, the header of the request (and its body, unless the
    /// acknowledgement is capped), and attributes. Nothing if it is an acknowledgement.
    pub(crate) fn read(flags: u16, payload: &[u8]) -> Option<Self> {
        const CODE: usize = 4;
        let code = payload.first_chunk::<CODE>()?;
        let errno = i32::from_ne_bytes(*code).checked_neg()?;
        (errno != 0).then(|| Self {
            errno,
            words: payload.get(CODE..).and_then(|rest| words(flags, rest)),
        })
    }

    /// Is this the reason?
    pub fn is(&self, errno: rustix::io::Errno) -> bool {
        self.errno == errno.raw_os_error()
    }
}

/// The text of an extended acknowledgement (`NLMSGERR_ATTR_MSG`).
fn words(flags: u16, rest: &[u8]) -> Option<String> {
    use netlink_packet_core::{NLM_F_ACK_TLVS, NLM_F_CAPPED};
    const TEXT: u16 = 1;
    const HEADER: usize = 16;
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let request = match flags & NLM_F_CAPPED {
        0 => u32::from_ne_bytes(*rest.first_chunk::<4>()?) as usize,
        _ => HEADER,
    };
    let mut attributes = rest.get(crate::frames::aligned(request)..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(*attributes.first_chunk::<2>()?));
        let kind = u16::from_ne_bytes(*attributes.get(2..)?.first_chunk::<2>()?);
        let value = attributes.get(4..length)?;
        if kind == TEXT {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        attributes = attributes.get(crate::frames::aligned(length)..)?;
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let system = io::Error::from_raw_os_error(self.errno);
        match &self.words {
            Some(words) => write!(out, "{words} ({system})"),
            None => write!(out, "{system}"),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{NLM_F_ACK_TLVS, NLM_F_CAPPED};
    use proptest::prelude::*;

    use super::*;

    fn refusal(code: i32, flags: u16, tail: &[u8]) -> Option<Refusal> {
        let mut payload = code.to_ne_bytes().to_vec();
        payload.extend([20, 0, 0, 0].iter().chain(&[0; 12]));
        payload.extend(tail);
        Refusal::read(flags, &payload)
    }

    #[test]
    fn codes_and_words() {
        assert_eq!(refusal(0, 0, &[]), None, "an acknowledgement");
        let bare = refusal(-17, 0, &[]);
        assert_eq!(
            bare,
            Some(Refusal {
                errno: 17,
                words: None
            })
        );
        let text = [8, 0, 1, 0, b'n', b'o', b'!', 0];
        let capped = refusal(-22, NLM_F_ACK_TLVS | NLM_F_CAPPED, &text).expect("a refusal");
        assert_eq!(capped.words.as_deref(), Some("no!"));
        assert_eq!(capped.to_string(), "no! (Invalid argument (os error 22))");
        // Behind an offset (attribute 2), and behind the request's own body of four bytes.
        let mut tail = vec![9, 9, 9, 9, 8, 0, 2, 0, 1, 0, 0, 0];
        tail.extend(text);
        let whole = refusal(-22, NLM_F_ACK_TLVS, &tail).expect("a refusal");
        assert_eq!(whole.words.as_deref(), Some("no!"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(flags: u16, bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Refusal::read(flags, &bytes);
        }
    }
}
