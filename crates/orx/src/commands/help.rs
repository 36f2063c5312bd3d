//! Help topics, and the examples at the end of `--help` and of the man pages.

use crate::error::{CliError, EXIT_CODES, Exit};
use crate::ui::Ui;

/// Who may use a command: the scopes of the token, or a sentence of its own.
macro_rules! needs {
    (token $scopes:literal) => {
        concat!("Token scope: ", $scopes, ".\norx finds the token of the local server by itself.")
    };
    ($sentence:literal) => {
        $sentence
    };
}

macro_rules! examples {
    ($($name:ident [$($needs:tt)+] $text:literal;)*) => {
        $(pub(crate) const $name: &str = concat!(
            "Examples:\n", $text, "\n", needs!($($needs)+),
            "\nExit codes: `orx help exit-codes`.");)*
    };
}

examples! {
    ENQUEUE [token "`service`"] "  orx enqueue report.daily date=2026-01-31
  orx enqueue video.process @job.json -q media -p high --key order-42
  jq -c '{name: \"mail.send\", args: .}' mails.json | orx enqueue --batch -\n";
    RUN [token "`exec` and `service`"] "  orx run -- make report
  orx run --retries 3 --job-timeout 10m -- ./sync.sh
  id=$(orx run --detach -o id -- gzip big.log)\n";
    JOBS [token "`read`"] "  orx jobs --status failed,timed_out --since 2h
  orx jobs --filter 'queue:media took>10m' -o wide
  orx jobs -o jsonl | jq -r 'select(.attempt > 1) | .id'\n";
    SHOW [token "`read`"] "  orx show 1423
  orx show 1423.2
  orx show key:order-42 -o json | jq .attempts\n";
    RESULT [token "`read`"] "  orx result 1423
  orx result @last | jq .total
  orx result key:order-42 -o json\n";
    LOGS [token "`read`"] "  orx logs -f @last
  orx logs 1423 --tail 20
  orx logs 1423.1 --stream err > errors.txt\n";
    WAIT [token "`read`"] "  orx wait 1423 1424
  orx run --detach -- make | orx wait -
  orx wait --filter 'tag.run:42' --timeout 10m\n";
    CANCEL [token "`service`"] "  orx cancel 1423 --reason 'bad upload'
  orx cancel --queue media --status pending --dry-run
  orx jobs --status running -o id | orx cancel - --yes\n";
    RETRY [token "`admin`"] "  orx retry 1423
  orx retry --status failed --since 1h --dry-run
  orx retry --filter 'error:\"connection refused\"' --yes\n";
    RM [token "`admin`"] "  orx rm 1423 --reason 'holds personal data'
  orx rm --status completed --filter 'age>3d' --dry-run
  orx rm --queue imports --yes --rate 200\n";
    OPERATION [token "`admin`"] "  orx retry --status failed --yes --detach
  orx operation list
  orx operation show 17 -o json | jq .changed
  orx operation cancel 17\n";
    QUEUE [token "`read`"] "  orx queue list
  orx queue show media
  orx queue list -o json | jq '.[] | {queue, waiting: .counts.pending}'\n";
    AUDIT [token "`admin`"] "  orx audit
  orx audit --action pause_queue
  orx audit -o json | jq '.[] | select(.object == \"media\")'\n";
    STEP_DOWN [token "`admin`"] "  orx cluster step-down --reason 'new kernel'
  orx cluster step-down -o json | jq -r .to
  orx cluster status\n";
    NODES [token "`read`"] "  orx cluster nodes
  orx cluster nodes -o wide
  orx cluster nodes -o json | jq '.[] | select(.leads) | .name'\n";
    NODE_DRAIN [token "`admin`"] "  orx cluster drain n2 --wait --reason 'new kernel'
  orx cluster drain n2 --undo
  orx cluster nodes\n";
    QUEUE_PAUSE [token "`admin`"] "  orx queue pause media --reason 'disk full'
  orx queue resume media
  orx queue list\n";
    DLQ_TOP [token "`read`"] "  orx dlq top
  orx dlq top --filter 'queue:media since:1d'
  orx dlq retry --cause $(orx dlq top -o id | head -1) --canary 1\n";
    DLQ_RETRY [token "`admin`"] "  orx dlq retry 1423
  orx dlq retry --cause 9c1f3ab27704d1e8 --canary 3 --yes
  orx dlq retry --all --rate 10 --dry-run\n";
    DLQ_EXPORT [token "`read`"] "  orx dlq export | jq .job.error
  orx dlq export --cause 9c1f3ab27704d1e8 --out dead.jsonl\n";
    DLQ [token "`admin`, or `read` to list and show"] "  orx dlq list
  orx dlq retry 1423
  orx dlq rm --all --yes\n";
    WORKER [token "`read`"] "  orx worker list
  orx worker show wrk-3
  orx worker list -o json | jq '.[].offer.handlers'\n";
    WORKER_DIRECTIVE [token "`admin`"] "  orx worker drain wrk-3 --reason 'new disk'
  orx worker resume wrk-3
  orx worker fence 4f2a90c1 --yes\n";
    CLUSTER [token "`read`"] "  orx cluster status
  orx cluster status -o json | jq .attention
  watch -n 5 orx cluster status\n";
    TOP [token "`read`, and `service` or `admin` for changes"] "  orx top
  orx top --screen jobs --filter 'status:failed since:1h'
  orx top --once -o json | jq .cluster.attention\n";
    DAEMON_STATUS ["Needs no token, but the user of the server."] "  orx daemon status
  orx daemon status -o json | jq -r .pid
  orx daemon status --state /srv/orx\n";
    DAEMON_STOP ["Needs no token, but the user of the server."] "  orx daemon stop
  orx daemon stop --timeout 1m
  orx daemon stop --state /srv/orx -o json\n";
    TOKEN_CREATE [token "`admin`"] "  orx token create --scope service,read --expires 90d --note ci --out ci.token
  ORX_TOKEN=$(orx token create --scope read --expires 1h) orx jobs
  orx token create --scope worker -o json | jq -r .token\n
Scopes:
  service  enqueue, read, wait for and cancel jobs
  read     read everything
  exec     send commands with jobs; enqueueing them needs `service` too
  worker   act as a worker
  node     act as a server of the cluster
  admin    all of these except `node`, and create tokens of every scope
A token is printed once; the server stores only its hash. Keep it in a file that
only its owner can read (`token_file` of a context) or in ORX_TOKEN; no flag
takes one.\n";
    TOKEN [token "`admin`"] "  orx token list
  orx token list -o json | jq -r '.[] | select(.state == \"valid\") | .id'
  orx token revoke 0123456789abcdef\n";
    SCHEDULE [token "`read`"] "  orx schedule list
  orx schedule show nightly
  orx schedule list -o json | jq -r '.[] | select(.missed > 0) | .id'\n";
    SCHEDULE_ADD [token "`service`, and `exec` if it runs a command"] "  orx schedule add nightly --cron '30 2 * * mon-fri' report.make kind=full
  orx schedule add morning --cron '0 7 * * *' --zone Europe/Berlin report.make
  orx schedule add sync --every 15m --jitter 1m --overlap queue-one -- ./sync.sh
  orx schedule add launch --at 2027-01-01T09:00Z --on-failure page.me site.open\n";
    SCHEDULE_SET [token "`service`, and `exec` if it runs a command"] "  orx schedule set nightly --cron '0 3 * * *'
  orx schedule set nightly kind=short --clear end,max-runs
  orx schedule set sync --env LEVEL=2 --cwd /srv --clear tags -t team=data
  orx schedule set sync --overlap skip --version 4 --dry-run\n";
    SCHEDULE_ORDER [token "`service`, or `admin` to pause and resume"] "  orx schedule pause nightly --reason 'the disk is full'
  orx schedule trigger nightly --follow
  orx schedule rm nightly\n";
    SCHEDULE_RUNS [token "`read`"] "  orx schedule runs nightly
  orx schedule runs nightly --missed
  orx schedule runs nightly -o jsonl | jq 'select(.late_ms > 60000)'\n";
    SCHEDULE_PREVIEW ["Token scope: `read` for a schedule of the server; else no token is needed."] "  orx schedule preview --cron '30 2 * * *' --zone Europe/Berlin -n 3
  orx schedule preview nightly -n 20
  orx schedule lint --cron '0 0 31 * *'\n";
    SCHEDULE_BACKFILL [token "`service`, and `exec` if it runs a command"] "  orx schedule backfill nightly --from 2027-01-01 --dry-run
  orx schedule backfill nightly --from 2027-01-01 --to 2027-01-31
  orx schedule backfill nightly --from 3d\n";
    SCHEDULE_IMPORT [token "`exec` and `service`"] "  crontab -l | orx schedule import --dry-run
  crontab -l | orx schedule import --yes
  orx schedule import /etc/cron.d/backup --user-column --prune --overlap allow

An import owns the schedules that it created. Imported again, a source changes
the schedules of lines that changed, and with --prune removes those of lines
that are gone. A schedule that `orx schedule set` changed since the import stays
as it is, and orx reports it.\n";
    SCHEDULE_EXPORT [token "`read`"] "  orx schedule export > schedules.toml
  orx schedule export nightly sync
  orx schedule export -o json\n";
    SCHEDULE_APPLY [token "`service`, and `exec` if it runs a command"] r#"  orx schedule diff -f schedules/ || orx schedule apply -f schedules/
  orx schedule apply -f schedules/ --prune --yes
  orx schedule apply -f nightly.toml --dry-run

A TOML file holds schedules:

  [[schedule]]
  id = "nightly-report"
  cron = "30 2 * * mon-fri"  # or `every` with `offset`, or `at`
  zone = "Europe/Berlin"     # default: UTC
  catch_up = "all:3"
  overlap = "queue-one"
  [schedule.job]
  name = "report.make"
  args = { kind = "full" }
  queue = "reports"
  retries = 2
  timeout = "1h"
  tags = { team = "data" }

  [[schedule]]
  id = "sync"
  every = "15m"
  offset = "5m"
  [schedule.job.command]
  argv = ["/usr/local/bin/sync", "--all"]
  cwd = "/srv"
  env = { LEVEL = "2" }

More keys of a schedule: jitter, start, end, max_runs, window, tolerance,
on_missed, on_failure. Of a job: priority, backoff, expires, on_lost, require,
corr. Of a command: stdin. The flags of `orx schedule add` have the same meaning.
"#;
    STORE ["Needs no token. Stop all servers on both stores first."] "  orx store copy ~/.local/state/orx postgres://orx@db/orx
  orx store copy postgres://orx@db/orx /var/lib/orx
  orx store copy /var/lib/orx postgres://orx@db/orx --resume\n";
    CTX ["Needs no token. Works only inside a job."] "  orx ctx progress 50 'half of the frames'
  orx ctx log --level warn 'disk is getting full'
  orx ctx result '{\"pages\": 12}'\n";
    BENCH [token "`admin`"] "  orx bench
  orx bench --jobs 50000
  orx bench -o json\n";
    SERVER ["Needs no token."] "  orx daemon server
  orx daemon server --listen 127.0.0.1:0 --state /tmp/orx
  orx daemon server --listen 0.0.0.0:7443 --tls-cert orx.pem --tls-key orx.key\n";
    COORDINATOR ["Needs no token."] "  orx daemon coordinator --listen 127.0.0.1:7070
  orx daemon coordinator --state /var/lib/orx --name n1
  orx daemon coordinator --config /etc/orx/config.toml\n";
    WORKER_DAEMON [token "`worker`"] "  orx daemon worker
  orx daemon worker --coordinator http://127.0.0.1:7070 --token-file worker.token
  orx daemon worker --slots 4 --queues media,mail --label gpu=a100\n";
}

