//! GETs that go the short way: whoever goes the long way, for a `?` behind the key, is told the same.

use crate::cores::{Answer, Cores, Peer, TOKEN, put_raw};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

/// What does not differ between two answers to the same question.
fn facts(answer: &Answer) -> (String, String) {
    let mut lines: Vec<&str> = answer.head.split("\r\n").collect();
    let before = lines.len();
    lines.retain(|line| !line.starts_with("X-Request-ID: "));
    assert_eq!(lines.len(), before - 1, "{}", answer.head);
    (lines.join("\n"), answer.text().to_owned())
}

fn put_json(key: &str, value: &str, query: &str) -> String {
    let body = format!("{{\"value\":{value}}}");
    let len = body.len();
    format!(
        "PUT /v1/kv/{key}{query} HTTP/1.1\r\nHost: t\r\nX-API-Token: {TOKEN}\r\nContent-Length: {len}\r\n\r\n{body}"
    )
}

/// GETs of `keys`; `mark` stands behind each key.
fn gets(keys: &[&str], mark: &str, field: &str) -> String {
    keys.iter().map(|key| format!("GET /v1/kv/{key}{mark} HTTP/1.1\r\nHost: t\r\n{field}\r\n")).collect()
}

fn fill(cores: &mut Cores) -> Vec<String> {
    let mut peer = cores.connect(0);
    let long = format!("\"{}\"", "x".repeat(40_000));
    let values = ["\"text\"", "\"\"", "12.5", "true", "null", "{\"a\":[1,2]}", "\"\\u0000\\\"\"", &long];
    let mut keys = Vec::new();
    for owner in 0..cores.engines.len() as u16 {
        for (number, value) in values.iter().enumerate() {
            let key = cores.key(owner, &format!("json-{number}"));
            cores.ask(&mut peer, put_json(&key, value, ""));
            keys.push(key);
        }
        let raw = cores.key(owner, "raw");
        cores.ask(&mut peer, put_raw(&raw, b"bytes\0"));
        let brief = cores.key(owner, "brief");
        cores.ask(&mut peer, put_json(&brief, "\"brief\"", "?ttlSec=1"));
        let lasting = cores.key(owner, "lasting");
        cores.ask(&mut peer, put_json(&lasting, "\"lasting\"", "?ttlSec=1000"));
        keys.extend([raw, brief, lasting, cores.key(owner, "absent")]);
    }
    keys
}

fn assert_alike(cores: &mut Cores, peer: &mut Peer, keys: &[&str], field: &str) {
    let long_way: Vec<_> = cores.ask(peer, gets(keys, "?", field)).iter().map(facts).collect();
    let short_way: Vec<_> = cores.ask(peer, gets(keys, "", field)).iter().map(facts).collect();
    assert_eq!((short_way.len(), &short_way), (keys.len(), &long_way), "{keys:?}");
}

#[test]
fn every_kind_of_entry_is_read_alike_by_both_ways() {
    for count in [1, 2, 3] {
        let mut cores = Cores::new(count);
        let keys = fill(&mut cores);
        let mut peer = cores.connect(0);
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        for round in 0..3 {
            keys.iter().for_each(|key| assert_alike(&mut cores, &mut peer, &[key], ""));
            assert_alike(&mut cores, &mut peer, &keys, "");
            if round == 0 {
                cores.pass(1_500);
            }
        }
        cores.close(&peer);
        cores.deliver();
        cores.assert_at_rest();
    }
}

#[test]
fn however_requests_are_mixed_and_split_each_is_answered_in_its_turn() {
    let seed = std::env::var("SEED").map_or_else(
        |_| getrandom::u64().expect("the kernel gives random numbers"),
        |seed| seed.parse().expect("a number"),
    );
    println!("SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let mut cores = Cores::new(2);
    let keys = fill(&mut cores);
    for _ in 0..200 {
        let mut peer = cores.connect(random.random_range(0..2));
        let asked: Vec<&str> =
            (0..random.random_range(1..40)).map(|_| keys[random.random_range(0..keys.len())].as_str()).collect();
        let mut wire = String::new();
        for key in &asked {
            let mark = if random.random_ratio(1, 4) { "?" } else { "" };
            let field = if random.random_ratio(1, 8) { "Accept: */*\r\n" } else { "" };
            wire += &gets(&[key], mark, field);
        }
        let mut answers = Vec::new();
        let mut rest = wire.as_bytes();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(random.random_range(1..=rest.len()));
            answers.extend(cores.ask(&mut peer, now));
            rest = later;
        }
        let answers: Vec<_> = answers.iter().map(facts).collect();
        let mut other = cores.connect(0);
        let wanted: Vec<_> = asked.iter().flat_map(|key| cores.ask(&mut other, gets(&[key], "?", ""))).collect();
        assert_eq!(answers, wanted.iter().map(facts).collect::<Vec<_>>(), "{wire}");
        cores.close(&peer);
        cores.close(&other);
    }
    cores.deliver();
    cores.assert_at_rest();
}

