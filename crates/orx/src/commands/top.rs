//! `orx top`: the live dashboard. The crate `orx-top` is the dashboard; this file finds its server and
//! reads its settings.

use std::io::BufReader;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use orx_client::{Client, ClientError, Endpoint, Locate, Trust};
use orx_model::filter::Filter;
use orx_top::{
    ClientCommands, Context, ContextColor, Contexts, Ended, Failure, FailureKind, Keymap, Replay,
    Screen, ServerCommands, SessionRecorder, SettingLine, Theme, TopClock, TopOptions,
};

use crate::config::{Config, Environment};
use crate::connect::{Locator, Start};
use crate::error::{CliError, Exit};
use crate::ui::Ui;

/// Watch and steer everything live: jobs and their logs, queues, workers, schedules, dead letters
#[derive(Debug, clap::Args)]
#[command(after_long_help = super::help::TOP)]
pub(crate) struct TopArgs {
    /// Screen to start on: overview, jobs, queues, workers, schedules, dead-letters, cluster, logs, events or settings
    #[arg(long, value_name = "SCREEN", value_parser = screen)]
    screen: Option<Screen>,
    /// Filter for the list of jobs; `orx help filters` explains it
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
    /// Offer no key that changes anything
    #[arg(long)]
    read_only: bool,
    /// Draw with ASCII characters only
    #[arg(long)]
    ascii: bool,
    /// Colours: ansi (those of the terminal), safe (for any colour vision) or mono
    #[arg(long, value_name = "THEME", value_parser = theme)]
    theme: Option<Theme>,
    /// Use the mouse
    #[arg(long)]
    mouse: bool,
    /// Print the overview as text and end
    #[arg(long)]
    once: bool,
    /// Write the session to a new file, for `--replay`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["replay", "once"])]
    record: Option<PathBuf>,
    /// Show a recorded session instead of a server
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Start this far into the recording
    #[arg(long, value_name = "D", requires = "replay", value_parser = crate::duration)]
    from: Option<Duration>,
}

fn screen(text: &str) -> Result<Screen, String> {
    Screen::named(text).ok_or_else(|| {
        let names: Vec<&str> = Screen::ALL.into_iter().map(Screen::name).collect();
        format!("the screens are {}", names.join(", "))
    })
}

fn theme(text: &str) -> Result<Theme, String> {
    Theme::named(text).ok_or_else(|| "the themes are ansi, safe and mono".to_owned())
}

pub(crate) fn run(
    args: TopArgs,
    no_start: bool,
    config: &Config,
    environment: &Environment,
    ui: &Ui,
) -> Result<Exit, CliError> {
    let dumb = environment.text("TERM").is_none_or(|kind| kind == "dumb");
    if !args.once && (dumb || !orx_top::has_terminal()) {
        return Err(CliError::usage("`orx top` needs a terminal")
            .cause(match dumb {
                true => "the terminal cannot move its cursor (`TERM`)",
                false => "standard input or standard output is none",
            })
            .hint("`orx top --once` prints the overview as text"));
    }
    let options = options(&args, config, environment, ui)?;
    let now = crate::clock::wall();
    if let Some(error) = Filter::parse(&options.filter, now, ui.shown_zone()).err() {
        let hint =
            error.hint.clone().unwrap_or_else(|| "`orx help filters` explains it".to_owned());
        return Err(CliError::usage(format!("the filter is wrong: {}", error.message))
            .cause(error.caret(&options.filter))
            .hint(hint));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let commands = commands(&args, no_start, config)?;
        if args.once {
            return once(&*commands, &options, ui).await;
        }
        let clock = TopClock { wall: crate::clock::wall, chance: rand::random::<f64> };
        Ok(match orx_top::run(options, commands, clock).await? {
            Ended::Quit => Exit::Success,
            Ended::Signal(number) => Exit::Interrupted(number),
        })
    });
    // A request that is under way does not hold the process.
    runtime.shutdown_background();
    ended
}

async fn once(
    commands: &dyn ServerCommands,
    options: &TopOptions,
    ui: &Ui,
) -> Result<Exit, CliError> {
    let report = orx_top::overview(commands).await.map_err(failed)?;
    if ui.format.is_json() {
        ui.one(&report, "", &[])?;
    } else {
        ui.raw(orx_top::overview_text(&report, options).as_bytes())?;
    }
    Ok(Exit::Success)
}

