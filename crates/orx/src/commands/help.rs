//! Help topics, and the examples that `--help` and the man pages end with.

use crate::error::{CliError, EXIT_CODES, Exit};
use crate::ui::Ui;

macro_rules! examples {
    ($($name:ident: $scope:literal, $text:literal;)*) => {
        $(pub(crate) const $name: &str = concat!(
            "Examples:\n", $text, "\nNeeds a token with the scope `", $scope,
            "`; the local server's is found by itself.\nExit codes: `orx help exit-codes`.");)*
    };
}

examples! {
    ENQUEUE: "service", "  orx enqueue report.daily date=2026-01-31
  orx enqueue video.process @job.json -q media -p high --key order-42
  jq -c '{name: \"mail.send\", args: .}' mails.json | orx enqueue --batch -\n";
    RUN: "exec", "  orx run -- make report
  orx run --retries 3 --job-timeout 10m -- ./sync.sh
  id=$(orx run --detach -o id -- gzip big.log)\n";
    JOBS: "read", "  orx jobs --status failed,timed_out --since 2h
  orx jobs --filter 'queue:media took>10m' -o wide
  orx jobs -o jsonl | jq -r 'select(.attempt > 1) | .id'\n";
    SHOW: "read", "  orx show 1423
  orx show 1423.2
  orx show key:order-42 -o json | jq .attempts\n";
    RESULT: "read", "  orx result 1423
  orx result @last | jq .total
  orx result key:order-42 -o json\n";
    LOGS: "read", "  orx logs -f @last
  orx logs 1423 --tail 20
  orx logs 1423.1 --stream err > errors.txt\n";
    WAIT: "read", "  orx wait 1423 1424
  orx run --detach -- make | orx wait -
  orx wait --filter 'tag.run:42' --timeout 10m\n";
    CANCEL: "service", "  orx cancel 1423 --reason 'bad upload'
  orx cancel --queue media --status pending --dry-run
  orx jobs --status running -o id | orx cancel - --yes\n";
    RETRY: "admin", "  orx retry 1423
  orx retry --status failed --since 1h --dry-run
  orx retry --filter 'error:\"connection refused\"' --yes\n";
    QUEUE: "read", "  orx queue list
  orx queue show media
  orx queue list -o json | jq '.[] | {queue, waiting: .counts.pending}'\n";
    DLQ: "admin", "  orx dlq list
  orx dlq retry 1423
  orx dlq rm --all --yes\n";
    WORKER: "read", "  orx worker list
  orx worker show wrk-3
  orx worker list -o json | jq '.[].offer.handlers'\n";
    WORKER_ORDER: "admin", "  orx worker drain wrk-3 --reason 'new disk'
  orx worker resume wrk-3
  orx worker fence 4f2a90c1 --yes\n";
    CLUSTER: "read", "  orx cluster status
  orx cluster status -o json | jq .attention
  watch -n 5 orx cluster status\n";
    DAEMON_STATUS: "none, but to be of its user", "  orx daemon status
  orx daemon status -o json | jq -r .pid
  orx daemon status --state /srv/orx\n";
    DAEMON_STOP: "none, but to be of its user", "  orx daemon stop
  orx daemon stop --timeout 1m
  orx daemon stop --state /srv/orx -o json\n";
    TOKEN_CREATE: "admin", "  orx token create --scope service,read --expires 90d --note ci --out ci.token
  ORX_TOKEN=$(orx token create --scope read --expires 1h) orx jobs
  orx token create --scope worker -o json | jq -r .token\n
Scopes:
  service  enqueue, read, wait for and cancel jobs
  read     read everything
  exec     give commands with jobs; enqueueing them needs `service` too
  worker   be a worker
  node     be a server of the cluster
  admin    all of these but `node`, and making tokens, of every scope
A token is shown once, and kept as a hash. It goes into a file that only its
owner can read (`token_file` of a context) or into ORX_TOKEN, never a flag.\n";
    TOKEN: "admin", "  orx token list
  orx token list -o json | jq -r '.[] | select(.state == \"valid\") | .id'
  orx token revoke 0123456789abcdef\n";
    SCHEDULE: "read", "  orx schedule list
  orx schedule show nightly
  orx schedule list -o json | jq -r '.[] | select(.missed > 0) | .id'\n";
    SCHEDULE_ADD: "service (exec for commands)", "  orx schedule add nightly --cron '30 2 * * mon-fri' --zone Europe/Berlin report.make kind=full
  orx schedule add sync --every 15m --jitter 1m --overlap queue-one -- ./sync.sh
  orx schedule add launch --at 2027-01-01T09:00+01:00 --on-failure page.me site.open\n";
    SCHEDULE_SET: "service (exec for commands)", "  orx schedule set nightly --cron '0 3 * * *'
  orx schedule set nightly kind=short --clear end,max-runs
  orx schedule set sync --env LEVEL=2 --cwd /srv --clear tags -t team=data
  orx schedule set sync --overlap skip --version 4 --dry-run\n";
    SCHEDULE_ORDER: "service; admin to pause and resume", "  orx schedule pause nightly --reason 'the disk is full'
  orx schedule trigger nightly --follow
  orx schedule rm nightly\n";
    SCHEDULE_RUNS: "read", "  orx schedule runs nightly
  orx schedule runs nightly --missed
  orx schedule runs nightly -o jsonl | jq 'select(.late_ms > 60000)'\n";
    SCHEDULE_PREVIEW: "read for a schedule of the server; else none", "  orx schedule preview --cron '30 2 * * *' --zone Europe/Berlin --from 2027-03-26
  orx schedule preview nightly -n 20
  orx schedule lint --cron '0 0 31 * *'\n";
    SCHEDULE_BACKFILL: "service (exec for commands)", "  orx schedule backfill nightly --from 2027-01-01 --dry-run
  orx schedule backfill nightly --from 2027-01-01 --to 2027-01-31
  orx schedule backfill nightly --from 3d\n";
    SCHEDULE_IMPORT: "exec and service", "  crontab -l | orx schedule import --dry-run
  crontab -l | orx schedule import --yes
  orx schedule import /etc/cron.d/backup --user-column --prune --overlap allow --catch-up none

An import owns what it made: of the same source again, it changes what changed
lines made, and with --prune removes what has gone. What `orx schedule set`
changed since stays, and is said.\n";
    SCHEDULE_EXPORT: "read", "  orx schedule export > schedules.toml
  orx schedule export nightly sync
  orx schedule export -o json\n";
    SCHEDULE_APPLY: "service (exec for commands)", r#"  orx schedule diff -f schedules/ || orx schedule apply -f schedules/
  orx schedule apply -f schedules/ --prune --yes
  orx schedule apply -f nightly.toml --dry-run

A TOML file holds schedules:

  [[schedule]]
  id = "nightly-report"
  cron = "30 2 * * mon-fri"  # or `every` with `offset`, or `at`
  zone = "Europe/Berlin"     # UTC if left out
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

Further keys of a schedule are jitter, start, end, max_runs, window, tolerance,
on_missed and on_failure; of a job priority, backoff, expires, on_lost, require
and corr; of a command stdin. They mean what the flags of `orx schedule add` do.
"#;
    STORE: "none", "  orx store copy ~/.local/state/orx postgres://orx@db/orx
  orx store copy postgres://orx@db/orx /var/lib/orx
  orx store copy /var/lib/orx postgres://orx@db/orx --resume\n";
    CTX: "of its job", "  orx ctx progress 50 'half of the frames'
  orx ctx log --level warn 'disk is getting full'
  orx ctx result '{\"pages\": 12}'\n";
    BENCH: "admin", "  orx bench
  orx bench --jobs 50000
  orx bench -o json\n";
    SERVER: "none", "  orx daemon server
  orx daemon server --listen 127.0.0.1:0 --state /tmp/orx
  orx daemon server --listen 0.0.0.0:7443 --tls-cert orx.pem --tls-key orx.key\n";
    COORDINATOR: "none", "  orx daemon coordinator --listen 127.0.0.1:7070
  orx daemon coordinator --state /var/lib/orx --name n1
  orx daemon coordinator --config /etc/orx/config.toml\n";
    WORKER_DAEMON: "worker", "  orx daemon worker
  orx daemon worker --coordinator http://127.0.0.1:7070 --token-file worker.token
  orx daemon worker --slots 4 --queues media,mail --label gpu=a100\n";
}

