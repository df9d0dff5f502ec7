//! Every key of a live server behaves as if all operations on it, from whichever connection to whichever core, took
//! place one after the other, each between its call and its answer.
//!
//! Many connections to every port of a server record what they ask for and what they are told (`client`, `choices`,
//! `mishap`). A checker that nobody here wrote (`todc-utils`) looks for an order that explains all of it, key by key
//! (`judge`), against the contract of one key (`model`). `LINEAR_SEED=… cargo test --test linear` replays the choices
//! of a load; what no order explains is printed and written to `target/tmp`.

mod anything;
mod broken;
mod choices;
mod client;
mod every_order;
mod hand_written;
mod history;
mod judge;
mod load;
mod mishap;
mod model;
#[path = "../model/random.rs"]
#[expect(dead_code, reason = "here all chance comes from seeds")]
mod random;
mod report;
mod requests;
mod runs;
#[path = "../support/mod.rs"]
mod support;
mod tampering;
mod values;
