//! What travels between cores: questions on the way out, the same parcel with the answers on the way back.

use crate::command::{Command, LeaseId, Meta, Outcome, Payload, Put, Refusal, Span, Value, Verb};
use crate::insight::{Question, Report};
use crate::limits::BUFFER_KEEP_BYTES;
use crate::routing::{KeyHash, ShardId};
use crate::time::Mono;
use smallvec::SmallVec;

/// Names a parcel at the core that sent it; never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ParcelId(pub u64);

/// What a parcel asks for, and then holds.
#[derive(Debug, Default)]
pub enum Work {
    /// Apply the commands to the shard; the outcomes come back in the same order.
    #[default]
    Commands,
    /// Copy the bytes of a leased value from `offset` up to the end of its chunk into the answer.
    Pull {
        /// The lease.
        lease: LeaseId,
        /// Where to begin.
        offset: u64,
    },
    /// Release leases.
    Release(Vec<LeaseId>),
    /// Tell something of the core itself.
    Tell {
        /// What.
        question: Question,
        /// The answer, once the core has given it.
        report: Option<Report>,
    },
}

impl Work {
    /// Whether these are commands on keys, which may find their lane full.
    #[must_use]
    pub const fn is_commands(&self) -> bool {
        matches!(self, Self::Commands)
    }
}

/// One burst of work for another core. It is allocated once, used again and again by the core that made it, and
/// belongs to one core at a time.
#[derive(Debug)]
pub struct Parcel {
    /// Its name at the sender.
    pub id: ParcelId,
    /// The core that sent it and waits for it to come back.
    pub from: ShardId,
    /// The core that it is for.
    pub to: ShardId,
    /// When it was sent. A wake-up of its owner may have begun before and been interrupted since: what is asked for
    /// counts as asked for no earlier than this.
    pub sent: Mono,
    /// The owner refuses commands that it sees after this moment. Only the owner decides, so the sender never calls
    /// a write failed that then takes place.
    pub deadline: Mono,
    /// How long its owner worked on it, in nanoseconds.
    pub shard_nanos: u64,
    /// What is asked.
    pub work: Work,
    // One of each lies in the parcel itself: what is next to each other travels faster from core to core.
    commands: SmallVec<[Command<Span>; 1]>,
    outcomes: SmallVec<[Outcome<Span>; 1]>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Parcel {
    /// An empty parcel of the core `from`.
    #[must_use]
    pub fn new(from: ShardId) -> Self {
        Self {
            id: ParcelId(0),
            from,
            to: from,
            sent: Mono::default(),
            deadline: Mono::default(),
            shard_nanos: 0,
            work: Work::Commands,
            commands: SmallVec::new(),
            outcomes: SmallVec::new(),
            request: Vec::new(),
            answer: Vec::new(),
        }
    }

    /// Empties the parcel for its next journey. Its buffers are kept unless they grew large.
    pub fn clear(&mut self) {
        self.work = Work::Commands;
        self.sent = Mono::default();
        self.shard_nanos = 0;
        self.commands.clear();
        self.outcomes.clear();
        for buffer in [&mut self.request, &mut self.answer] {
            buffer.clear();
            buffer.shrink_to(BUFFER_KEEP_BYTES);
        }
    }

    /// Adds a command; its borrowed bytes are copied into the parcel.
    pub fn push(&mut self, command: Command<&[u8]>) {
        let bytes = &mut self.request;
        let key = stow(bytes, command.key);
        let verb = match command.verb {
            Verb::Get { unless, with_value } => Verb::Get { unless, with_value },
            Verb::Delete { conditions } => Verb::Delete { conditions },
            Verb::Incr { delta, ttl } => Verb::Incr { delta, ttl },
            Verb::Put(put) => Verb::Put(Put {
                kind: put.kind,
                payload: match put.payload {
                    Payload::Inline(value) => Payload::Inline(stow(bytes, value)),
                    Payload::Blob(blob) => Payload::Blob(blob),
                },
                raw_len: put.raw_len,
                media: stow(bytes, put.media),
                ttl: put.ttl,
                conditions: put.conditions,
            }),
        };
        self.commands.push(Command { key, hash: command.hash, verb });
    }

    /// The memory that it takes, in bytes, apart from long values.
    #[must_use]
    pub fn footprint(&self) -> u64 {
        let commands = if self.commands.spilled() { self.commands.capacity() } else { 0 };
        let outcomes = if self.outcomes.spilled() { self.outcomes.capacity() } else { 0 };
        let lists = commands * size_of::<Command<Span>>() + outcomes * size_of::<Outcome<Span>>();
        (size_of::<Self>() + lists + self.request.capacity() + self.answer.capacity()) as u64
    }

    /// Whether it takes less to carry out than to look at the clock: it is one read.
    #[must_use]
    pub fn is_quick(&self) -> bool {
        matches!(self.commands.as_slice(), [Command { verb: Verb::Get { .. }, .. }])
    }

    /// The memory that the long values in its commands take, in bytes.
    #[must_use]
    pub fn long_bytes(&self) -> u64 {
        let of_command = |command: &Command<Span>| match &command.verb {
            Verb::Put(Put { payload: Payload::Blob(blob), .. }) => blob.footprint(),
            _ => 0,
        };
        if self.work.is_commands() { self.commands.iter().map(of_command).sum() } else { 0 }
    }

    /// How many commands it carries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether it carries no command.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// The hashes of the keys of all commands.
    pub fn hashes(&self) -> impl Iterator<Item = KeyHash> {
        self.commands.iter().map(|command| command.hash)
    }

    /// The key of the command at `place`.
    #[must_use]
    pub fn key(&self, place: usize) -> &[u8] {
        at(&self.request, self.commands[place].key)
    }

    /// Carries out the commands, in order, by `apply`, and keeps the outcomes. Payloads in chunks move out.
    pub fn apply(&mut self, mut apply: impl FnMut(Command<&[u8]>, &mut OutcomeSink<'_>)) {
        assert!(self.outcomes.is_empty(), "a parcel is carried out once");
        let Self { commands, request, outcomes, answer, .. } = self;
        for command in commands {
            let before = outcomes.len();
            apply(borrowed(command, request), &mut OutcomeSink { outcomes, answer });
            assert!(outcomes.len() == before + 1, "every command has one outcome");
        }
    }

    /// The outcome of the command at `place`, once the parcel is back.
    #[must_use]
    pub fn outcome(&self, place: usize) -> Outcome<&[u8]> {
        self.outcomes[place].clone().map(|span| at(&self.answer, span))
    }

    /// The entry that the command at `place` has found, if it has found one, once the parcel is back.
    #[must_use]
    pub fn found(&self, place: usize) -> Option<(&Meta, Value<&[u8]>)> {
        match &self.outcomes[place] {
            Outcome::Found { meta, value, .. } => Some((meta, value.map(|span| at(&self.answer, span)))),
            _ => None,
        }
    }

    /// Whether the command at `place` has found no entry, once the parcel is back.
    #[must_use]
    pub fn is_missing(&self, place: usize) -> bool {
        matches!(self.outcomes[place], Outcome::Missing)
    }

    /// Why a command was not carried out, if one was not, once the parcel is back.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        self.outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Refused(refusal) => Some(*refusal),
            _ => None,
        })
    }

    /// The leases among the outcomes, which somebody must release.
    pub fn leases(&self) -> impl Iterator<Item = LeaseId> {
        self.outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Found { value: Value::Leased(lease), .. } => Some(*lease),
            _ => None,
        })
    }

    /// The bytes of a [`Work::Pull`], once the parcel is back.
    #[must_use]
    pub fn pulled(&self) -> &[u8] {
        &self.answer
    }

    /// Puts the bytes of a [`Work::Pull`] into the answer.
    pub fn put_pulled(&mut self, bytes: &[u8]) {
        self.answer.extend_from_slice(bytes);
    }
}