const FILTERS: &str = "\
A filter is terms with spaces between them; all must hold.

  status:failed,timed_out queue:media name:video.* age>10m attempts>=2
  error:\"connection refused\" tag.tenant:acme -worker:wrk-3 since:2h text

  a space is AND, a comma is OR within a key, `-` in front negates,
  quotes keep spaces, `*` stands for any text
  = != < <= > >= compare numbers, durations (90s, 2h30m) and ids
  a bare word looks in id, name, key, tag values and error

Keys: id status name queue priority worker schedule key corr error attempts
      age waited took since until by tag.NAME arg.NAME
  age     since it was accepted         waited  from due to start
  took    from start to end             since, until   RFC 3339, 03:00,
                                        yesterday, or how long ago
--status, --queue, --name, --since and --tag are short for their terms.
";

const ENVIRONMENT: &str = "\
Read by orx:
  ORX_STATE      state folder of the local server ($XDG_STATE_HOME/orx,
                 else ~/.local/state/orx)
  ORX_CONFIG     configuration file
  ORX_URL        server to talk to
  ORX_CONTEXT    context of the configuration to use
  ORX_TOKEN      token to show it
  ORX_STORE_URL  database of a daemon: postgres://user@host/database
  ORX_CA_FILE    authorities to believe for https, PEM, in the system's place
  SSL_CERT_FILE  authorities to believe for https and PostgreSQL, PEM, in the
                 system's place
  PGHOST PGPASSWORD PGSSLMODE PGSSLROOTCERT …
                 what ORX_STORE_URL leaves out; ~/.pgpass too
  HTTPS_PROXY, NO_PROXY
  ORX_OUTPUT     output format
  ORX_COLOR      always or never; NO_COLOR and CLICOLOR_FORCE are honoured
  COLUMNS, TZ, TERM, LC_ALL, LANG

