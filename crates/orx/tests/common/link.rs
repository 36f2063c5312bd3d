//! A cable between a worker and its coordinators that a test can cut.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A separate network for one worker, with one cable to this one. Coordinators listen on loopback only: a
/// relay at this end of the cable forwards to them.
pub(super) struct NetworkLink {
    pub(super) name: String,
    cable: String,
    pub(super) host: IpAddr,
    pub(super) ports: Vec<u16>,
}

static LINKS: AtomicU32 = AtomicU32::new(0);

impl NetworkLink {
    /// # Panics
    /// Where the kernel or the user's rights allow no network namespaces.
    pub(super) fn make(ports: &[u16]) -> Self {
        let number = LINKS.fetch_add(1, Ordering::Relaxed);
        let id = (std::process::id() % 4_000) * 4 + number % 4;
        let octet = |bits: u32| u8::try_from(bits & 255).expect("a byte");
        let host = Ipv4Addr::new(100, 64 + octet(id >> 14), octet(id >> 6), octet(id << 2) + 1);
        let peer = Ipv4Addr::new(100, 64 + octet(id >> 14), octet(id >> 6), octet(id << 2) + 2);
        let (name, cable) = (format!("orx-{id}"), format!("orxa{id}"));
        let other = format!("orxb{id}");
        // A leftover of a process that was killed.
        drop(Command::new("ip").args(["link", "del", &cable]).output());
        drop(Command::new("ip").args(["netns", "del", &name]).output());
        ip(&["netns", "add", &name]);
        ip(&["link", "add", &cable, "type", "veth", "peer", "name", &other, "netns", &name]);
        ip(&["addr", "add", &format!("{host}/30"), "dev", &cable]);
        ip(&["link", "set", &cable, "up"]);
        ip(&["-n", &name, "addr", "add", &format!("{peer}/30"), "dev", &other]);
        ip(&["-n", &name, "link", "set", &other, "up"]);
        ip(&["-n", &name, "link", "set", "lo", "up"]);
        let relays = ports.iter().map(|port| relay(host, *port)).collect();
        Self { name, cable, host: IpAddr::V4(host), ports: relays }
    }

    pub(super) fn set(&self, state: &str) {
        ip(&["link", "set", &self.cable, state]);
    }
}

impl Drop for NetworkLink {
    fn drop(&mut self) {
        // This removes its cable too.
        drop(Command::new("ip").args(["netns", "del", &self.name]).output());
        drop(Command::new("ip").args(["link", "del", &self.cable]).output());
    }
}

fn ip(args: &[&str]) {
    let done = Command::new("ip").args(args).output();
    let why = match &done {
        Ok(output) if output.status.success() => return,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    panic!(
        "no network namespaces here: `ip {}`: {why}. Links between daemons are cut with them: run \
         the tests as root, with iproute2, on a kernel that has them",
        args.join(" ")
    );
}

/// The relay ends with this process: its threads hold only connections.
fn relay(host: Ipv4Addr, port: u16) -> u16 {
    let listener = TcpListener::bind((host, 0)).expect("the end of the cable");
    let own = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
                drop((client.set_nodelay(true), server.set_nodelay(true)));
                let (Ok(from), Ok(to)) = (client.try_clone(), server.try_clone()) else { return };
                let asks = std::thread::spawn(move || carry(from, to));
                carry(server, client);
                drop(asks.join());
            });
        }
    });
    own
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    drop(std::io::copy(&mut from, &mut to));
    drop(to.flush());
    drop((to.shutdown(std::net::Shutdown::Both), from.shutdown(std::net::Shutdown::Both)));
}
