//! The commands that are clients of a server, and those that print pages, as a stranger would use them: the real
//! program against the real server.

#[path = "../support/mod.rs"]
mod support;
#[path = "../clients/tools.rs"]
#[expect(dead_code, reason = "shared with tests that run tools to their end")]
mod tools;

mod pages;
mod program;
mod smoke;
mod stress;
mod tampering;
