//! The short way: GETs that say no more than most do. Several that are there together are read before the first is answered,
//! so that their waits for memory overlap. What they are answered is the same as by the long way, [`super::request`].

use super::ticket::Ticket;
use super::writing::no_such_key;
use super::{Context, Session};
use crate::command::{Command, Verb};
use crate::engine::host::Host;
use crate::engine::parts::{AnsweredAlike, AnsweredHow, Parts};
use crate::limits::READ_AHEAD_MAX;
use crate::protocol::answer::AnswerHead;
use crate::protocol::familiar::{GET, PLAIN_KEY_AT, plain_line};
use crate::protocol::route::{Method, Route};
use crate::routing::KeyHash;
use crate::shard::{Glance, Spot};
use smallvec::SmallVec;

/// A plain GET from who may ask, at the beginning of what was received.
#[derive(Clone, Copy, Debug)]
pub struct Plain {
    hash: KeyHash,
    key_len: usize,
    /// How many bytes it took.
    len: usize,
    /// Whether this core owns the key.
    is_own: bool,
    /// Where the entry may lie; nowhere as long as it was not foreseen.
    spot: Spot,
}

impl Plain {
    fn key<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        &bytes[PLAIN_KEY_AT..PLAIN_KEY_AT + self.key_len]
    }
}

impl Parts {
    /// Reads the plain GET that `bytes` begin with, if one does that may be answered. `fields` are those of the request before:
    /// who sends the same again is the same, and to compare what a client has sent with what it sends tells it nothing.
    fn read_plain<'b>(&mut self, bytes: &'b [u8], fields: &mut Option<&'b [u8]>) -> Option<Plain> {
        let (key, rest) = plain_line(bytes)?;
        let fields = match *fields {
            Some(same) if rest.starts_with(same) => same,
            _ => {
                let (len, credentials) = self.heads.plain_fields(rest)?;
                if self.settings.read_requires_auth {
                    self.settings.tokens.check(&credentials).ok()?;
                }
                *fields.insert(&rest[..len])
            }
        };
        let hash = self.router.hash(key);
        let is_own = self.router.owner(hash) == self.me;
        if is_own {
            self.shard.foresee(hash);
        }
        Some(Plain {
            hash,
            key_len: key.len(),
            len: PLAIN_KEY_AT + key.len() + fields.len(),
            is_own,
            spot: Spot::default(),
        })
    }

    /// Whether nothing of what all connections share speaks against one more request.
    fn takes_plain(&self) -> bool {
        !self.are_buffers_full() && !self.are_places_contested()
    }

    /// Reads the plain GET that `bytes`, which have just been received, begin with, if one does that may be answered: for
    /// [`Parts::foresee_all`], and for [`Session::receive`] before anything else happens to the rules.
    pub(crate) fn read_ahead(&mut self, bytes: &[u8]) -> Option<Plain> {
        self.read_plain(bytes, &mut None)
    }

    /// Has the processor fetch what it takes to answer these. A lookup is two waits for memory, the first of which tells where the
    /// second goes: so the first of all of them, which began as they were read, comes before the second of any.
    pub(crate) fn foresee_all<'p>(&self, ahead: impl Iterator<Item = &'p mut Plain>) {
        ahead.filter(|it| it.is_own).for_each(|it| it.spot = self.shard.foresee_entry(it.hash));
    }
}

