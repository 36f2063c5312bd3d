//! Beyond loopback: TLS from end to end with a test authority, and rejected connections.

mod common;

use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;

use common::{CommandResult, Machine, read, result_of, signal, until};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// An authority, and certificates from it.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    fn write(&self, path: &Path) {
        std::fs::write(path, self.0.pem()).expect("written");
    }

    /// Writes `cert.pem` and `key.pem` for these names to the machine's folder.
    fn certify(&self, machine: &Machine, names: &[&str]) {
        use std::os::unix::fs::PermissionsExt;
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names).expect("params");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        std::fs::write(machine.path("cert.pem"), certificate.pem()).expect("written");
        let path = machine.path("key.pem");
        std::fs::write(&path, key.serialize_pem()).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    }
}

fn start(machine: &mut Machine, more: &[&str]) {
    let (cert, key) = (machine.path("cert.pem"), machine.path("key.pem"));
    let mut args = vec!["--tls-cert", cert.to_str().expect("text")];
    args.extend(["--tls-key", key.to_str().expect("text")]);
    args.extend(more);
    machine.start(&args);
}

/// A client on another machine, with the server's address, a token, and optionally its authority.
fn from_afar(machine: &Machine, url: &str, ca: Option<&str>, args: &[&str]) -> CommandResult {
    let mut command = machine.command(args);
    command
        .env("ORX_STATE", machine.path("elsewhere"))
        .env("ORX_URL", url)
        .env("ORX_TOKEN", read(machine.state().join("token")).trim());
    if let Some(ca) = ca {
        command.env("ORX_CA_FILE", machine.path(ca));
    }
    result_of(command.output().expect("orx runs"))
}

#[test]
fn jobs_run_over_tls_for_clients_that_trust_the_authority() {
    let mut machine = Machine::new();
    let (authority, other) = (Authority::new(), Authority::new());
    authority.write(&machine.path("ca.pem"));
    other.write(&machine.path("other.pem"));
    authority.certify(&machine, &["localhost", "127.0.0.1"]);
    start(&mut machine, &[]);
    let url = machine.url();
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");

    // On this machine, without flags and variables.
    let here = machine.orx(["run", "--", "sh", "-c", "echo over; exit 3"]);
    assert_eq!((here.code, here.out.as_str()), (3, "over\n"), "{here:?}");

    let run = ["run", "--", "echo", "afar"];
    let afar = from_afar(&machine, &url, Some("ca.pem"), &run);
    assert_eq!((afar.code, afar.out.as_str()), (0, "afar\n"), "{afar:?}");
    let named = url.replace("127.0.0.1", "localhost");
    assert_eq!(from_afar(&machine, &named, Some("ca.pem"), &["jobs"]).code, 0);

    for ca in [None, Some("other.pem")] {
        let wrong = from_afar(&machine, &url, ca, &["jobs"]);
        assert!(
            wrong.code == 69
                && wrong.err.contains("from an unknown authority")
                && wrong.err.contains("ca_file"),
            "{wrong:?}"
        );
    }
    std::fs::write(machine.path("empty.pem"), "").expect("written");
    let empty = from_afar(&machine, &url, Some("empty.pem"), &["jobs"]);
    assert!(empty.code == 2 && empty.err.contains("no certificate"), "{empty:?}");
    let nowhere = from_afar(&machine, &url, Some("nowhere.pem"), &["jobs"]);
    assert!(nowhere.code == 2 && nowhere.err.contains("nowhere.pem"), "{nowhere:?}");

    // The system's authorities, as `SSL_CERT_FILE` names them.
    let mut command = machine.command(["jobs"]);
    command.env("ORX_URL", &url).env("SSL_CERT_FILE", machine.path("ca.pem"));
    assert_eq!(result_of(command.output().expect("orx runs")).code, 0);

    // A context for a client elsewhere; the first of its servers does not run.
    let token = read(machine.state().join("token"));
    std::fs::write(machine.path("afar.token"), token).expect("written");
    assert_eq!(
        result_of(
            std::process::Command::new("chmod")
                .arg("600")
                .arg(machine.path("afar.token"))
                .output()
                .expect("chmod")
        )
        .code,
        0
    );
    let config = format!(
        "[context.afar]\nurls = [\"https://127.0.0.1:1\", \"{url}\"]\ntoken_file = {:?}\nca_file = {:?}\n",
        machine.path("afar.token"),
        machine.path("ca.pem"),
    );
    std::fs::write(machine.path("orx.toml"), config).expect("written");
    let file = machine.path("orx.toml").display().to_string();
    for args in [["jobs"].as_slice(), &["run", "--", "true"], &["retry", "1"]] {
        let mut all = vec!["--config", &file, "--context", "afar"];
        all.extend(args);
        let mut command = machine.command(all);
        command.env("ORX_STATE", machine.path("elsewhere"));
        let ran = result_of(command.output().expect("orx runs"));
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
    }
    // The same, for reading only.
    let config = read(machine.path("orx.toml")) + "read_only = true\n";
    std::fs::write(machine.path("orx.toml"), config).expect("written");
    for (args, code) in [(["show", "1"], 0), (["cancel", "1"], 5), (["enqueue", "x"], 5)] {
        let all = ["--config", &file, "--context", "afar", args[0], args[1]];
        let ran = machine.orx(all);
        assert_eq!(ran.code, code, "{args:?}: {ran:?}");
    }
    assert_eq!(machine.stop(), 0, "{}", machine.log());
}

