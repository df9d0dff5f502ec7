//! The world around a core, as far as the core needs it.

use super::surveys::SurveyId;
use crate::insight::page::{Bundle, WrittenPage};
use crate::metrics::ProcessStats;
use crate::parcel::Parcel;
use crate::protocol::auth::AuthFailure;
use crate::protocol::route::{Method, Route};
use crate::routing::ShardId;
use crate::session::ConnId;
use crate::time::Mono;

/// What a core needs of the world around it. The runtime gives lanes, clocks and logs; a simulation gives others.
pub trait Host {
    /// Puts a parcel on the lane to `parcel.to`, or gives it back if that lane is full. Never waits.
    ///
    /// # Errors
    /// The parcel itself, if the lane is full.
    fn send(&mut self, parcel: Box<Parcel>) -> Result<(), Box<Parcel>>;

    /// Sends a parcel that was carried out back to `parcel.from`. The reply lane has room for every parcel that its
    /// core has under way, so this cannot fail.
    fn reply(&mut self, parcel: Box<Parcel>);

    /// What the operating system says of this process.
    fn process_stats(&mut self) -> ProcessStats {
        ProcessStats::default()
    }

    /// Tells the log. Called rarely, except for [`Notice::Answered`], which is told only if [`Host::logs_requests`].
    fn notice(&mut self, notice: Notice);

    /// The numbers of the cores that have not answered the supervisor's pings for some time.
    fn silent_cores(&self) -> Vec<u16> {
        Vec::new()
    }

    /// Whether every request goes to the log.
    fn logs_requests(&self) -> bool {
        false
    }

    /// This moment, read anew; `None` where time stands still during a wake-up.
    fn moment(&self) -> Option<Mono> {
        None
    }

    /// How long this core has worked so far, in nanoseconds of CPU time.
    fn cpu_nanos(&mut self) -> u64 {
        0
    }

    /// How often this core slept, and woke others.
    fn wake_ups(&self) -> WakeUps {
        WakeUps::default()
    }

    /// How often there was no room for what the kernel had for this core.
    fn shortages(&self) -> Shortages {
        Shortages::default()
    }

    /// What waits at this core's lanes now.
    fn lane_depths(&self) -> LaneDepths {
        LaneDepths::default()
    }

    /// Log lines lost since the start.
    fn log_lines_dropped(&self) -> u64 {
        0
    }

    /// Has pages written, at once or by somebody else; then they come back by
    /// [`crate::engine::Engine::pages_written`].
    fn write_pages(&mut self, errand: PagesErrand) -> PagesState {
        PagesState::Written(errand.bundle.write())
    }
}

/// Something that the log should hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A request was refused for its token.
    AuthFailed {
        /// Whose.
        conn: ConnId,
        /// Why.
        reason: AuthFailure,
        /// On what.
        route: Route,
    },
    /// A request was answered.
    Answered {
        /// Whose.
        conn: ConnId,
        /// What was asked.
        method: Method,
        /// Of what.
        route: Route,
        /// How it ended.
        status: u16,
    },
}

/// Pages that are to be written for a survey.
#[derive(Debug)]
pub struct PagesErrand {
    /// The core whose survey it is.
    pub from: ShardId,
    /// The survey.
    pub id: SurveyId,
    /// What is to be written.
    pub bundle: Bundle,
}

/// What has become of pages.
#[derive(Debug)]
pub enum PagesState {
    /// They are here.
    Written(Vec<WrittenPage>),
    /// They will come.
    Later,
    /// Too many wait.
    Busy,
}

/// How many parcels wait at one core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneDepths {
    /// Commands on keys.
    pub requests: u64,
    /// Questions, pulls of long values, releases.
    pub control: u64,
    /// This core's own parcels, carried out.
    pub replies: u64,
}

/// How often a core had nothing to do, and how often it woke another one that had not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WakeUps {
    /// Times that it slept.
    pub slept: u64,
    /// Times that it rang at a core that slept.
    pub rang: u64,
}

/// How often the kernel had something for a core, and no room for it. Nothing is lost then, but it comes later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shortages {
    /// Times that a connection had sent something and all buffers to receive into were full.
    pub buffers: u64,
    /// Times that more had happened than fits into the core's ring.
    pub completions: u64,
}