Set for the commands of jobs:
  ORX_JOB_ID ORX_JOB_NAME ORX_QUEUE ORX_ATTEMPT ORX_RETRY
  ORX_EXECUTION_ID ORX_CORRELATION_ID ORX_SCHEDULED_AT
  ORX_CTX        where `orx ctx` reaches the worker
";

const FORMATS: &str = "\
-o, --output FORMAT, or ORX_OUTPUT:
  table   for people; fits the terminal, 50 rows unless --all
  wide    table with every column
  json    exactly one value; [] when a list is empty
  jsonl   one object a line, as it comes
  tsv     tabs between cells; tab, newline and backslash are escaped
  id      ids alone

Lists leave out what may be large (args, command, result): `orx show`
has it, a job at a time.
JSON objects carry \"v\": 1; fields are added, never renamed within a
version. Times are RFC 3339 UTC, durations are ..._ms.
--fields a,b picks columns, --no-header leaves out the names.
--time relative|local|utc|unix says how times are shown.
Data goes to standard output, all else to standard error.
";

const ACCESSIBILITY: &str = "\
Meaning is never carried by colour or a sign alone: a word stands beside it.
  --color never, or NO_COLOR=1     no colours
  a locale that is not UTF-8       ASCII signs
  -o jsonl, -o tsv                 plain lines, no layout
Nothing is redrawn in place, and nothing moves.
";

const TOPICS: [(&str, &str); 5] = [
    ("exit-codes", EXIT_CODES),
    ("filters", FILTERS),
    ("environment", ENVIRONMENT),
    ("formats", FORMATS),
    ("accessibility", ACCESSIBILITY),
];

/// What `orx` alone prints.
pub(crate) const DAILY: &str = "\
orx runs jobs and keeps them safe.

  orx run -- make report            run a command as a job, be it
  orx enqueue NAME k=v              accept a job for a handler
  orx jobs                          what is there
  orx logs -f @last                 what it prints
  orx wait @last                    until it has ended
  orx cancel 1423                   stop it
  orx cluster status                is all well?

`orx help COMMAND` explains one; `orx --help` lists all.
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
        return Ok(Exit::Done);
    };
    if let Some(text) = topic(first) {
        ui.raw(text.as_bytes())?;
        return Ok(Exit::Done);
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
                || format!("there are {}", names.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(
                CliError::usage(format!("there is no command or topic `{word}`")).hint(hint)
            );
        };
        command = found;
    }
    ui.raw(command.render_long_help().to_string().as_bytes())?;
    Ok(Exit::Done)
}
