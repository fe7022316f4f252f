//! Numbers and times as the API writes them.

/// Two decimals, as all rates on the wire.
pub(crate) fn two(value: f64) -> String {
    format!("{value:.2}")
}

/// `2026-11-22T06:39:42 GMT` from seconds since 1970.
pub(crate) fn gmt(unix: u64) -> String {
    let (days, rest) = (unix / 86_400, unix % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02} GMT")
}

/// Gregorian date of a day since 1970-01-01; years are counted from March so that leap days come last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_gmt() {
        assert_eq!(gmt(0), "1970-01-01T00:00:00 GMT");
        assert_eq!(gmt(951_782_400), "2000-02-29T00:00:00 GMT");
        assert_eq!(gmt(1_795_329_582), "2026-11-22T06:39:42 GMT");
        assert_eq!(gmt(4_107_542_399), "2100-02-28T23:59:59 GMT");
        assert_eq!(gmt(4_107_542_400), "2100-03-01T00:00:00 GMT");
    }
}
