//! The commands that are clients of a server, and those that print pages, as a stranger would use them: the real
//! program against the real server.

#[path = "../support/mod.rs"]
mod support;

mod pages;
mod program;
mod smoke;
mod stress;
mod tampering;
