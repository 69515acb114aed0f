//! How an engine has done lately: points a second and a minute apart.

mod point;
mod reading;
mod series;

pub use point::{Percentiles, Point, QueuePoint, SecondTierPoint};
pub use reading::Reading;
pub use series::{Resolution, Trend};