const FILTERS: &str = "\
A filter is a list of terms, separated by spaces; all of them must hold.

  status:failed,timed_out queue:media name:video.* age>10m attempts>=2
  error:\"connection refused\" tag.tenant:acme -worker:wrk-3 since:2h text

  A space means AND, a comma means OR within a key, a leading `-` negates.
  Quotes keep spaces; `*` matches any text.
  = != < <= > >= compare numbers, durations (90s, 2h30m) and ids.
  A bare word searches id, name, key, tag values and error.

Keys: id status name queue priority worker schedule key corr error attempts
      age waited took since until by tag.NAME arg.NAME
  age           time since the job was accepted
  waited        time from due to start
  took          time from start to end
  since, until  when it was accepted: RFC 3339, 03:00, yesterday, or a duration,
                which counts back from now
  corr          the correlation id
The flags --status, --queue, --name, --since and --tag abbreviate their terms.
";

const ENVIRONMENT: &str = "\
orx reads:
  ORX_STATE      state folder of the local server (default: $XDG_STATE_HOME/orx,
                 else ~/.local/state/orx)
  ORX_CONFIG     configuration file
  ORX_URL        server to connect to
  ORX_CONTEXT    context of the configuration to use
  ORX_TOKEN      token to send to the server
  ORX_STORE_URL  database of a daemon: postgres://user@host/database
  ORX_CA_FILE    PEM file of certificate authorities for https, used instead of
                 the system's
  SSL_CERT_FILE  the same for https and PostgreSQL
  PGHOST PGPASSWORD PGSSLMODE PGSSLROOTCERT …
                 what ORX_STORE_URL leaves out; ~/.pgpass is read too
  HTTPS_PROXY, NO_PROXY
  ORX_OUTPUT     output format
  ORX_COLOR      always or never; NO_COLOR and CLICOLOR_FORCE are honoured
  ORX_LOG        what daemons log: error, warn, info, debug or trace, for all of orx
                 or for a module, as in info,orx_store=debug
  COLUMNS, TZ, TERM, LC_ALL, LANG

