//! Date and time as the clock's registers hold them.

use super::register::{
    CENTURY, DAY, DAY_OF_WEEK, HOURS, HOURS_ALARM, MINUTES, MINUTES_ALARM, MONTH, SECONDS, SECONDS_ALARM,
    YEAR,
};
use thiserror::Error;

/// A date that does not exist, or not on this chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no such date and time between 1980-01-01 00:00:00 and 2099-12-31 23:59:59")]
pub struct InvalidDate;

/// A civil date and time, without a time zone, from 1980 to 2099.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

/// Days from 1970-01-01 to 1980-01-01.
const DAYS_TO_1980: i64 = 3_652;

impl DateTime {
    /// A checked date.
    ///
    /// # Errors
    /// [`InvalidDate`] if a part is out of range, or the year is not within 1980 to 2099.
    pub fn new(year: u16, month: u8, day: u8, hour: u8, minute: u8, second: u8) -> Result<Self, InvalidDate> {
        let in_range = (1980..2100).contains(&year) && (1..=12).contains(&month) && day >= 1;
        if in_range && day <= month_days(month, year) && hour < 24 && minute < 60 && second < 60 {
            Ok(Self { year, month, day, hour, minute, second })
        } else {
            Err(InvalidDate)
        }
    }

    /// The date `seconds` after 1970-01-01 00:00:00.
    ///
    /// # Errors
    /// [`InvalidDate`] if it is not within 1980 to 2099.
    pub fn from_unix(seconds: i64) -> Result<Self, InvalidDate> {
        let of_day = seconds.rem_euclid(86_400);
        let mut days = u32::try_from(seconds.div_euclid(86_400) - DAYS_TO_1980).map_err(|_| InvalidDate)?;
        let mut year = 1980;
        while days >= year_days(year) {
            days -= year_days(year);
            year += 1;
            if year == 2100 {
                return Err(InvalidDate);
            }
        }
        let mut month = 1;
        while days >= u32::from(month_days(month, year)) {
            days -= u32::from(month_days(month, year));
            month += 1;
        }
        let [hour, minute, second] = [of_day / 3600, of_day / 60 % 60, of_day % 60].map(|v| v as u8);
        Self::new(year, month, days as u8 + 1, hour, minute, second)
    }

    /// 1 (Sunday) to 7.
    fn day_of_week(self) -> u8 {
        let years: u32 = (1980..self.year).map(year_days).sum();
        let months: u32 = (1..self.month).map(|m| u32::from(month_days(m, self.year))).sum();
        // 1980-01-01 was a Tuesday.
        ((years + months + u32::from(self.day) - 1 + 2) % 7) as u8 + 1
    }
}

