//! One core's io_uring: connections accepted, bytes received, bells heard and rung. The only place that speaks to it.
//!
//! It stands beside glommio's own rings and belongs to the thread of the core that made it, as the kernel insists.

mod buffers;
mod token;

pub use buffers::Filled;
pub use token::PLACES_MAX;

use crate::session::ConnId;
use buffers::Buffers;
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::time::Duration;
use token::Token;

/// Operations that can be begun by one call of the kernel.
const SUBMISSIONS: u32 = 256;
/// What can have happened and not been heard of yet. More is kept by the kernel, at a cost.
const COMPLETIONS: u32 = 4096;

/// The ring of one core.
pub struct Ring {
    // The order matters: the ring is closed before what it receives into is unmapped.
    uring: IoUring,
    buffers: Buffers,
    enter_flags: u32,
}

/// What has happened.
#[derive(Debug)]
pub enum Completion {
    /// A connection has come in on a listener.
    Accepted {
        /// The listener's number.
        listener: u32,
        /// The connection.
        socket: io::Result<OwnedFd>,
        /// Whether the listener goes on accepting.
        more: bool,
    },
    /// Bytes have come in on a connection.
    Received {
        /// The connection.
        conn: ConnId,
        /// The bytes; none if the peer sends no more.
        bytes: io::Result<Option<Filled>>,
        /// Whether the connection goes on receiving.
        more: bool,
    },
    /// A connection takes bytes again.
    Room(ConnId),
    /// Another thread has rung.
    Event {
        /// Whether the ring goes on listening to the event.
        more: bool,
    },
    /// The bell of another core could not be rung.
    Unheard(u16),
    /// Nothing that anybody waits for.
    Nothing,
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
        let mut enter_flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if uring.params().is_feature_no_iowait() {
            // A core that waits for requests does not wait for a disk: operators watch that figure.
            enter_flags |= EnterFlags::NO_IOWAIT;
        }
        Ok(Self { uring, buffers, enter_flags: enter_flags.bits() })
    }

    /// Where other cores ring.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.uring.as_raw_fd()
    }

    /// Goes on accepting connections on `socket`, which is the listener number `listener`.
    pub fn accept(&mut self, socket: RawFd, listener: u32) {
        // A socket that does not block would have its operations fail instead of wait.
        self.begin(&opcode::AcceptMulti::new(Fd(socket)).flags(libc::SOCK_CLOEXEC).build(), Token::Accept(listener));
    }

    /// Goes on receiving on `socket`, which is the connection `conn`.
    pub fn receive(&mut self, socket: RawFd, conn: ConnId) {
        self.begin(&opcode::RecvMulti::new(Fd(socket), buffers::GROUP).build(), Token::Receive(conn));
    }

    /// Ends receiving on `conn`. What has been received already is still heard of.
    pub fn stop_receiving(&mut self, conn: ConnId) {
        self.cancel(Token::Receive(conn));
    }

    /// Says when `socket`, which is the connection `conn`, takes bytes again.
    pub fn await_room(&mut self, socket: RawFd, conn: ConnId) {
        self.begin(&opcode::PollAdd::new(Fd(socket), libc::POLLOUT as u32).build(), Token::Room(conn));
    }

    /// Is not interested any more.
    pub fn forget_room(&mut self, conn: ConnId) {
        self.cancel(Token::Room(conn));
    }

    /// Listens to other threads that write to `event`, for as long as nothing else is said.
    pub fn listen_to(&mut self, event: RawFd) {
        self.begin(&opcode::PollAdd::new(Fd(event), libc::POLLIN as u32).multi(true).build(), Token::Event);
    }

    /// Wakes the core `core`, whose ring is `target`. Takes effect at the next [`Ring::enter`].
    pub fn ring_at(&mut self, target: RawFd, core: u16) {
        let message = opcode::MsgRingData::new(Fd(target), 0, Token::Rung.to_bits(), None).build();
        self.begin(&message.flags(squeue::Flags::SKIP_SUCCESS), Token::Ring(core));
    }

    fn cancel(&mut self, token: Token) {
        self.begin(&opcode::AsyncCancel::new(token.to_bits()).build(), Token::Cancel);
    }

    fn begin(&mut self, entry: &squeue::Entry, token: Token) {
        let entry = entry.clone().user_data(token.to_bits());
        // SAFETY: no operation of this ring points to memory: what is received goes to the registered buffers.
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
    pub fn next_completion(&mut self) -> Option<Completion> {
        let entry = self.uring.completion().next()?;
        let (result, flags) = (entry.result(), entry.flags());
        let more = cqueue::more(flags);
        Some(match Token::from_bits(entry.user_data()) {
            Token::Accept(listener) => {
                // SAFETY: the kernel has just given us this descriptor, and nobody else has it.
                let socket = outcome(result).map(|_| unsafe { OwnedFd::from_raw_fd(result) });
                Completion::Accepted { listener, socket, more }
            }
            Token::Receive(conn) => {
                let bytes = outcome(result)
                    .map(|len| cqueue::buffer_select(flags).map(|number| Filled::new(number, len)));
                Completion::Received { conn, bytes, more }
            }
            Token::Room(conn) => Completion::Room(conn),
            Token::Event => Completion::Event { more },
            Token::Ring(core) if result < 0 => Completion::Unheard(core),
            Token::Ring(_) | Token::Rung | Token::Cancel => Completion::Nothing,
        })
    }

    /// What is in a buffer.
    #[must_use]
    pub fn bytes(&self, filled: &Filled) -> &[u8] {
        self.buffers.bytes(filled)
    }

    /// Lets a buffer be used again.
    pub fn give_back(&mut self, filled: Filled) {
        self.buffers.give_back(filled);
    }
}

fn outcome(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}
