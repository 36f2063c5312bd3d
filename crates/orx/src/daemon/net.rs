//! The listening address of a server, the rules for listening beyond loopback, and its certificate.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orx_api::{Limits, Serving, Tls};
use orx_client::Trust;

use crate::config::{Config, ServerConfig};
use crate::connect::authorities;
use crate::error::CliError;
use crate::state::StateDir;

/// Limit for a certificate chain, which usually has some thousand bytes.
const FILE_BYTES: u64 = 1024 * 1024;

/// Flags of every daemon that listens.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct NetArgs {
    /// Certificate with its chain, PEM; read again on SIGHUP
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its private key, PEM, in a file that others cannot read
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Listen beyond loopback without TLS: anyone on the network can read tokens and jobs
    #[arg(long)]
    pub(crate) insecure_listen: bool,
}

/// The checked settings for listening.
pub(crate) struct Listen {
    pub(crate) address: SocketAddr,
    pub(crate) certificate: Option<Certificate>,
    limits: Limits,
    ca_file: Option<PathBuf>,
}

impl Listen {
    /// # Errors
    /// It would listen beyond loopback without TLS, or the certificate cannot be used.
    pub(crate) fn new(config: &Config) -> Result<Self, CliError> {
        let server = &config.server;
        let address = *server.listen;
        // Certificate and key must be set together.
        let certificate = match server.tls_cert.as_os_str().is_empty() {
            true => None,
            false => {
                let (chain, key) = ((*server.tls_cert).clone(), (*server.tls_key).clone());
                Some(Certificate::read(chain, key)?)
            }
        };
        if !address.ip().to_canonical().is_loopback() && certificate.is_none() {
            if !*server.insecure_listen {
                return Err(CliError::usage(format!("`{address}` is not on loopback"))
                    .cause("without TLS, tokens and jobs would be readable on the network")
                    .hint(
                        "give `--tls-cert` and `--tls-key`, or `--insecure-listen` on a network \
                         where everybody may read along",
                    ));
            }
            tracing::warn!(
                %address,
                "LISTENING WITHOUT TLS BEYOND LOOPBACK: anybody on the network can read and change \
                 tokens, args and logs"
            );
        }
        let limits = limits(server, address, open_files());
        Ok(Self { address, certificate, limits, ca_file: (*config.ca_file).clone() })
    }

    pub(crate) fn serving(&self) -> Serving {
        let tls = self.certificate.as_ref().map(|certificate| Arc::clone(&certificate.tls));
        Serving { limits: self.limits.clone(), tls }
    }

    /// The authorities that this node trusts when it calls other nodes. `None` where it has neither a
    /// certificate nor authorities: then no node uses TLS.
    ///
    /// # Errors
    /// `ORX_CA_FILE` cannot be used.
    pub(crate) fn trust(&self) -> Result<Option<Trust>, CliError> {
        match &self.ca_file {
            Some(path) => authorities(path).map(Some),
            None => Ok(self.certificate.is_some().then_some(Trust::System)),
        }
    }

    /// The URL for clients on this machine, once the port is known.
    pub(crate) fn url(&self, bound: SocketAddr) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        let ip = match bound.ip() {
            // The wildcard address is not one to connect to.
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        format!("{scheme}://{}", SocketAddr::new(ip, bound.port()))
    }
}

/// The limit of open files, connections included, of this process.
fn open_files() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

fn limits(config: &ServerConfig, address: SocketAddr, open_files: u64) -> Limits {
    // A quarter is reserved for the store and the pipes of jobs.
    let most = usize::try_from(open_files / 4 * 3).unwrap_or(usize::MAX).max(8);
    let connections = (*config.connections as usize).min(most);
    if connections < *config.connections as usize {
        tracing::warn!(
            connections,
            open_files,
            "fewer connections than configured: the limit of open files (`ulimit -n`) is too low"
        );
    }
    // On loopback all callers share one address.
    let loopback = address.ip().to_canonical().is_loopback();
    let per_peer = if loopback { connections } else { *config.connections_per_peer as usize };
    Limits {
        connections,
        connections_per_peer: per_peer,
        // Reserved for short requests, such as health checks, while all others wait.
        watchers: (connections - connections / 8).max(1),
        ..Limits::default()
    }
}

/// A certificate and its files.
#[derive(Clone)]
pub(crate) struct Certificate {
    tls: Arc<Tls>,
    certificates: PathBuf,
    key: PathBuf,
}