fn failed(failure: Failure) -> CliError {
    let (exit, code) = match failure.kind {
        FailureKind::Link => (Exit::NoServer, "unreachable"),
        FailureKind::Refused => (Exit::NotAllowed, "not_allowed"),
        FailureKind::Answered => (Exit::Failed, "failed"),
    };
    let mut error = CliError::new(exit, code, failure.message);
    (error.cause, error.hint) = (failure.cause, failure.hint);
    error
}

/// What the dashboard asks: a recording, or a server, with what is asked written down or not.
fn commands(
    args: &TopArgs,
    no_start: bool,
    config: &Config,
) -> Result<Arc<dyn ServerCommands>, CliError> {
    if let Some(path) = &args.replay {
        let shown = path.display();
        let file = std::fs::File::open(path).map_err(|error| {
            CliError::usage(format!("could not read the recording `{shown}`"))
                .cause(error.to_string())
        })?;
        let replay = Replay::read(BufReader::new(file)).map_err(|error| {
            CliError::usage(format!("could not read the recording `{shown}`")).cause(error)
        })?;
        return Ok(Arc::new(replay.starting_at(args.from.unwrap_or_default())));
    }
    let start = if no_start { Start::Never } else { Start::WithStore };
    // Notes about a server that starts would stand in the middle of the screen.
    let locator = LocateOnce {
        first: Locator::new(config, start, None)?,
        later: Locator::new(config, Start::Never, None)?,
        found: AtomicBool::new(false),
    };
    let client = Client::new(Arc::new(locator), crate::PATIENCE)?;
    let commands = ClientCommands::new(client);
    let Some(path) = &args.record else { return Ok(Arc::new(commands)) };
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = file.map_err(|error| {
        CliError::usage(format!("could not write the recording `{}`", path.display()))
            .cause(error.to_string())
            .hint("`--record` needs the name of a new file")
    })?;
    Ok(Arc::new(SessionRecorder::new(commands, Box::new(file))))
}

/// May start the local server when the dashboard opens, and not again: a server that is stopped while it is
/// watched stays stopped.
struct LocateOnce {
    first: Locator,
    later: Locator,
    found: AtomicBool,
}

#[async_trait]
impl Locate for LocateOnce {
    async fn endpoint(&self) -> Result<Endpoint, ClientError> {
        if !self.found.load(Ordering::Relaxed) {
            self.first.endpoint().await?;
            self.found.store(true, Ordering::Relaxed);
        }
        self.later.endpoint().await
    }

    fn candidates(&self) -> usize {
        self.later.candidates()
    }

    fn read_only(&self) -> bool {
        self.later.read_only()
    }

    fn expects_return(&self) -> bool {
        self.later.expects_return()
    }

    fn server_stops(&self) {
        self.later.server_stops();
    }

    fn trust(&self) -> Trust {
        self.later.trust()
    }
}

/// The contexts of the configuration, and the local server.
struct NamedContexts {
    config: Config,
    read_only: bool,
}

/// Stands for the local server, where no context has this name.
const LOCAL: &str = "local";

impl Contexts for NamedContexts {
    fn names(&self) -> Vec<String> {
        let named = &self.config.contexts.named;
        let local = (!named.contains_key(LOCAL)).then(|| LOCAL.to_owned());
        named.keys().cloned().chain(local).collect()
    }

    fn open(&self, name: &str) -> Result<(Context, Arc<dyn ServerCommands>), Failure> {
        let failure = |error: CliError| {
            let mut failure = Failure::new(FailureKind::Answered, error.message);
            (failure.cause, failure.hint) = (error.cause, error.hint);
            failure
        };
        let mut config = self.config.clone();
        // The flag `--url` named the first cluster.
        config.url = None.into();
        let named = config.contexts.named.get(name).cloned();
        let chosen = if named.is_some() { name.to_owned() } else { String::new() };
        config.contexts.chosen = Some(chosen.into());
        let connection = config.connection().map_err(failure)?;
        let locator = Locator::new(&config, Start::Never, None).map_err(failure)?;
        let client = Client::new(Arc::new(locator), crate::PATIENCE);
        let client = client.map_err(|error| failure(error.into()))?;
        let color = named.as_ref().and_then(|context| context.color.as_deref());
        let context = Context {
            name: name.to_owned(),
            color: color.and_then(ContextColor::named),
            read_only: self.read_only || *connection.read_only,
            protected: named.as_ref().is_some_and(|context| context.protected),
        };
        Ok((context, Arc::new(ClientCommands::new(client))))
    }
}

