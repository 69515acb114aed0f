//! The last points, oldest first.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Point, Reading};

/// Points a second apart that are kept: five minutes of them.
const SECONDS: usize = 300;
/// Points a minute apart that are kept: a day of them.
const MINUTES: usize = 1440;
/// Of the interval of a point of the minutes, a little less.
const MINUTE: Duration = Duration::from_millis(59_500);

/// How far points are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// A second.
    Second,
    /// A minute.
    Minute,
}

/// The last points of an engine.
#[derive(Debug, Default)]
pub struct Trend(Mutex<Series>);

#[derive(Debug, Default)]
struct Series {
    seconds: VecDeque<Point>,
    minutes: VecDeque<Point>,
    last: Option<Reading>,
    /// Where the minute that is not over began.
    minute: Option<Reading>,
}

impl Trend {
    /// A reading, about a second after the last one. Returns the point that it makes; none if it is the first.
    pub fn add(&self, reading: Reading) -> Option<Point> {
        let mut series = self.series();
        let point = series.last.as_ref().map(|last| Point::between(last, &reading));
        if let Some(point) = &point {
            push(&mut series.seconds, point.clone(), SECONDS);
        }
        match &series.minute {
            None => series.minute = Some(reading.clone()),
            Some(began) if reading.status.uptime_s - began.status.uptime_s >= MINUTE.as_secs_f64() => {
                let minute = Point::between(began, &reading);
                push(&mut series.minutes, minute, MINUTES);
                series.minute = Some(reading.clone());
            }
            Some(_) => {}
        }
        series.last = Some(reading);
        point
    }

    /// The last points, oldest first.
    #[must_use]
    pub fn points(&self, resolution: Resolution) -> Vec<Point> {
        let series = self.series();
        match resolution {
            Resolution::Second => &series.seconds,
            Resolution::Minute => &series.minutes,
        }
        .iter()
        .cloned()
        .collect()
    }

    /// The last reading.
    #[must_use]
    pub fn last(&self) -> Option<Reading> {
        self.series().last.clone()
    }

    fn series(&self) -> MutexGuard<'_, Series> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push(points: &mut VecDeque<Point>, point: Point, most: usize) {
    if points.len() == most {
        points.pop_front();
    }
    points.push_back(point);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::Tables;

    #[test]
    fn a_day_of_minutes_and_five_of_seconds_are_kept() {
        let trend = Trend::default();
        let mut reading = Reading::of(&Tables::new());
        assert_eq!(trend.add(reading.clone()), None);
        for n in 1..=400 {
            reading.status.uptime_s += 1.0;
            reading.status.requests.allow += n;
            let point = trend.add(reading.clone()).expect("a point");
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let expected = n as f64;
            assert!((point.requests["allow"] - expected).abs() < 1e-6);
        }
        let seconds = trend.points(Resolution::Second);
        assert_eq!(seconds.len(), SECONDS);
        assert!((seconds[0].requests["allow"] - 101.0).abs() < 1e-6);
        let minutes = trend.points(Resolution::Minute);
        assert_eq!(minutes.len(), 6);
        // 1 to 60 in the first.
        assert!(
            (minutes[0].requests["allow"] - 30.5).abs() < 1e-6,
            "{:?}",
            minutes[0].requests
        );
        for _ in 0..MINUTES {
            reading.status.uptime_s += 60.0;
            trend.add(reading.clone());
        }
        assert_eq!(trend.points(Resolution::Minute).len(), MINUTES);
        assert!(trend.last().is_some());
    }
}