#[test]
fn who_may_not_read_is_refused_wherever_his_request_stands() {
    let mut cores = Cores::with(2, |settings| settings.read_requires_auth = true);
    let (own, foreign) = (cores.key(0, "a"), cores.key(1, "b"));
    let mut peer = cores.connect(0);
    for key in [&own, &foreign] {
        cores.ask(&mut peer, put_json(key, "1", ""));
    }
    let with = |key: &str, token: &str| gets(&[key], "", &format!("X-API-Token: {token}\r\n"));
    let other = TOKEN.replace('0', "1");
    // The fields become familiar with the first one; all tokens are of one length.
    let requests =
        [(&own, TOKEN), (&own, &other), (&foreign, &other), (&own, TOKEN), (&foreign, TOKEN), (&own, &other)];
    let wire: String = requests.iter().map(|(key, token)| with(key, token)).collect();
    let statuses: Vec<u16> = cores.ask(&mut peer, wire + &gets(&[&own], "", "")).iter().map(|it| it.status).collect();
    assert_eq!(statuses, [200, 401, 401, 200, 200, 401, 401]);
}

#[test]
fn each_is_counted_once_with_its_status() {
    let mut cores = Cores::new(1);
    let mut peer = cores.connect(0);
    cores.ask(&mut peer, put_json("there", "1", ""));
    let before = (cores.recorded(0), cores.engines[0].parts().metrics.answered);
    for _ in 0..3 {
        cores.ask(&mut peer, gets(&["there", "there", "absent", "there", "absent", "absent"], "", ""));
    }
    let metrics = &cores.engines[0].parts().metrics;
    assert_eq!((cores.recorded(0) - before.0, metrics.answered - before.1), (18, 18));
    let of = |status| {
        let mut series =
            metrics.requests.iter().filter(|it| it.status() == Some(status) && it.method().name() == "GET");
        series.find(|it| it.durations.count() > 0).expect("requests were answered with it").durations.count()
    };
    assert_eq!((of(200), of(404)), (9, 9));
    let shard = cores.engines[0].parts().shard.stats();
    assert_eq!((shard.hits, shard.misses), (9, 9));
}

#[test]
fn what_was_read_ahead_is_no_request_in_the_middle_of_another() {
    let mut cores = Cores::new(1);
    let mut peer = cores.connect(0);
    let get = gets(&["a"], "", "");
    cores.ask(&mut peer, &get);
    let now = cores.now();
    // A body that looks like a request, and half a head before one.
    let body = format!(
        "PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nX-API-Token: {TOKEN}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
        get.len()
    );
    for (before, expected) in [(body.as_str(), 201), ("GET /v1/kv/b HTTP/1.1\r\nX-Odd: ", 404)] {
        cores.say(&mut peer, before);
        let engine = &mut cores.engines[0];
        let ahead = engine.read_ahead(get.as_bytes());
        assert!(ahead.is_some(), "the fields are familiar");
        engine.receive_foreseen(now, &mut cores.lanes, peer.conn, get.as_bytes(), ahead);
        let statuses: Vec<u16> = cores.ask(&mut peer, "").iter().map(|it| it.status).collect();
        assert_eq!(statuses, [expected]);
    }
}

#[test]
fn what_was_foreseen_may_have_changed_when_it_is_asked_for() {
    let mut cores = Cores::new(1);
    let (mut reader, mut writer) = (cores.connect(0), cores.connect(0));
    let get = gets(&["a"], "", "");
    cores.ask(&mut reader, &get);
    let delete = format!("DELETE /v1/kv/a HTTP/1.1\r\nHost: t\r\nX-API-Token: {TOKEN}\r\n\r\n");
    let long = format!("\"{}\"", "x".repeat(40_000));
    let changes = [
        (put_json("a", "1", ""), Some("1".to_owned())),
        (put_json("a", "2", ""), Some("2".to_owned())),
        (put_json("a", &long, ""), Some(long.clone())),
        (put_json("a", "\"longer than before\"", ""), Some("\"longer than before\"".to_owned())),
        (delete, None),
        (put_json("b", "1", ""), None),
        (put_json("a", "3", "?ttlSec=1"), Some("3".to_owned())),
    ];
    for (change, expected) in changes {
        let mut ahead = cores.engines[0].read_ahead(get.as_bytes());
        assert!(ahead.is_some(), "the fields are familiar");
        cores.engines[0].foresee(ahead.iter_mut().map(|it| (reader.conn, it)));
        assert!(matches!(cores.ask(&mut writer, change)[0].status, 200..=204));
        let now = cores.now();
        cores.engines[0].receive_foreseen(now, &mut cores.lanes, reader.conn, get.as_bytes(), ahead);
        let answer = &cores.ask(&mut reader, "")[0];
        match expected {
            Some(value) => assert!(answer.text().starts_with(&format!("{{\"value\":{value},")), "{}", answer.head),
            None => assert_eq!(answer.status, 404),
        }
    }
    let mut ahead = cores.engines[0].read_ahead(get.as_bytes());
    cores.engines[0].foresee(ahead.iter_mut().map(|it| (reader.conn, it)));
    cores.pass(1_500);
    let now = cores.now();
    cores.engines[0].receive_foreseen(now, &mut cores.lanes, reader.conn, get.as_bytes(), ahead);
    assert_eq!(cores.ask(&mut reader, "")[0].status, 404, "it has expired meanwhile");
}
