//! Finds the program that a line of a crontab runs, which names the line for people.

/// Shell words that only prepare for the command.
const PREPARES: [&str; 16] = [
    "cd", "pushd", "test", "[", "[[", ":", "true", "export", "set", "umask", "ulimit", ".",
    "source", "sleep", "mkdir", "if",
];
/// Programs that run another one, and how many words they take before it.
const RUNS_ANOTHER: [(&str, usize); 19] = [
    ("nice", 0),
    ("ionice", 0),
    ("nohup", 0),
    ("env", 0),
    ("sudo", 0),
    ("exec", 0),
    ("command", 0),
    ("time", 0),
    ("then", 0),
    ("chronic", 0),
    ("cronic", 0),
    ("setsid", 0),
    ("stdbuf", 0),
    ("unbuffer", 0),
    ("systemd-cat", 0),
    ("flock", 1),
    ("timeout", 1),
    ("chrt", 1),
    ("taskset", 1),
];
/// Programs whose argument is the program to run.
const TOLD: [&str; 15] = [
    "sh",
    "bash",
    "dash",
    "ash",
    "zsh",
    "ksh",
    "python",
    "python2",
    "python3",
    "perl",
    "php",
    "ruby",
    "node",
    "java",
    "run-parts",
];
/// Options of those above whose value is the next word.
const WITH_VALUE: [&str; 11] = ["-n", "-c", "-u", "-g", "-w", "-E", "-k", "-s", "-p", "-t", "-i"];

/// The name of the script or program, without its folder; `command` where there is none.
pub(crate) fn program(command: &str) -> String {
    let parts = command.split(['&', '|', ';', '(', ')', '{', '}', '\n']);
    let parts: Vec<&str> = parts.filter(|part| !part.trim().is_empty()).collect();
    let named = parts.iter().find_map(|part| of_part(part, false));
    let named = named.or_else(|| parts.iter().rev().find_map(|part| of_part(part, true)));
    named.unwrap_or_else(|| "command".to_owned())
}

/// The program of one command; with `any`, also a word that only prepares.
fn of_part(part: &str, any: bool) -> Option<String> {
    let mut words = part
        .split_ascii_whitespace()
        .map(|word| word.trim_matches(['"', '\'', '`', '$', '!']))
        .filter(|word| !word.is_empty())
        .peekable();
    loop {
        let word = words.next()?;
        // `A=b`, or what a redirection leaves: `>/dev/null`, `2>`.
        if is_setting(word) || word.contains(['>', '<']) {
            if word.ends_with(['>', '<']) {
                words.next();
            }
            continue;
        }
        // `2>&1`, cut at its `&`.
        if word.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let name = base(word);
        if PREPARES.contains(&name) && !any {
            return None;
        }
        let another = RUNS_ANOTHER.iter().find(|(runs, _)| *runs == name);
        if let Some((_, takes)) = another {
            skip_options(&mut words);
            for _ in 0..*takes {
                words.next();
            }
            skip_options(&mut words);
            if words.peek().is_some() {
                continue;
            }
        }
        if TOLD.contains(&name) {
            let mut module = false;
            let script = words.find(|word| {
                let found = module || !word.starts_with('-') && !is_setting(word);
                module = *word == "-m" || *word == "-jar";
                found
            });
            let script = script.map(base);
            if script.is_some_and(|script| PREPARES.contains(&script)) && !any {
                return None;
            }
            let script = script.and_then(word_of);
            return script.or_else(|| word_of(name));
        }
        return word_of(name);
    }
}

fn skip_options<'a>(words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) {
    while let Some(option) = words.next_if(|word| word.starts_with('-') || is_setting(word)) {
        if WITH_VALUE.contains(&option) {
            words.next();
        }
    }
}

fn is_setting(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

fn base(word: &str) -> &str {
    word.trim_end_matches('/').rsplit('/').next().unwrap_or(word)
}

fn word_of(name: &str) -> Option<String> {
    name.starts_with(|c: char| c.is_ascii_alphanumeric()).then(|| name.to_owned())
}
