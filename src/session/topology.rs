//! What a client must know to send each request to the core that owns its key.

use super::{Context, Session};
use crate::engine::host::Host;
use crate::protocol::answer;
use crate::protocol::head::Head;
use crate::protocol::route::Route;
use crate::routing::{HASH_NAME, OWNER_RULE, Router};
use serde::Serialize;

/// The answer of `/v1/topology`.
#[derive(Serialize)]
struct Topology<'p> {
    shards: u16,
    hash: &'static str,
    /// 16 hexadecimal digits each: a number of JSON keeps 53 bits only.
    seed: [String; 2],
    owner: &'static str,
    #[serde(skip_serializing_if = "<[u16]>::is_empty")]
    ports: &'p [u16],
}

impl<'p> Topology<'p> {
    fn new(router: &Router, ports: &'p [u16]) -> Self {
        let seed = router.seed().map(|half| format!("{half:016x}"));
        Self { shards: router.shards(), hash: HASH_NAME, seed, owner: OWNER_RULE, ports }
    }
}

impl Session {
    /// Answers from what every core knows.
    pub(super) fn tell_topology<H: Host>(&mut self, cx: &mut Context<'_, H>, head: &Head<'_>) -> usize {
        let mut ticket = self.ticket(cx, head, Route::Topology);
        ticket.keep_alive &= self.skip_body(cx, head);
        let topology = Topology::new(&cx.parts.router, &cx.parts.shard_ports);
        let body = serde_json::to_vec(&topology).expect("strings and numbers always have a JSON text");
        let date = cx.parts.date(cx.now);
        let mut bytes = self.outbox.begin(cx.parts);
        answer::json(&mut bytes, &ticket.head(&date), 200, &body);
        self.outbox.finish(cx, bytes, None, ticket.answered(self.id, 200, cx.now.mono()));
        self.request_ends(cx, ticket.keep_alive);
        0
    }
}
