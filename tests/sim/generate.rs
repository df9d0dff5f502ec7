//! From a seed to a plan.

use crate::chance::Chance;
use crate::model::LAG_MS_MAX;
use crate::plan::{Ask, Form, On, Plan, Rules, Sent, Shape, Step, Value};

/// Most clients of a run.
pub const CLIENTS_MAX: u64 = 7;
/// Keys that the clients share.
pub const KEYS: u8 = 14;
const STEPS_MIN: u64 = 150;
const STEPS_MAX: u64 = 650;

/// What kind of trouble a run has most of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    /// No trouble at all: nothing may be refused.
    Gentle,
    Mixed,
    /// Little memory, long values, other budgets while it runs.
    Tight,
    /// Lanes that are full, cores that stand still.
    Jammed,
    /// Clients that read little, say little at a time, and leave.
    Rude,
}

struct Generator {
    chance: Chance,
    mood: Mood,
    cores: u16,
    clients: u64,
    rules: Rules,
    steps: Vec<Step>,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let moods = [Mood::Gentle, Mood::Mixed, Mood::Mixed, Mood::Tight, Mood::Tight, Mood::Jammed, Mood::Rude];
        let mood = chance.of(&moods);
        let most = if mood == Mood::Tight { 3 } else { 8 };
        let cores = chance.between(1, most).min(chance.between(1, most)) as u16;
        let clients = chance.between(1, CLIENTS_MAX);
        let rules = first_rules(&mut chance, mood);
        let shape = Shape {
            cores,
            lru: chance.one_in(3),
            rules,
            mailbox_max: if mood == Mood::Gentle { 4_096 } else { chance.of(&[2, 8, 64, 1_000]) },
            socket_bytes: chance.of(&[500, 20_000, 200_000]),
        };
        let mut generator = Generator { chance, mood, cores, clients, rules, steps: Vec::new() };
        let len = generator.chance.between(STEPS_MIN, STEPS_MAX) as usize;
        while generator.steps.len() < len {
            generator.step();
        }
        if mood != Mood::Gentle && generator.chance.one_in(3) {
            generator.end_by_draining();
        }
        Self { seed, shape, steps: generator.steps }
    }
}

fn first_rules(chance: &mut Chance, mood: Mood) -> Rules {
    let shard_budget = match mood {
        Mood::Gentle => None,
        Mood::Tight => Some(chance.of(&[512, 640, 768, 1_024]) << 10),
        _ => chance.of(&[None, Some(1 << 20), Some(8 << 20)]),
    };
    let inflight_max = if mood == Mood::Gentle { 1_000 } else { chance.of(&[3, 20, 1_000]) };
    let request_timeout_ms = if mood == Mood::Gentle { 3_600_000 } else { 500 };
    Rules { shard_budget, inflight_max, max_item_bytes: 1 << 20, request_timeout_ms }
}

impl Generator {
    fn client(&mut self) -> u8 {
        self.chance.below(self.clients) as u8
    }

    fn core(&mut self) -> u16 {
        self.chance.below(u64::from(self.cores)) as u16
    }

    fn key(&mut self) -> u8 {
        // Some keys are hot.
        if self.chance.one_in(3) { self.chance.below(3) as u8 } else { self.chance.below(u64::from(KEYS)) as u8 }
    }

    fn pick(&mut self) -> u16 {
        self.chance.next() as u16
    }

    fn step(&mut self) {
        let step = match self.chance.below(100) {
            0..=29 => return self.ask_and_perhaps_send(),
            30..=44 => self.send(),
            45..=60 => Step::Carry { pick: self.pick(), most: self.chance.of(&[1, 1, 2, 30]) },
            61..=73 => Step::Bring { pick: self.pick(), most: self.chance.of(&[1, 1, 2, 30]) },
            74..=86 => self.hear(),
            87..=91 => Step::Pass { millis: self.chance.of(&[1, 3, 20, 100]) },
            92 => Step::Page { pick: self.pick() },
            93 => Step::Lag { core: self.core(), millis: self.chance.below(LAG_MS_MAX + 1) as u8 },
            _ if self.mood == Mood::Gentle => Step::Pass { millis: 1 },
            _ => self.trouble(),
        };
        self.steps.push(step);
    }

    fn send(&mut self) -> Step {
        let most = if self.mood == Mood::Rude || self.chance.one_in(4) { 40 } else { 250_000 };
        Step::Send { client: self.client(), len: self.chance.between(1, most) as u32 }
    }

    fn hear(&mut self) -> Step {
        let most = if self.mood == Mood::Rude || self.chance.one_in(4) { 300 } else { 300_000 };
        Step::Hear { client: self.client(), len: self.chance.between(1, most) as u32 }
    }

