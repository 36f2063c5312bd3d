# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_orx_global_optspecs
    string join \n c/context= url= config= o/output= fields= no-header color= quiet v/verbose time= tz= no-input no-start h/help V/version
end

function __fish_orx_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_orx_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_orx_using_subcommand
    set -l cmd (__fish_orx_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c orx -n "__fish_orx_needs_command" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_needs_command" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_needs_command" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_needs_command" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_needs_command" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_needs_command" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_needs_command" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_needs_command" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_needs_command" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_needs_command" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_needs_command" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_needs_command" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_needs_command" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_needs_command" -s h -l help -d 'Print help'
complete -c orx -n "__fish_orx_needs_command" -s V -l version -d 'Print version'
complete -c orx -n "__fish_orx_needs_command" -f -a "enqueue" -d 'Enqueue a job; it is on disk when this command ends'
complete -c orx -n "__fish_orx_needs_command" -f -a "run" -d 'Run a command as a job, follow it, and exit with its code'
complete -c orx -n "__fish_orx_needs_command" -f -a "jobs" -d 'List jobs, newest first'
complete -c orx -n "__fish_orx_needs_command" -f -a "show" -d 'Show a job and its attempts'
complete -c orx -n "__fish_orx_needs_command" -f -a "result" -d 'Print the result of a job, as JSON'
complete -c orx -n "__fish_orx_needs_command" -f -a "logs" -d 'Print the output of jobs'
complete -c orx -n "__fish_orx_needs_command" -f -a "wait" -d 'Wait until jobs have ended, and exit with their code'
complete -c orx -n "__fish_orx_needs_command" -f -a "cancel" -d 'Cancel jobs'
complete -c orx -n "__fish_orx_needs_command" -f -a "retry" -d 'Run ended jobs again, with a new budget of retries'
complete -c orx -n "__fish_orx_needs_command" -f -a "rm" -d 'Delete ended jobs with their logs, attempts, keys and dead letters'
complete -c orx -n "__fish_orx_needs_command" -f -a "operation" -d 'List, show and cancel operations over many jobs'
complete -c orx -n "__fish_orx_needs_command" -f -a "schedule" -d 'Create and manage schedules, and show the outcome of each due time'
complete -c orx -n "__fish_orx_needs_command" -f -a "queue" -d 'List, show, pause and resume queues'
complete -c orx -n "__fish_orx_needs_command" -f -a "audit" -d 'Show who changed what, from where, and why'
complete -c orx -n "__fish_orx_needs_command" -f -a "dlq" -d 'List, retry and remove dead letters: jobs that used up their retries'
complete -c orx -n "__fish_orx_needs_command" -f -a "worker" -d 'List, show, drain, resume and fence workers'
complete -c orx -n "__fish_orx_needs_command" -f -a "cluster" -d 'Show the state of the whole cluster'
complete -c orx -n "__fish_orx_needs_command" -f -a "token" -d 'Create, list and revoke tokens'
complete -c orx -n "__fish_orx_needs_command" -f -a "ctx" -d 'Report progress, log lines, the result or the outcome from inside a job'
complete -c orx -n "__fish_orx_needs_command" -f -a "daemon" -d 'Run a server, coordinator or worker; show or stop the local server'
complete -c orx -n "__fish_orx_needs_command" -f -a "store" -d 'Work on stores directly, without a server'
complete -c orx -n "__fish_orx_needs_command" -f -a "config" -d 'Check or print the configuration'
complete -c orx -n "__fish_orx_needs_command" -f -a "top" -d 'Watch and steer everything live: jobs and their logs, queues, workers, schedules, dead letters'
complete -c orx -n "__fish_orx_needs_command" -f -a "bench" -d 'Measure a running server with jobs that do nothing'
complete -c orx -n "__fish_orx_needs_command" -f -a "completions" -d 'Print a completion script'
complete -c orx -n "__fish_orx_needs_command" -f -a "man" -d 'Print the man page, or write all man pages into a folder'
complete -c orx -n "__fish_orx_needs_command" -f -a "help" -d 'Explain a command or a topic'
complete -c orx -n "__fish_orx_needs_command" -f -a "__guard" -d 'Kills the child processes of a killed worker; started by workers'
complete -c orx -n "__fish_orx_needs_command" -f -a "__generate" -d 'Writes the generated files that are checked in'
complete -c orx -n "__fish_orx_using_subcommand enqueue" -s q -l queue -d 'Queue; default: the server\'s default queue' -r
complete -c orx -n "__fish_orx_using_subcommand enqueue" -s p -l priority -d 'low, normal, high or critical' -r
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l at -d 'Start no earlier than this time' -r
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l in -d 'Start no earlier than this long from now' -r
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l key -d 'Idempotency key: the same key gives the same job' -r
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l expires -d 'Cancel the job if it has not started within this time' -r
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l deadline -d 'No attempt starts or continues after this time' -r
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l job-timeout -d 'Longest time for one attempt; 0 means no limit' -r
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l retries -d 'Number of retries after failures' -r
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l on-lost -d 'If the job\'s worker or server dies or stops: run the job again, or let it fail' -r
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l require -d 'Label that the worker must have; repeatable' -r
complete -c orx -n "__fish_orx_using_subcommand enqueue" -s t -l tag -d 'Tag; repeatable' -r
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l corr -d 'Correlation id, passed on to the handler' -r
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l batch -d 'Read jobs from standard input, one JSON object a line' -r
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l timeout -d 'Stop waiting after this time; the job continues' -r
complete -c orx -n "__fish_orx_using_subcommand enqueue" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand enqueue" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l wait -d 'Wait until the job has ended, and exit with its code'
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l follow -d 'Print the job\'s output, wait until it has ended, and exit with its code'
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand enqueue" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand enqueue" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand enqueue" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand run" -s q -l queue -d 'Queue; default: the server\'s default queue' -r
complete -c orx -n "__fish_orx_using_subcommand run" -s p -l priority -d 'low, normal, high or critical' -r
complete -c orx -n "__fish_orx_using_subcommand run" -l at -d 'Start no earlier than this time' -r
complete -c orx -n "__fish_orx_using_subcommand run" -l in -d 'Start no earlier than this long from now' -r
complete -c orx -n "__fish_orx_using_subcommand run" -l key -d 'Idempotency key: the same key gives the same job' -r
complete -c orx -n "__fish_orx_using_subcommand run" -l expires -d 'Cancel the job if it has not started within this time' -r
complete -c orx -n "__fish_orx_using_subcommand run" -l deadline -d 'No attempt starts or continues after this time' -r
complete -c orx -n "__fish_orx_using_subcommand run" -l job-timeout -d 'Longest time for one attempt; 0 means no limit' -r
complete -c orx -n "__fish_orx_using_subcommand run" -l retries -d 'Number of retries after failures' -r
complete -c orx -n "__fish_orx_using_subcommand run" -l on-lost -d 'If the job\'s worker or server dies or stops: run the job again, or let it fail' -r
complete -c orx -n "__fish_orx_using_subcommand run" -l require -d 'Label that the worker must have; repeatable' -r
complete -c orx -n "__fish_orx_using_subcommand run" -s t -l tag -d 'Tag; repeatable' -r
complete -c orx -n "__fish_orx_using_subcommand run" -l corr -d 'Correlation id, passed on to the handler' -r
complete -c orx -n "__fish_orx_using_subcommand run" -l cwd -d 'Folder to run in; default: the caller\'s' -r
complete -c orx -n "__fish_orx_using_subcommand run" -l env -d 'Variable for the command; without a value, the caller\'s value; repeatable' -r
complete -c orx -n "__fish_orx_using_subcommand run" -l on-interrupt -d 'Effect of Ctrl-C, SIGTERM and SIGHUP: the job continues, or is cancelled' -r -f -a "detach\t''
cancel\t''"
complete -c orx -n "__fish_orx_using_subcommand run" -l timeout -d 'Stop waiting after this time; the job continues' -r
complete -c orx -n "__fish_orx_using_subcommand run" -l name -d 'Job type to show; default: the program\'s name' -r
complete -c orx -n "__fish_orx_using_subcommand run" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand run" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand run" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand run" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand run" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand run" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand run" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand run" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand run" -l detach -d 'Print the id and exit; the job continues'
complete -c orx -n "__fish_orx_using_subcommand run" -l env-all -d 'Pass all variables of the caller except ORX_TOKEN'
complete -c orx -n "__fish_orx_using_subcommand run" -l stdin -d 'Pass standard input to the command, up to 256 KiB'
complete -c orx -n "__fish_orx_using_subcommand run" -l raw -d 'Print the job\'s bytes unchanged, control codes included'
complete -c orx -n "__fish_orx_using_subcommand run" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand run" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand run" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand run" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand run" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand jobs" -l filter -d 'Filter expression; `orx help filters` explains it' -r
complete -c orx -n "__fish_orx_using_subcommand jobs" -l status -d 'Only jobs in these statuses, separated by commas' -r
complete -c orx -n "__fish_orx_using_subcommand jobs" -l queue -d 'Only jobs of this queue' -r
complete -c orx -n "__fish_orx_using_subcommand jobs" -l name -d 'Only jobs of this type; `*` stands for any text' -r
complete -c orx -n "__fish_orx_using_subcommand jobs" -l since -d 'Only jobs accepted since a time, or since a duration ago' -r
complete -c orx -n "__fish_orx_using_subcommand jobs" -l cause -d 'Only dead letters of this cause; `orx dlq top` lists the causes' -r
complete -c orx -n "__fish_orx_using_subcommand jobs" -s t -l tag -d 'Only jobs with this tag, `name=value`' -r
complete -c orx -n "__fish_orx_using_subcommand jobs" -l limit -d 'Print at most N jobs' -r
complete -c orx -n "__fish_orx_using_subcommand jobs" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand jobs" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand jobs" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand jobs" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand jobs" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand jobs" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand jobs" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand jobs" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand jobs" -l all -d 'Print all that match'
complete -c orx -n "__fish_orx_using_subcommand jobs" -l oldest -d 'Print the oldest first'
complete -c orx -n "__fish_orx_using_subcommand jobs" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand jobs" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand jobs" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand jobs" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand jobs" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand jobs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand show" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand show" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand show" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand show" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand show" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand show" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand show" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand show" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand show" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand show" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand show" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand show" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand show" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand result" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand result" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand result" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand result" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand result" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand result" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand result" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand result" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand result" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand result" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand result" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand result" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand result" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand result" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand logs" -l filter -d 'Filter expression; `orx help filters` explains it' -r
complete -c orx -n "__fish_orx_using_subcommand logs" -l status -d 'Only jobs in these statuses, separated by commas' -r
complete -c orx -n "__fish_orx_using_subcommand logs" -l queue -d 'Only jobs of this queue' -r
complete -c orx -n "__fish_orx_using_subcommand logs" -l name -d 'Only jobs of this type; `*` stands for any text' -r
complete -c orx -n "__fish_orx_using_subcommand logs" -l cause -d 'Only dead letters of this cause; `orx dlq top` lists the causes' -r
complete -c orx -n "__fish_orx_using_subcommand logs" -s t -l tag -d 'Only jobs with this tag, `name=value`' -r
complete -c orx -n "__fish_orx_using_subcommand logs" -l tail -d 'Only the last N lines; with `-f`, the last N of those printed so far, then the new ones' -r
complete -c orx -n "__fish_orx_using_subcommand logs" -l attempt -d 'Only this attempt' -r
complete -c orx -n "__fish_orx_using_subcommand logs" -l stream -d 'Only this stream' -r
complete -c orx -n "__fish_orx_using_subcommand logs" -l level -d 'Only structured log lines of this level and above, no printed output' -r
complete -c orx -n "__fish_orx_using_subcommand logs" -l grep -d 'Only lines that match this regular expression' -r
complete -c orx -n "__fish_orx_using_subcommand logs" -l cursor -d 'Start after this cursor, as printed with `-o json`' -r
complete -c orx -n "__fish_orx_using_subcommand logs" -l since -d 'Only output printed since a time, or since a duration ago' -r
complete -c orx -n "__fish_orx_using_subcommand logs" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand logs" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand logs" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand logs" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand logs" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand logs" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand logs" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand logs" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand logs" -s f -l follow -d 'Follow until the job has ended, across restarts of the server too'
complete -c orx -n "__fish_orx_using_subcommand logs" -l prefix -d 'Print time, job and stream before each line'
complete -c orx -n "__fish_orx_using_subcommand logs" -l raw -d 'Print the bytes unchanged, control codes included'
complete -c orx -n "__fish_orx_using_subcommand logs" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand logs" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand logs" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand logs" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand logs" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand logs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand wait" -l filter -d 'Filter expression; `orx help filters` explains it' -r
complete -c orx -n "__fish_orx_using_subcommand wait" -l status -d 'Only jobs in these statuses, separated by commas' -r
complete -c orx -n "__fish_orx_using_subcommand wait" -l queue -d 'Only jobs of this queue' -r
complete -c orx -n "__fish_orx_using_subcommand wait" -l name -d 'Only jobs of this type; `*` stands for any text' -r
complete -c orx -n "__fish_orx_using_subcommand wait" -l since -d 'Only jobs accepted since a time, or since a duration ago' -r
complete -c orx -n "__fish_orx_using_subcommand wait" -l cause -d 'Only dead letters of this cause; `orx dlq top` lists the causes' -r
complete -c orx -n "__fish_orx_using_subcommand wait" -s t -l tag -d 'Only jobs with this tag, `name=value`' -r
complete -c orx -n "__fish_orx_using_subcommand wait" -l for -d 'Wait until they have reached this status, or have ended' -r
complete -c orx -n "__fish_orx_using_subcommand wait" -l timeout -d 'Stop waiting after this time; without it, wait on, across restarts of the server too' -r
complete -c orx -n "__fish_orx_using_subcommand wait" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand wait" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand wait" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand wait" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand wait" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand wait" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand wait" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand wait" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand wait" -l any -d 'Wait for one of them, not for all'
complete -c orx -n "__fish_orx_using_subcommand wait" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand wait" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand wait" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand wait" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand wait" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand wait" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand cancel" -l filter -d 'Filter expression; `orx help filters` explains it' -r
complete -c orx -n "__fish_orx_using_subcommand cancel" -l status -d 'Only jobs in these statuses, separated by commas' -r
complete -c orx -n "__fish_orx_using_subcommand cancel" -l queue -d 'Only jobs of this queue' -r
complete -c orx -n "__fish_orx_using_subcommand cancel" -l name -d 'Only jobs of this type; `*` stands for any text' -r
complete -c orx -n "__fish_orx_using_subcommand cancel" -l since -d 'Only jobs accepted since a time, or since a duration ago' -r
complete -c orx -n "__fish_orx_using_subcommand cancel" -l cause -d 'Only dead letters of this cause; `orx dlq top` lists the causes' -r
complete -c orx -n "__fish_orx_using_subcommand cancel" -s t -l tag -d 'Only jobs with this tag, `name=value`' -r
complete -c orx -n "__fish_orx_using_subcommand cancel" -l reason -d 'Reason, recorded with the change' -r
complete -c orx -n "__fish_orx_using_subcommand cancel" -l max-affected -d 'Change nothing if more than this many jobs would change' -r
complete -c orx -n "__fish_orx_using_subcommand cancel" -l rate -d 'Change at most this many jobs a second' -r
complete -c orx -n "__fish_orx_using_subcommand cancel" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand cancel" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand cancel" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand cancel" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand cancel" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand cancel" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand cancel" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand cancel" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand cancel" -l dry-run -d 'Change nothing; print what would change'
complete -c orx -n "__fish_orx_using_subcommand cancel" -s y -l yes -d 'Do not ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand cancel" -l detach -d 'Print the id of the operation, and do not wait for its end'
complete -c orx -n "__fish_orx_using_subcommand cancel" -l force -d 'Record the cancellation at once, without waiting for the worker'
complete -c orx -n "__fish_orx_using_subcommand cancel" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand cancel" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand cancel" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand cancel" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand cancel" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand cancel" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand retry" -l filter -d 'Filter expression; `orx help filters` explains it' -r
complete -c orx -n "__fish_orx_using_subcommand retry" -l status -d 'Only jobs in these statuses, separated by commas' -r
complete -c orx -n "__fish_orx_using_subcommand retry" -l queue -d 'Only jobs of this queue' -r
complete -c orx -n "__fish_orx_using_subcommand retry" -l name -d 'Only jobs of this type; `*` stands for any text' -r
complete -c orx -n "__fish_orx_using_subcommand retry" -l since -d 'Only jobs accepted since a time, or since a duration ago' -r
complete -c orx -n "__fish_orx_using_subcommand retry" -l cause -d 'Only dead letters of this cause; `orx dlq top` lists the causes' -r
complete -c orx -n "__fish_orx_using_subcommand retry" -s t -l tag -d 'Only jobs with this tag, `name=value`' -r
complete -c orx -n "__fish_orx_using_subcommand retry" -l reason -d 'Reason, recorded with the change' -r
complete -c orx -n "__fish_orx_using_subcommand retry" -l max-affected -d 'Change nothing if more than this many jobs would change' -r
complete -c orx -n "__fish_orx_using_subcommand retry" -l rate -d 'Change at most this many jobs a second' -r
complete -c orx -n "__fish_orx_using_subcommand retry" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand retry" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand retry" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand retry" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand retry" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand retry" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand retry" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand retry" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand retry" -l dry-run -d 'Change nothing; print what would change'
complete -c orx -n "__fish_orx_using_subcommand retry" -s y -l yes -d 'Do not ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand retry" -l detach -d 'Print the id of the operation, and do not wait for its end'
complete -c orx -n "__fish_orx_using_subcommand retry" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand retry" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand retry" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand retry" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand retry" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand retry" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand rm" -l filter -d 'Filter expression; `orx help filters` explains it' -r
complete -c orx -n "__fish_orx_using_subcommand rm" -l status -d 'Only jobs in these statuses, separated by commas' -r
complete -c orx -n "__fish_orx_using_subcommand rm" -l queue -d 'Only jobs of this queue' -r
complete -c orx -n "__fish_orx_using_subcommand rm" -l name -d 'Only jobs of this type; `*` stands for any text' -r
complete -c orx -n "__fish_orx_using_subcommand rm" -l since -d 'Only jobs accepted since a time, or since a duration ago' -r
complete -c orx -n "__fish_orx_using_subcommand rm" -l cause -d 'Only dead letters of this cause; `orx dlq top` lists the causes' -r
complete -c orx -n "__fish_orx_using_subcommand rm" -s t -l tag -d 'Only jobs with this tag, `name=value`' -r
complete -c orx -n "__fish_orx_using_subcommand rm" -l reason -d 'Reason, recorded with the change' -r
complete -c orx -n "__fish_orx_using_subcommand rm" -l max-affected -d 'Change nothing if more than this many jobs would change' -r
complete -c orx -n "__fish_orx_using_subcommand rm" -l rate -d 'Change at most this many jobs a second' -r
complete -c orx -n "__fish_orx_using_subcommand rm" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand rm" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand rm" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand rm" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand rm" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand rm" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand rm" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand rm" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand rm" -l dry-run -d 'Change nothing; print what would change'
complete -c orx -n "__fish_orx_using_subcommand rm" -s y -l yes -d 'Do not ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand rm" -l detach -d 'Print the id of the operation, and do not wait for its end'
complete -c orx -n "__fish_orx_using_subcommand rm" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand rm" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand rm" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand rm" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand rm" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand operation; and not __fish_seen_subcommand_from list show cancel" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand operation; and not __fish_seen_subcommand_from list show cancel" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand operation; and not __fish_seen_subcommand_from list show cancel" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand operation; and not __fish_seen_subcommand_from list show cancel" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand operation; and not __fish_seen_subcommand_from list show cancel" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand operation; and not __fish_seen_subcommand_from list show cancel" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand operation; and not __fish_seen_subcommand_from list show cancel" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand operation; and not __fish_seen_subcommand_from list show cancel" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand operation; and not __fish_seen_subcommand_from list show cancel" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand operation; and not __fish_seen_subcommand_from list show cancel" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand operation; and not __fish_seen_subcommand_from list show cancel" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand operation; and not __fish_seen_subcommand_from list show cancel" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand operation; and not __fish_seen_subcommand_from list show cancel" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand operation; and not __fish_seen_subcommand_from list show cancel" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand operation; and not __fish_seen_subcommand_from list show cancel" -f -a "list" -d 'List operations, newest first'
complete -c orx -n "__fish_orx_using_subcommand operation; and not __fish_seen_subcommand_from list show cancel" -f -a "show" -d 'Show one operation'
complete -c orx -n "__fish_orx_using_subcommand operation; and not __fish_seen_subcommand_from list show cancel" -f -a "cancel" -d 'Cancel an operation; the jobs that it changed stay changed'
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from list" -l limit -d 'Rows to show at most' -r
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from list" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from list" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from list" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from list" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from list" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from list" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from list" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from list" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from list" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from list" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from list" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from list" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from show" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from show" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from show" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from show" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from show" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from show" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from show" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from show" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from show" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from show" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from show" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from show" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from cancel" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from cancel" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from cancel" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from cancel" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from cancel" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from cancel" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from cancel" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from cancel" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from cancel" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from cancel" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from cancel" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from cancel" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from cancel" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand operation; and __fish_seen_subcommand_from cancel" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -s h -l help -d 'Print help'
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -f -a "add" -d 'Create a schedule for a job type, or for a command after `--`'
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -f -a "list" -d 'List all schedules'
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -f -a "show" -d 'Show one schedule with its next due times'
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -f -a "set" -d 'Change a schedule; what no flag names stays as it is'
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -f -a "pause" -d 'Pause schedules: they do not fire'
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -f -a "resume" -d 'Resume schedules; due times that passed meanwhile are skipped'
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -f -a "trigger" -d 'Run a schedule now, in addition to its due times'
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -f -a "rm" -d 'Remove schedules with their ledgers; the jobs they made stay'
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -f -a "runs" -d 'Show the outcome of each due time'
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -f -a "preview" -d 'Show the next due times of a schedule, or of the timing that flags give, without a server'
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -f -a "lint" -d 'Warn of timings that are valid but probably not intended; needs no server'
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -f -a "backfill" -d 'Run the due times of a period that made no job'
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -f -a "import" -d 'Import a crontab: each line becomes a schedule'
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -f -a "apply" -d 'Create and change schedules so that they match files'
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -f -a "export" -d 'Print schedules as `apply` reads them: all, or those named'
complete -c orx -n "__fish_orx_using_subcommand schedule; and not __fish_seen_subcommand_from add list show set pause resume trigger rm runs preview lint backfill import apply export diff" -f -a "diff" -d 'Show what `apply` would change; exits with 1 if anything differs'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l cron -d 'Cron expression: five fields, or six with seconds first, or @daily and the like' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l every -d 'Interval, counted from 1970-01-01 UTC' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l at -d 'Run once, at this time' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l zone -d 'Time zone of the cron expression; default: --tz, else this machine\'s zone' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l jitter -d 'Delay each run by up to this; a due time always gets the same delay' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l start -d 'No due time before this' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l end -d 'No due time after this' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l max-runs -d 'Finish the schedule after N runs' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l catch-up -d 'Due times to run that passed while no server ran: none, one, all or all:N. The newest one, if at most 60 s late, counts as on time and always runs' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l window -d 'Do not catch up due times older than this' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l overlap -d 'If the previous run has not ended: skip, allow, queue-one or cancel-old' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l tolerance -d 'Report a due time as missed if nothing is recorded for it for this long' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l on-missed -d 'Enqueue a job of this type when due times were missed, or ran later than the tolerance' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l on-failure -d 'Enqueue a job of this type when a run has failed and has no retry left' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -s q -l queue -d 'Queue of its jobs; default: the server\'s default queue' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -s p -l priority -d 'low, normal, high or critical' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l expires -d 'Cancel a job that has not started within this time' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l job-timeout -d 'Longest time for one attempt; 0 means no limit' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l retries -d 'Number of retries after failures' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l on-lost -d 'If the job\'s worker or server dies or stops: run the job again, or let it fail' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l require -d 'Label that the worker must have; repeatable' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -s t -l tag -d 'Tag; repeatable' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l corr -d 'Correlation id, passed on to the handler' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l offset -d 'Shift each due time of the interval by this time' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l cwd -d 'Folder for the command; default: the one it has, else the caller\'s' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l env -d 'Variable for the command; without a value, the caller\'s value; repeatable' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l stdin -d 'Pass standard input to the command, up to 256 KiB'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from list" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from list" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from list" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from list" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from list" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from list" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from list" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from list" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from list" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from list" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from list" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from list" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from show" -s n -l next -d 'Number of due times to show' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from show" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from show" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from show" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from show" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from show" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from show" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from show" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from show" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from show" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from show" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from show" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from show" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l cron -d 'Cron expression: five fields, or six with seconds first, or @daily and the like' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l every -d 'Interval, counted from 1970-01-01 UTC' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l offset -d 'Shift each due time of the interval by this time' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l at -d 'Run once, at this time' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l zone -d 'Time zone of the cron expression; default: --tz, else this machine\'s zone' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l jitter -d 'Delay each run by up to this; a due time always gets the same delay' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l start -d 'No due time before this' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l end -d 'No due time after this' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l max-runs -d 'Finish the schedule after N runs' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l catch-up -d 'Due times to run that passed while no server ran: none, one, all or all:N. The newest one, if at most 60 s late, counts as on time and always runs' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l window -d 'Do not catch up due times older than this' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l overlap -d 'If the previous run has not ended: skip, allow, queue-one or cancel-old' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l tolerance -d 'Report a due time as missed if nothing is recorded for it for this long' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l on-missed -d 'Enqueue a job of this type when due times were missed, or ran later than the tolerance' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l on-failure -d 'Enqueue a job of this type when a run has failed and has no retry left' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -s q -l queue -d 'Queue of its jobs; default: the server\'s default queue' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -s p -l priority -d 'low, normal, high or critical' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l expires -d 'Cancel a job that has not started within this time' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l job-timeout -d 'Longest time for one attempt; 0 means no limit' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l retries -d 'Number of retries after failures' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l on-lost -d 'If the job\'s worker or server dies or stops: run the job again, or let it fail' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l require -d 'Label that the worker must have; repeatable' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -s t -l tag -d 'Tag; repeatable' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l corr -d 'Correlation id, passed on to the handler' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l cwd -d 'Folder for the command; default: the one it has, else the caller\'s' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l env -d 'Variable for the command; without a value, the caller\'s value; repeatable' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l clear -d 'Reset these fields, separated by commas: start, end, queue, args, tags, env, …' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l version -d 'Change it only if this is its version' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l stdin -d 'Pass standard input to the command, up to 256 KiB'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l dry-run -d 'Change nothing; print what would change'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from pause" -l reason -d 'Reason, recorded with the change' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from pause" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from pause" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from pause" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from pause" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from pause" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from pause" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from pause" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from pause" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from pause" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from pause" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from pause" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from pause" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from pause" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from pause" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from resume" -l reason -d 'Reason, recorded with the change' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from resume" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from resume" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from resume" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from resume" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from resume" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from resume" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from resume" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from resume" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from resume" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from resume" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from resume" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from resume" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from resume" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from trigger" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from trigger" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from trigger" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from trigger" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from trigger" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from trigger" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from trigger" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from trigger" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from trigger" -l wait -d 'Wait until the job has ended, and exit with its code'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from trigger" -l follow -d 'Print the job\'s output, wait until it has ended, and exit with its code'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from trigger" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from trigger" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from trigger" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from trigger" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from trigger" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from trigger" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from rm" -l version -d 'Remove it only if this is its version' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from rm" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from rm" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from rm" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from rm" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from rm" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from rm" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from rm" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from rm" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from rm" -s y -l yes -d 'Do not ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from rm" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from rm" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from rm" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from rm" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from rm" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from runs" -l limit -d 'Print at most N' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from runs" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from runs" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from runs" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from runs" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from runs" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from runs" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from runs" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from runs" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from runs" -l missed -d 'Only missed due times'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from runs" -l all -d 'Print all, on a terminal too'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from runs" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from runs" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from runs" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from runs" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from runs" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from runs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -l cron -d 'Cron expression: five fields, or six with seconds first, or @daily and the like' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -l every -d 'Interval, counted from 1970-01-01 UTC' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -l at -d 'Run once, at this time' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -l zone -d 'Time zone of the cron expression; default: --tz, else this machine\'s zone' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -l jitter -d 'Delay each run by up to this; a due time always gets the same delay' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -l start -d 'No due time before this' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -l end -d 'No due time after this' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -s n -l next -d 'Number of due times to show' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -l from -d 'Show due times after this time; default: now' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -l offset -d 'Shift each due time of the interval by this time' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from preview" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -l cron -d 'Cron expression: five fields, or six with seconds first, or @daily and the like' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -l every -d 'Interval, counted from 1970-01-01 UTC' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -l at -d 'Run once, at this time' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -l zone -d 'Time zone of the cron expression; default: --tz, else this machine\'s zone' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -l jitter -d 'Delay each run by up to this; a due time always gets the same delay' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -l start -d 'No due time before this' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -l end -d 'No due time after this' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -s f -l file -d 'TOML file or folder of schedules, as for `orx schedule apply`' -r -F
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -l crontab -d 'Crontab file' -r -F
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -l offset -d 'Shift each due time of the interval by this time' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from lint" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from backfill" -l from -d 'Start of the period: a time, or a duration that counts back from now' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from backfill" -l to -d 'End of the period; default: now' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from backfill" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from backfill" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from backfill" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from backfill" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from backfill" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from backfill" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from backfill" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from backfill" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from backfill" -l dry-run -d 'Change nothing; print what would run'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from backfill" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from backfill" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from backfill" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from backfill" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from backfill" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from backfill" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l zone -d 'Time zone of lines without CRON_TZ; default: --tz, else this machine\'s zone' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l prefix -d 'Prefix for the id of each schedule' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l source -d 'Name of the crontab; an import changes and removes only schedules from the same source. Default: machine and path, or machine and user' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l run-as -d 'User that the workers run commands as; default: yours' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l overlap -d 'For all lines, if the previous run has not ended: skip, allow (as cron), queue-one or cancel-old' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l catch-up -d 'For all lines, due times to run that passed while no server ran: none (as cron), one, all or all:N' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l on-failure -d 'For all lines except those below an empty MAILTO: enqueue a job of this type when a run fails' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l cwd -d 'Folder for commands of lines without HOME; default: your home' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l env -d 'Variable for all commands, such as PATH or SHELL, where the crontab does not set it; repeatable' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l user-column -d 'A sixth column names the user, as in /etc/crontab'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l no-user-column -d 'No column names the user, even if the command looks like a user name'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l ignore-user -d 'Import lines for other users too: they run as the user of their worker'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l skip-bad -d 'Skip lines that cannot be parsed, and import the others'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l prune -d 'Remove schedules of this source whose lines are gone'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l overwrite -d 'Also change and remove schedules that somebody changed since the import'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l dry-run -d 'Change nothing; print what would change. Without a server, print the lines as read'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -s y -l yes -d 'Do not ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from apply" -s f -l file -d 'TOML file, or folder of TOML files; repeatable' -r -F
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from apply" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from apply" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from apply" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from apply" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from apply" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from apply" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from apply" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from apply" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from apply" -l prune -d 'Remove schedules that no file contains'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from apply" -l dry-run -d 'Change nothing; print what would change'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from apply" -s y -l yes -d 'Do not ask for confirmation before removing schedules'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from apply" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from apply" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from apply" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from apply" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from apply" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from apply" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from export" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from export" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from export" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from export" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from export" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from export" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from export" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from export" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from export" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from export" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from export" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from export" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from export" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from diff" -s f -l file -d 'TOML file, or folder of TOML files; repeatable' -r -F
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from diff" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from diff" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from diff" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from diff" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from diff" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from diff" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from diff" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from diff" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from diff" -l prune -d 'Also report schedules that no file contains'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from diff" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from diff" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from diff" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from diff" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from diff" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand schedule; and __fish_seen_subcommand_from diff" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand queue; and not __fish_seen_subcommand_from list show pause resume" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and not __fish_seen_subcommand_from list show pause resume" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and not __fish_seen_subcommand_from list show pause resume" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand queue; and not __fish_seen_subcommand_from list show pause resume" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand queue; and not __fish_seen_subcommand_from list show pause resume" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and not __fish_seen_subcommand_from list show pause resume" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand queue; and not __fish_seen_subcommand_from list show pause resume" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and not __fish_seen_subcommand_from list show pause resume" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and not __fish_seen_subcommand_from list show pause resume" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand queue; and not __fish_seen_subcommand_from list show pause resume" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand queue; and not __fish_seen_subcommand_from list show pause resume" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand queue; and not __fish_seen_subcommand_from list show pause resume" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand queue; and not __fish_seen_subcommand_from list show pause resume" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand queue; and not __fish_seen_subcommand_from list show pause resume" -s h -l help -d 'Print help'
complete -c orx -n "__fish_orx_using_subcommand queue; and not __fish_seen_subcommand_from list show pause resume" -f -a "list" -d 'List all queues with their counts'
complete -c orx -n "__fish_orx_using_subcommand queue; and not __fish_seen_subcommand_from list show pause resume" -f -a "show" -d 'Show one queue'
complete -c orx -n "__fish_orx_using_subcommand queue; and not __fish_seen_subcommand_from list show pause resume" -f -a "pause" -d 'Pause queues: none of their jobs starts'
complete -c orx -n "__fish_orx_using_subcommand queue; and not __fish_seen_subcommand_from list show pause resume" -f -a "resume" -d 'Resume queues'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from list" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from list" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from list" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from list" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from list" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from list" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from list" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from list" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from list" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from list" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from list" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from list" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from show" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from show" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from show" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from show" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from show" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from show" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from show" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from show" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from show" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from show" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from show" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from show" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from pause" -l reason -d 'Reason, recorded with the change' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from pause" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from pause" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from pause" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from pause" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from pause" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from pause" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from pause" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from pause" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from pause" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from pause" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from pause" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from pause" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from pause" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from pause" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from resume" -l reason -d 'Reason, recorded with the change' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from resume" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from resume" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from resume" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from resume" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from resume" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from resume" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from resume" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from resume" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from resume" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from resume" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from resume" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from resume" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from resume" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand queue; and __fish_seen_subcommand_from resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand audit" -l action -d 'Only this action, such as pause_queue' -r
complete -c orx -n "__fish_orx_using_subcommand audit" -l limit -d 'Rows to show at most' -r
complete -c orx -n "__fish_orx_using_subcommand audit" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand audit" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand audit" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand audit" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand audit" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand audit" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand audit" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand audit" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand audit" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand audit" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand audit" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand audit" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand audit" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand audit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand dlq; and not __fish_seen_subcommand_from top list show retry rm export" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and not __fish_seen_subcommand_from top list show retry rm export" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and not __fish_seen_subcommand_from top list show retry rm export" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand dlq; and not __fish_seen_subcommand_from top list show retry rm export" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand dlq; and not __fish_seen_subcommand_from top list show retry rm export" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and not __fish_seen_subcommand_from top list show retry rm export" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand dlq; and not __fish_seen_subcommand_from top list show retry rm export" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and not __fish_seen_subcommand_from top list show retry rm export" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and not __fish_seen_subcommand_from top list show retry rm export" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand dlq; and not __fish_seen_subcommand_from top list show retry rm export" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand dlq; and not __fish_seen_subcommand_from top list show retry rm export" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand dlq; and not __fish_seen_subcommand_from top list show retry rm export" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand dlq; and not __fish_seen_subcommand_from top list show retry rm export" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand dlq; and not __fish_seen_subcommand_from top list show retry rm export" -s h -l help -d 'Print help'
complete -c orx -n "__fish_orx_using_subcommand dlq; and not __fish_seen_subcommand_from top list show retry rm export" -f -a "top" -d 'List the causes of dead letters, the most frequent first'
complete -c orx -n "__fish_orx_using_subcommand dlq; and not __fish_seen_subcommand_from top list show retry rm export" -f -a "list" -d 'List dead letters, newest first'
complete -c orx -n "__fish_orx_using_subcommand dlq; and not __fish_seen_subcommand_from top list show retry rm export" -f -a "show" -d 'Show one dead letter'
complete -c orx -n "__fish_orx_using_subcommand dlq; and not __fish_seen_subcommand_from top list show retry rm export" -f -a "retry" -d 'Run the jobs of dead letters again'
complete -c orx -n "__fish_orx_using_subcommand dlq; and not __fish_seen_subcommand_from top list show retry rm export" -f -a "rm" -d 'Remove dead letters; their jobs stay in the history'
complete -c orx -n "__fish_orx_using_subcommand dlq; and not __fish_seen_subcommand_from top list show retry rm export" -f -a "export" -d 'Write dead letters as JSON, one a line'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from top" -l filter -d 'Filter expression; `orx help filters` explains it' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from top" -l status -d 'Only jobs in these statuses, separated by commas' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from top" -l queue -d 'Only jobs of this queue' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from top" -l name -d 'Only jobs of this type; `*` stands for any text' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from top" -l since -d 'Only jobs accepted since a time, or since a duration ago' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from top" -l cause -d 'Only dead letters of this cause; `orx dlq top` lists the causes' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from top" -s t -l tag -d 'Only jobs with this tag, `name=value`' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from top" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from top" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from top" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from top" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from top" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from top" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from top" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from top" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from top" -l all -d 'Print all, not only the most frequent'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from top" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from top" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from top" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from top" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from top" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from top" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from list" -l filter -d 'Filter expression; `orx help filters` explains it' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from list" -l status -d 'Only jobs in these statuses, separated by commas' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from list" -l queue -d 'Only jobs of this queue' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from list" -l name -d 'Only jobs of this type; `*` stands for any text' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from list" -l since -d 'Only jobs accepted since a time, or since a duration ago' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from list" -l cause -d 'Only dead letters of this cause; `orx dlq top` lists the causes' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from list" -s t -l tag -d 'Only jobs with this tag, `name=value`' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from list" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from list" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from list" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from list" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from list" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from list" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from list" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from list" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from list" -l all -d 'Print all, not only the newest'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from list" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from list" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from list" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from list" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from show" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from show" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from show" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from show" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from show" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from show" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from show" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from show" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from show" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from show" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from show" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from show" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l filter -d 'Filter expression; `orx help filters` explains it' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l status -d 'Only jobs in these statuses, separated by commas' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l queue -d 'Only jobs of this queue' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l name -d 'Only jobs of this type; `*` stands for any text' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l since -d 'Only jobs accepted since a time, or since a duration ago' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l cause -d 'Only dead letters of this cause; `orx dlq top` lists the causes' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -s t -l tag -d 'Only jobs with this tag, `name=value`' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l reason -d 'Reason, recorded with the change' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l max-affected -d 'Change nothing if more than this many jobs would change' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l canary -d 'Retry the N oldest first, and the rest only if all of these complete' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l canary-timeout -d 'Wait this long for the ends of the first ones' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l rate -d 'Change at most this many jobs a second' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l dry-run -d 'Change nothing; print what would change'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -s y -l yes -d 'Do not ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l all -d 'All dead letters that match the filter flags'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l detach -d 'Print the id of the operation, and do not wait for its end'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from retry" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -l filter -d 'Filter expression; `orx help filters` explains it' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -l status -d 'Only jobs in these statuses, separated by commas' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -l queue -d 'Only jobs of this queue' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -l name -d 'Only jobs of this type; `*` stands for any text' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -l since -d 'Only jobs accepted since a time, or since a duration ago' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -l cause -d 'Only dead letters of this cause; `orx dlq top` lists the causes' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -s t -l tag -d 'Only jobs with this tag, `name=value`' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -l reason -d 'Reason, recorded with the change' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -l max-affected -d 'Change nothing if more than this many jobs would change' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -l rate -d 'Change at most this many jobs a second' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -l dry-run -d 'Change nothing; print what would change'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -s y -l yes -d 'Do not ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -l all -d 'All dead letters that match the filter flags'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -l detach -d 'Print the id of the operation, and do not wait for its end'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from export" -l filter -d 'Filter expression; `orx help filters` explains it' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from export" -l status -d 'Only jobs in these statuses, separated by commas' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from export" -l queue -d 'Only jobs of this queue' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from export" -l name -d 'Only jobs of this type; `*` stands for any text' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from export" -l since -d 'Only jobs accepted since a time, or since a duration ago' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from export" -l cause -d 'Only dead letters of this cause; `orx dlq top` lists the causes' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from export" -s t -l tag -d 'Only jobs with this tag, `name=value`' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from export" -l out -d 'Write to this new file, which only you can read, not to standard output' -r -F
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from export" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from export" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from export" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from export" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from export" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from export" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from export" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from export" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from export" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from export" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from export" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from export" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from export" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand dlq; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand worker; and not __fish_seen_subcommand_from list show drain resume fence" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and not __fish_seen_subcommand_from list show drain resume fence" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and not __fish_seen_subcommand_from list show drain resume fence" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand worker; and not __fish_seen_subcommand_from list show drain resume fence" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand worker; and not __fish_seen_subcommand_from list show drain resume fence" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and not __fish_seen_subcommand_from list show drain resume fence" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand worker; and not __fish_seen_subcommand_from list show drain resume fence" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and not __fish_seen_subcommand_from list show drain resume fence" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and not __fish_seen_subcommand_from list show drain resume fence" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand worker; and not __fish_seen_subcommand_from list show drain resume fence" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand worker; and not __fish_seen_subcommand_from list show drain resume fence" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand worker; and not __fish_seen_subcommand_from list show drain resume fence" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand worker; and not __fish_seen_subcommand_from list show drain resume fence" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand worker; and not __fish_seen_subcommand_from list show drain resume fence" -s h -l help -d 'Print help'
complete -c orx -n "__fish_orx_using_subcommand worker; and not __fish_seen_subcommand_from list show drain resume fence" -f -a "list" -d 'List all workers'
complete -c orx -n "__fish_orx_using_subcommand worker; and not __fish_seen_subcommand_from list show drain resume fence" -f -a "show" -d 'Show one worker and what it runs'
complete -c orx -n "__fish_orx_using_subcommand worker; and not __fish_seen_subcommand_from list show drain resume fence" -f -a "drain" -d 'Let workers finish their jobs and take no new ones; they keep running'
complete -c orx -n "__fish_orx_using_subcommand worker; and not __fish_seen_subcommand_from list show drain resume fence" -f -a "resume" -d 'Let drained workers take jobs again'
complete -c orx -n "__fish_orx_using_subcommand worker; and not __fish_seen_subcommand_from list show drain resume fence" -f -a "fence" -d 'Declare workers lost at once; other workers run their jobs again'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from list" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from list" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from list" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from list" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from list" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from list" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from list" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from list" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from list" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from list" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from list" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from list" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from show" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from show" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from show" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from show" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from show" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from show" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from show" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from show" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from show" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from show" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from show" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from show" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from drain" -l reason -d 'Reason, recorded with the directive' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from drain" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from drain" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from drain" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from drain" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from drain" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from drain" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from drain" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from drain" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from drain" -l dry-run -d 'Change nothing; print what would change'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from drain" -s y -l yes -d 'Do not ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from drain" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from drain" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from drain" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from drain" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from drain" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from drain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from resume" -l reason -d 'Reason, recorded with the directive' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from resume" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from resume" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from resume" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from resume" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from resume" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from resume" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from resume" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from resume" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from resume" -l dry-run -d 'Change nothing; print what would change'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from resume" -s y -l yes -d 'Do not ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from resume" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from resume" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from resume" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from resume" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from resume" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from fence" -l reason -d 'Reason, recorded with the directive' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from fence" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from fence" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from fence" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from fence" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from fence" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from fence" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from fence" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from fence" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from fence" -l dry-run -d 'Change nothing; print what would change'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from fence" -s y -l yes -d 'Do not ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from fence" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from fence" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from fence" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from fence" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from fence" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand worker; and __fish_seen_subcommand_from fence" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand cluster; and not __fish_seen_subcommand_from status nodes drain step-down" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and not __fish_seen_subcommand_from status nodes drain step-down" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and not __fish_seen_subcommand_from status nodes drain step-down" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand cluster; and not __fish_seen_subcommand_from status nodes drain step-down" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand cluster; and not __fish_seen_subcommand_from status nodes drain step-down" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and not __fish_seen_subcommand_from status nodes drain step-down" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand cluster; and not __fish_seen_subcommand_from status nodes drain step-down" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and not __fish_seen_subcommand_from status nodes drain step-down" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and not __fish_seen_subcommand_from status nodes drain step-down" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand cluster; and not __fish_seen_subcommand_from status nodes drain step-down" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand cluster; and not __fish_seen_subcommand_from status nodes drain step-down" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand cluster; and not __fish_seen_subcommand_from status nodes drain step-down" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand cluster; and not __fish_seen_subcommand_from status nodes drain step-down" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand cluster; and not __fish_seen_subcommand_from status nodes drain step-down" -s h -l help -d 'Print help'
complete -c orx -n "__fish_orx_using_subcommand cluster; and not __fish_seen_subcommand_from status nodes drain step-down" -f -a "status" -d 'Show counts, workers, nodes, and what needs attention'
complete -c orx -n "__fish_orx_using_subcommand cluster; and not __fish_seen_subcommand_from status nodes drain step-down" -f -a "nodes" -d 'List the nodes'
complete -c orx -n "__fish_orx_using_subcommand cluster; and not __fish_seen_subcommand_from status nodes drain step-down" -f -a "drain" -d 'Drain a node: another node leads, and its workers move to other nodes'
complete -c orx -n "__fish_orx_using_subcommand cluster; and not __fish_seen_subcommand_from status nodes drain step-down" -f -a "step-down" -d 'Ask the leader to step down, so that another node leads'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from status" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from status" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from status" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from status" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from status" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from status" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from status" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from status" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from status" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from status" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from status" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from status" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from nodes" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from nodes" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from nodes" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from nodes" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from nodes" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from nodes" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from nodes" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from nodes" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from nodes" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from nodes" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from nodes" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from nodes" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from nodes" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from nodes" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from drain" -l reason -d 'Reason, recorded with the change' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from drain" -l timeout -d 'Stop waiting after this time; the node goes on draining' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from drain" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from drain" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from drain" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from drain" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from drain" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from drain" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from drain" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from drain" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from drain" -l undo -d 'Take the drain back'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from drain" -l wait -d 'Wait until the node is drained'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from drain" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from drain" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from drain" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from drain" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from drain" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from drain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from step-down" -l reason -d 'Reason, recorded with the change' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from step-down" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from step-down" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from step-down" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from step-down" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from step-down" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from step-down" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from step-down" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from step-down" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from step-down" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from step-down" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from step-down" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from step-down" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from step-down" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand cluster; and __fish_seen_subcommand_from step-down" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -s h -l help -d 'Print help'
complete -c orx -n "__fish_orx_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -f -a "create" -d 'Create a token; its text is printed once'
complete -c orx -n "__fish_orx_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -f -a "list" -d 'List all tokens, without their text'
complete -c orx -n "__fish_orx_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -f -a "revoke" -d 'Revoke tokens, with immediate effect'
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from create" -l scope -d 'Scopes: service, read, admin, exec, worker, node' -r
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from create" -l expires -d 'Expires after this time; without it, never' -r
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from create" -l note -d 'What it is for' -r
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from create" -l out -d 'Write it into a new file that only you can read, instead of printing it' -r -F
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from create" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from create" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from create" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from create" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from create" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from create" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from create" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from create" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from create" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from create" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from create" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from create" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from create" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from list" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from list" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from list" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from list" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from list" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from list" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from list" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from list" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from list" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from list" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from list" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from list" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from revoke" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from revoke" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from revoke" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from revoke" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from revoke" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from revoke" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from revoke" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from revoke" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from revoke" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from revoke" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from revoke" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from revoke" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from revoke" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand token; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand ctx; and not __fish_seen_subcommand_from progress log result snooze fail" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and not __fish_seen_subcommand_from progress log result snooze fail" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and not __fish_seen_subcommand_from progress log result snooze fail" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand ctx; and not __fish_seen_subcommand_from progress log result snooze fail" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand ctx; and not __fish_seen_subcommand_from progress log result snooze fail" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and not __fish_seen_subcommand_from progress log result snooze fail" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand ctx; and not __fish_seen_subcommand_from progress log result snooze fail" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and not __fish_seen_subcommand_from progress log result snooze fail" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and not __fish_seen_subcommand_from progress log result snooze fail" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand ctx; and not __fish_seen_subcommand_from progress log result snooze fail" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand ctx; and not __fish_seen_subcommand_from progress log result snooze fail" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand ctx; and not __fish_seen_subcommand_from progress log result snooze fail" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand ctx; and not __fish_seen_subcommand_from progress log result snooze fail" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand ctx; and not __fish_seen_subcommand_from progress log result snooze fail" -s h -l help -d 'Print help'
complete -c orx -n "__fish_orx_using_subcommand ctx; and not __fish_seen_subcommand_from progress log result snooze fail" -f -a "progress" -d 'Report the progress of the job'
complete -c orx -n "__fish_orx_using_subcommand ctx; and not __fish_seen_subcommand_from progress log result snooze fail" -f -a "log" -d 'Write a log line'
complete -c orx -n "__fish_orx_using_subcommand ctx; and not __fish_seen_subcommand_from progress log result snooze fail" -f -a "result" -d 'Set the job\'s result'
complete -c orx -n "__fish_orx_using_subcommand ctx; and not __fish_seen_subcommand_from progress log result snooze fail" -f -a "snooze" -d 'Run the job again after a while, whatever its exit code; uses up no retry'
complete -c orx -n "__fish_orx_using_subcommand ctx; and not __fish_seen_subcommand_from progress log result snooze fail" -f -a "fail" -d 'Let the attempt fail, whatever its exit code'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from progress" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from progress" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from progress" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from progress" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from progress" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from progress" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from progress" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from progress" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from progress" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from progress" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from progress" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from progress" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from progress" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from progress" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from log" -l level -d 'trace, debug, info, warn or error' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from log" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from log" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from log" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from log" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from log" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from log" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from log" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from log" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from log" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from log" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from log" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from log" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from log" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from log" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from result" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from result" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from result" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from result" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from result" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from result" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from result" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from result" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from result" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from result" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from result" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from result" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from result" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from result" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from snooze" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from snooze" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from snooze" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from snooze" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from snooze" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from snooze" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from snooze" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from snooze" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from snooze" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from snooze" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from snooze" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from snooze" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from snooze" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from snooze" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from fail" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from fail" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from fail" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from fail" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from fail" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from fail" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from fail" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from fail" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from fail" -l no-retry -d 'Do not retry: another attempt would fail too'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from fail" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from fail" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from fail" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from fail" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from fail" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand ctx; and __fish_seen_subcommand_from fail" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand daemon; and not __fish_seen_subcommand_from server coordinator status stop worker" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and not __fish_seen_subcommand_from server coordinator status stop worker" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and not __fish_seen_subcommand_from server coordinator status stop worker" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand daemon; and not __fish_seen_subcommand_from server coordinator status stop worker" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand daemon; and not __fish_seen_subcommand_from server coordinator status stop worker" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and not __fish_seen_subcommand_from server coordinator status stop worker" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand daemon; and not __fish_seen_subcommand_from server coordinator status stop worker" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and not __fish_seen_subcommand_from server coordinator status stop worker" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and not __fish_seen_subcommand_from server coordinator status stop worker" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand daemon; and not __fish_seen_subcommand_from server coordinator status stop worker" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand daemon; and not __fish_seen_subcommand_from server coordinator status stop worker" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand daemon; and not __fish_seen_subcommand_from server coordinator status stop worker" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand daemon; and not __fish_seen_subcommand_from server coordinator status stop worker" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand daemon; and not __fish_seen_subcommand_from server coordinator status stop worker" -s h -l help -d 'Print help'
complete -c orx -n "__fish_orx_using_subcommand daemon; and not __fish_seen_subcommand_from server coordinator status stop worker" -f -a "server" -d 'Run a complete server in one process: coordinator, API and worker, on an SQLite file'
complete -c orx -n "__fish_orx_using_subcommand daemon; and not __fish_seen_subcommand_from server coordinator status stop worker" -f -a "coordinator" -d 'Run a coordinator: it accepts jobs, dispatches them to workers, and records outcomes'
complete -c orx -n "__fish_orx_using_subcommand daemon; and not __fish_seen_subcommand_from server coordinator status stop worker" -f -a "status" -d 'Show whether a server runs on the state folder; exits with 3 if none does'
complete -c orx -n "__fish_orx_using_subcommand daemon; and not __fish_seen_subcommand_from server coordinator status stop worker" -f -a "stop" -d 'Stop the server on the state folder, and wait until it has ended'
complete -c orx -n "__fish_orx_using_subcommand daemon; and not __fish_seen_subcommand_from server coordinator status stop worker" -f -a "worker" -d 'Run a worker: it receives jobs from coordinators and runs them'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -l listen -d 'Address to listen on; port 0 picks a free port. Beyond loopback it needs TLS' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -l tls-cert -d 'Certificate with its chain, PEM; read again on SIGHUP' -r -F
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -l tls-key -d 'Its private key, PEM, in a file that others cannot read' -r -F
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -l state -d 'State folder' -r -F
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -l exit-when-idle -d 'End after this long without jobs and requests' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -l commands -d 'Run commands that are given with jobs: true, false or auto (only on loopback)' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -l name -d 'Name for people' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -l advertise -d 'URL at which other nodes and workers reach this one' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -l insecure-listen -d 'Listen beyond loopback without TLS: anyone on the network can read tokens and jobs'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -l background -d 'A command started this server in the background'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -l force-source -d 'Serve a store that is marked as moved, or is a copy: from now on it is the home of its jobs'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from server" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from coordinator" -l listen -d 'Address to listen on; port 0 picks a free port. Beyond loopback it needs TLS' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from coordinator" -l tls-cert -d 'Certificate with its chain, PEM; read again on SIGHUP' -r -F
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from coordinator" -l tls-key -d 'Its private key, PEM, in a file that others cannot read' -r -F
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from coordinator" -l state -d 'State folder' -r -F
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from coordinator" -l name -d 'Name for people' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from coordinator" -l advertise -d 'URL at which other nodes and workers reach this one' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from coordinator" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from coordinator" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from coordinator" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from coordinator" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from coordinator" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from coordinator" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from coordinator" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from coordinator" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from coordinator" -l insecure-listen -d 'Listen beyond loopback without TLS: anyone on the network can read tokens and jobs'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from coordinator" -l force-source -d 'Serve a store that is marked as moved, or is a copy: from now on it is the home of its jobs'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from coordinator" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from coordinator" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from coordinator" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from coordinator" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from coordinator" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from coordinator" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from status" -l state -d 'State folder' -r -F
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from status" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from status" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from status" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from status" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from status" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from status" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from status" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from status" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from status" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from status" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from status" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from status" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from stop" -l state -d 'State folder' -r -F
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from stop" -l timeout -d 'Stop waiting after this time; the server still stops' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from stop" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from stop" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from stop" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from stop" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from stop" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from stop" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from stop" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from stop" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from stop" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from stop" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from stop" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from stop" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from stop" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from worker" -l coordinator -d 'Coordinator to connect to; repeatable, tried in this order' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from worker" -l token-file -d 'File with the token for the coordinators' -r -F
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from worker" -l name -d 'Name for people' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from worker" -l slots -d 'Number of attempts that run at the same time' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from worker" -l queues -d 'Queues to serve, separated by commas; default: all' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from worker" -l label -d 'Label that jobs may require; repeatable' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from worker" -l commands -d 'Run commands that are given with jobs: true, false or auto (only on loopback)' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from worker" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from worker" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from worker" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from worker" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from worker" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from worker" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from worker" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from worker" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from worker" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from worker" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from worker" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from worker" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from worker" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand daemon; and __fish_seen_subcommand_from worker" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand store; and not __fish_seen_subcommand_from copy" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand store; and not __fish_seen_subcommand_from copy" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand store; and not __fish_seen_subcommand_from copy" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand store; and not __fish_seen_subcommand_from copy" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand store; and not __fish_seen_subcommand_from copy" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand store; and not __fish_seen_subcommand_from copy" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand store; and not __fish_seen_subcommand_from copy" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand store; and not __fish_seen_subcommand_from copy" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand store; and not __fish_seen_subcommand_from copy" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand store; and not __fish_seen_subcommand_from copy" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand store; and not __fish_seen_subcommand_from copy" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand store; and not __fish_seen_subcommand_from copy" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand store; and not __fish_seen_subcommand_from copy" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand store; and not __fish_seen_subcommand_from copy" -s h -l help -d 'Print help'
complete -c orx -n "__fish_orx_using_subcommand store; and not __fish_seen_subcommand_from copy" -f -a "copy" -d 'Move everything from one store to another; ids stay the same'
complete -c orx -n "__fish_orx_using_subcommand store; and __fish_seen_subcommand_from copy" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand store; and __fish_seen_subcommand_from copy" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand store; and __fish_seen_subcommand_from copy" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand store; and __fish_seen_subcommand_from copy" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand store; and __fish_seen_subcommand_from copy" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand store; and __fish_seen_subcommand_from copy" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand store; and __fish_seen_subcommand_from copy" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand store; and __fish_seen_subcommand_from copy" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand store; and __fish_seen_subcommand_from copy" -l resume -d 'Continue a copy that was interrupted'
complete -c orx -n "__fish_orx_using_subcommand store; and __fish_seen_subcommand_from copy" -l force-source -d 'Copy from a store that is marked as moved'
complete -c orx -n "__fish_orx_using_subcommand store; and __fish_seen_subcommand_from copy" -l skip-unreadable -d 'Move without the rows that cannot be read; the source keeps them'
complete -c orx -n "__fish_orx_using_subcommand store; and __fish_seen_subcommand_from copy" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand store; and __fish_seen_subcommand_from copy" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand store; and __fish_seen_subcommand_from copy" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand store; and __fish_seen_subcommand_from copy" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand store; and __fish_seen_subcommand_from copy" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand store; and __fish_seen_subcommand_from copy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand config; and not __fish_seen_subcommand_from check show" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand config; and not __fish_seen_subcommand_from check show" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand config; and not __fish_seen_subcommand_from check show" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand config; and not __fish_seen_subcommand_from check show" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand config; and not __fish_seen_subcommand_from check show" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand config; and not __fish_seen_subcommand_from check show" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand config; and not __fish_seen_subcommand_from check show" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand config; and not __fish_seen_subcommand_from check show" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand config; and not __fish_seen_subcommand_from check show" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand config; and not __fish_seen_subcommand_from check show" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand config; and not __fish_seen_subcommand_from check show" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand config; and not __fish_seen_subcommand_from check show" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand config; and not __fish_seen_subcommand_from check show" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand config; and not __fish_seen_subcommand_from check show" -s h -l help -d 'Print help'
complete -c orx -n "__fish_orx_using_subcommand config; and not __fish_seen_subcommand_from check show" -f -a "check" -d 'Check the configuration file and report errors'
complete -c orx -n "__fish_orx_using_subcommand config; and not __fish_seen_subcommand_from check show" -f -a "show" -d 'Print the effective configuration'
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from check" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from check" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from check" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from check" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from check" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from check" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from check" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from check" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from check" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from check" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from check" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from check" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from check" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from show" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from show" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from show" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from show" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from show" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from show" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from show" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from show" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from show" -l origin -d 'Print where each value comes from'
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from show" -l server -d 'Print the settings in force at the server, with their origins'
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from show" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from show" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from show" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from show" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand config; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c orx -n "__fish_orx_using_subcommand top" -l screen -d 'Screen to start on: overview, jobs, queues, workers, schedules, dead-letters, cluster, logs, events or settings' -r
complete -c orx -n "__fish_orx_using_subcommand top" -l filter -d 'Filter for the list of jobs; `orx help filters` explains it' -r
complete -c orx -n "__fish_orx_using_subcommand top" -l theme -d 'Colours: ansi (those of the terminal), safe (for any colour vision) or mono' -r
complete -c orx -n "__fish_orx_using_subcommand top" -l record -d 'Write the session to a new file, for `--replay`' -r -F
complete -c orx -n "__fish_orx_using_subcommand top" -l replay -d 'Show a recorded session instead of a server' -r -F
complete -c orx -n "__fish_orx_using_subcommand top" -l from -d 'Start this far into the recording' -r
complete -c orx -n "__fish_orx_using_subcommand top" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand top" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand top" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand top" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand top" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand top" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand top" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand top" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand top" -l read-only -d 'Offer no key that changes anything'
complete -c orx -n "__fish_orx_using_subcommand top" -l ascii -d 'Draw with ASCII characters only'
complete -c orx -n "__fish_orx_using_subcommand top" -l mouse -d 'Use the mouse'
complete -c orx -n "__fish_orx_using_subcommand top" -l once -d 'Print the overview as text and end'
complete -c orx -n "__fish_orx_using_subcommand top" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand top" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand top" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand top" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand top" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand top" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand bench" -l jobs -d 'Number of jobs in each measurement' -r
complete -c orx -n "__fish_orx_using_subcommand bench" -l only -d 'Run only these measurements, separated by commas' -r -f -a "machine\t''
http\t''
enqueue\t''
bulk\t''
drain\t''
producers\t''
idle\t''
logs\t''"
complete -c orx -n "__fish_orx_using_subcommand bench" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand bench" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand bench" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand bench" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand bench" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand bench" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand bench" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand bench" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand bench" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand bench" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand bench" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand bench" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand bench" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand bench" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orx -n "__fish_orx_using_subcommand completions" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand completions" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand completions" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand completions" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand completions" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand completions" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand completions" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand completions" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand completions" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand completions" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand completions" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand completions" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand completions" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand completions" -s h -l help -d 'Print help'
complete -c orx -n "__fish_orx_using_subcommand man" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand man" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand man" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand man" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand man" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand man" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand man" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand man" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand man" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand man" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand man" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand man" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand man" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand man" -s h -l help -d 'Print help'
complete -c orx -n "__fish_orx_using_subcommand help" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand help" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand help" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand help" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand help" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand help" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand help" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand help" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand help" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand help" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand help" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand help" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand help" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand help" -s h -l help -d 'Print help'
complete -c orx -n "__fish_orx_using_subcommand __guard" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand __guard" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand __guard" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand __guard" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand __guard" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand __guard" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand __guard" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand __guard" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand __guard" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand __guard" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand __guard" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand __guard" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand __guard" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand __guard" -s h -l help -d 'Print help'
complete -c orx -n "__fish_orx_using_subcommand __generate" -s c -l context -d 'Context in the configuration file to use' -r
complete -c orx -n "__fish_orx_using_subcommand __generate" -l url -d 'Server to connect to' -r
complete -c orx -n "__fish_orx_using_subcommand __generate" -l config -d 'Configuration file' -r -F
complete -c orx -n "__fish_orx_using_subcommand __generate" -s o -l output -d 'Output format' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
tsv\t''
id\t''"
complete -c orx -n "__fish_orx_using_subcommand __generate" -l fields -d 'Print only these columns or JSON fields' -r
complete -c orx -n "__fish_orx_using_subcommand __generate" -l color -d 'When to print colours' -r -f -a "auto\t''
always\t''
never\t''"
complete -c orx -n "__fish_orx_using_subcommand __generate" -l time -d 'How to print times: relative, local, utc or unix' -r
complete -c orx -n "__fish_orx_using_subcommand __generate" -l tz -d 'Time zone for times that you type and that orx prints' -r
complete -c orx -n "__fish_orx_using_subcommand __generate" -l no-header -d 'Do not print the names of columns'
complete -c orx -n "__fish_orx_using_subcommand __generate" -l quiet -d 'Print only data and errors'
complete -c orx -n "__fish_orx_using_subcommand __generate" -s v -l verbose -d 'Print more details'
complete -c orx -n "__fish_orx_using_subcommand __generate" -l no-input -d 'Never ask for confirmation'
complete -c orx -n "__fish_orx_using_subcommand __generate" -l no-start -d 'Do not start a server if none runs'
complete -c orx -n "__fish_orx_using_subcommand __generate" -s h -l help -d 'Print help'