impl Session {
    /// Answers the plain GETs at the beginning of `bytes`, or asks other cores for them; `first` is the first of them, if it
    /// was read and foreseen already. Returns how many bytes they took; 0 if the first request is to go the long way.
    pub(super) fn read_plain<H: Host>(&mut self, cx: &mut Context<'_, H>, bytes: &[u8], first: Option<Plain>) -> usize {
        let may_be_plain = first.is_some() || bytes.starts_with(GET);
        if !may_be_plain || cx.parts.draining || !self.may_take_on() || !cx.parts.takes_plain() {
            return 0;
        }
        let most = READ_AHEAD_MAX.min(self.outbox.places_left());
        let mut ahead: SmallVec<[Plain; READ_AHEAD_MAX]> = first.into_iter().collect();
        let mut end = first.map_or(0, |first| first.len);
        let mut fields = first.map(|first| &bytes[PLAIN_KEY_AT + first.key_len..end]);
        while ahead.len() < most
            && let Some(plain) = cx.parts.read_plain(&bytes[end..], &mut fields)
        {
            end += plain.len;
            ahead.push(plain);
        }
        if ahead.len() > 1 {
            cx.parts.foresee_all(ahead.iter_mut());
        }
        let used = self.answer_all_plain(cx, bytes, &ahead);
        if used > 0 {
            self.head_began_at = None;
            self.forget_waiting();
        }
        used
    }

    /// Answers the requests that `bytes` begin with, or asks other cores for them, in order and as far as they may be taken
    /// on. Returns how many bytes they took.
    fn answer_all_plain<H: Host>(&mut self, cx: &mut Context<'_, H>, bytes: &[u8], all: &[Plain]) -> usize {
        let date = cx.parts.date(cx.now);
        let mut run = AnsweredAlike::default();
        let (mut used, mut are_places_sure) = (0, true);
        for it in all {
            if !self.may_take_on() || !are_places_sure && !cx.parts.takes_plain() {
                break;
            }
            let key = it.key(&bytes[used..]);
            match self.answer_plain(cx, it, key, &date) {
                Some(how) if how == run.how => run.times += 1,
                Some(how) => {
                    cx.parts.answered_at_once(cx.now.mono(), self.id(), run);
                    run = AnsweredAlike { how, times: 1 };
                }
                None => {
                    // Only what is not answered at once takes a place. It may be answered before this call is over, and what
                    // was answered before it is told before it.
                    are_places_sure = false;
                    cx.parts.answered_at_once(cx.now.mono(), self.id(), std::mem::take(&mut run));
                    let verb = Verb::Get { unless: None, with_value: true };
                    let ticket = plain_ticket(cx);
                    self.ask(cx, ticket, Command { key, hash: it.hash, verb });
                }
            }
            used += it.len;
        }
        cx.parts.answered_at_once(cx.now.mono(), self.id(), run);
        used
    }

    /// Answers a plain GET at once, if its key is this core's, it is its turn, and its value is near at hand; says how.
    fn answer_plain<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        it: &Plain,
        key: &[u8],
        date: &[u8; 29],
    ) -> Option<AnsweredHow> {
        if !it.is_own || self.outbox.has_slots() {
            return None;
        }
        let Parts { shard, hot_keys, metrics, prepared_head, request_ids, spare_outputs, .. } = &mut *cx.parts;
        let found = shard.glance(cx.now, key, it.hash, it.spot)?;
        hot_keys.note(key, it.hash);
        metrics.local += 1;
        let paced_by_peer = self.outbox.has_output();
        let out = self.outbox.straight(spare_outputs);
        let status = match found {
            Glance::Found { kind, version, value } => {
                prepared_head.write(out, request_ids.next_number(), kind, version, value);
                200
            }
            Glance::Missing => {
                let id = request_ids.fresh();
                let (http11, keep_alive, head_only) = (true, true, false);
                let head = AnswerHead { request_id: id.text(), date, http11, keep_alive, head_only };
                no_such_key(out, &head)
            }
        };
        Some(AnsweredHow { status, paced_by_peer })
    }
}

fn plain_ticket<H: Host>(cx: &mut Context<'_, H>) -> Ticket {
    Ticket {
        started: cx.now.mono(),
        received: cx.now.mono(),
        asked: None,
        method: Method::Get,
        route: Route::Kv,
        http11: true,
        keep_alive: true,
        id: cx.parts.request_ids.fresh(),
        include_meta: false,
        raw: false,
        expected: None,
    }
}
