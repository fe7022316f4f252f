//! From counters of interfaces to rates: 64 bits, restarts and wraps told apart.

/// Counters of an interface at an instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Received packets dropped.
    pub rx_dropped: u64,
    /// Sent packets dropped.
    pub tx_dropped: u64,
    /// Receive errors.
    pub rx_errors: u64,
    /// Send errors.
    pub tx_errors: u64,
}

/// What an interface did between two instants.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Received bytes a second.
    pub rx_rate: f64,
    /// Sent bytes a second.
    pub tx_rate: f64,
    /// Received packets that were dropped, a second.
    pub rx_dropped: f64,
    /// Sent packets that were dropped, a second.
    pub tx_dropped: f64,
    /// Share of the speed that the busier direction uses, 0 to 100; nothing if the speed is not known.
    pub load: Option<f64>,
}

/// No interface moves more than this in a second (10 Tbit/s): a counter that seems to have done so has started anew.
const FASTEST: u128 = 10_000_000_000_000 / 8;

/// How far a counter went in `nanoseconds`. One that is less than before has wrapped if the way over the top is one
/// that can be gone in this time; else its interface was made anew and it counts from zero.
pub fn advance(before: u64, after: u64, nanoseconds: u64) -> u64 {
    if after >= before {
        return after - before;
    }
    let over = after.wrapping_sub(before);
    let most = FASTEST * u128::from(nanoseconds) / 1_000_000_000;
    if u128::from(over) <= most {
        over
    } else {
        after
    }
}

/// Rates between two samples that are `nanoseconds` apart; `speed` in Mbit/s, 0 if not known. No time, no rates.
pub fn rates(before: Counters, after: Counters, nanoseconds: u64, speed: u32) -> Option<Rates> {
    if nanoseconds == 0 {
        return None;
    }
    let seconds = nanoseconds as f64 / 1e9;
    let rate = |a: u64, b: u64| advance(a, b, nanoseconds) as f64 / seconds;
    let rx_rate = rate(before.rx_bytes, after.rx_bytes);
    let tx_rate = rate(before.tx_bytes, after.tx_bytes);
    let capacity = f64::from(speed) * 1e6 / 8.0;
    let load = (rx_rate.max(tx_rate) / capacity * 100.0).clamp(0.0, 100.0);
    Some(Rates {
        rx_rate,
        tx_rate,
        rx_dropped: rate(before.rx_dropped, after.rx_dropped),
        tx_dropped: rate(before.tx_dropped, after.tx_dropped),
        load: (speed > 0).then_some(load),
    })
}

/// The host's totals of dropped packets, received and sent: each the sum of its own (upstream swaps them).
pub fn dropped(all: impl IntoIterator<Item = Counters>) -> (u64, u64) {
    all.into_iter().fold((0, 0), |(rx, tx), it| {
        (
            rx.saturating_add(it.rx_dropped),
            tx.saturating_add(it.tx_dropped),
        )
    })
}