orx sets for the commands of jobs:
  ORX_JOB_ID ORX_JOB_NAME ORX_QUEUE ORX_ATTEMPT ORX_RETRY
  ORX_EXECUTION_ID ORX_CORRELATION_ID ORX_SCHEDULED_AT
  ORX_CTX        the address at which `orx ctx` reaches the worker
";

const FORMATS: &str = "\
-o, --output FORMAT, or ORX_OUTPUT:
  table   for people: fits the terminal, at most 50 rows without --all
  wide    a table with every column
  json    exactly one value; [] for an empty list
  jsonl   one object a line, printed as it arrives
  tsv     cells separated by tabs; tab, newline and backslash are escaped
  id      only the ids

Lists omit fields that may be large (args, command, result); `orx show`
prints them for one job.
JSON objects contain \"v\": 1. Within a version fields are added, never renamed.
Times are RFC 3339 in UTC; durations are integers in fields named ..._ms.
--fields a,b selects columns, --no-header leaves out their names.
--time relative|local|utc|unix selects how times are printed.
Data goes to standard output, everything else to standard error.
";

const ACCESSIBILITY: &str = "\
A word always accompanies a colour or a sign; neither carries meaning alone.
  --color never, or NO_COLOR=1     no colours
  a locale that is not UTF-8       ASCII signs
  -o jsonl, -o tsv                 plain lines, no layout
