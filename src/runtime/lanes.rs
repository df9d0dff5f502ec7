//! The lanes between cores: the only thing that cores share, besides a word each for the supervisor.
//!
//! Every core has three bounded inboxes. Requests may find theirs full, and are refused then. Questions about the
//! core itself, and the pulls of long values, have one of their own, so that a flood of requests does not make a live
//! server look dead. Replies never find theirs full: it has room for everything that the core has under way.

use crate::engine::host::LaneDepths;
use crate::engine::rules::Rules;
use crate::engine::surveys::SurveyId;
use crate::insight::page::WrittenPage;
use crate::limits::{CONTROL_LANE_MAX, SILENT_AFTER_PINGS};
use crate::metrics::ProcessStats;
use crate::parcel::Parcel;
use crate::routing::ShardId;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};

/// Wakes a core that sleeps, once for a burst of parcels. Rung by every core, and by other threads of the process; heard by
/// one core.
#[derive(Debug, Default)]
pub struct Bell {
    armed: AtomicBool,
    /// An eventfd that the core's ring watches; there from when the core lives.
    event: OnceLock<OwnedFd>,
}

impl Bell {
    /// Hangs the bell up. Returns what the core's ring is to watch.
    ///
    /// # Errors
    /// If there are no descriptors left.
    ///
    /// # Panics
    /// If it hangs already.
    pub fn hang(&self) -> io::Result<RawFd> {
        // SAFETY: `eventfd` takes two integers.
        let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if event < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given us this descriptor, and nobody else has it.
        let hung = self.event.set(unsafe { OwnedFd::from_raw_fd(event) });
        assert!(hung.is_ok(), "a core is started once");
        Ok(event)
    }

    /// Says that the core is about to sleep. It must look into its inboxes once more after this.
    pub fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Says that the core is awake.
    pub fn disarm(&self) {
        self.armed.store(false, Ordering::Relaxed);
    }

    /// Wakes the core if it sleeps, and if nobody else has done so; then this returns true. A core that does not live yet
    /// looks into its inboxes when it does.
    pub fn ring(&self) -> bool {
        fence(Ordering::SeqCst);
        // Most cores that are sent something are awake: a look costs less than a swap.
        let sleeps = self.armed.load(Ordering::SeqCst) && self.armed.swap(false, Ordering::SeqCst);
        if sleeps {
            self.ring_anyway();
        }
        sleeps
    }