    fn trouble(&mut self) -> Step {
        let (often, rarely) = match self.mood {
            Mood::Jammed => (0..=4, 5..=5),
            Mood::Rude => (0..=0, 1..=6),
            _ => (0..=1, 2..=3),
        };
        match self.chance.below(8) {
            n if often.contains(&n) => self.jam(),
            n if rarely.contains(&n) => self.leave(),
            6 if self.chance.one_in(3) => Step::Pass { millis: self.chance.of(&[300, 700, 2_500, 12_000, 65_000]) },
            6 => Step::Pass { millis: self.chance.of(&[300, 700, 1_200]) },
            _ => self.reload(),
        }
    }

    fn jam(&mut self) -> Step {
        let core = self.core();
        if self.chance.one_in(2) {
            return Step::Fill { core, parcels: self.chance.between(1, 6) as u8 };
        }
        Step::Pause { core, millis: self.chance.of(&[20, 200, 490, 700, 3_000]) }
    }

    fn leave(&mut self) -> Step {
        let client = self.client();
        if self.chance.one_in(4) { Step::HangUp { client } } else { Step::Vanish { client, next_core: self.core() } }
    }

    fn reload(&mut self) -> Step {
        let mut rules = self.rules;
        match self.chance.below(4) {
            0 => rules.request_timeout_ms = self.chance.of(&[100, 500, 2_000]),
            1 => rules.inflight_max = self.chance.of(&[1, 3, 20, 1_000]),
            2 => rules.max_item_bytes = self.chance.of(&[1_000, 50_000, 1 << 20]),
            _ => rules.shard_budget = Some(self.chance.of(&[512, 600, 1_024, 4_096, 65_536]) << 10),
        }
        self.rules = rules;
        Step::Reload { rules }
    }

    fn ask_and_perhaps_send(&mut self) {
        let (client, ask) = (self.client(), self.ask());
        self.steps.push(Step::Ask { client, ask });
        if !self.chance.one_in(4) {
            let len = if self.chance.one_in(4) { self.chance.between(1, 400) as u32 } else { 300_000 };
            self.steps.push(Step::Send { client, len });
        }
    }

    fn value(&mut self) -> Value {
        let is_tight = self.mood == Mood::Tight;
        let longest = match self.chance.below(12) {
            0..=1 if is_tight => 16_300,
            2..=4 if is_tight => 60_000,
            5 | 6 if is_tight => 230_000,
            0..=6 => 100,
            7..=8 => 3_000,
            9 => 16_300,
            10 => 20_000,
            _ => 150_000,
        };
        let len = self.chance.between(longest / 3 + 1, longest) as u32;
        match self.chance.below(5) {
            0 => Value::Number(self.chance.below(100) as i32),
            1 => Value::Bytes(len),
            _ => Value::Text(len),
        }
    }

    fn ttl_secs(&mut self) -> u8 {
        if self.chance.one_in(4) { self.chance.between(1, 3) as u8 } else { 0 }
    }

    fn on(&mut self) -> On {
        if !self.chance.one_in(3) {
            return On::Always;
        }
        self.chance.of(&[On::Absent, On::There, On::Known, On::Known, On::NotKnown])
    }

    fn keys(&mut self) -> Vec<u8> {
        let most = self.chance.of(&[1, 4, 10]);
        (0..self.chance.between(1, most)).map(|_| self.key()).collect()
    }

    fn ask(&mut self) -> Ask {
        let key = self.key();
        match self.chance.below(20) {
            0..=5 => {
                let form = self.chance.of(&[Form::Json, Form::Raw, Form::Raw, Form::Head]);
                let on = if self.chance.one_in(4) { On::NotKnown } else { On::Always };
                Ask::Get { key, form, on }
            }
            6..=10 => {
                let sent = self.chance.of(&[Sent::Length, Sent::Length, Sent::Length, Sent::Chunked, Sent::Expecting]);
                Ask::Put { key, value: self.value(), ttl_secs: self.ttl_secs(), on: self.on(), sent }
            }
            11..=12 => Ask::Delete { key, on: self.on() },
            13..=14 => Ask::Incr { key, delta: self.chance.below(9) as i8 - 4, ttl_secs: self.ttl_secs() },
            15..=16 => Ask::GetMany { keys: self.keys() },
            17 => {
                let keys = self.keys();
                Ask::SetMany { items: keys.into_iter().map(|key| (key, self.value(), self.ttl_secs())).collect() }
            }
            18 if self.chance.one_in(2) => Ask::DeleteMany { keys: self.keys() },
            18 => Ask::Wrong { number: self.chance.below(6) as u8, key },
            _ => Ask::Page { number: self.chance.below(6) as u8 },
        }
    }

    fn end_by_draining(&mut self) {
        let at = self.steps.len() - self.steps.len() / 10;
        self.steps.insert(at, Step::Drain);
    }
}
