//! What is in a snapshot.

use std::{collections::VecDeque, sync::Arc};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    alert::Alert,
    control::{Engine, RequestCounters, Status},
    live::{Chronicle, Filter, Topic},
    schedule::JobStatus,
    trend::{Point, Reading, Resolution},
};

/// Readings that are kept: those of an hour at the shortest interval that makes sense.
const READINGS: usize = 61;
/// Points of the series: the last hour's minutes.
const SERIES: usize = 60;
/// Changes of the second tier that are named, the latest.
const CHANGES: usize = 100;

/// How an engine has done.
#[derive(Debug, Serialize)]
pub struct Snapshot {
    /// When, RFC 3339.
    pub time: String,
    /// The engine's version.
    pub version: String,
    /// Its interfaces.
    pub interface: String,
    /// Seconds since its start.
    pub uptime_s: f64,
    /// The requests since then.
    pub requests: RequestCounters,
    /// Rules and model in force.
    pub rules: crate::control::RulesStatus,
    /// What an operator should look at.
    pub warnings: Vec<String>,
    /// Since the last snapshot, or the start.
    pub since_last: Option<Point>,
    /// The last hour, or since the start.
    pub last_hour: Option<Point>,
    /// The last hour, minute by minute.
    pub minutes: Vec<Point>,
    /// What has changed about the second tier lately: messages of the topic `workers`.
    pub scaling: Vec<Box<RawValue>>,
    /// What is wrong now.
    pub alerts: Vec<Alert>,
    /// What is done now and then.
    pub jobs: Vec<JobStatus>,
}

/// Makes snapshots, each with what was since the one before.
pub struct Recorder {
    readings: VecDeque<Reading>,
    engine: Arc<dyn Engine>,
}

impl Recorder {
    /// From now on.
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self {
            readings: [Reading::of(&*engine)].into(),
            engine,
        }
    }

    /// One of now.
    pub fn snapshot(&mut self) -> Snapshot {
        let now = Reading::of(&*self.engine);
        let within_an_hour = |reading: &Reading| now.status.uptime_s - reading.status.uptime_s <= 3610.0;
        while self.readings.len() >= READINGS
            || self
                .readings
                .front()
                .is_some_and(|oldest| !within_an_hour(oldest))
        {
            self.readings.pop_front();
        }
        let between = |earlier: Option<&Reading>| earlier.map(|earlier| Point::between(earlier, &now));
        let (since_last, last_hour) = (between(self.readings.back()), between(self.readings.front()));
        let Chronicle {
            hub,
            trend,
            alerts,
            board,
        } = self.engine.chronicle();
        let mut minutes = trend.points(Resolution::Minute);
        minutes.drain(..minutes.len().saturating_sub(SERIES));
        let workers = Filter {
            topics: vec![Topic::Workers],
            ..Filter::default()
        };
        let scaling = hub.last(&workers, CHANGES).into_iter();
        let Status {
            version,
            interface,
            uptime_s,
            requests,
            rules,
            warnings,
            ..
        } = now.status.clone();
        let snapshot = Snapshot {
            time: humantime::format_rfc3339_millis(now.time).to_string(),
            version,
            interface,
            uptime_s,
            requests,
            rules,
            warnings,
            since_last,
            last_hour,
            minutes,
            scaling: scaling
                .filter_map(|message| RawValue::from_string(message.text.as_ref().to_owned()).ok())
                .collect(),
            alerts: alerts.list().into_iter().filter(|alert| alert.active).collect(),
            jobs: board.jobs(),
        };
        self.readings.push_back(now);
        snapshot
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;
    use crate::{control::testing::Tables, history};

    #[test]
    fn snapshots_are_whole_files_and_the_oldest_go() {
        let engine = Arc::new(Tables::new());
        engine
            .chronicle()
            .hub
            .tell(Topic::Workers, &json!({ "change": "scaled", "workers": 2 }));
        let mut recorder = Recorder::new(engine);
        let directory = tempfile::tempdir().expect("a directory");
        let folder = directory.path().join("made");
        fs::create_dir(&folder).expect("made");
        for day in 1..5 {
            fs::write(folder.join(format!("snapshot-2026010{day}T000000Z.json")), "{}").expect("written");
        }
        fs::write(folder.join("notes.json"), "").expect("written");
        let path = history::write(&folder, &recorder.snapshot(), 3).expect("written");
        let mut names: Vec<_> = fs::read_dir(&folder)
            .expect("listed")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("a name")
            })
            .collect();
        names.sort_unstable();
        assert_eq!(names.len(), 4, "{names:?}");
        assert_eq!(
            names[..3],
            [
                "notes.json",
                "snapshot-20260103T000000Z.json",
                "snapshot-20260104T000000Z.json"
            ]
        );
        let value: Value = serde_json::from_str(&fs::read_to_string(path).expect("read")).expect("JSON");
        assert_eq!(
            (&value["requests"]["block"], &value["scaling"][0]["workers"]),
            (&json!(1), &json!(2))
        );
        assert!(value["since_last"]["requests"].is_object() && value["last_hour"].is_object());
    }

    #[test]
    fn no_more_readings_are_kept_than_an_hour_has() {
        let mut recorder = Recorder::new(Arc::new(Tables::new()));
        for _ in 0..2 * READINGS {
            recorder.snapshot();
        }
        assert!(recorder.readings.len() <= READINGS);
    }
}
