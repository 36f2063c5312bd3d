//! The measurements.

use std::time::{Duration, Instant};

use crate::screen::{Top, cursor, has_job};
use crate::server::{Flow, Server};
use crate::{Failed, Options};

/// Starts of the dashboard and of commands.
const STARTS: usize = 15;
/// Keys of a measurement.
const KEYS: usize = 200;
/// Pages and events of a measurement.
const SAMPLES: usize = 20;
/// The rate of events that the figures name.
const EVENTS: u32 = 1_000;

/// The lines of the table.
#[derive(Default)]
pub(crate) struct Figures(Vec<[String; 3]>);

impl Figures {
    fn add(&mut self, what: &str, must: &str, found: String) {
        eprintln!("{what}: {found}");
        self.0.push([what.to_owned(), must.to_owned(), found]);
    }

    pub(crate) fn print(&self) {
        println!("| figure | must | found |\n|---|---|---|");
        for [what, must, found] in &self.0 {
            println!("| {what} | {must} | {found} |");
        }
    }
}

fn ms(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1_000.0)
}

/// The value below which this share of all lies.
fn share_of(all: &mut [Duration], share: f64) -> Duration {
    all.sort_unstable();
    let index = (all.len() as f64 * share).ceil() as usize;
    all.get(index.saturating_sub(1)).copied().unwrap_or_default()
}

fn median_and_most(all: &mut [Duration]) -> String {
    format!("{}, at most {}", ms(share_of(all, 0.5)), ms(share_of(all, 1.0)))
}

/// `orx --help` and `orx jobs`, from the start of the process to its end.
pub(crate) fn commands(server: &Server, figures: &mut Figures) -> Result<(), Failed> {
    for (args, must) in [(&["--help"][..], "10 ms"), (&["jobs"], "20 ms")] {
        let mut took = Vec::new();
        for _ in 0..STARTS {
            let began = Instant::now();
            let ran = server.command(args).output()?;
            took.push(began.elapsed());
            if !ran.status.success() {
                return Err(String::from_utf8_lossy(&ran.stderr).into_owned().into());
            }
        }
        let line = format!("`orx {}`", args.join(" "));
        figures.add(&line, must, median_and_most(&mut took));
    }
    Ok(())
}

/// From the start of the process to the first frame, and to the first data.
pub(crate) fn start(server: &Server, figures: &mut Figures) -> Result<(), Failed> {
    let (mut frames, mut data) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let mut top = Top::start(server, &[])?;
        let frame = top.shows("orx top")?;
        frames.push(frame.saturating_duration_since(top.began));
        // The header names the workers once the first answer is there.
        let first = top.shows("workers 1/1")?;
        data.push(first.saturating_duration_since(top.began));
    }
    figures.add("first frame", "30 ms", median_and_most(&mut frames));
    figures.add("first data", "100 ms", median_and_most(&mut data));
    Ok(())
}

/// Share of a core, and bytes written per second, while `watch` runs.
fn cost(top: &mut Top, span: Duration) -> Result<(f64, usize), Failed> {
    let (cpu, bytes, began) = (top.cpu()?, top.bytes, Instant::now());
    top.watch(span)?;
    let spent = top.cpu()?.saturating_sub(cpu).as_secs_f64();
    Ok((spent / began.elapsed().as_secs_f64() * 100.0, top.bytes - bytes))
}

/// What the dashboard costs while nothing happens: with ages that grow on the screen, and without.
pub(crate) fn idle(
    server: &Server,
    options: &Options,
    figures: &mut Figures,
) -> Result<(), Failed> {
    let mut top = Top::start(server, &[])?;
    top.shows("workers 1/1")?;
    for (key, what) in [("0", "nothing changes"), ("4", "ages change")] {
        top.keys(key)?;
        top.watch(Duration::from_secs(3))?;
        let (share, bytes) = cost(&mut top, options.window)?;
        let must = if key == "0" { "0.3 % of a core, 0 bytes" } else { "0.3 % of a core" };
        let found = format!("{share:.2} % of a core, {bytes} bytes");
        figures.add(&format!("idle, {what}"), must, found);
    }
    Ok(())
}