impl Certificate {
    fn read(certificates: PathBuf, key: PathBuf) -> Result<Self, CliError> {
        let (chain, secret) = (read_file(&certificates)?, read_key(&key)?);
        let tls = Tls::new(&chain, &secret).map_err(|error| {
            let files = format!("`{}` and `{}`", certificates.display(), key.display());
            CliError::usage(format!("TLS cannot be used with {files}")).cause(error.to_string())
        })?;
        Ok(Self { tls: Arc::new(tls), certificates, key })
    }

    /// The certificate in the form of the address file, for clients on this machine.
    pub(crate) fn leaf(&self) -> String {
        STANDARD.encode(self.tls.leaf())
    }

    /// Reads the files again. If they are invalid, this logs the reason, and the certificate in force stays.
    pub(crate) fn reload(&self, state: &StateDir) {
        let replaced = || -> Result<(), CliError> {
            let (chain, secret) = (read_file(&self.certificates)?, read_key(&self.key)?);
            self.tls.replace(&chain, &secret).map_err(|error| {
                CliError::usage("the files cannot be used").cause(error.to_string())
            })
        };
        if let Err(error) = replaced() {
            let cause = error.cause.unwrap_or_default();
            tracing::error!(error = error.message, cause, "the certificate stays as it was");
            return;
        }
        let Some(mut address) = state.address() else { return };
        address.certificate = Some(self.leaf());
        match state.write_address(&address) {
            Ok(()) => tracing::info!("the certificate was read again"),
            Err(error) => tracing::error!(%error, "could not write the address file"),
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, CliError> {
    let shown = path.display();
    let read = || {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(FILE_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|error: std::io::Error| {
        CliError::usage(format!("could not read `{shown}`")).cause(error.to_string())
    })
}

/// Reads a private key. Only its owner may have access, or also a group's read access where that is root.
fn read_key(path: &Path) -> Result<Vec<u8>, CliError> {
    let meta = std::fs::metadata(path).map_err(|error| {
        CliError::usage(format!("could not read the key `{}`", path.display()))
            .cause(error.to_string())
    })?;
    let open = if meta.uid() == 0 { 0o037 } else { 0o077 };
    if meta.mode() & open != 0 {
        let (shown, mode) = (path.display(), meta.mode() & 0o777);
        return Err(CliError::usage(format!("the key `{shown}` can be read by others"))
            .cause(format!("its mode is {mode:04o}"))
            .hint(format!("`chmod 600 {shown}`; root may make it readable by a group, with 640")));
    }
    read_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(address: &str, insecure_listen: bool) -> Result<Listen, CliError> {
        let listen: SocketAddr = address.parse().expect("an address");
        let server = ServerConfig {
            listen: listen.into(),
            insecure_listen: insecure_listen.into(),
            ..ServerConfig::default()
        };
        Listen::new(&Config { server, ..Config::default() })
    }

    #[test]
    fn beyond_loopback_it_takes_tls_or_a_flag() {
        for address in ["127.0.0.1:0", "[::1]:0", "127.0.0.9:0"] {
            assert!(listen(address, false).is_ok(), "{address}");
        }
        for address in ["0.0.0.0:0", "[::]:0", "10.0.0.1:0", "[::ffff:10.0.0.1]:0"] {
            assert!(listen(address, false).is_err(), "{address}");
            assert!(listen(address, true).is_ok(), "{address}");
        }
    }

    #[test]
    fn connections_leave_files_for_jobs_and_loopback_is_one_address() {
        let config = ServerConfig::default();
        let (near, far) = ("127.0.0.1:0".parse(), "10.0.0.1:0".parse());
        let (near, far) = (near.expect("an address"), far.expect("an address"));
        let wide = limits(&config, far, 65_536);
        assert_eq!((wide.connections, wide.connections_per_peer, wide.watchers), (768, 256, 672));
        let tight = limits(&config, near, 256);
        assert_eq!((tight.connections, tight.connections_per_peer), (192, 192));
        assert!(tight.watchers < tight.connections);
    }

    #[test]
    fn the_address_for_this_machine_can_be_called() {
        for (bound, url) in [
            ("0.0.0.0:7", "http://127.0.0.1:7"),
            ("[::]:7", "http://[::1]:7"),
            ("10.0.0.1:7", "http://10.0.0.1:7"),
        ] {
            let address = bound.parse().expect("an address");
            assert_eq!(listen(bound, true).expect("checked").url(address), url);
        }
    }
}
