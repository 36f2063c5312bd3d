//! Crontabs imported again after they were changed.

use std::collections::BTreeMap;

use orx_model::schedule::ScheduleSpec;
use proptest::prelude::*;

use crate::crontab::{self, Options};
use crate::program::program;
use crate::{ExistingSchedule, ImportAction, diff, is_edited, reconcile};

/// The schedules of a server, by id.
type Server = BTreeMap<String, ScheduleSpec>;

/// Imports as `orx schedule import` does, and returns a line for each change.
fn import(server: &mut Server, source: &str, text: &str, prune: bool) -> String {
    let tab = crontab::parse(text, &Options::default()).expect("a crontab");
    let there: Vec<ExistingSchedule<'_>> = server
        .values()
        .map(|spec| ExistingSchedule { spec, version: 1, edited: is_edited(spec) })
        .collect();
    let steps = reconcile(tab.entries, source, &there);
    let mut lines = Vec::new();
    for step in steps {
        let id = step.spec.id.to_string();
        let what = match (step.what, server.get(&id)) {
            (ImportAction::Write, None) => "created".to_owned(),
            (ImportAction::Write, Some(old)) => {
                let fields = diff(old, &step.spec).into_iter().map(|it| it.field);
                format!("changed {:?}", fields.collect::<Vec<_>>())
            }
            (other, _) => format!("{other:?}"),
        };
        lines.push(format!(
            "{}{id}: {what}",
            step.line.map(|it| format!("{it} ")).unwrap_or_default()
        ));
        match step.what {
            ImportAction::Write => drop(server.insert(id, step.spec)),
            ImportAction::Gone if prune => drop(server.remove(&id)),
            _ => {}
        }
    }
    lines.join("\n")
}

/// Timing and command of each line or schedule.
fn runs<'a>(specs: impl Iterator<Item = &'a ScheduleSpec>) -> Vec<String> {
    let run = |spec: &ScheduleSpec| {
        let command = spec.job.command.as_ref().expect("a command");
        format!("{} {}", spec.when_text(), command.argv[2])
    };
    let mut all: Vec<String> = specs.map(run).collect();
    all.sort();
    all
}

