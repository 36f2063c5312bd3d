//! PostgreSQL over TLS, with a certificate of a test authority.

mod common;

use std::path::Path;
use std::process::Command;

use common::{CommandResult, Machine, result_of};
use orx_testkit::servers::OwnPostgres;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// Writes the server's files and `ca.pem` to this folder; under root, the server runs as `nobody`.
fn certify(folder: &Path) {
    let mut params = CertificateParams::new(Vec::new()).expect("params");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "the test's own authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
    let authority = authority.expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("params");
    let certificate = params.signed_by(&key, &authority).expect("a certificate");
    let write = |name: &str, text: String| {
        std::fs::write(folder.join(name), text).expect("written");
        let status = |program: &str, args: &[&str]| {
            let status = Command::new(program).args(args).arg(folder.join(name)).status();
            assert!(status.expect("it runs").success());
        };
        status("chmod", &["600"]);
        if rustix::process::geteuid().is_root() {
            status("chown", &["nobody"]);
        }
    };
    write("ca.pem", authority.pem());
    write("cert.pem", certificate.pem());
    write("key.pem", key.serialize_pem());
}

/// Runs a coordinator on the database until it ends idle or the database rejects it.
fn serve(machine: &Machine, url: &str, more: &[(&str, &Path)]) -> CommandResult {
    let listen = ["daemon", "server", "--listen", "127.0.0.1:0", "--exit-when-idle", "1ms"];
    let mut command = machine.command(listen);
    command.env("ORX_STORE_URL", url).envs(more.iter().copied());
    result_of(command.output().expect("orx runs"))
}

#[test]
fn the_database_is_trusted_by_the_systems_authorities_or_by_a_named_one() {
    use std::os::unix::fs::PermissionsExt;
    let machine = Machine::new();
    let folder = tempfile::tempdir().expect("a folder");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("its rights");
    certify(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let settings =
        ["ssl=on".to_owned(), format!("ssl_cert_file={cert}"), format!("ssl_key_file={key}")];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let server = OwnPostgres::start_with(&settings, false);
    let authority = folder.path().join("ca.pem");
    let url = |more: &str| format!("{}/postgres?sslmode={more}", server.url());
    let named = |mode: &str| url(&format!("{mode}&sslrootcert={}", authority.display()));

    for mode in ["verify-full", "verify-ca"] {
        let unknown = serve(&machine, &url(mode), &[]);
        assert_eq!(unknown.code, 1, "{unknown:?}");
        assert!(unknown.err.contains("unknown issuer"), "{unknown:?}");
        assert!(unknown.err.contains("sslrootcert"), "{unknown:?}");
        assert_eq!(serve(&machine, &named(mode), &[]).code, 0, "{mode}");
        let system = serve(&machine, &url(mode), &[("SSL_CERT_FILE", &authority)]);
        assert_eq!(system.code, 0, "{system:?}");
    }
    // As usual with PostgreSQL: a client that only requires encryption gets it, and one that names an
    // authority verifies the certificate.
    assert_eq!(serve(&machine, &url("require"), &[]).code, 0);
    let cert = folder.path().join("other.pem");
    let other = CertificateParams::new(vec!["other".to_owned()]).expect("params");
    let other = other.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate");
    std::fs::write(&cert, other.pem()).expect("written");
    let wrong = url(&format!("require&sslrootcert={}", cert.display()));
    let wrong = serve(&machine, &wrong, &[]);
    assert!(wrong.code == 1 && wrong.err.contains("unknown issuer"), "{wrong:?}");
    // The certificate is for 127.0.0.1 and no other name of the server.
    let elsewhere = named("verify-full").replace("127.0.0.1", "localhost");
    let elsewhere = serve(&machine, &elsewhere, &[]);
    assert!(elsewhere.err.contains("for another host"), "{elsewhere:?}");
}
