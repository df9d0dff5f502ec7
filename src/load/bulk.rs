//! All keys at once: written before a run, deleted after it.

use super::connection::{Connection, Request};
use super::run::spawn;
use super::{Keyspace, Plan};
use crate::limits::BATCH_ITEMS_MAX;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// About how long the body of a batch gets, in bytes, where its values allow that.
const BATCH_BYTES: usize = 256 * 1024;

#[derive(Deserialize)]
struct Results {
    results: Vec<Status>,
}

#[derive(Deserialize)]
struct Status {
    status: String,
    #[serde(default)]
    error: Value,
}

/// Writes every key with its value, over all connections at once. Gives how many were written: fewer than there are if
/// `stop` was set.
///
/// # Errors
/// The first refusal, in words.
pub fn fill(plan: &Plan, connections: &mut [Connection], stop: &AtomicBool) -> Result<u64, String> {
    let keys = &plan.keys;
    let items = (BATCH_BYTES / keys.value_bytes.end()).clamp(1, BATCH_ITEMS_MAX) as u64;
    in_batches(keys.count, items, connections, stop, |connection, numbers| {
        let (mut key, mut value) = (String::new(), String::new());
        let items: Vec<Value> = numbers
            .map(|number| {
                keys.key(number, &mut key);
                keys.value(number, &mut value);
                match plan.ttl_sec {
                    None => json!({"key": key, "value": value}),
                    Some(ttl) => json!({"key": key, "value": value, "ttlSec": ttl}),
                }
            })
            .collect();
        batch(connection, "/v1/kv/batch/set", &json!({ "items": items }), &["created", "updated"])
    })
}

/// Deletes every key, over all connections at once.
///
/// # Errors
/// The first refusal, in words.
pub fn delete(keys: &Keyspace, connections: &mut [Connection]) -> Result<u64, String> {
    let never = AtomicBool::new(false);
    in_batches(keys.count, BATCH_ITEMS_MAX as u64, connections, &never, |connection, numbers| {
        let mut key = String::new();
        let keys: Vec<String> = numbers
            .map(|number| {
                keys.key(number, &mut key);
                key.clone()
            })
            .collect();
        delete_keys(connection, &keys)
    })
}

/// Deletes these keys, at most as many as a batch may have.
///
/// # Errors
/// In words, if one of them may still be there.
pub fn delete_keys(connection: &mut Connection, keys: &[String]) -> Result<(), String> {
    batch(connection, "/v1/kv/batch/delete", &json!({ "keys": keys }), &["deleted", "missing"])
}

/// Has `work` do each range of at most `items` numbers, the ranges dealt out over the connections.
fn in_batches(
    count: u64,
    items: u64,
    connections: &mut [Connection],
    stop: &AtomicBool,
    work: impl Fn(&mut Connection, std::ops::Range<u64>) -> Result<(), String> + Sync,
) -> Result<u64, String> {
    // One batch that fails ends the work of all.
    let (next, done, failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let (work, next_batch, total, failed) = (&work, &next, &done, &failed);
    std::thread::scope(|scope| {
        let workers = connections.iter_mut().map(|connection| {
            spawn(scope, move || {
                loop {
                    let start = next_batch.fetch_add(items, Ordering::Relaxed);
                    if start >= count || stop.load(Ordering::Relaxed) || failed.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    let end = count.min(start + items);
                    work(connection, start..end).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
                    total.fetch_add(end - start, Ordering::Relaxed);
                }
            })
        });
        let workers: Vec<_> = workers.collect::<Result<_, _>>()?;
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Err("a worker panicked".to_owned())))
    })?;
    Ok(done.into_inner())
}

fn batch(connection: &mut Connection, target: &str, body: &Value, good: &[&str]) -> Result<(), String> {
    let body = body.to_string();
    let fields = [("Content-Type", "application/json")];
    let request = Request { method: "POST", target, fields: &fields, body: Some(body.as_bytes()) };
    let told = |text: String| format!("POST {target}: {text}");
    let answer = connection.ask(&request).map_err(|failure| told(failure.to_string()))?;
    if answer.status != 200 {
        return Err(told(answer.refused().to_string()));
    }
    let results: Results = serde_json::from_slice(answer.body).map_err(|error| told(error.to_string()))?;
    match results.results.iter().find(|result| !good.contains(&result.status.as_str())) {
        None => Ok(()),
        Some(bad) => Err(told(crate::config::one_line(&format!("{} {}", bad.status, bad.error)))),
    }
}