orx never redraws printed lines: it only appends.
";

const TOPICS: [(&str, &str); 5] = [
    ("exit-codes", EXIT_CODES),
    ("filters", FILTERS),
    ("environment", ENVIRONMENT),
    ("formats", FORMATS),
    ("accessibility", ACCESSIBILITY),
];

/// Printed by `orx` without arguments.
pub(crate) const DAILY: &str = "\
orx runs jobs and keeps them safe.

  orx run -- make report            run a command as a job and follow it
  orx enqueue NAME k=v              enqueue a job for a handler
  orx jobs                          list jobs
  orx logs -f @last                 follow the output of the last job
  orx wait @last                    wait until it has ended
  orx cancel 1423                   cancel job 1423
  orx top                           watch and steer everything live
  orx cluster status                check whether all is well

`orx help COMMAND` explains a command; `orx --help` lists all.
";

/// The text of a topic.
pub(crate) fn topic(name: &str) -> Option<&'static str> {
    TOPICS.iter().find(|(topic, _)| *topic == name).map(|(_, text)| *text)
}

/// `orx help`, `orx help TOPIC`, `orx help COMMAND…`.
pub(crate) fn run(words: &[String], mut cli: clap::Command, ui: &Ui) -> Result<Exit, CliError> {
    cli.build();
    let Some(first) = words.first() else {
        ui.raw(cli.render_long_help().to_string().as_bytes())?;
        return Ok(Exit::Success);
    };
    if let Some(text) = topic(first) {
        ui.raw(text.as_bytes())?;
        return Ok(Exit::Success);
    }
    let mut command = &mut cli;
    for word in words {
        let names: Vec<String> = command
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(|command| command.get_name().to_owned())
            .chain(TOPICS.iter().map(|(topic, _)| (*topic).to_owned()))
            .collect();
        let Some(found) = command.find_subcommand_mut(word) else {
            let near = orx_model::text::nearest(word, names.iter().map(String::as_str));
            let hint = near.map_or_else(
                || format!("the commands and topics are {}", names.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(
                CliError::usage(format!("there is no command or topic `{word}`")).hint(hint)
            );
        };
        command = found;
    }
    ui.raw(command.render_long_help().to_string().as_bytes())?;
    Ok(Exit::Success)
}
