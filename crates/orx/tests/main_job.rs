//! The main job on real input: a folder of a thousand files, one compression job a file enqueued by
//! a shell script, the server killed and started again in the middle, every byte compared.

mod common;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Machine, orx, result_of, until};

const FILES: usize = 1_000;

/// Real files of this machine: man pages and licence texts, else the sources that this was built
/// from.
fn real_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let home = std::env::var("CARGO_HOME")
        .map(PathBuf::from)
        .unwrap_or_else(|_| Path::new(&std::env::var("HOME").unwrap_or_default()).join(".cargo"));
    for folder in [
        PathBuf::from("/usr/share/man"),
        PathBuf::from("/usr/share/doc"),
        PathBuf::from("/usr/share/common-licenses"),
        home.join("registry/src"),
        PathBuf::from("/usr/include"),
    ] {
        collect(&folder, &mut found);
        if found.len() >= FILES {
            break;
        }
    }
    found.truncate(FILES);
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut entries: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        if found.len() >= FILES {
            return;
        }
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            collect(&path, found);
        } else if meta.is_file() && (1..1_000_000).contains(&meta.len()) {
            found.push(path);
        }
    }
}

#[test]
fn a_thousand_files_are_compressed_once_each_though_the_server_is_killed_in_the_middle() {
    let mut machine = Machine::with_server();
    let files = real_files();
    assert_eq!(files.len(), FILES, "this machine has too few files to work on");
    let (input, output) = (machine.path("work/in"), machine.path("work/out"));
    std::fs::create_dir_all(&input).expect("a folder");
    std::fs::create_dir_all(&output).expect("a folder");
    for (n, file) in files.iter().enumerate() {
        std::fs::copy(file, input.join(format!("{n:04}"))).expect("copied");
    }
    // One job for each file, with a key, so that the script can be repeated after a failure.
    let script = r#"
set -eu
for file in in/*; do
    name=${file#in/}
    "$ORX" run --no-start --detach --key "gzip-$name" --tag run=main -- \
        sh -c 'echo "$2" >> starts; gzip -c "$1" > "$2.part" && mv "$2.part" "$2"' sh "$file" "out/$name.gz" \
        >> ids
done
"#;
    std::fs::write(machine.path("work/compress.sh"), script).expect("a script");
    let enqueue = |machine: &Machine| {
        let mut shell = Command::new("sh");
        shell
            .arg("compress.sh")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", machine.path("home"))
            .env("ORX_STATE", machine.state())
            .env("ORX", orx())
            .current_dir(machine.path("work"));
        shell
    };
    let mut enqueuing = enqueue(&machine).spawn().expect("the script runs");
    let done = || std::fs::read_dir(&output).map_or(0, |all| all.count());
    until("a part is compressed", || done() > FILES / 10);
    machine.kill();
    machine.start(&[]);
    // The kill interrupted the script: it runs again, and its keys prevent duplicates.
    let first = enqueuing.wait().expect("the script ends");
    if !first.success() {
        assert!(enqueue(&machine).status().expect("the script runs").success());
    }
    let waited = machine.orx(["wait", "--tag", "run=main", "--timeout", "5m"]);
    assert_eq!(waited.code, 0, "{}", waited.err);

    let jobs = machine.json(["jobs", "--tag", "run=main"]);
    let jobs = jobs.as_array().expect("a list");
    assert_eq!(jobs.len(), FILES);
    assert!(jobs.iter().all(|job| job["status"] == "completed"));
    for n in 0..FILES {
        let packed = output.join(format!("{n:04}.gz"));
        let unpacked =
            result_of(Command::new("gzip").arg("-dc").arg(&packed).output().expect("gzip"));
        let mut original = Vec::new();
        std::fs::File::open(input.join(format!("{n:04}")))
            .expect("the original")
            .read_to_end(&mut original)
            .expect("read");
        assert_eq!(unpacked.code, 0, "{}: {}", packed.display(), unpacked.err);
        assert!(unpacked.bytes == original, "{} differs", packed.display());
    }
    // Only the jobs in the ten slots at the time of the kill may have run twice.
    let starts = common::read(machine.path("work/starts")).lines().count();
    assert!((FILES..=FILES + 10).contains(&starts), "{starts} starts");
}