/// Where the owner leaves the outcome of a command that came in a parcel.
#[derive(Debug)]
pub struct OutcomeSink<'p> {
    outcomes: &'p mut SmallVec<[Outcome<Span>; 1]>,
    answer: &'p mut Vec<u8>,
}

impl OutcomeSink<'_> {
    /// Leaves word that nothing was done.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.outcomes.push(Outcome::Refused(refusal));
    }

    /// Copies `outcome` into the parcel.
    pub fn put(&mut self, outcome: Outcome<&[u8]>) {
        self.outcomes.push(outcome.map(|bytes| stow(self.answer, bytes)));
    }
}

fn stow(buffer: &mut Vec<u8>, bytes: &[u8]) -> Span {
    let start = buffer.len();
    buffer.extend_from_slice(bytes);
    let place = |at: usize| u32::try_from(at).expect("a parcel holds short values only: far less than 4 GiB");
    Span { start: place(start), end: place(buffer.len()) }
}

fn at(buffer: &[u8], span: Span) -> &[u8] {
    &buffer[span.start as usize..span.end as usize]
}

fn borrowed<'p>(command: &mut Command<Span>, bytes: &'p [u8]) -> Command<&'p [u8]> {
    let verb = match &mut command.verb {
        Verb::Get { unless, with_value } => Verb::Get { unless: unless.take(), with_value: *with_value },
        Verb::Delete { conditions } => Verb::Delete { conditions: std::mem::take(conditions) },
        Verb::Incr { delta, ttl } => Verb::Incr { delta: *delta, ttl: *ttl },
        Verb::Put(put) => Verb::Put(Put {
            kind: put.kind,
            payload: match &mut put.payload {
                Payload::Inline(span) => Payload::Inline(at(bytes, *span)),
                Payload::Blob(blob) => Payload::Blob(std::mem::take(blob)),
            },
            raw_len: put.raw_len,
            media: at(bytes, put.media),
            ttl: put.ttl,
            conditions: std::mem::take(&mut put.conditions),
        }),
    };
    Command { key: at(bytes, command.key), hash: command.hash, verb }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Conditions, ValueKind, Version};
    use crate::time::Ttl;

    #[test]
    fn commands_and_outcomes_keep_their_bytes_and_their_order() {
        let mut parcel = Parcel::new(ShardId(3));
        for round in 0..3_u64 {
            for (key, value) in [(&b"a"[..], &b"\"one\""[..]), (b"bb", b"2")] {
                parcel.push(Command {
                    key,
                    hash: KeyHash(round),
                    verb: Verb::Put(Put {
                        kind: ValueKind::String,
                        payload: Payload::Inline(value),
                        raw_len: 3,
                        media: b"",
                        ttl: Ttl::NONE,
                        conditions: Conditions::default(),
                    }),
                });
            }
            let mut seen = Vec::new();
            parcel.apply(|command, sink| {
                let Verb::Put(Put { payload: Payload::Inline(value), .. }) = command.verb else { panic!("a put") };
                seen.push((command.key.to_vec(), value.to_vec()));
                sink.put(Outcome::Written { created: true, version: Version(seen.len() as u64), expires_at: None });
            });
            assert_eq!(seen, [(b"a".to_vec(), b"\"one\"".to_vec()), (b"bb".to_vec(), b"2".to_vec())]);
            assert_eq!(parcel.key(1), b"bb");
            assert_eq!(parcel.outcome(1), Outcome::Written { created: true, version: Version(2), expires_at: None });
            parcel.clear();
            assert!(parcel.is_empty());
        }
    }
}
