//! Hostile and unlucky clients, each with real sockets against the real server, beside well-behaved ones that must not notice.
//!
//! Every case holds three things: what becomes of the hostile clients, by outcome and count; that the well-behaved get the
//! right answer to every request throughout, on the same core and on another; and that memory, descriptors, connections and
//! requests in progress are afterwards what they were before.

#[path = "../support/mod.rs"]
mod support;

mod bystander;
mod collisions;
mod crowds;
mod deaf;
mod descriptors;
mod endings;
mod ground;
mod neighbours;
mod overload;
mod slow;
mod sockets;
mod strangers;
