//! What is kept of what has happened.

use std::sync::Arc;

use super::Hub;
use crate::{alert::Alerts, schedule::Board, trend::Trend};

/// What an engine keeps of what has happened; whoever has a clone reads the same.
#[derive(Clone, Debug)]
pub struct Chronicle {
    /// The last messages.
    pub hub: Arc<Hub>,
    /// How it has done lately.
    pub trend: Arc<Trend>,
    /// What is wrong.
    pub alerts: Arc<Alerts>,
    /// What is done now and then.
    pub board: Arc<Board>,
}