/// The chip's rule: every fourth year, right from 1901 to 2099.
fn month_days(month: u8, year: u16) -> u8 {
    match month {
        2 if year.is_multiple_of(4) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn year_days(year: u16) -> u32 {
    if year.is_multiple_of(4) { 366 } else { 365 }
}

/// How register B says that values are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    binary: bool,
    hours_24: bool,
}

impl Format {
    pub(super) fn of(register_b: u8) -> Self {
        Self { binary: register_b & 0x04 != 0, hours_24: register_b & 0x02 != 0 }
    }

    fn decode(self, raw: u8) -> Option<u8> {
        match (self.binary, raw >> 4, raw & 0xf) {
            (true, ..) => Some(raw),
            (false, tens @ ..=9, ones @ ..=9) => Some(tens * 10 + ones),
            _ => None,
        }
    }

    fn encode(self, value: u8) -> u8 {
        if self.binary { value } else { ((value / 10 % 10) << 4) | (value % 10) }
    }

    fn decode_hour(self, raw: u8) -> Option<u8> {
        if self.hours_24 {
            return self.decode(raw);
        }
        let hour = self.decode(raw & 0x7f).filter(|h| (1..=12).contains(h))? % 12;
        Some(if raw & 0x80 != 0 { hour + 12 } else { hour })
    }

    fn encode_hour(self, hour: u8) -> u8 {
        if self.hours_24 {
            return self.encode(hour);
        }
        let twelve = if hour.is_multiple_of(12) { 12 } else { hour % 12 };
        self.encode(twelve) | if hour >= 12 { 0x80 } else { 0 }
    }

    /// Adds one to the register at `index`, which runs from `first` to `last`; says whether it began anew. A value that
    /// cannot be is left alone.
    fn step(self, cmos: &mut [u8; 256], index: u8, first: u8, last: u8) -> bool {
        let cell = &mut cmos[usize::from(index)];
        match self.decode(*cell) {
            Some(value) if value == last => {
                *cell = self.encode(first);
                true
            }
            Some(value) if value < last => {
                *cell = self.encode(value + 1);
                false
            }
            _ => false,
        }
    }

    /// Whether seconds will carry into the day: the time of day is one.
    pub(super) fn runs(self, cmos: &[u8; 256]) -> bool {
        let below = |index: u8, end: u8| self.decode(cmos[usize::from(index)]).is_some_and(|v| v < end);
        let hour = self.decode_hour(cmos[usize::from(HOURS)]);
        below(SECONDS, 60) && below(MINUTES, 60) && hour.is_some_and(|h| h < 24)
    }

    pub(super) fn next_second(self, cmos: &mut [u8; 256]) {
        if !self.step(cmos, SECONDS, 0, 59) || !self.step(cmos, MINUTES, 0, 59) {
            return;
        }
        let cell = &mut cmos[usize::from(HOURS)];
        match self.decode_hour(*cell) {
            Some(23) => {
                *cell = self.encode_hour(0);
                self.next_day(cmos);
            }
            Some(hour @ ..23) => *cell = self.encode_hour(hour + 1),
            _ => {}
        }
    }

    pub(super) fn next_day(self, cmos: &mut [u8; 256]) {
        self.step(cmos, DAY_OF_WEEK, 1, 7);
        let field = |index: u8| self.decode(cmos[usize::from(index)]);
        let (month, year) = (field(MONTH).unwrap_or(1), field(YEAR).unwrap_or(1));
        let last = month_days(month, u16::from(year));
        if self.step(cmos, DAY, 1, last) && self.step(cmos, MONTH, 1, 12) && self.step(cmos, YEAR, 0, 99) {
            self.step(cmos, CENTURY, 0, 99);
        }
    }

    /// Whether the alarm registers match; one with bits 7 and 6 set matches always.
    pub(super) fn alarm(self, cmos: &[u8; 256]) -> bool {
        let pairs = [(SECONDS, SECONDS_ALARM), (MINUTES, MINUTES_ALARM), (HOURS, HOURS_ALARM)];
        pairs.into_iter().all(|(time, alarm)| {
            let (time, alarm) = (cmos[usize::from(time)], cmos[usize::from(alarm)]);
            alarm >= 0xc0 || alarm == time
        })
    }

    pub(super) fn store(self, cmos: &mut [u8; 256], at: DateTime) {
        let fields = [
            (SECONDS, self.encode(at.second)),
            (MINUTES, self.encode(at.minute)),
            (HOURS, self.encode_hour(at.hour)),
            (DAY_OF_WEEK, at.day_of_week()),
            (DAY, self.encode(at.day)),
            (MONTH, self.encode(at.month)),
            (YEAR, self.encode((at.year % 100) as u8)),
            (CENTURY, self.encode((at.year / 100) as u8)),
        ];
        for (index, value) in fields {
            cmos[usize::from(index)] = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_time() {
        assert_eq!(DateTime::from_unix(1_127_174_400), DateTime::new(2005, 9, 20, 0, 0, 0));
        assert_eq!(DateTime::from_unix(951_782_399), DateTime::new(2000, 2, 28, 23, 59, 59));
        assert_eq!(DateTime::from_unix(951_782_400), DateTime::new(2000, 2, 29, 0, 0, 0));
        assert_eq!(DateTime::from_unix(0), Err(InvalidDate));
        assert_eq!(DateTime::from_unix(i64::MIN), Err(InvalidDate));
        assert_eq!(DateTime::from_unix(i64::MAX), Err(InvalidDate));
        assert!(DateTime::new(2005, 2, 29, 0, 0, 0).is_err());
    }

    #[test]
    fn days_of_the_week() {
        for (date, day) in [((2005, 9, 20), 3), ((2000, 1, 1), 7), ((1980, 1, 1), 3), ((2024, 2, 29), 5)] {
            let (y, m, d) = date;
            assert_eq!(DateTime::new(y, m, d, 0, 0, 0).unwrap().day_of_week(), day, "{date:?}");
        }
    }

    #[test]
    fn hours_in_both_forms() {
        let twelve = Format { binary: false, hours_24: false };
        for (hour, raw) in [(0, 0x12), (1, 0x01), (11, 0x11), (12, 0x92), (13, 0x81), (23, 0x91)] {
            assert_eq!(twelve.encode_hour(hour), raw);
            assert_eq!(twelve.decode_hour(raw), Some(hour));
        }
        assert_eq!(twelve.decode_hour(0x00), None);
    }

    #[test]
    fn new_century() {
        for binary in [false, true] {
            let format = Format { binary, hours_24: true };
            let mut cmos = [0; 256];
            format.store(&mut cmos, DateTime::new(1999, 12, 31, 23, 59, 59).unwrap());
            format.next_second(&mut cmos);
            let mut expected = [0; 256];
            format.store(&mut expected, DateTime::new(2000, 1, 1, 0, 0, 0).unwrap());
            assert_eq!(cmos, expected);
        }
    }

    #[test]
    fn impossible_values_stay() {
        let format = Format { binary: false, hours_24: true };
        let mut cmos = [0; 256];
        cmos[usize::from(SECONDS)] = 0x7a;
        format.next_second(&mut cmos);
        assert_eq!(cmos[usize::from(SECONDS)], 0x7a);
    }
}
