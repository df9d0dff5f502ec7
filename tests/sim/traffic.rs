//! What goes on between clients and cores: bytes, parcels, ends of connections.

use crate::client::{Connection, Expected, Kind};
use crate::fault::Fault;
use crate::plan::Form;
use crate::wire::Answer;
use crate::world::{Failure, Gone, Run, WALL_MS, World};
use cache_service::limits::{DISCARD_BYTES_MAX, RECEIVE_BUFFER_BYTES};
use cache_service::parcel::{Parcel, Work};
use cache_service::session::Flow;
use std::hash::{DefaultHasher, Hasher as _};

/// No connection is cut off for a silence that is shorter: it is the shortest of all timeouts.
const SILENCE_MS_MIN: u64 = 100;

impl World {
    /// At most `len` bytes of what a client has to say reach its core. True if any did.
    pub fn send(&mut self, client: usize, len: usize) -> Run<bool> {
        if !self.connect(client) {
            return Ok(false);
        }
        let Some(connection) = &self.clients[client].connection else { return Ok(false) };
        let core = connection.core;
        if !self.wake(core) {
            return Ok(false);
        }
        let mut left = len;
        while left > 0 && self.may_send(client) {
            left -= self.send_piece(client, left);
        }
        self.tell_of_end(client);
        self.end_turn(core);
        Ok(left < len)
    }

    fn may_send(&mut self, client: usize) -> bool {
        let it = &self.clients[client];
        let wants_to = !it.to_say.is_empty();
        let is_let = it.connection.as_ref().is_some_and(|it| it.receives && !it.is_closed);
        self.seen.note_if(wants_to && !is_let, "clients not read from");
        wants_to && is_let
    }

    /// True if the client has a connection that is open, and something to do on it.
    fn connect(&mut self, client: usize) -> bool {
        let it = &self.clients[client];
        if it.connection.is_some() {
            return true;
        }
        let core = it.next_core;
        if it.to_say.is_empty() || self.is_draining || !self.wake(core) {
            return false;
        }
        let now = self.now_at(core);
        let id = self.cores[usize::from(core)].engine.open(now).expect("there are few connections");
        self.serial += 1;
        self.clients[client].connection = Some(Connection {
            core,
            id,
            serial: self.serial,
            receives: true,
            lingers: false,
            is_closed: false,
            silent_ms: 0,
            awaits_room: false,
            kernel: Vec::new(),
            told_of_end: false,
            is_over: false,
            drops_body: false,
            hoarded: false,
            moved_ms: self.now_ms,
            delivered: 0,
        });
        true
    }

    /// One piece, as long as a buffer at most. Returns how many bytes that were.
    fn send_piece(&mut self, client: usize, most: usize) -> usize {
        let now_ms = self.now_ms;
        let it = &mut self.clients[client];
        let Some(delivered) = it.connection.as_ref().map(|it| it.delivered) else { return 0 };
        let head = it.expected.iter().find(|it| it.expects && it.begin <= delivered && delivered < it.head_end);
        let most = head.map_or(most, |head| most.min((head.head_end - delivered) as usize));
        let len = most.min(RECEIVE_BUFFER_BYTES).min(it.to_say.len());
        let piece: Vec<u8> = it.to_say.drain(..len).collect();
        let Some(connection) = &mut it.connection else { return len };
        connection.delivered += len as u64;
        connection.moved_ms = now_ms;
        if connection.lingers {
            self.seen.note("bytes dropped after the last answer");
            return len;
        }
        let (core, id, serial, delivered) = (connection.core, connection.id, connection.serial, connection.delivered);
        let engine = &mut self.cores[usize::from(core)].engine;
        if engine.peek_flow(id) == Flow::Paused {
            connection.receives = false;
            self.seen.note("clients stopped");
        }
        for expected in it.expected.iter_mut().filter(|it| !it.is_delivered && it.end <= delivered) {
            expected.is_delivered = true;
            for (key, op, verb) in &expected.ops {
                self.keys[usize::from(*key)].ask(*op, serial, now_ms, *verb);
            }
        }
        let now = self.now_at(core);
        let engine = &mut self.cores[usize::from(core)].engine;
        // As the runtime does where several connections have said something.
        let mut ahead = engine.read_ahead(&piece);
        engine.foresee(ahead.iter_mut().map(|it| (id, it)));
        engine.receive_foreseen(now, &mut self.lanes, id, &piece, ahead);
        self.tend(client);
        len
    }

    /// A core hears that a client which has said everything will say no more.
    fn tell_of_end(&mut self, client: usize) {
        let it = &mut self.clients[client];
        if !it.has_hung_up || !it.to_say.is_empty() {
            return;
        }
        let Some(connection) = &mut it.connection else { return };
        if connection.told_of_end || !connection.receives || connection.is_closed {
            return;
        }
        connection.told_of_end = true;
        connection.receives = false;
        let (core, id, lingers) = (connection.core, connection.id, connection.lingers);
        self.seen.note("clients that hung up");
        if lingers {
            return self.close(client);
        }
        let now = self.now_at(core);
        self.cores[usize::from(core)].engine.peer_closed(now, &mut self.lanes, id);
        self.tend(client);
    }