#[test]
fn of_two_lines_with_one_command_the_one_that_is_left_runs_once() {
    let mut server = Server::new();
    import(&mut server, "a", "1 * * * * /x/run a\n2 * * * * /x/run a\n", true);
    insta::assert_snapshot!(import(&mut server, "a", "2 * * * * /x/run a\n", true), @r#"
    1 run-343c7b-2: changed ["imported.line"]
    run-343c7b: Gone
    "#);
    assert_eq!(runs(server.values()), ["cron 2 * * * * in UTC /x/run a"]);
}

#[test]
fn a_line_that_was_edited_or_moved_is_the_schedule_that_it_was() {
    let mut server = Server::new();
    import(&mut server, "a", "1 1 * * * /x/run a\n2 2 * * * /x/other\n", false);
    let edited = "# moved\n2 2 * * * /x/other --more\n1 1 * * * /x/run b\n3 3 * * * /x/run c\n";
    insta::assert_snapshot!(import(&mut server, "a", edited, false), @r#"
    2 other-2ede3a: changed ["job.command.argv"]
    3 run-343c7b: changed ["imported.line", "job.command.argv"]
    4 run-b13823: created
    "#);
    assert_eq!(server.len(), 3);
}

#[test]
fn what_somebody_changed_since_is_left_and_named() {
    let mut server = Server::new();
    let text = "1 1 * * * /x/run a\n2 2 * * * /x/other\n3 3 * * * /x/third\n";
    import(&mut server, "a", text, false);
    for spec in server.values_mut() {
        assert!(!is_edited(spec));
        spec.jitter_ms = 1_000;
        assert!(is_edited(spec));
    }
    let lines = import(&mut server, "a", "1 1 * * * /x/run a\n2 3 * * * /x/other\n", true);
    insta::assert_snapshot!(lines, @r"
    1 run-343c7b: Edited
    2 other-2ede3a: Conflict
    third-d8987c: GoneEdited
    ");
    assert_eq!(server.len(), 3);
}

#[test]
fn what_came_from_elsewhere_or_from_nowhere_is_not_touched() {
    let mut server = Server::new();
    import(&mut server, "a", "1 1 * * * /x/run a\n", true);
    insta::assert_snapshot!(import(&mut server, "b", "2 1 * * * /x/run a\n", true), @"1 run-343c7b: Foreign");
    for spec in server.values_mut() {
        spec.imported = None;
    }
    insta::assert_snapshot!(import(&mut server, "a", "2 1 * * * /x/run a\n", true), @"1 run-343c7b: Stranger");
    assert_eq!(runs(server.values()), ["cron 1 1 * * * in UTC /x/run a"]);
}

#[test]
fn an_id_is_the_name_of_the_script() {
    let commands = [
        "cd /srv/app && ./bin/backup.sh --all",
        "cd /srv; make",
        "A=b B=\"c\" /usr/local/bin/report",
        "/usr/bin/flock -n /tmp/l nice -n 10 /usr/bin/python3 -u /opt/jobs/sync.py all",
        "timeout 5m curl -fsS https://hc.example/x",
        "sudo -u www-data php /var/www/cron.php",
        "[ -x /usr/sbin/anacron ] || ( cd / && run-parts --report /etc/cron.daily )",
        "test -e /run/systemd/system || SERVICE_MODE=1 /usr/lib/php/sessionclean",
        "bash -lc 'cd /x && rake jobs'",
        "python -m app.tasks.clean",
        "java -Xmx1g -jar /opt/a/worker.jar",
        "env PATH=/x /opt/run",
        "> /var/log/x",
        "cd /srv",
        "/bin/true >/dev/null 2>&1",
        "$HOME/bin/job",
    ];
    let lines = commands.map(|command| format!("{}: {command}", program(command)));
    insta::assert_snapshot!(lines.join("\n"), @r#"
    backup.sh: cd /srv/app && ./bin/backup.sh --all
    make: cd /srv; make
    report: A=b B="c" /usr/local/bin/report
    sync.py: /usr/bin/flock -n /tmp/l nice -n 10 /usr/bin/python3 -u /opt/jobs/sync.py all
    curl: timeout 5m curl -fsS https://hc.example/x
    cron.php: sudo -u www-data php /var/www/cron.php
    cron.daily: [ -x /usr/sbin/anacron ] || ( cd / && run-parts --report /etc/cron.daily )
    sessionclean: test -e /run/systemd/system || SERVICE_MODE=1 /usr/lib/php/sessionclean
    rake: bash -lc 'cd /x && rake jobs'
    app.tasks.clean: python -m app.tasks.clean
    worker.jar: java -Xmx1g -jar /opt/a/worker.jar
    run: env PATH=/x /opt/run
    command: > /var/log/x
    cd: cd /srv
    true: /bin/true >/dev/null 2>&1
    job: $HOME/bin/job
    "#);
}

/// A crontab of a few commands and times, in which lines look alike.
fn lines() -> impl Strategy<Value = String> {
    let line = (0..4_u32, "(/x/run [a-c]|/x/other [a-b]|cd /y && make)");
    let comment = Just(None);
    let line = line.prop_map(|(minute, command)| Some(format!("{minute} * * * * {command}")));
    prop::collection::vec(prop_oneof![4 => line, 1 => comment], 1..7).prop_map(|lines| {
        lines
            .into_iter()
            .map(|line| line.unwrap_or_else(|| "# nothing".to_owned()) + "\n")
            .collect()
    })
}

proptest! {
    /// After any earlier version of a crontab, an import makes the server run each line once.
    #[test]
    fn imported_again_it_gives_what_the_file_says(
        texts in prop::collection::vec(lines(), 1..5), other in lines(),
    ) {
        let mut server = Server::new();
        for (id, spec) in [("stranger", other.as_str())].into_iter().filter_map(|(id, text)| {
            let tab = crontab::parse(text, &Options::default()).ok()?;
            Some((id.to_owned(), tab.entries.into_iter().next()?.spec))
        }) {
            let spec = ScheduleSpec { id: id.parse().expect("a name"), ..spec };
            server.insert(id, spec);
        }
        for text in texts {
            import(&mut server, "a", &text, true);
            let tab = crontab::parse(&text, &Options::default()).expect("a crontab");
            let wanted = runs(tab.entries.iter().map(|entry| &entry.spec));
            let own = server.values().filter(|spec| spec.imported.is_some());
            prop_assert_eq!(runs(own), wanted);
            let again = import(&mut server, "a", &text, true);
            prop_assert!(again.lines().all(|line| line.ends_with("changed []")), "{}", again);
        }
    }
}
