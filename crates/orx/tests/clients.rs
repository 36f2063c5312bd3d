//! The API description works for others: a validator accepts it, and generated clients in other languages
//! work with the server.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{CommandResult, Machine, read, result_of};

/// What `tests/clients/install` installed.
fn tool(name: &str) -> PathBuf {
    let folder = std::env::var_os("ORX_TEST_CLIENTS").unwrap_or_else(|| {
        panic!(
            "no generators of clients to test with: `ORX_TEST_CLIENTS` is not set. `tests/run` \
             installs them."
        )
    });
    Path::new(&folder).join(name)
}

fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

/// Runs on this machine, with its server as `ORX_URL` and no other environment of the caller.
fn run(machine: &Machine, command: &mut Command) -> CommandResult {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", machine.path("home"))
        .env("ORX_URL", machine.url())
        .env("ORX_TOKEN", read(machine.state().join("token")).trim())
        .env("PYTHONPATH", machine.path("work"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(machine.path("work"));
    let ran = result_of(command.output().unwrap_or_else(|error| panic!("{command:?}: {error}")));
    assert_eq!(ran.code, 0, "{command:?}: {ran:?}");
    ran
}

fn completed(machine: &Machine, ran: &CommandResult) {
    assert_eq!(machine.status(ran.out.trim()), "completed", "{ran:?}");
}

#[test]
fn a_validator_accepts_the_description_of_the_api() {
    let machine = Machine::with_server();
    let validator = tool("python/bin/openapi-spec-validator");
    run(&machine, Command::new(validator).arg(repository("docs/openapi.json")));
}

#[test]
fn a_client_generated_in_python_adds_a_job_waits_reads_its_log_and_lists_schedules() {
    let machine = Machine::with_server();
    // The generator warns about everything it skips.
    let generated = run(
        &machine,
        Command::new(tool("python/bin/openapi-python-client"))
            .args([
                "generate",
                "--meta",
                "none",
                "--fail-on-warning",
                "--output-path",
                "orx_client",
            ])
            .arg("--path")
            .arg(repository("docs/openapi.json"))
            .arg("--config")
            .arg(repository("tests/clients/python.yaml")),
    );
    assert!(!generated.out.contains("WARNING"), "{generated:?}");
    let python = tool("python/bin/python");
    let ran = run(&machine, Command::new(python).arg(repository("tests/clients/python.py")));
    completed(&machine, &ran);
}

#[test]
fn a_client_generated_in_typescript_adds_a_job_waits_reads_its_log_and_lists_schedules() {
    let machine = Machine::with_server();
    let node = tool("node/node");
    let generator = tool("node/node_modules/@hey-api/openapi-ts/bin/run.js");
    run(
        &machine,
        Command::new(&node)
            .arg(generator)
            .args(["--output", "client", "--client", "@hey-api/client-fetch", "--input"])
            .arg(repository("docs/openapi.json")),
    );
    let program = machine.path("work/program.ts");
    std::fs::copy(repository("tests/clients/typescript.ts"), &program).expect("a copy");
    run(
        &machine,
        Command::new(&node)
            .arg(tool("node/node_modules/typescript/bin/tsc"))
            .args(["--strict", "--target", "es2022", "--lib", "es2022,dom,dom.iterable"])
            .args(["--module", "commonjs", "--moduleResolution", "node10"])
            .args(["--outDir", "built"])
            .arg(program),
    );
    let ran = run(&machine, Command::new(&node).arg("built/program.js"));
    completed(&machine, &ran);
}