    /// Has the core go through a wake-up, whatever it says.
    pub fn ring_anyway(&self) {
        if let Some(event) = self.event.get() {
            let one = 1_u64.to_ne_bytes();
            // SAFETY: the pointer and the length are those of eight live bytes, which the kernel only reads, and the descriptor
            // is kept open. This fails only if the count is at its end, and then the core has been told already.
            unsafe { libc::write(event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
    }
}

/// What other threads see of a core.
#[derive(Debug, Default)]
pub struct CoreFace {
    /// Its doorbell.
    pub bell: Bell,
    /// Pings sent by the supervisor.
    pub pinged: AtomicU64,
    /// The last ping that the core answered.
    pub answered: AtomicU64,
    /// While draining: whether the core had nothing in progress at the last ping.
    pub quiet: AtomicBool,
    /// While draining: counts what its connections do.
    pub activity: AtomicU64,
}

/// A core as the supervisor and the main thread reach it.
#[derive(Clone, Debug)]
pub struct Outside {
    /// What is seen of it.
    pub face: Arc<CoreFace>,
    words: Sender<Word>,
}

/// What the other threads of the process have to tell a core.
#[derive(Clone, Debug)]
pub enum Word {
    /// What belongs to no core, as it was read last.
    Facts(Facts),
    /// From now on, these rules.
    Rules(Box<Rules>),
    /// The pages of a survey.
    Pages(SurveyId, Vec<WrittenPage>),
}

/// What belongs to no core and changes all the time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// What the kernel says of the process.
    pub stats: ProcessStats,
    /// Log lines lost since the start.
    pub log_lines_dropped: u64,
}

/// Words that wait at one core: more than there are questions whose pages can be on their way.
const WORDS_MAX: usize = 16;

impl Outside {
    /// Hands the core what was read of the process, unless it has not taken earlier readings yet.
    pub fn tell(&self, facts: Facts) {
        let _ = self.words.try_send(Word::Facts(facts));
    }

    /// Brings the pages that a survey of the core waits for. A core that takes no words is hung, or has given the pages
    /// up already: then they are lost, and nobody waits here.
    pub fn bring(&self, id: SurveyId, pages: Vec<WrittenPage>) {
        let _ = self.words.try_send(Word::Pages(id, pages));
        self.face.bell.ring();
    }

    /// Gives the core other rules, and waits until it has room to take them. Not to be called by a core.
    pub fn rule(&self, rules: Rules) {
        // The other end is gone only if the core is, and then so is the process.
        let _ = self.words.send(Word::Rules(Box::new(rules)));
        self.face.bell.ring();
    }
}

/// How to reach one core.
#[derive(Clone, Debug)]
struct Address {
    requests: Sender<Box<Parcel>>,
    control: Sender<Box<Parcel>>,
    replies: Sender<Box<Parcel>>,
    face: Arc<CoreFace>,
}

/// One core's end of all lanes.
#[derive(Debug)]
pub struct Lanes {
    me: ShardId,
    addresses: Vec<Address>,
    requests: Receiver<Box<Parcel>>,
    control: Receiver<Box<Parcel>>,
    replies: Receiver<Box<Parcel>>,
    words: Receiver<Word>,
    /// Cores that have been sent something since their bell was last rung, each once.
    to_ring: Vec<ShardId>,
    is_to_ring: Vec<bool>,
}

/// A parcel that arrived.
#[derive(Debug)]
pub enum Arrival {
    /// To be carried out and sent back.
    Work(Box<Parcel>),
    /// One of our own, carried out.
    Reply(Box<Parcel>),
}

impl Lanes {
    /// The lanes between `cores` cores, and how to reach the cores from outside: `mailbox` requests may wait at each, and
    /// each may have `parcels_max` parcels under way.
    #[must_use]
    pub fn connect(cores: u16, mailbox: usize, parcels_max: usize) -> (Vec<Self>, Vec<Outside>) {
        let (addresses, inboxes): (Vec<_>, Vec<_>) = (0..cores)
            .map(|_| {
                let (requests, requests_in) = bounded(mailbox);
                let (control, control_in) = bounded(CONTROL_LANE_MAX);
                let (replies, replies_in) = bounded(parcels_max);
                let (words, words_in) = bounded(WORDS_MAX);
                let face = Arc::new(CoreFace::default());
                let outside = Outside { face: Arc::clone(&face), words };
                (Address { requests, control, replies, face }, (requests_in, control_in, replies_in, words_in, outside))
            })
            .unzip();
        inboxes
            .into_iter()
            .zip(0..)
            .map(|((requests, control, replies, words, outside), me)| {
                let lanes = Self {
                    me: ShardId(me),
                    addresses: addresses.clone(),
                    requests,
                    control,
                    replies,
                    words,
                    to_ring: Vec::new(),
                    is_to_ring: vec![false; usize::from(cores)],
                };
                (lanes, outside)
            })
            .unzip()
    }

    /// The next word from outside.
    pub fn next_word(&self) -> Option<Word> {
        self.words.try_recv().ok()
    }

    /// The cores that have not answered for [`SILENT_AFTER_PINGS`] pings in a row. This one is awake.
    #[must_use]
    pub fn silent_cores(&self) -> Vec<u16> {
        let is_silent = |face: &CoreFace| {
            let answered = face.answered.load(Ordering::Relaxed);
            face.pinged.load(Ordering::Relaxed).saturating_sub(answered) > SILENT_AFTER_PINGS
        };
        let others = (0..).zip(&self.addresses).filter(|(number, _)| *number != self.me.0);
        others.filter(|(_, address)| is_silent(&address.face)).map(|(number, _)| number).collect()
    }

    /// What other threads see of this core.
    #[must_use]
    pub fn face(&self) -> &Arc<CoreFace> {
        &self.addresses[self.me.index()].face
    }

    /// Puts a parcel on its lane; its bell is rung by [`Lanes::ring`].
    ///
    /// # Errors
    /// The parcel itself, if the lane is full.
    pub fn send(&mut self, parcel: Box<Parcel>) -> Result<(), Box<Parcel>> {
        let to = parcel.to;
        let address = &self.addresses[to.index()];
        let lane = if parcel.work.is_commands() { &address.requests } else { &address.control };
        lane.try_send(parcel).map_err(TrySendError::into_inner)?;
        self.note_sent(to);
        Ok(())
    }

    /// Sends a parcel back to where it came from.
    ///
    /// # Panics
    /// If the reply lane is full: its sender has more under way than it may.
    pub fn reply(&mut self, parcel: Box<Parcel>) {
        let from = parcel.from;
        let sent = self.addresses[from.index()].replies.try_send(parcel);
        assert!(sent.is_ok(), "the reply lane of core {} has room for every parcel that it sent", from.0);
        self.note_sent(from);
    }

    /// Rings at every core that was sent something and sleeps, once each. Returns how many did.
    pub fn ring(&mut self) -> u64 {
        let mut rung = 0;
        for core in self.to_ring.drain(..) {
            self.is_to_ring[core.index()] = false;
            rung += u64::from(self.addresses[core.index()].face.bell.ring());
        }
        rung
    }

    /// Whether something was sent since the bells were last rung.
    #[must_use]
    pub fn has_sent(&self) -> bool {
        !self.to_ring.is_empty()
    }

    fn note_sent(&mut self, to: ShardId) {
        if !std::mem::replace(&mut self.is_to_ring[to.index()], true) {
            self.to_ring.push(to);
        }
    }

    /// The next parcel that arrived: replies first, since clients wait for them, then questions, then requests.
    pub fn next_arrival(&mut self) -> Option<Arrival> {
        if let Ok(parcel) = self.replies.try_recv() {
            return Some(Arrival::Reply(parcel));
        }
        self.control.try_recv().or_else(|_| self.requests.try_recv()).ok().map(Arrival::Work)
    }

    /// Whether nothing has arrived.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.replies.is_empty() && self.control.is_empty() && self.requests.is_empty() && self.words.is_empty()
    }

    /// What waits at this core.
    #[must_use]
    pub fn depths(&self) -> LaneDepths {
        LaneDepths {
            requests: self.requests.len() as u64,
            control: self.control.len() as u64,
            replies: self.replies.len() as u64,
        }
    }
}