/// Memory with a full log.
pub(crate) fn log(server: &Server, options: &Options, figures: &mut Figures) -> Result<(), Failed> {
    let lines = options.lines;
    let go = server.path("go");
    let script = format!(
        "until [ -e '{}' ]; do sleep 0.05; done; \
         seq -f 'line %.0f of the log of a job, as long as lines usually are' {lines}; echo the end",
        go.display()
    );
    let ran =
        server.command(&["run", "--detach", "-o", "id", "--", "sh", "-c", &script]).output()?;
    let id = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
    let mut top = Top::start(server, &[])?;
    top.shows("workers 1/1")?;
    top.keys(&format!(":show {id}\r"))?;
    top.shows(&format!("Overview > {id}"))?;
    let (before, _) = top.memory()?;
    std::fs::write(&go, "")?;
    let began = Instant::now();
    let end = top.shows("the end")?.saturating_duration_since(began);
    top.watch(Duration::from_secs(2))?;
    let (now, most) = top.memory()?;
    let found = format!(
        "{now:.1} MiB, at most {most:.1} MiB (empty {before:.1} MiB; read in {:.1} s)",
        end.as_secs_f64()
    );
    figures.add(&format!("memory with {lines} lines of log"), "30 MB", found);
    Ok(())
}

/// A list of many jobs: open, page, end, filter.
pub(crate) fn large(
    server: &Server,
    options: &Options,
    figures: &mut Figures,
) -> Result<(), Failed> {
    let what = |step: &str| format!("{} jobs: {step}", options.jobs);
    let rows = |screen: &str| screen.matches("backlog").count() > 5;
    let mut top = Top::start(server, &[])?;
    top.shows("workers 1/1")?;
    top.watch(Duration::from_secs(2))?;
    let open = |screen: &str| screen.contains("[2 Jobs]") && rows(screen);
    let opened = top.time("2", "the list", |_| open)?;
    figures.add(&what("open"), "150 ms", ms(opened));
    let mut pages = Vec::new();
    for _ in 0..SAMPLES {
        let changed = |before: &str| {
            let before = first_id(before);
            move |screen: &str| rows(screen) && first_id(screen) != before
        };
        pages.push(top.time("\x1b[6~", "the next page", changed)?);
    }
    figures.add(&what("page"), "150 ms", median_and_most(&mut pages));
    let mut ends = Vec::new();
    for _ in 0..5 {
        top.keys("g")?;
        top.until("the beginning", |screen| rows(screen) && !has_job(screen, "2"))?;
        ends.push(top.time("G", "the end", |_| |screen: &str| has_job(screen, "2"))?);
    }
    figures.add(&what("end"), "150 ms", median_and_most(&mut ends));
    for (filter, there) in [("name:needle", "needle"), ("status:pending", "backlog")] {
        let titled = |screen: &str| {
            screen.lines().any(|line| line.contains(filter) && line.contains(" found"))
        };
        let found = |screen: &str| titled(screen) && screen.matches(there).count() >= 4;
        let mut took = Vec::new();
        for _ in 0..5 {
            top.keys("\\")?;
            top.until("all jobs", |screen| rows(screen) && !titled(screen))?;
            took.push(top.time(&format!("/{filter}\r"), "what matches", |_| found)?);
        }
        figures.add(&what(&format!("filter `{filter}`")), "300 ms", median_and_most(&mut took));
    }
    Ok(())
}

fn first_id(screen: &str) -> Option<u64> {
    let lines = screen.lines().filter(|line| line.contains("backlog"));
    let words = |line: &str| -> Option<u64> {
        line.trim_start_matches(['│', '▌', '•', ' ']).split_whitespace().next()?.parse().ok()
    };
    lines.filter_map(words).next()
}

/// From a key to the bytes that show its effect, which is that the cursor moves.
fn latencies(top: &mut Top) -> Result<Vec<Duration>, Failed> {
    let mut took = Vec::with_capacity(KEYS);
    for index in 0..KEYS {
        top.watch(Duration::from_millis(23))?;
        let before = top.cursor();
        let at = top.keys(if index % 2 == 0 { "j" } else { "k" })?;
        let moved = |screen: &str| cursor(screen) != before;
        took.push(top.until("the cursor elsewhere", moved)?.saturating_duration_since(at));
    }
    Ok(took)
}

