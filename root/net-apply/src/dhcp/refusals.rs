//! Refusals of DHCP servers (`DHCPNAK`, RFC 2131): read from the packets of a link, so that whoever renews a lease hears them
//! although its library does not. Pure.
//!
//! A refusal counts if it answers the last request of this client: the same transaction, the same hardware address. So the
//! client's own requests are heard, too.

use std::net::Ipv4Addr;

const SERVERS_PORT: u16 = 67;
const CLIENTS_PORT: u16 = 68;
const UDP: u8 = 17;
/// `op` of what clients send, and of what servers answer.
const ASKS: u8 = 1;
const ANSWERS: u8 = 2;
/// Options begin here, behind a cookie.
const OPTIONS: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Options: kind of message, who sends it.
const KIND: u8 = 53;
const SERVER: u8 = 54;
/// Kinds.
const REQUEST: u8 = 3;
const REFUSAL: u8 = 6;

/// Hears whether the last request of one client was refused.
#[derive(Debug, Clone)]
pub struct Refusals {
    mac: [u8; 6],
    asked: Option<u32>,
}

impl Refusals {
    /// Of the client with this hardware address.
    pub fn new(mac: [u8; 6]) -> Self {
        Self { mac, asked: None }
    }

    /// Hears an IPv4 packet, sent or received; a refusal of the last request is answered once, with who sent it.
    pub fn hear(&mut self, packet: &[u8]) -> Option<Ipv4Addr> {
        let message = Message::parse(packet).filter(|it| it.mac == self.mac)?;
        match (message.op, message.kind) {
            (ASKS, REQUEST) => {
                self.asked = Some(message.transaction);
                None
            }
            (ANSWERS, REFUSAL) if self.asked == Some(message.transaction) => {
                self.asked = None;
                Some(message.server)
            }
            _ => None,
        }
    }
}

/// What counts of a message.
struct Message {
    op: u8,
    transaction: u32,
    mac: [u8; 6],
    kind: u8,
    /// Who sends it; the sender of the packet, if it does not say.
    server: Ipv4Addr,
}

impl Message {
    fn parse(packet: &[u8]) -> Option<Self> {
        let first = *packet.first()?;
        let header = usize::from(first & 0x0f) * 4;
        let offset = u16::from_be_bytes(array(packet, 6)?) & 0x1fff;
        if first >> 4 != 4 || header < 20 || *packet.get(9)? != UDP || offset != 0 {
            return None;
        }
        let sender = Ipv4Addr::from(array::<4>(packet, 12)?);
        let datagram = packet.get(header..)?;
        let ports: [u16; 2] = [
            u16::from_be_bytes(array(datagram, 0)?),
            u16::from_be_bytes(array(datagram, 2)?),
        ];
        let message = datagram.get(8..)?;
        let op = *message.first()?;
        let expected = match op {
            ASKS => [CLIENTS_PORT, SERVERS_PORT],
            _ => [SERVERS_PORT, CLIENTS_PORT],
        };
        // Ethernet, six octets.
        let ethernet = message.get(1..3)? == [1, 6];
        if ports != expected || !ethernet || array(message, OPTIONS - 4) != Some(COOKIE) {
            return None;
        }
        let options = message.get(OPTIONS..)?;
        let kind = option(options, KIND).filter(|it| it.len() == 1)?;
        let server = option(options, SERVER).and_then(|it| array::<4>(it, 0));
        Some(Self {
            op,
            transaction: u32::from_be_bytes(array(message, 4)?),
            mac: array(message, 28)?,
            kind: *kind.first()?,
            server: server.map_or(sender, Ipv4Addr::from),
        })
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// RFC 2132: code, length, value; 0 is nothing, 255 the end.
fn option(options: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = options;
    loop {
        match rest {
            [0, more @ ..] => rest = more,
            [255, ..] | [] | [_] => return None,
            [code, length, more @ ..] => {
                let (value, more) = more.split_at_checked(usize::from(*length))?;
                if *code == wanted {
                    return Some(value);
                }
                rest = more;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

    fn packet(op: u8, transaction: u32, mac: [u8; 6], kind: u8) -> Vec<u8> {
        let mut packet = vec![0; 20];
        packet[0] = 0x45;
        packet[9] = UDP;
        packet[12..16].copy_from_slice(&[192, 0, 2, 1]);
        let (from, to) = if op == ASKS {
            (68_u16, 67_u16)
        } else {
            (67, 68)
        };
        packet.extend(from.to_be_bytes());
        packet.extend(to.to_be_bytes());
        packet.extend([0; 4]);
        let mut message = vec![0; OPTIONS];
        message[..3].copy_from_slice(&[op, 1, 6]);
        message[4..8].copy_from_slice(&transaction.to_be_bytes());
        message[28..34].copy_from_slice(&mac);
        message[OPTIONS - 4..].copy_from_slice(&COOKIE);
        message.extend([0, 12, 1, b'x', KIND, 1, kind, 255]);
        packet.extend(message);
        packet
    }

    #[test]
    fn a_refusal_of_the_last_request_is_heard_once() {
        let mut refusals = Refusals::new(MAC);
        let refused = packet(ANSWERS, 9, MAC, REFUSAL);
        assert_eq!(refusals.hear(&refused), None, "nothing was asked");
        assert_eq!(refusals.hear(&packet(ASKS, 9, MAC, REQUEST)), None);
        for other in [
            packet(ANSWERS, 8, MAC, REFUSAL),
            packet(ANSWERS, 9, [2, 0, 0, 0, 0, 8], REFUSAL),
            packet(ANSWERS, 9, MAC, 5),
            packet(ASKS, 9, MAC, REFUSAL),
            refused[..refused.len() - 3].to_vec(),
        ] {
            assert_eq!(refusals.hear(&other), None);
        }
        assert_eq!(refusals.hear(&refused), Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(refusals.hear(&refused), None, "heard already");
    }

    #[test]
    fn a_refusal_says_whose_it_is() {
        let mut refusals = Refusals::new(MAC);
        refusals.hear(&packet(ASKS, 9, MAC, REQUEST));
        let mut refused = packet(ANSWERS, 9, MAC, REFUSAL);
        refused.pop();
        refused.extend([SERVER, 4, 192, 0, 2, 9, 255]);
        assert_eq!(refusals.hear(&refused), Some(Ipv4Addr::new(192, 0, 2, 9)));
    }

    proptest! {
        #[test]
        fn any_packet_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400), at in 0usize..300, what: u8) {
            let mut refusals = Refusals::new(MAC);
            let _ = refusals.hear(&bytes);
            let mut one = packet(ANSWERS, 9, MAC, REFUSAL);
            if let Some(byte) = one.get_mut(at) {
                *byte = what;
            }
            let _ = refusals.hear(&one);
        }
    }
}
