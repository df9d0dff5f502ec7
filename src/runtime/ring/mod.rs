//! One core's io_uring: what can be read or written, and bells heard and rung. The only place that speaks to it.
//!
//! It stands beside glommio's own rings and belongs to the thread of the core that made it, as the kernel insists. It
//! watches descriptors, each by one operation that goes on until it is told to end, and moves no bytes: those are read
//! and written by plain calls, so that no operation ever points to our memory.

mod token;

pub use token::{PLACES_MAX, Token};

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};
use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::time::Duration;

/// Operations that can be begun by one call of the kernel.
const SUBMISSIONS: u32 = 256;
/// What can have happened and not been heard of yet. More is kept by the kernel, at a cost.
const COMPLETIONS: u32 = 8192;

/// The ring of one core.
pub struct Ring {
    uring: IoUring,
    enter_flags: u32,
}

/// What has happened at something that is watched.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// What is watched.
    pub token: Token,
    /// How it is now, in the bits of `poll`, or why it is not watched.
    pub state: Result<u32, i32>,
    /// Whether it goes on being watched.
    pub more: bool,
}

impl Ring {
    /// A ring for the thread that calls this, and for no other one.
    ///
    /// # Errors
    /// If the kernel has none to give, or is older than Linux 6.1.
    pub fn new() -> io::Result<Self> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        let mut enter_flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if uring.params().is_feature_no_iowait() {
            // A core that waits for requests does not wait for a disk: operators watch that figure.
            enter_flags |= EnterFlags::NO_IOWAIT;
        }
        Ok(Self { uring, enter_flags: enter_flags.bits() })
    }

    /// Where other cores ring.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.uring.as_raw_fd()
    }

    /// Says, under the name `token`, whenever something changes at `fd` that is among `states`, in the bits of `poll`, until
    /// it is told to stop. The kernel looks for the descriptor at the next [`Ring::enter`]: until then it must stay open.
    pub fn watch(&mut self, fd: RawFd, states: u32, token: Token) {
        self.begin(&opcode::PollAdd::new(Fd(fd), states).multi(true).build(), token);
    }

    /// Stops watching. What has happened already is still heard of.
    pub fn stop_watching(&mut self, token: Token) {
        self.begin(&opcode::AsyncCancel::new(token.to_bits()).build(), Token::Cancel);
    }

    /// Wakes the core `core`, whose ring is `target`. Takes effect at the next [`Ring::enter`].
    pub fn ring_at(&mut self, target: RawFd, core: u16) {
        let message = opcode::MsgRingData::new(Fd(target), 0, Token::Rung.to_bits(), None).build();
        self.begin(&message.flags(squeue::Flags::SKIP_SUCCESS), Token::Ring(core));
    }

    fn begin(&mut self, entry: &squeue::Entry, token: Token) {
        let entry = entry.clone().user_data(token.to_bits());
        // SAFETY: no operation of this ring points to memory.
        while unsafe { self.uring.submission().push(&entry) }.is_err() {
            self.enter(Duration::ZERO);
        }
    }

    /// Hands the kernel what was begun, and lets it do what it has to do for this ring. If nothing has happened, waits for
    /// `patience` until something does.
    ///
    /// # Panics
    /// If the kernel refuses: then this core cannot go on.
    pub fn enter(&mut self, patience: Duration) {
        let time = Timespec::from(patience);
        let arguments = SubmitArgs::new().timespec(&time);
        let begun = self.uring.submission().len() as u32;
        let wanted = u32::from(!patience.is_zero());
        // SAFETY: the arguments are what EXT_ARG says that they are, and live until the call is over.
        let entered = unsafe { self.uring.submitter().enter(begun, wanted, self.enter_flags, Some(&arguments)) };
        if let Err(error) = entered {
            let code = error.raw_os_error();
            // The time is up, a signal came, or the kernel wants us to take what has happened before it takes more.
            let passes = matches!(code, Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN));
            assert!(passes, "io_uring does not go on: {error}");
        }
    }

    /// The next thing that has happened.
    pub fn next_event(&mut self) -> Option<Event> {
        let entry = self.uring.completion().next()?;
        let result = entry.result();
        let state = u32::try_from(result).map_err(|_| -result);
        Some(Event { token: Token::from_bits(entry.user_data()), state, more: cqueue::more(entry.flags()) })
    }
}