    /// The client says no more; every other time in the middle of a request.
    pub fn hang_up(&mut self, client: usize) {
        let it = &mut self.clients[client];
        let Some(connection) = &it.connection else { return };
        if it.has_hung_up {
            return;
        }
        it.has_hung_up = true;
        if connection.serial % 2 == 0 {
            let delivered = connection.delivered;
            it.to_say.clear();
            it.expected.retain(|expected| expected.begin < delivered);
        }
    }

    /// A client takes at most `len` bytes that the kernel has for it. True if there were any, or the connection ended.
    pub fn hear(&mut self, client: usize, len: usize) -> Run<bool> {
        let now_ms = self.now_ms;
        let it = &mut self.clients[client];
        let Some(connection) = &mut it.connection else { return Ok(false) };
        let len = len.min(connection.kernel.len());
        if len > 0 {
            connection.moved_ms = now_ms;
        }
        it.heard.extend(connection.kernel.drain(..len));
        let core = connection.core;
        if self.wake(core) {
            self.end_turn(core);
        }
        while let Some(answer) = self.next_answer(client)? {
            self.judge(client, answer)?;
        }
        let it = self.clients[client].connection.as_ref();
        let has_ended = it.is_some_and(|it| it.kernel.is_empty() && (it.is_closed || it.lingers));
        if has_ended {
            self.end(client)?;
        }
        Ok(len > 0 || has_ended)
    }

    fn next_answer(&mut self, client: usize) -> Run<Option<Answer>> {
        let it = &mut self.clients[client];
        if it.heard.is_empty() {
            return Ok(None);
        }
        let is_head = it.expected.front().is_some_and(Expected::is_head);
        let found = Answer::first(&it.heard, is_head).map_err(|error| Failure::new("not an answer", error))?;
        let Some((answer, len)) = found else { return Ok(None) };
        if !(answer.status == 200 && self.lanes.faults.strikes(Fault::RepeatedAnswer)) {
            it.heard.drain(..len);
        }
        Ok(Some(answer))
    }

    fn judge(&mut self, client: usize, answer: Answer) -> Run {
        if answer.status == 100 {
            self.seen.note("clients invited to send a body");
            return Ok(());
        }
        let it = &mut self.clients[client];
        if it.expected.len() > 1 && self.lanes.faults.strikes(Fault::SwappedAnswers) {
            it.expected.swap(0, 1);
        }
        let connection = it.connection.as_mut().expect("whoever hears is connected");
        if connection.is_over {
            return Err(Failure::new("an answer after the last one", answer.text()));
        }
        connection.is_over = answer.closes();
        let is_over = connection.is_over;
        let Some(expected) = it.expected.pop_front() else {
            // The last word to a client that said nothing, or not enough.
            let is_last = answer.status == 408 && is_over;
            return if is_last { Ok(()) } else { Err(Failure::new("an answer to nothing", answer.text())) };
        };
        if answer.field("X-Request-ID") != Some(&expected.id) && answer.status != 408 {
            let text = format!("{:?} for {}: {}", answer.field("X-Request-ID"), expected.id, answer.text());
            return Err(Failure::new("an answer to another request", text));
        }
        connection.drops_body |= answer.status >= 400 && expected.end - expected.head_end > DISCARD_BYTES_MAX;
        let answer = self.spoil(&expected, answer);
        self.believe(client, &expected, &answer)?;
        if is_over { self.never(client) } else { Ok(()) }
    }

    /// What follows from an answer.
    fn believe(&mut self, client: usize, expected: &Expected, answer: &Answer) -> Run {
        let (status, is_page) = (answer.status, expected.kind == Kind::Page);
        self.note_answer(expected, answer);
        // What pages tell depends on how long this took.
        let digest = if is_page { 0 } else { digest(&answer.body) };
        self.history.push(format!("{} {client} {} {status} {digest:x}", self.now_ms, expected.id));
        self.check_refusal(expected, answer)?;
        let told = expected.told(answer, WALL_MS);
        let told =
            told.map_err(|error| Failure::new("an answer that says nothing", format!("{expected:?}: {error}")))?;
        for ((key, op, _), told) in expected.ops.iter().zip(&told) {
            let so_far = self.keys[usize::from(*key)].tell(*op, self.now_ms, *told);
            so_far.map_err(|error| Failure::new("an answer that cannot be", format!("key {key}: {error}")))?;
        }
        self.clients[client].learn(expected, &told);
        Ok(())
    }

