//! Measures `orx top` in a real terminal against a real server, and prints the figures beside what they must
//! hold.
//!
//! `bench/top [--orx BINARY] [--jobs N] [--lines N] [--seconds N] [--minutes N]`: the binary is `ORX_BIN` unless
//! it is named.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example that prints figures")]

mod measure;
mod screen;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use measure::Figures;
use server::Server;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What to measure, and for how long.
pub(crate) struct Options {
    orx: PathBuf,
    /// Jobs in the store of the second part.
    jobs: usize,
    /// Lines of the full log.
    lines: usize,
    /// Length of each measurement of a share of the processor.
    window: Duration,
    /// How long memory is watched.
    minutes: u64,
}

fn options() -> Result<Options, Failed> {
    let orx = std::env::var_os("ORX_BIN").map(PathBuf::from);
    let mut options = Options {
        orx: orx.unwrap_or_else(|| "target/release/orx".into()),
        jobs: 1_000_000,
        lines: 50_000,
        window: Duration::from_secs(15),
        minutes: 1,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().ok_or_else(|| format!("`{arg}` needs a value"))?;
        match arg.as_str() {
            "--orx" => options.orx = value.into(),
            "--jobs" => options.jobs = value.parse()?,
            "--lines" => options.lines = value.parse()?,
            "--seconds" => options.window = Duration::from_secs(value.parse()?),
            "--minutes" => options.minutes = value.parse()?,
            _ => return Err(format!("there is no `{arg}`").into()),
        }
    }
    if !options.orx.exists() {
        let shown = options.orx.display();
        return Err(format!("there is no `{shown}`: name the binary by ORX_BIN or --orx").into());
    }
    options.orx = options.orx.canonicalize()?;
    Ok(options)
}

fn main() -> Result<(), Failed> {
    let options = options()?;
    let server = Server::start(&options.orx)?;
    let mut figures = Figures::default();
    measure::commands(&server, &mut figures)?;
    measure::start(&server, &mut figures)?;
    measure::idle(&server, &options, &mut figures)?;
    measure::log(&server, &options, &mut figures)?;
    eprintln!("fills the store with {} jobs", options.jobs);
    server.fill(options.jobs)?;
    measure::large(&server, &options, &mut figures)?;
    measure::keys(&server, &mut figures)?;
    measure::load(&server, &options, &mut figures)?;
    measure::flow(&server, &options, &mut figures)?;
    figures.print();
    Ok(())
}
