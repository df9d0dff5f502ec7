//! The thread that writes pages of numbers, so that no core has to.

use super::lanes::Outside;
use super::start::StartError;
use crate::engine::host::{PagesErrand, PagesState};
use crate::insight::Question;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

/// How much less urgent than the cores the writing is: they may have to share a CPU.
const NICENESS: libc::c_int = 10;

/// How a core reaches the writing thread.
#[derive(Clone, Debug)]
pub struct Scribe(Sender<PagesErrand>);

/// The other end, on its way to its thread.
#[derive(Debug)]
pub struct Desk(Receiver<PagesErrand>);

impl Scribe {
    /// The way to a thread that writes for `cores` cores. Each has at most one survey for each question under way, so
    /// that the desk has room for all of them; only what a core has given up can lie there besides.
    #[must_use]
    pub fn new(cores: u16) -> (Self, Desk) {
        let (sender, receiver) = bounded(usize::from(cores) * Question::ALL.len());
        (Self(sender), Desk(receiver))
    }

    /// Hands in an errand. Never waits.
    #[must_use]
    pub fn hand_in(&self, errand: PagesErrand) -> PagesState {
        match self.0.try_send(errand) {
            Ok(()) => PagesState::Later,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => PagesState::Busy,
        }
    }
}

impl Desk {
    /// Starts the thread, which brings what it has written back to `cores`.
    ///
    /// # Errors
    /// If there can be no further thread.
    pub fn start(self, cores: Vec<Outside>) -> Result<(), StartError> {
        let thread = std::thread::Builder::new().name("scribe".into());
        let spawned = thread.spawn(move || {
            // SAFETY: `nice` takes a number, and on Linux concerns the calling thread. A failure changes nothing.
            unsafe { libc::nice(NICENESS) };
            for PagesErrand { from, id, bundle } in self.0 {
                cores[from.index()].bring(id, bundle.write());
            }
        });
        spawned.map(drop).map_err(|error| StartError::new(format!("cannot start a thread: {error}; see `ulimit -u`")))
    }
}