    /// The requests after the last one that is answered have not been looked at.
    fn never(&mut self, client: usize) -> Run {
        for expected in std::mem::take(&mut self.clients[client].expected) {
            for (key, op, _) in expected.ops.iter().filter(|_| expected.is_delivered) {
                let so_far = self.keys[usize::from(*key)].never(*op);
                so_far.map_err(|error| Failure::new("done without an answer", error))?;
            }
        }
        Ok(())
    }

    /// The core has ended a connection, and the client has heard all of it.
    fn end(&mut self, client: usize) -> Run {
        let it = &mut self.clients[client];
        let Some(connection) = it.connection.take() else { return Ok(()) };
        let was_silent = connection.silent_ms >= SILENCE_MS_MIN;
        let was_cut_off = was_silent || (connection.hoarded && !self.is_gentle);
        let has_reason = connection.is_over || connection.drops_body || it.has_hung_up || was_cut_off;
        if !has_reason || (!it.heard.is_empty() && !was_cut_off) {
            let text = format!("{} unanswered, {} bytes heard of {connection:?}", it.expected.len(), it.heard.len());
            return Err(Failure::new("a connection ends without a reason", text));
        }
        self.seen.note_if(was_silent, "connections cut off for silence");
        self.seen.note_if(connection.hoarded, "connections cut off for hoarding");
        self.seen.note_if(connection.drops_body && !connection.is_over, "connections ended in a body that was refused");
        self.abandon(&connection);
        self.leave_requests(client, &connection);
        self.clients[client].begin_anew();
        Ok(())
    }

    /// Nobody waits for what a client has asked.
    fn leave_requests(&mut self, client: usize, connection: &Connection) {
        let expected = std::mem::take(&mut self.clients[client].expected);
        let delivered = expected.iter().filter(|expected| expected.is_delivered);
        let ops: Vec<_> = delivered.flat_map(|expected| expected.ops.iter().map(|(key, op, _)| (*key, *op))).collect();
        for (key, op) in &ops {
            self.keys[usize::from(*key)].leave(*op);
        }
        self.gone.push(Gone { core: connection.core, sent: u64::MAX, ops });
    }

    /// A client drops its connection in the middle of whatever.
    pub fn vanish(&mut self, client: usize, next_core: u16) {
        let next_core = next_core % self.cores.len() as u16;
        let it = &mut self.clients[client];
        it.next_core = next_core;
        let Some(connection) = it.connection.take() else { return };
        let half = it.expected.iter().find(|it| it.begin < connection.delivered && connection.delivered < it.end);
        if let Some(half) = half {
            let in_head = connection.delivered < half.head_end;
            self.seen.note(if in_head {
                "vanished in the middle of a head"
            } else {
                "vanished in the middle of a body"
            });
        }
        self.seen.note_if(!it.heard.is_empty(), "vanished in the middle of an answer");
        self.seen.note_if(it.expected.iter().any(|it| it.is_delivered), "vanished with requests in progress");
        self.abandon(&connection);
        self.leave_requests(client, &connection);
        self.clients[client].begin_anew();
    }

    /// A parcel has come to a core.
    pub fn arrive(&mut self, core: u16, leads_back: bool, mut parcel: Box<Parcel>) {
        let now = self.now_at(core);
        if leads_back {
            self.lanes.under_way[usize::from(core)] -= 1;
            self.cores[usize::from(core)].engine.come_back(now, &mut self.lanes, parcel);
            return;
        }
        let is_write = parcel.work.is_commands() && parcel.len() == 1 && !parcel.is_quick() && parcel.long_bytes() == 0;
        if is_write && self.lanes.faults.strikes(Fault::LostWrite) {
            self.twin(core).carry_out(now, &mut self.lanes, parcel);
            return;
        }
        if let Work::Release(leases) = &mut parcel.work
            && self.lanes.faults.strikes(Fault::LeakedLease)
        {
            leases.clear();
        }
        if self.lanes.faults.strikes(Fault::SilentLoss) {
            self.delete_everything(core);
        }
        self.cores[usize::from(core)].engine.carry_out(now, &mut self.lanes, parcel);
    }

    /// Makes of an answer what a fault makes of it.
    fn spoil(&mut self, expected: &Expected, mut answer: Answer) -> Answer {
        let faults = &mut self.lanes.faults;
        let is_put = expected.kind == Kind::Put;
        if is_put && matches!(answer.status, 200 | 201) && faults.strikes(Fault::LyingRefusal) {
            answer.status = 503;
        }
        if expected.kind == Kind::Get(Form::Raw) && answer.status == 200 {
            if faults.strikes(Fault::UnknownRefusal) {
                answer.status = 503;
            }
            if faults.has(Fault::StaleRead) {
                let first = self.stale.entry(expected.ops[0].0).or_insert_with(|| answer.clone());
                if first.body != answer.body && faults.strikes(Fault::StaleRead) {
                    return first.clone();
                }
            }
        }
        if expected.kind == Kind::Delete && answer.status == 409 && faults.strikes(Fault::LyingSuccess) {
            answer.status = 204;
        }
        answer
    }
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
