//! Holds one thread of another process, as a debugger does. So a core of the real server can be made to hang, or its
//! kernel to fail, with nothing in the server that is there for tests.

use std::fs;
use std::io::Error;
use std::ptr::null_mut;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a thread may take to stop or to make its next system call before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A thread of a child of this process, stopped.
#[derive(Debug)]
pub struct Held {
    tid: i32,
}

impl Held {
    /// Stops the thread `name` of the process `pid`, and no other.
    #[track_caller]
    pub fn stop(pid: u32, name: &str) -> Self {
        let held = Self { tid: thread_id(pid, name) };
        held.ask(libc::PTRACE_SEIZE, libc::PTRACE_O_TRACESYSGOOD as usize);
        held.ask(libc::PTRACE_INTERRUPT, 0);
        held.wait_for_stop();
        held
    }

    /// Lets the thread go on, as it does whenever this is dropped.
    pub fn release(self) {}

    /// Waits until the thread has ended. Its process cannot be waited for before.
    ///
    /// # Panics
    /// If it does not end within `patience`.
    #[track_caller]
    pub fn wait_for_end(self, patience: Duration) {
        while libc::WIFSTOPPED(self.wait(patience)) {}
    }

    /// Lets the thread go on, but makes the kernel refuse its calls of io_uring_enter, until it ends.
    #[cfg(target_arch = "x86_64")]
    #[track_caller]
    pub fn refuse_io_uring_until_it_ends(self) {
        const SYSCALL_STOP: i32 = libc::SIGTRAP | 0x80;
        const RAX: usize = 8 * libc::RAX as usize;
        const ORIG_RAX: usize = 8 * libc::ORIG_RAX as usize;
        const NO_SYSCALL: usize = usize::MAX;
        loop {
            self.ask(libc::PTRACE_SYSCALL, 0);
            let status = self.wait(PATIENCE);
            if !libc::WIFSTOPPED(status) {
                return;
            }
            // On entry the kernel shows ENOSYS as the result that there is not yet.
            let entering = libc::WSTOPSIG(status) == SYSCALL_STOP && self.peek(RAX) == -i64::from(libc::ENOSYS);
            if entering && self.peek(ORIG_RAX) == libc::SYS_io_uring_enter {
                self.poke(ORIG_RAX, NO_SYSCALL);
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[track_caller]
    fn peek(&self, offset: usize) -> i64 {
        // SAFETY: reads a word of the registers of a thread that is stopped under us, at a constant offset.
        unsafe { libc::ptrace(libc::PTRACE_PEEKUSER, self.tid, offset, null_mut::<u8>()) }
    }

    #[cfg(target_arch = "x86_64")]
    #[track_caller]
    fn poke(&self, offset: usize, word: usize) {
        // SAFETY: writes a register of a thread of another process that is stopped under us; no memory of ours.
        let done = unsafe { libc::ptrace(libc::PTRACE_POKEUSER, self.tid, offset, word) };
        assert_eq!(done, 0, "{}", Error::last_os_error());
    }

    #[track_caller]
    fn ask(&self, request: libc::c_uint, data: usize) {
        // SAFETY: these requests take plain numbers and touch no memory of ours; the thread belongs to a child.
        let done = unsafe { libc::ptrace(request, self.tid, null_mut::<u8>(), data) };
        assert_eq!(done, 0, "ptrace request {request:#x}: {}", Error::last_os_error());
    }

    #[track_caller]
    fn wait_for_stop(&self) {
        let status = self.wait(PATIENCE);
        assert!(libc::WIFSTOPPED(status), "the thread ended ({status:#x}) instead of stopping");
    }

    /// The next thing that becomes of the thread.
    #[track_caller]
    fn wait(&self, patience: Duration) -> i32 {
        let began = Instant::now();
        let mut status = 0;
        loop {
            // SAFETY: the pointer is to a live integer that the kernel fills in.
            let waited = unsafe { libc::waitpid(self.tid, &raw mut status, libc::__WALL | libc::WNOHANG) };
            if waited == self.tid {
                return status;
            }
            assert_eq!(waited, 0, "{}", Error::last_os_error());
            assert!(began.elapsed() < patience, "nothing became of the thread within {patience:?}");
            sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: takes plain numbers. It fails only if the thread has ended, and then there is nothing to let go.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.tid, null_mut::<u8>(), 0_usize) };
    }
}

#[track_caller]
fn thread_id(pid: u32, name: &str) -> i32 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    let task = tasks
        .flatten()
        .find(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name));
    let task = task.unwrap_or_else(|| panic!("no thread {name} in process {pid}"));
    task.file_name().to_str().and_then(|text| text.parse().ok()).expect("a task is a number")
}