#[test]
fn a_worker_elsewhere_takes_jobs_over_tls_with_a_token_for_that_alone() {
    let mut machine = Machine::new();
    let authority = Authority::new();
    authority.write(&machine.path("ca.pem"));
    authority.certify(&machine, &["127.0.0.1"]);
    start(&mut machine, &[]);
    let token = machine.path("worker.token").display().to_string();
    assert_eq!(machine.orx(["token", "create", "--scope", "worker", "--out", &token]).code, 0);
    let url = machine.url();
    let args = ["daemon", "worker", "--coordinator", &url, "--token-file", &token];
    let mut command = machine.command(args);
    command
        .args(["--name", "afar", "--label", "place=afar"])
        .env("ORX_STATE", machine.path("elsewhere"))
        .env("ORX_CA_FILE", machine.path("ca.pem"))
        .stderr(Stdio::null());
    let mut worker = command.spawn().expect("orx runs");
    let ran = machine.orx(["run", "--require", "place=afar", "--", "echo", "afar"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "afar\n"), "{ran:?}");
    signal(worker.id(), "TERM");
    assert!(worker.wait().expect("ended").success());
}

#[test]
fn http_where_https_is_spoken_and_the_other_way_round_is_explained() {
    let mut machine = Machine::new();
    let authority = Authority::new();
    authority.write(&machine.path("ca.pem"));
    authority.certify(&machine, &["orx.example"]);
    start(&mut machine, &[]);
    let url = machine.url();
    let plain = from_afar(&machine, &url.replace("https:", "http:"), None, &["jobs"]);
    assert!(plain.code == 2 && plain.err.contains("speaks HTTPS"), "{plain:?}");
    assert!(plain.err.contains("`https://`"), "{plain:?}");
    let name = from_afar(&machine, &url, Some("ca.pem"), &["jobs"]);
    assert!(name.code == 69 && name.err.contains("for another name"), "{name:?}");
    // The default form of openssl.
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("params");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let own = params.self_signed(&key).expect("a certificate").pem();
    for (file, text) in [("cert.pem", &own), ("own.pem", &own), ("key.pem", &key.serialize_pem())] {
        std::fs::write(machine.path(file), text).expect("written");
    }
    signal(machine.address_pid().expect("a process"), "HUP");
    until("the kind of certificate is explained", || {
        let ran = from_afar(&machine, &url, Some("own.pem"), &["jobs"]);
        ran.code == 69 && ran.err.contains("CA:FALSE")
    });
    // On this machine the address file identifies the certificate, whatever its name.
    assert_eq!(machine.orx(["run", "--", "true"]).code, 0);
    let open = Machine::with_server();
    let tls = from_afar(&open, &open.url().replace("http:", "https:"), None, &["jobs"]);
    assert!(tls.code == 69 && tls.err.contains("does not use TLS"), "{tls:?}");
}

#[test]
fn sighup_brings_a_new_certificate_and_a_wrong_one_changes_nothing() {
    let mut machine = Machine::new();
    let (first, second) = (Authority::new(), Authority::new());
    first.write(&machine.path("first.pem"));
    second.write(&machine.path("second.pem"));
    first.certify(&machine, &["127.0.0.1"]);
    start(&mut machine, &[]);
    let (url, pid) = (machine.url(), machine.address_pid().expect("a process"));
    let code = |ca: &str| from_afar(&machine, &url, Some(ca), &["jobs"]).code;
    assert_eq!((code("first.pem"), code("second.pem")), (0, 69));

    let good = read(machine.path("cert.pem"));
    std::fs::write(machine.path("cert.pem"), "nonsense").expect("written");
    signal(pid, "HUP");
    until("the refusal is logged", || machine.log().contains("stays as it was"));
    assert_eq!(code("first.pem"), 0);
    std::fs::write(machine.path("cert.pem"), good).expect("written");

    second.certify(&machine, &["127.0.0.1"]);
    signal(pid, "HUP");
    until("the new certificate is shown", || code("second.pem") == 0);
    assert_eq!(code("first.pem"), 69);
    until("clients here know it", || machine.orx(["run", "--", "true"]).code == 0);
}

