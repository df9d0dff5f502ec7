//! A core dump of a server that holds secrets.

use crate::support::{Launch, Server, TOKEN};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use tempfile::TempDir;

/// A value that is written short, long, and often.
const VALUE: &str = "what-is-cached-is-nobody-else's-business-and-longer-than-any-register-of-a-processor-can-be";

/// What `ulimit -c unlimited` and a folder of its own give a server.
const WITH_CORES: &str = r#"ulimit -c unlimited && cd "$1" && shift && exec "$@""#;

fn server(folder: &TempDir) -> Server {
    let path = folder.path().to_str().expect("the path is text");
    Launch::new(&[("SHARDS", "2")]).under(&["sh", "-c", WITH_CORES, "sh", path]).start()
}

/// Whether `wanted` is somewhere in `bytes`.
fn contains(bytes: &[u8], wanted: &str) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted.as_bytes())
}

#[test]
fn a_core_dump_has_neither_tokens_nor_values_in_it() {
    let folder = TempDir::new().expect("a folder to work in");
    let mut server = server(&folder);
    let mut client = server.client();
    for n in 0..50 {
        client.put_bytes(&format!("short-{n}"), "text/plain", VALUE.as_bytes()).expect_status(201);
        client.put_bytes(&format!("long-{n}"), "text/plain", VALUE.repeat(1_000).as_bytes()).expect_status(201);
    }
    let filter = fs::read_to_string(format!("/proc/{}/coredump_filter", server.pid())).expect("the server lives");
    assert_eq!(u32::from_str_radix(filter.trim(), 16), Ok(0), "no memory of the process is dumped");
    // The test would find them, were they there: they are in the memory of the process.
    assert!(memory_of(server.pid()).iter().any(|region| contains(region, TOKEN)), "the token is not in memory");
    assert!(memory_of(server.pid()).iter().any(|region| contains(region, VALUE)), "the value is not in memory");

    server.signal(libc::SIGABRT);
    assert_eq!(server.wait().signal(), Some(libc::SIGABRT));
    // Where the machine hands dumps to a program, it gets what would have been in the file.
    if fs::read_to_string("/proc/sys/kernel/core_pattern").is_ok_and(|pattern| !pattern.starts_with(['|', '/'])) {
        let dumps: Vec<_> = fs::read_dir(folder.path()).expect("the folder is there").flatten().collect();
        assert_eq!(dumps.len(), 1, "{dumps:?}");
        let dump = fs::read(dumps[0].path()).expect("the dump is ours");
        assert!(dump.starts_with(b"\x7fELF") && contains(&dump, "CORE"), "no dump, or no notes of the threads");
        assert!(!contains(&dump, TOKEN), "the token is in the dump of {} bytes", dump.len());
        assert!(!contains(&dump, VALUE), "a value is in the dump of {} bytes", dump.len());
        println!("a dump of {} bytes", dump.len());
    }
}

/// What a process has in its writable memory, region by region.
fn memory_of(pid: u32) -> Vec<Vec<u8>> {
    use std::os::unix::fs::FileExt as _;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the process lives");
    let memory = fs::File::open(format!("/proc/{pid}/mem")).expect("whoever starts a process may read its memory");
    let writable = maps.lines().filter(|line| line.contains(" rw-"));
    let regions = writable.filter_map(|line| {
        let (from, to) = line.split_once(' ')?.0.split_once('-')?;
        let [from, to] = [from, to].map(|text| u64::from_str_radix(text, 16).expect("an address"));
        // Arenas that are reserved and not used are of no interest, and large.
        let mut bytes = vec![0; (to - from).min(64 << 20) as usize];
        let len = memory.read_at(&mut bytes, from).ok()?;
        bytes.truncate(len);
        Some(bytes)
    });
    regions.collect()
}
