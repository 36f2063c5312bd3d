//! Wraps the `cron` crate, which no other file uses.
//!
//! That crate reads Quartz's dialect: weekdays count from 1 = Sunday, and the two day fields must
//! both match. It fires twice or out of order where clocks change. So this file passes it parsed
//! sets of numbers ([`Fields`]), one schedule for each of the two day fields where either makes a day
//! due, and a wall clock without zone, as if it were UTC.

use std::str::FromStr;

use chrono::{DateTime, Utc};

use crate::cron::{CronField, Fields, Set};

pub(crate) struct Walls {
    first: cron::Schedule,
    /// The days of the week, where days of the month are in `first` and either is due.
    second: Option<cron::Schedule>,
}

impl Walls {
    /// `None` only where the crate rejects valid fields.
    pub(crate) fn new(fields: &Fields) -> Option<Self> {
        let all = Set { bits: u64::MAX, star: true, step: None };
        let schedule = |day: Set, weekday: Set| {
            let mut text = String::with_capacity(64);
            for field in [
                (CronField::Second, fields.second),
                (CronField::Minute, fields.minute),
                (CronField::Hour, fields.hour),
                (CronField::DayOfMonth, day),
                (CronField::Month, fields.month),
                (CronField::DayOfWeek, weekday),
            ] {
                write(&mut text, field.0, field.1);
                text.push(' ');
            }
            cron::Schedule::from_str(text.trim_end()).ok()
        };
        if fields.either_day() {
            let (first, second) = (schedule(fields.day, all)?, schedule(all, fields.weekday)?);
            return Some(Self { first, second: Some(second) });
        }
        Some(Self { first: schedule(fields.day, fields.weekday)?, second: None })
    }

    /// The first match after `after`, both in seconds from 1970 of a wall clock; none after 2100.
    pub(crate) fn next(&self, after: i64) -> Option<i64> {
        #[cfg(test)]
        WALKS.with(|walks| walks.set(walks.get() + 1));
        // The crate supports no year before 1970.
        let after = DateTime::<Utc>::from_timestamp(after.max(-1), 0)?;
        let next = |schedule: &cron::Schedule| Some(schedule.after(&after).next()?.timestamp());
        let first = next(&self.first);
        match &self.second {
            None => first,
            // The earlier one, if both exist.
            Some(second) => first.into_iter().chain(next(second)).min(),
        }
    }
}

#[cfg(test)]
thread_local! {
    static WALKS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// How often this thread has walked the calendar, as a measure of work in tests.
#[cfg(test)]
pub(crate) fn walks() -> u64 {
    WALKS.with(std::cell::Cell::get)
}

fn write(text: &mut String, field: CronField, set: Set) {
    let (low, size) = match field {
        CronField::DayOfMonth | CronField::Month => (1, field.size()),
        _ => (0, field.size()),
    };
    let values: Vec<u32> = (low..low + size).filter(|value| set.has(*value)).collect();
    if values.len() == size as usize {
        text.push('*');
        return;
    }
    for (place, value) in values.into_iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        let value = if field == CronField::DayOfWeek { value + 1 } else { value };
        text.push_str(&value.to_string());
    }
}
