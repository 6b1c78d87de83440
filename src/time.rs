//! Times as programs read them: RFC 3339, in UTC.
//!
//! Owns the clock's text form. Durations that a person types are `cli::values`' matter.

use rustix::time::{ClockId, Timespec};

/// The time now, to the second, as a log record carries it: `2026-11-22T10:43:57Z`.
pub fn now_seconds() -> String {
    date_time(&rustix::time::clock_gettime(ClockId::Realtime)) + "Z"
}

/// The time now, to the nanosecond, as `created` in a container's state: `2026-11-22T10:43:57.000000001Z`.
pub fn now() -> String {
    let time = rustix::time::clock_gettime(ClockId::Realtime);
    format!("{}.{:09}Z", date_time(&time), time.tv_nsec)
}

/// A time of a file, as [`now`] writes it.
pub fn at(seconds: i64, nanoseconds: u32) -> String {
    format!("{}.{nanoseconds:09}Z", date_time(&Timespec { tv_sec: seconds, tv_nsec: 0 }))
}

/// Date and time of day of seconds since 1970, without a zone.
fn date_time(time: &Timespec) -> String {
    let (days, second) = (time.tv_sec.div_euclid(86_400), time.tv_sec.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// The Gregorian date of a day counted from 1970-01-01. Years begin in March here, which puts the leap day last, and
/// 400 years (146,097 days) repeat exactly.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468; // 0000-03-01
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_gregorian() {
        let at = |seconds| date_time(&Timespec { tv_sec: seconds, tv_nsec: 0 });
        assert_eq!(at(0), "1970-01-01T00:00:00");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00");
        assert_eq!(at(1_709_251_199), "2024-02-29T23:59:59");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00");
        assert_eq!(at(-1), "1969-12-31T23:59:59");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut last = date(-200_000);
        for day in -199_999..200_000 {
            let next = date(day);
            let follows = next.2 == last.2 + 1 || (next.2 == 1 && (28..=31).contains(&last.2));
            assert!(follows && next > last, "{last:?} {next:?}");
            last = next;
        }
    }

    #[test]
    fn nanoseconds_have_nine_digits() {
        let text = now();
        assert_eq!(text.len(), "2026-11-22T10:43:57.000000001Z".len());
        assert!(now_seconds().ends_with('Z'));
    }
}
