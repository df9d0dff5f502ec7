//! `cache-service`: an in-memory cache spoken to over plain HTTP/1.1; one pinned core, one shard, one listener each.
//!
//! # The cores
//!
//! ```text
//!    ┌─ core-0 ─────────┐ ┌─ core-1 ─────────┐
//!    │ listener         │ │ listener         │   the kernel spreads connections over the listeners
//!    │ sessions         │ │ sessions         │   bytes in, answers out, in the order of the requests
//!    │ engine ──────────┼─┼── parcels ───────┼─▶ a foreign key's command goes to its owner and comes back
//!    │ shard: its keys  │ │ shard: its keys  │   apply(now, command) -> outcome
//!    └────────▲─────────┘ └────────▲─────────┘
//!             └──────── pings ─────┴───────────── supervisor; main thread: signals
//! ```
//!
//! # Two halves
//!
//! The pure half knows no runtime, no socket and no clock: [`limits`], [`time`], [`command`], [`memory`], [`blob`], [`protocol`],
//! [`routing`], [`shard`], [`parcel`], [`forward`], [`session`], [`engine`], [`metrics`], [`insight`], [`site`]. Bytes, parcels and the time
//! come in as arguments; bytes and parcels go out. The world half is [`runtime`], the only user of glommio and the only
//! reader of clocks, with [`config`], [`cli`], [`logging`] and [`process_stats`] around it, and with [`load`], a client that
//! shares nothing with the server. A test keeps them apart.
//!
//! # The life of a GET
//!
//! The core's ring receives into one of its buffers; `runtime::pump` calls [`engine::Engine::receive`] with the bytes. The
//! session parses the head where it lies, routing names the owner. If that is this core, the shard hands out the value
//! by reference, and the answer is written behind whatever the connection has to send. If not, a parcel takes the command
//! there, its slot keeps the place in the order of answers, and the parcel brings the outcome back. An answer goes
//! out as soon as it is there; one that a parcel has brought, when the wake-up ends.

pub mod blob;
pub mod cli;
pub mod command;
pub mod config;
pub mod engine;
pub mod forward;
pub mod insight;
pub mod limits;
pub mod load;
pub mod logging;
pub mod memory;
pub mod metrics;
pub mod parcel;
pub mod process_stats;
pub mod protocol;
pub mod routing;
pub mod runtime;
pub mod session;
pub mod shard;
pub mod site;
#[cfg(feature = "stale-read")]
pub mod stale;
pub mod time;

#[cfg(all(feature = "stale-read", not(debug_assertions)))]
compile_error!("the feature stale-read makes a server that is wrong on purpose: it is for tests, and nobody's release");
