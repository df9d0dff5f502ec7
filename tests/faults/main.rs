//! The real server, and what a machine does to it: it is killed, it is stopped, its clock jumps, its disk fills, its kernel
//! has no more memory, descriptors or rings to give. Cores that hang or panic are in `runtime/watchdog.rs`.

#[path = "../support/mod.rs"]
mod support;
#[path = "../clients/tools.rs"]
#[expect(dead_code, reason = "shared with tests that want nothing but success")]
mod tools;

mod clock;
mod descriptors;
mod dumped;
mod killed;
mod log;
mod memory;
mod refused;
mod stopped;
mod wire;
