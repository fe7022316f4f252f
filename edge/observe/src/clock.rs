//! The wall clock. Durations and deadlines are not for it: they take `std::time::Instant`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since 1970-01-01; zero on a clock before that.
pub fn since_epoch() -> Duration {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the wall clock"
    )]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Seconds since 1970.
pub fn now_unix() -> u64 {
    since_epoch().as_secs()
}

/// Seconds since 1970, with their fraction.
pub fn now_unix_f64() -> f64 {
    since_epoch().as_secs_f64()
}

/// `2026-11-22T06:39:42.123456Z`.
pub fn now_rfc3339() -> String {
    rfc3339(since_epoch())
}

/// `2026-11-22T06:39:42Z`, of seconds since 1970; empty beyond the year 9999.
pub fn rfc3339_seconds(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| String::new(), |t| t.to_string())
}

fn rfc3339(since: Duration) -> String {
    let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros).map_or_else(|_| String::new(), |t| format!("{t:.6}"))
}

/// Monotonic time since the machine's start, the same for all processes.
pub fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let secs = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(secs, u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        let time = Duration::new(1_795_329_582, 123_456_789);
        assert_eq!(rfc3339(time), "2026-11-22T06:39:42.123456Z");
        assert_eq!(rfc3339(Duration::MAX), "");
        assert_eq!(rfc3339_seconds(1_795_329_582), "2026-11-22T06:39:42Z");
        assert_eq!(rfc3339_seconds(i64::MAX), "");
    }

    #[test]
    fn clocks_go_forward() {
        let (wall, mono) = (now_unix_f64(), monotonic());
        std::thread::sleep(Duration::from_millis(2));
        assert!(now_unix_f64() > wall && monotonic() > mono);
        assert!(now_unix() > 1_700_000_000);
    }
}
