//! Makes a plan that fails as short as it can be (Zeller, Hildebrandt: "Simplifying and isolating failure-inducing input",
//! 2002).

use crate::plan::{Ask, Plan, Step, Value};
use crate::world::Failure;

/// Plans tried at most.
const TRIES_MAX: usize = 4_000;

/// What is left, and how it fails.
#[derive(Debug)]
pub struct Shrunk {
    pub plan: Plan,
    pub failure: Failure,
}

/// Leaves out of `plan`, which fails with `failure`, what it can do without: it has to go on to fail in the same way.
pub fn shrink(plan: &Plan, failure: &Failure, fails: impl Fn(&Plan) -> Option<Failure>) -> Shrunk {
    let shrunk = Shrunk { plan: plan.clone(), failure: failure.clone() };
    let mut search = Search { shrunk, fails, tries_left: TRIES_MAX };
    search.leave_out_clients();
    search.leave_out_chunks();
    search.simplify();
    search.leave_out_chunks();
    search.shrunk
}

struct Search<F> {
    shrunk: Shrunk,
    fails: F,
    tries_left: usize,
}

impl<F: Fn(&Plan) -> Option<Failure>> Search<F> {
    /// Keeps `steps` if they fail in the same way.
    fn try_steps(&mut self, steps: Vec<Step>) -> bool {
        if self.tries_left == 0 {
            return false;
        }
        self.tries_left -= 1;
        let plan = Plan { steps, ..self.shrunk.plan.clone() };
        let same = (self.fails)(&plan).filter(|failure| failure.kind == self.shrunk.failure.kind);
        same.map(|failure| self.shrunk = Shrunk { plan, failure }).is_some()
    }

    fn leave_out_clients(&mut self) {
        for client in 0..=u8::MAX {
            let steps = &self.shrunk.plan.steps;
            if steps.iter().any(|step| step.client() == Some(client)) {
                let others = steps.iter().filter(|step| step.client() != Some(client)).cloned().collect();
                self.try_steps(others);
            }
        }
    }

    /// Leaves out chunks, ever shorter ones, until no single step can be left out.
    fn leave_out_chunks(&mut self) {
        let mut chunk = self.shrunk.plan.steps.len().div_ceil(2);
        while chunk > 0 {
            let found = self.leave_out_chunks_of(chunk);
            chunk = match (chunk, found) {
                (1, true) => 1,
                (1, false) => 0,
                _ => chunk / 2,
            };
        }
    }

    fn leave_out_chunks_of(&mut self, chunk: usize) -> bool {
        let (mut at, mut found) = (0, false);
        while at < self.shrunk.plan.steps.len() {
            let steps = &self.shrunk.plan.steps;
            let end = (at + chunk).min(steps.len());
            let rest = [&steps[..at], &steps[end..]].concat();
            if self.try_steps(rest) {
                found = true;
            } else {
                at += chunk;
            }
        }
        found
    }

    /// Has single steps do less.
    fn simplify(&mut self) {
        for at in 0..self.shrunk.plan.steps.len() {
            for simpler in simpler(&self.shrunk.plan.steps[at]) {
                let mut steps = self.shrunk.plan.steps.clone();
                steps[at] = simpler;
                if self.try_steps(steps) {
                    break;
                }
            }
        }
    }
}

/// What could stand for `step` and is easier to read, the simplest first.
fn simpler(step: &Step) -> Vec<Step> {
    match step {
        Step::Send { client, len } if *len < 1_000_000 => vec![Step::Send { client: *client, len: 1_000_000 }],
        Step::Hear { client, len } if *len < 1_000_000 => vec![Step::Hear { client: *client, len: 1_000_000 }],
        Step::Carry { pick, most } if *pick > 0 => vec![Step::Carry { pick: 0, most: *most }],
        Step::Bring { pick, most } if *pick > 0 => vec![Step::Bring { pick: 0, most: *most }],
        Step::Ask { client, ask } => {
            simpler_asks(ask).into_iter().map(|ask| Step::Ask { client: *client, ask }).collect()
        }
        _ => Vec::new(),
    }
}

fn simpler_asks(ask: &Ask) -> Vec<Ask> {
    use crate::plan::{Form, On, Sent};
    let short = |value: Value| match value {
        Value::Text(_) => Value::Text(34),
        Value::Bytes(_) => Value::Bytes(34),
        number @ Value::Number(_) => number,
    };
    let simple: Vec<Ask> = match ask {
        Ask::Put { key, value, ttl_secs, .. } => {
            let plain = |value, ttl_secs| Ask::Put { key: *key, value, ttl_secs, on: On::Always, sent: Sent::Length };
            vec![plain(short(*value), 0), plain(*value, 0), plain(short(*value), *ttl_secs)]
        }
        Ask::Get { key, .. } => vec![Ask::Get { key: *key, form: Form::Raw, on: On::Always }],
        Ask::GetMany { keys } => keys.iter().map(|key| Ask::GetMany { keys: vec![*key] }).collect(),
        Ask::DeleteMany { keys } => keys.iter().map(|key| Ask::DeleteMany { keys: vec![*key] }).collect(),
        Ask::SetMany { items } => items.iter().map(|item| Ask::SetMany { items: vec![*item] }).collect(),
        _ => Vec::new(),
    };
    simple.into_iter().filter(|simple| simple != ask).collect()
}
