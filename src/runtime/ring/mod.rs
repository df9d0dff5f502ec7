//! One core's io_uring: bytes received, descriptors watched. The only place that speaks to it.
//!
//! It stands beside glommio's own rings and belongs to the thread of the core that made it, as the kernel insists.

mod buffers;
mod token;

pub use buffers::Filled;
pub use token::{PLACES_MAX, Token};

use crate::limits::RECEIVE_BUFFER_BYTES;
use crate::session::ConnId;
use buffers::Buffers;
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

/// Operations that can be begun by one call of the kernel.
const SUBMISSIONS: u32 = 256;
/// What can have happened and not been heard of yet. More is kept by the kernel, at a cost.
const COMPLETIONS: u32 = 8192;

/// The ring of one core.
pub struct Ring {
    // The order matters: the ring is closed before what it receives into is unmapped.
    uring: IoUring,
    buffers: Buffers,
    wait_flags: EnterFlags,
    overflows: u64,
    /// Whether there was no room when the kernel was entered last.
    overflows_still: bool,
}

/// What has become of an operation.
#[derive(Debug)]
pub struct Completion {
    /// The operation.
    pub token: Token,
    /// What it gives: how many bytes, or the state of a descriptor in the bits of `poll`.
    pub result: io::Result<u32>,
    /// What was received; to be given back whatever the result is.
    pub filled: Option<Filled>,
    /// Whether the operation goes on.
    pub more: bool,
}

impl Ring {
    /// A ring for the thread that calls this, and for no other one.
    ///
    /// # Errors
    /// If the kernel has none to give, or is older than Linux 6.1.
    pub fn new() -> io::Result<Self> {
        let buffers = Buffers::new()?;
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        // SAFETY: the buffers are kept beside the ring and dropped after it.
        unsafe { buffers.register(&uring.submitter())? };
        let mut wait_flags = EnterFlags::EXT_ARG | EnterFlags::GETEVENTS;
        if uring.params().is_feature_no_iowait() {
            // A core that waits for requests does not wait for a disk: operators watch that figure.
            wait_flags |= EnterFlags::NO_IOWAIT;
        }
        Ok(Self { uring, buffers, wait_flags, overflows: 0, overflows_still: false })
    }

    /// Receives on `socket`, which is the connection `conn`, until there is an error or an end, or no buffer. The kernel
    /// looks for a descriptor when it takes the operation, at the next [`Ring::enter`]: until then it must stay open.
    pub fn receive(&mut self, socket: RawFd, conn: ConnId) {
        self.begin(&opcode::RecvMulti::new(Fd(socket), buffers::GROUP).build(), Token::Receive(conn));
    }

    /// Receives once on `socket`, which is the connection `conn`: one buffer at most.
    pub fn receive_once(&mut self, socket: RawFd, conn: ConnId) {
        // No address: the kernel takes one of the buffers.
        let entry = opcode::Recv::new(Fd(socket), std::ptr::null_mut(), RECEIVE_BUFFER_BYTES as u32);
        let entry = entry.buf_group(buffers::GROUP).build().flags(squeue::Flags::BUFFER_SELECT);
        self.begin(&entry, Token::Receive(conn));
    }

    /// Says once when `socket`, which is the connection `conn`, takes bytes.
    pub fn await_room(&mut self, socket: RawFd, conn: ConnId) {
        self.begin(&opcode::PollAdd::new(Fd(socket), libc::POLLOUT as u32).build(), Token::Room(conn));
    }

    /// Says, under the name `token`, each time when there is something new to be read at `fd`.
    pub fn watch(&mut self, fd: RawFd, token: Token) {
        self.begin(&opcode::PollAdd::new(Fd(fd), libc::POLLIN as u32).multi(true).build(), token);
    }

    /// Ends an operation. What it has brought already is still heard of, and then its end.
    pub fn end(&mut self, token: Token) {
        self.begin(&opcode::AsyncCancel::new(token.to_bits()).build(), Token::End);
    }

    fn begin(&mut self, entry: &squeue::Entry, token: Token) {
        let entry = entry.clone().user_data(token.to_bits());
        // SAFETY: no operation of this ring points to memory: what is received goes to the registered buffers.
        while unsafe { self.uring.submission().push(&entry) }.is_err() {
            self.enter(Duration::ZERO);
        }
    }

    /// Hands the kernel what was begun, and lets it go on with what goes on. If nothing is to be heard of, waits for
    /// `patience` until something is.
    ///
    /// # Panics
    /// If the kernel refuses: then this core cannot go on.
    pub fn enter(&mut self, patience: Duration) {
        if let Err(error) = self.try_to_enter(patience) {
            panic!(
                "io_uring does not go on: {error}; see `dmesg`, and whether io_uring is still allowed (`sysctl \
                 kernel.io_uring_disabled`, the seccomp profile); then restart"
            );
        }
    }

    /// The same for a ring of which it is not known yet whether the kernel lets it be entered.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn try_to_enter(&mut self, patience: Duration) -> io::Result<()> {
        let time = Timespec::from(patience);
        let arguments = SubmitArgs::new().timespec(&time);
        let submission = self.uring.submission();
        let begun = submission.len() as u32;
        // What has found no room is kept by the kernel, and comes when there is some.
        let overflows = submission.cq_overflow();
        self.overflows += u64::from(overflows && !self.overflows_still);
        self.overflows_still = overflows;
        drop(submission);
        // Who has not heard of everything yet shall not be told more: the room for it is bounded.
        let is_behind = !self.uring.completion().is_empty();
        let (flags, wanted) =
            if is_behind { (EnterFlags::EXT_ARG, 0) } else { (self.wait_flags, u32::from(!patience.is_zero())) };
        // SAFETY: the arguments are what EXT_ARG says that they are, and live until the call is over.
        let entered = unsafe { self.uring.submitter().enter(begun, wanted, flags.bits(), Some(&arguments)) };
        entered.map(drop).or_else(|error| match error.raw_os_error() {
            // The time is up, a signal came, or the kernel wants us to take what has happened before it takes more.
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
            _ => Err(error),
        })
    }

    /// How often the kernel was entered while it kept back what had happened, because there was no room for that.
    #[must_use]
    pub const fn overflows(&self) -> u64 {
        self.overflows
    }

    /// Whether the kernel has taken all that was begun; short of memory, it leaves some for the next [`Ring::enter`].
    #[must_use]
    pub fn has_begun_all(&mut self) -> bool {
        self.uring.submission().is_empty()
    }

    /// What is to be heard of next.
    pub fn next_completion(&mut self) -> Option<Completion> {
        let entry = self.uring.completion().next()?;
        let (code, flags) = (entry.result(), entry.flags());
        let result = u32::try_from(code).map_err(|_| io::Error::from_raw_os_error(-code));
        let len = result.as_ref().map_or(0, |len| *len as usize);
        let filled = cqueue::buffer_select(flags).map(|number| Filled::new(number, len));
        Some(Completion { token: Token::from_bits(entry.user_data()), result, filled, more: cqueue::more(flags) })
    }

    /// What was received.
    #[must_use]
    pub fn bytes(&self, filled: &Filled) -> &[u8] {
        self.buffers.bytes(filled)
    }

    /// Lets a buffer be used again.
    pub fn give_back(&mut self, filled: Filled) {
        self.buffers.give_back(filled);
    }
}
