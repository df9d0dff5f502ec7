//! The half that knows the world, held against the kernel as it is: cores that hang, die and lose wake-ups.

#[path = "../support/mod.rs"]
mod support;

mod doorbell;
mod notify;
mod one_core;
mod purity;
mod round_trips;
mod shortages;
mod tracer;
mod turns;
mod watchdog;