#[test]
fn a_key_that_others_can_read_or_that_does_not_fit_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let machine = Machine::new();
    let authority = Authority::new();
    authority.certify(&machine, &["localhost"]);
    let (cert, key) = (machine.path("cert.pem"), machine.path("key.pem"));
    let server = |cert: &Path, key: &Path| {
        let mut command = machine.command(["daemon", "server", "--listen", "127.0.0.1:0"]);
        command.arg("--tls-cert").arg(cert).arg("--tls-key").arg(key);
        result_of(command.output().expect("orx runs"))
    };
    let mode = |mode| {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).expect("chmod");
    };
    for open in [0o644, 0o604, 0o660] {
        mode(open);
        let ran = server(&cert, &key);
        assert!(ran.code == 2 && ran.err.contains("can be read by others"), "{ran:?}");
        assert!(ran.err.contains("chmod 600"), "{ran:?}");
    }
    mode(0o600);
    let fresh = KeyPair::generate().expect("a key").serialize_pem();
    std::fs::write(&key, fresh).expect("written");
    let other = server(&cert, &key);
    assert!(
        other.code == 2 && other.err.contains("does not belong to the certificate"),
        "{other:?}"
    );
    let none = server(&machine.path("none.pem"), &key);
    assert!(none.code == 2 && none.err.contains("none.pem"), "{none:?}");
    let half = machine.orx(["daemon", "server", "--tls-cert", "cert.pem"]);
    assert!(half.code == 2 && half.err.contains("--tls-key"), "{half:?}");
}

#[test]
fn beyond_loopback_commands_with_jobs_are_taken_only_with_the_flag() {
    let mut machine = Machine::new();
    for (flag, code) in [(None, 5), (Some("false"), 5), (Some("true"), 0)] {
        let mut args = vec!["--listen", "0.0.0.0:0", "--insecure-listen"];
        args.extend(flag.iter().flat_map(|flag| ["--commands", flag]));
        machine.start(&args);
        let ran = machine.orx(["run", "--", "true"]);
        assert_eq!(ran.code, code, "{flag:?}: {ran:?}");
        assert_eq!(ran.err.contains("commands = true"), code == 5, "{ran:?}");
        machine.stop();
    }
}

#[test]
fn a_server_listens_beyond_loopback_without_tls_only_with_the_flag_and_a_warning() {
    let machine = Machine::new();
    let refused = machine.orx(["daemon", "server", "--listen", "0.0.0.0:0"]);
    assert!(refused.code == 2 && refused.err.contains("--insecure-listen"), "{refused:?}");

    let log = std::fs::File::create(machine.path("open.log")).expect("a log");
    let mut command = machine.command(["daemon", "server", "--listen", "0.0.0.0:0"]);
    let config = machine.path("orx.toml");
    std::fs::write(&config, "[server]\nhosts = [\"orx.example\"]\n").expect("written");
    command.arg("--insecure-listen").args(["--commands", "true"]).arg("--config").arg(&config);
    command.stdout(Stdio::null()).stderr(log);
    let mut server = command.spawn().expect("orx runs");
    until("the server is ready", || machine.address_pid() == Some(server.id()));
    assert!(read(machine.path("open.log")).contains("WITHOUT TLS BEYOND LOOPBACK"));
    // A server on every address gives this machine's clients an address that they can connect to.
    assert!(machine.url().starts_with("http://127.0.0.1:"), "{}", machine.url());
    assert_eq!(machine.orx(["run", "--", "true"]).code, 0);

    let port = machine.url().rsplit(':').next().expect("a port").to_owned();
    let ask = |to: &str, host: &str, more: &str| {
        let mut stream = std::net::TcpStream::connect(format!("{to}:{port}")).expect("connected");
        let head =
            format!("GET /readyz HTTP/1.1\r\nhost: {host}\r\n{more}connection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    // Another loopback address represents that of a network.
    let own = "127.0.0.9";
    for (host, more, code) in [
        ("localhost", "", "200"),
        (own, "", "200"),
        (&format!("{own}:{port}"), "", "200"),
        ("orx.example", "", "200"),
        ("orx.example.evil.example", "", "403"),
        ("127.0.0.8", "", "403"),
        ("evil.example", "", "403"),
        ("evil.example", "x-forwarded-host: localhost\r\n", "403"),
        (own, "origin: http://127.0.0.9\r\n", "403"),
    ] {
        assert_eq!(ask(own, host, more), code, "{host} {more}");
    }
    signal(server.id(), "TERM");
    assert!(server.wait().expect("ended").success());
}
