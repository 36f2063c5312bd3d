//! Crontabs as schedules.

use base64::Engine;
use orx_model::schedule::ScheduleSpec;
use proptest::prelude::*;

use crate::{CronField, crontab};

const CRONTAB: &str = r#"
# m h dom mon dow command
MAILTO = ops@example.com
SHELL=/bin/bash
PATH="/usr/local/bin:/usr/bin"
CRON_TZ=America/New_York

30 2 * * 1-5	/usr/local/bin/backup.sh --all   # not a comment
@daily backup.sh
*/10 * * * *  A=b mail -s "10\% off" ops%Hello,%line 2 \% done
 CRON_TZ = Europe/Berlin
HOME=/srv
0 0 1 * * cd /srv && make
"#;

fn shown(tab: &crontab::Crontab) -> String {
    let entries = tab.entries.iter().map(|entry| {
        let spec = &entry.spec;
        let command = spec.job.command.as_ref().expect("a command");
        format!(
            "{}: {} = {} {:?} stdin {:?} cwd {:?} env {:?}",
            entry.line,
            spec.id,
            spec.when_text(),
            command.argv,
            command.stdin,
            command.cwd,
            command.env.keys().collect::<Vec<_>>(),
        )
    });
    let notes = tab.notes.iter().map(|note| format!("note {}: {}", note.line, note.text));
    entries.chain(notes).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_crontab_becomes_schedules() {
    let tab = crontab::parse(CRONTAB, &crontab::Options::default()).expect("a crontab");
    insta::assert_snapshot!(shown(&tab), @r#"
    8: backup.sh-023bd9 = cron 30 2 * * 1-5 in America/New_York ["/bin/bash", "-c", "/usr/local/bin/backup.sh --all   # not a comment"] stdin None cwd None env ["PATH", "SHELL"]
    9: backup.sh-6e53cb = cron @daily in America/New_York ["/bin/bash", "-c", "backup.sh"] stdin None cwd None env ["PATH", "SHELL"]
    10: mail-e9b8c7 = cron */10 * * * * in America/New_York ["/bin/bash", "-c", "A=b mail -s \"10% off\" ops"] stdin Some("SGVsbG8sCmxpbmUgMiAlIGRvbmUK") cwd None env ["PATH", "SHELL"]
    13: make-25ea28 = cron 0 0 1 * * in Europe/Berlin ["/bin/bash", "-c", "cd /srv && make"] stdin None cwd Some("/srv") env ["HOME", "PATH", "SHELL"]
    note 3: `MAILTO` is left out: orx stores output with the job and mails none; `--on-failure NAME` enqueues a job of that type when a run fails
    "#);
}

#[test]
fn an_id_stays_when_other_lines_and_its_time_change() {
    let ids = |text: &str| -> Vec<String> {
        let tab = crontab::parse(text, &crontab::Options::default()).expect("a crontab");
        tab.entries.iter().map(|entry| entry.spec.id.to_string()).collect()
    };
    let before = ids("0 1 * * * backup /a\n0 2 * * * backup /b\n");
    assert_ne!(before[0], before[1]);
    let after = ids(
        "# new\nA=b\n0 3 * * * backup /c\nCRON_TZ=UTC\n5 5 * * * backup /b\n\n@daily backup /a",
    );
    assert_eq!([&after[2], &after[1]], [&before[0], &before[1]]);
    // Of the same command the later lines are numbered.
    let same = ids("0 1 * * * backup /a\n0 2 * * * backup /a\n0 3 * * * backup /a\n");
    let first = &before[0];
    assert_eq!(same, [first.clone(), format!("{first}-2"), format!("{first}-3")]);
}

#[test]
fn a_variable_is_read_as_cron_reads_it() {
    let read = |line: &str| {
        let text = format!("{line}\n@daily x\n");
        match crontab::parse(&text, &crontab::Options::default()) {
            Ok(tab) => {
                let command = tab.entries[0].spec.job.command.clone().expect("a command");
                format!("{:?}", command.env)
            }
            Err(errors) => errors.to_string(),
        }
    };
    let lines = [
        "A=b",
        "A = b c ",
        "A=",
        "A=\"\"",
        "A=' b '",
        "\"A\"='b\"c'",
        "A=b # c",
        "A=$HOME/x",
        "A=\"b\" # c",
        "A=\"b\" \"c\"",
        "A=\"b",
        "A=b\"c",
        "a-b=c",
        "A=b=c",
        "LC_ALL\t=\tC.UTF-8",
    ];
    let shown = lines.map(|line| format!("{line:?}: {}", read(line)));
    insta::assert_snapshot!(shown.join("\n"), @r#"
    "A=b": {"A": "b"}
    "A = b c ": {"A": "b c"}
    "A=": {"A": ""}
    "A=\"\"": {"A": ""}
    "A=' b '": {"A": " b "}
    "\"A\"='b\"c'": {"A": "b\"c"}
    "A=b # c": {"A": "b # c"}
    "A=$HOME/x": {"A": "$HOME/x"}
    "A=\"b\" # c": line 1: `A`: expected nothing after the quotes, found `# c`
    "A=\"b\" \"c\"": line 1: `A`: expected nothing after the quotes, found `"c"`
    "A=\"b": line 1: `A`: expected a closing `"`, found none
    "A=b\"c": {"A": "b\"c"}
    "a-b=c": line 1: expected a time and a command: more than 5 columns, found 1 column in `a-b=c`
    "A=b=c": {"A": "b=c"}
    "LC_ALL\t=\tC.UTF-8": {"LC_ALL": "C.UTF-8"}
    "#);
}

#[test]
fn percent_signs_part_command_and_input() {
    let read = |command: &str| {
        let line = format!("* * * * * {command}");
        let tab = crontab::parse(&line, &crontab::Options::default()).expect("a crontab");
        let command = tab.entries[0].spec.job.command.clone().expect("a command");
        let stdin = command.stdin.map(|encoded| {
            let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64");
            String::from_utf8(bytes).expect("text")
        });
        format!("{:?} < {stdin:?}", command.argv[2])
    };
    let lines = [
        "cat",
        "cat%",
        "cat%a",
        "cat%a%b",
        "cat%a%",
        "cat%%a",
        r"date +\%F",
        r"date +\%F%a\%b",
        r"echo \\%a",
        r"echo \n%\n\\\%",
        r"cat%a\",
    ];
    let shown = lines.map(|line| format!("{line}: {}", read(line)));
    insta::assert_snapshot!(shown.join("\n"), @r#"
    cat: "cat" < None
    cat%: "cat" < Some("")
    cat%a: "cat" < Some("a\n")
    cat%a%b: "cat" < Some("a\nb\n")
    cat%a%: "cat" < Some("a\n")
    cat%%a: "cat" < Some("\na\n")
    date +\%F: "date +%F" < None
    date +\%F%a\%b: "date +%F" < Some("a%b\n")
    echo \\%a: "echo \\\\" < Some("a\n")
    echo \n%\n\\\%: "echo \\n" < Some("\\n\\\\%\n")
    cat%a\: "cat" < Some("a\\\n")
    "#);
}

#[test]
fn a_system_crontab_has_a_user() {
    let options = crontab::Options {
        user_column: crontab::UserColumn::Yes,
        prefix: "web1-".to_owned(),
        zone: "Europe/Berlin".parse().expect("a zone"),
        ..Default::default()
    };
    let text = "RANDOM_DELAY=5\n17 * * * * root cd / && run-parts /etc/cron.hourly\n@weekly www-data [ -x /x ] && /x\n";
    let tab = crontab::parse(text, &options).expect("a crontab");
    insta::assert_snapshot!(shown(&tab), @r#"
    2: web1-cron.hourly-e1baa1 = cron 17 * * * * in Europe/Berlin ["sh", "-c", "cd / && run-parts /etc/cron.hourly"] stdin None cwd None env []
    3: web1-x-7d7532 = cron @weekly in Europe/Berlin ["sh", "-c", "[ -x /x ] && /x"] stdin None cwd None env []
    note 2: the user `root` is left out: a command runs as the worker's user
    note 3: the user `www-data` is left out: a command runs as the worker's user
    "#);
    assert!(tab.entries.iter().all(|entry| entry.spec.jitter_ms == 300_000));
}

#[test]
fn every_line_that_is_wrong_is_reported_with_its_field() {
    let text = "60 * * * * a\n* * * * *\n@reboot start\n* * * * * ok\nCRON_TZ=Mars/Base\n\
                0 0 30 2 * never\n* * * funk * x\n* * *\n* * * * * %input only\n0-9=5\nRANDOM_DELAY=x\n";
    let errors = crontab::parse(text, &crontab::Options::default()).expect_err("errors");
    insta::assert_snapshot!(errors.to_string(), @r"
    line 1: expected 0 to 59 in the minute field, found `60`
    line 2: expected a time and a command: more than 5 columns, found 5 columns in `* * * * *`
    line 3: expected `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly` or `@annually`, found `@reboot`: a schedule has due times, and the start of a machine is none; let the machine's init system run it
    line 5: `CRON_TZ`: expected a time zone such as `Europe/Berlin`, found `Mars/Base`
    line 6: `0 0 30 2 *` is never due: no month in the month field has a day in the day of month field
    line 7: expected 1 to 12 or jan to dec in the month field, found `funk`
    line 8: expected a time and a command: more than 5 columns, found 3 columns in `* * *`
    line 9: expected a command after the time: more than 5 columns, found 7 columns in `* * * * * %input only`
    line 10: expected a time and a command: more than 5 columns, found 1 column in `0-9=5`
    line 11: `RANDOM_DELAY`: expected minutes, 0 to 1440, found `x`
    ");
    assert_eq!(errors.0[0].field, Some(CronField::Minute));
}

proptest! {
    /// I27: no crontab panics.
    #[test]
    fn no_crontab_panics(
        text in "([ -~\t\näß\r\0]{0,60}|(@[a-z]{0,8}|([*0-9/,-]{1,5} ){5})[ -~]{0,40}|[A-Z_\"']{1,9} ?= ?[ -~]{0,9}|\n){0,12}",
        user_column in any::<bool>(), prefix in ".{0,4}",
    ) {
        let user_column = [crontab::UserColumn::Unsaid, crontab::UserColumn::Yes][usize::from(user_column)];
        let options = crontab::Options { user_column, prefix, ..Default::default() };
        match crontab::parse(&text, &options) {
            Ok(tab) => {
                let mut ids = std::collections::BTreeSet::new();
                for entry in &tab.entries {
                    prop_assert!(ids.insert(entry.spec.id.clone()), "{}", entry.spec.id);
                    let json = serde_json::to_string(&entry.spec).expect("json");
                    let read: ScheduleSpec = serde_json::from_str(&json).expect("a spec");
                    prop_assert_eq!(serde_json::to_string(&read).expect("json"), json);
                }
            }
            Err(errors) => prop_assert!(!errors.to_string().is_empty()),
        }
    }

    /// The percent rule, by a second reading of crontab(5).
    #[test]
    fn percent_is_crontabs(text in "[a-c%\\\\]{1,12}") {
        prop_assume!(!text.starts_with('%'));
        let line = format!("* * * * * x{text}");
        let tab = crontab::parse(&line, &crontab::Options::default()).expect("a crontab");
        let command = tab.entries[0].spec.job.command.as_ref().expect("a command");
        // Backslashes pair up from the left; a percent after an unpaired one is a literal.
        let bytes: Vec<char> = format!("x{text}").chars().collect();
        let end = (0..bytes.len()).find(|end| {
            let before = bytes[..*end].iter().rev().take_while(|c| **c == '\\').count();
            bytes[*end] == '%' && before % 2 == 0
        });
        let head: String = bytes[..end.unwrap_or(bytes.len())].iter().collect();
        let mut words = String::new();
        let mut chars = head.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some('%') => words.push('%'),
                    Some(c) => { words.push('\\'); words.push(c); }
                    None => words.push('\\'),
                },
                c => words.push(c),
            }
        }
        prop_assert_eq!(&command.argv[2], &words);
        prop_assert_eq!(command.stdin.is_some(), end.is_some());
    }
}
