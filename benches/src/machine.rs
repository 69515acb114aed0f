//! What a benchmark ran on.

use std::{fmt, fs, hint::black_box, time::Instant};

use serde::{Deserialize, Serialize};

/// The machine and its state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Processor model.
    pub(crate) cpu: String,
    /// Processors.
    pub(crate) cpus: usize,
    /// Kernel release.
    pub(crate) kernel: String,
    /// Frequency governor; `unknown` in a virtual machine.
    pub(crate) governor: String,
    /// One-minute load average at the start.
    pub(crate) load: String,
    /// How much longer than in its best round the same computation takes in one of ten rounds, as a share.
    pub(crate) noise: f64,
}

impl Machine {
    /// This machine, now.
    pub(crate) fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let or_unknown = |text: String| {
            if text.is_empty() {
                "unknown".to_owned()
            } else {
                text
            }
        };
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .unwrap_or_default();
        Self {
            cpu: or_unknown(model.trim_start_matches([' ', '\t', ':']).to_owned()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: or_unknown(read("/proc/sys/kernel/osrelease")),
            governor: or_unknown(read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
            load: or_unknown(
                read("/proc/loadavg")
                    .split(' ')
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            ),
            noise: noise(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cpu,
            cpus,
            kernel,
            governor,
            load,
            noise,
        } = self;
        write!(
            f,
            "{cpus} × {cpu}, Linux {kernel}, governor {governor}, load {load}, noise {:.0} %",
            noise * 1e2
        )
    }
}

/// Takes a tenth of a second or so.
fn noise() -> f64 {
    const ROUNDS: usize = 100;
    const STEPS: u64 = 500_000;
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            black_box((0..STEPS).fold(1_u64, |state, step| {
                black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step))
            }));
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS * 9 / 10] / times[0] - 1.0
}