fn options(
    args: &TopArgs,
    config: &Config,
    environment: &Environment,
    ui: &Ui,
) -> Result<TopOptions, CliError> {
    let connection = config.connection()?;
    let context = config.context();
    let name = match (context.is_empty(), connection.urls.first(), &args.replay) {
        (_, _, Some(path)) => {
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        }
        (false, ..) => context.to_string(),
        (true, Some(url), None) => orx_model::mask::without_userinfo(url).into_owned(),
        (true, None, None) => "local".to_owned(),
    };
    let named = config.contexts.named.get(&*context);
    let color = named.and_then(|context| context.color.as_deref());
    let protected = named.is_some_and(|context| context.protected);
    // What was recorded is of one cluster.
    let stays = args.record.is_some() || args.replay.is_some() || config.contexts.named.is_empty();
    let contexts = (!stays).then(|| {
        let contexts = NamedContexts { config: config.clone(), read_only: args.read_only };
        Arc::new(contexts) as Arc<dyn Contexts>
    });
    let keys = Keymap::new((*config.top.keys).clone())
        .map_err(|error| CliError::usage(error.to_string()))?;
    let coloured = ui.color;
    let theme = match (coloured, args.theme) {
        (false, _) => Theme::Mono,
        (true, Some(theme)) => theme,
        (true, None) => Theme::named(&config.top.theme).unwrap_or_default(),
    };
    let pager = ["ORX_PAGER", "PAGER"].into_iter().find_map(|name| environment.text(name));
    let pager = pager.unwrap_or_else(|| "less -R".to_owned());
    Ok(TopOptions {
        context: name,
        color: color.and_then(ContextColor::named),
        contexts,
        read_only: args.read_only || *connection.read_only,
        protected,
        ascii: args.ascii || *config.top.ascii || config.terminal.ascii,
        theme,
        mouse: args.mouse || *config.top.mouse,
        screen: args.screen.or(args.filter.as_ref().map(|_| Screen::Jobs)),
        filter: args.filter.clone().unwrap_or_default(),
        replay: args.replay.is_some(),
        by: Some(super::enqueue::user()),
        keys,
        zone: Box::new(ui.shown_zone().clone()),
        pager: pager.split_whitespace().map(str::to_owned).collect(),
        clipboard: (*config.top.clipboard_command).clone(),
        settings: settings(config),
        // A recording is shown as it was made, and leaves nothing behind.
        state: if args.replay.is_some() { None } else { kept(environment) },
        folder: std::env::current_dir().unwrap_or_default(),
        commands: subcommands(),
    })
}

/// The user's folder for what stays from one session to the next.
fn kept(environment: &Environment) -> Option<PathBuf> {
    let absolute = |name| environment.path(name).filter(|path| path.is_absolute());
    let folder = absolute("XDG_STATE_HOME");
    let folder = folder.or_else(|| Some(absolute("HOME")?.join(".local/state")));
    Some(folder?.join("orx"))
}

/// The settings that this process found, as `orx config show --origin` prints them.
fn settings(config: &Config) -> Vec<SettingLine> {
    let mut lines = Vec::new();
    config.each(&mut |table, key, setting| {
        let Ok(value) = setting.shown() else { return };
        let name = if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
        let origin = super::config::origin_text(config, setting.origin());
        lines.push(SettingLine { name, value: value.to_string(), origin });
    });
    lines
}

/// The commands of `orx` that the palette knows to be none of its own.
fn subcommands() -> std::collections::BTreeMap<String, String> {
    use clap::CommandFactory;
    let cli = crate::args::Cli::command();
    let shown = cli.get_subcommands().filter(|command| !command.is_hide_set());
    let about = |command: &clap::Command| {
        command.get_about().map(|about| about.to_string()).unwrap_or_default()
    };
    shown.map(|command| (command.get_name().to_owned(), about(command))).collect()
}