fn backlog(server: &Server) -> Result<Top, Failed> {
    let mut top = Top::start(server, &["--screen", "jobs", "--filter", "queue:backlog"])?;
    top.until("the list", |screen| screen.matches("backlog").count() > 5)?;
    top.keys("j")?;
    top.watch(Duration::from_secs(1))?;
    Ok(top)
}

/// From a key to its effect while nothing happens.
pub(crate) fn keys(server: &Server, figures: &mut Figures) -> Result<(), Failed> {
    let mut took = latencies(&mut backlog(server)?)?;
    let (half, most) = (share_of(&mut took, 0.5), share_of(&mut took, 0.99));
    figures.add(
        "key to its effect, idle",
        "p99 5 ms",
        format!("p50 {}, p99 {}", ms(half), ms(most)),
    );
    event_to_screen(server, figures, "event to screen, quiet")
}

/// From the request to enqueue a job to its row on the screen.
fn event_to_screen(server: &Server, figures: &mut Figures, what: &str) -> Result<(), Failed> {
    let mut top = Top::start(server, &["--screen", "jobs", "--filter", "queue:single"])?;
    top.shows("queue:single")?;
    let mut took = Vec::new();
    for index in 0..SAMPLES {
        // A list of which rows come and go is read again at most once a second.
        top.watch(Duration::from_millis(1_300))?;
        let name = format!("mark.{index}x{}", what.len());
        let body = format!("{{\"name\":\"{name}\",\"queue\":\"single\"}}");
        // The server closes connections that are idle.
        let mut connection = server.connect()?;
        let at = Instant::now();
        connection.post("/api/v1/jobs", &body, "application/json")?;
        took.push(top.shows(&name)?.saturating_duration_since(at));
    }
    let (half, most) = (share_of(&mut took, 0.5), share_of(&mut took, 0.95));
    let found = format!("p50 {}, p95 {}", ms(half), ms(most));
    figures.add(what, "p95 300 ms", found);
    Ok(())
}

/// Keys, processor and the time from an event to the screen at the rate of the figures.
pub(crate) fn load(
    server: &Server,
    options: &Options,
    figures: &mut Figures,
) -> Result<(), Failed> {
    let flow = Flow::start(server, EVENTS)?;
    std::thread::sleep(Duration::from_secs(2));
    let mut took = latencies(&mut backlog(server)?)?;
    let (half, most) = (share_of(&mut took, 0.5), share_of(&mut took, 0.99));
    let found = format!("p50 {}, p99 {}", ms(half), ms(most));
    figures.add(&format!("key to its effect, {EVENTS} events/s"), "p99 5 ms", found);

    for (screen, shown) in [("overview", "workers 1/1"), ("jobs", "flow")] {
        let mut top = Top::start(server, &["--screen", screen])?;
        top.shows(shown)?;
        top.watch(Duration::from_secs(2))?;
        let (share, bytes) = cost(&mut top, options.window)?;
        let each = bytes as f64 / options.window.as_secs_f64() / 1024.0;
        let found = format!("{share:.1} % of a core, {each:.1} KiB/s");
        figures.add(&format!("{screen}, {EVENTS} events/s"), "5 % of a core", found);
    }

    event_to_screen(server, figures, &format!("event to screen, {EVENTS} events/s"))?;
    figures.add("events per s that were made", &EVENTS.to_string(), format!("{:.0}", flow.rate()));
    Ok(())
}

/// Memory while events flow.
pub(crate) fn flow(
    server: &Server,
    options: &Options,
    figures: &mut Figures,
) -> Result<(), Failed> {
    let _flow = Flow::start(server, EVENTS)?;
    let mut top = Top::start(server, &["--screen", "jobs"])?;
    top.shows("flow")?;
    top.watch(Duration::from_secs(10))?;
    let (first, _) = top.memory()?;
    for minute in 1..=options.minutes {
        top.watch(Duration::from_secs(60))?;
        let (now, most) = top.memory()?;
        eprintln!("after {minute} min: {now:.1} MiB, at most {most:.1} MiB");
    }
    let (last, most) = top.memory()?;
    let what = format!("memory over {} min, {EVENTS} events/s", options.minutes);
    let found = format!("{first:.1} MiB, then {last:.1} MiB, at most {most:.1} MiB");
    figures.add(&what, "no growth", found);
    Ok(())
}
