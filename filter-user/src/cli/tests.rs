//! The command line as a user meets it.

use clap::{CommandFactory as _, Parser as _};

use super::*;
use crate::config::Config;

/// A datapath that only notes what it was started with.
#[derive(Default)]
struct Noted(std::cell::RefCell<Option<Config>>);

impl Datapath for Noted {
    fn run(&self, config: Config) -> anyhow::Result<()> {
        *self.0.borrow_mut() = Some(config);
        Ok(())
    }

    fn replay(
        &self,
        _: &Config,
        _: &crate::scan::Judge,
        capture: &mut crate::scan::Capture,
        _: &mut dyn crate::scan::Sink,
    ) -> anyhow::Result<()> {
        while capture.next_frame()?.is_some() {}
        Ok(())
    }
}

/// What a command line prints, and its exit code.
fn portcullis(args: &[&str]) -> (String, ExitCode, Option<Config>) {
    let noted = Noted::default();
    let mut out = Vec::new();
    let cli = match Cli::try_parse_from([&["portcullis"], args].concat()) {
        Ok(cli) => cli,
        Err(error) => return (error.to_string(), ExitCode::from(2), None),
    };
    let (text, code) = match cli.run(&noted, &mut out) {
        Ok(code) => (String::new(), code),
        Err(error) => (error.to_string(), exit::code_of(&error)),
    };
    (
        String::from_utf8(out).expect("text") + &text,
        code,
        noted.0.into_inner(),
    )
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_verb_has_help() {
    let mut command = Cli::command();
    command.build();
    let verbs: Vec<_> = command
        .get_subcommands()
        .map(|verb| verb.get_name().to_owned())
        .collect();
    for expected in [
        "run",
        "status",
        "block",
        "unblock",
        "allow",
        "blocks",
        "scan",
        "report",
        "check",
        "rules",
        "config",
        "completions",
        "reload",
        "log",
    ] {
        assert!(
            verbs.iter().any(|verb| verb == expected),
            "{expected} of {verbs:?}"
        );
    }
    for verb in command
        .get_subcommands_mut()
        .filter(|verb| verb.get_name() != "help")
    {
        assert!(verb.get_about().is_some(), "{}", verb.get_name());
        let help = verb.render_long_help().to_string();
        for argument in verb.get_arguments() {
            assert!(
                argument.get_help().is_some(),
                "{} {}",
                verb.get_name(),
                argument.get_id()
            );
        }
        assert!(help.contains("Usage: portcullis"), "{help}");
    }
    let help = Cli::command().render_help().to_string();
    for code in 0..=7 {
        assert!(
            help.contains(&format!("\n  {code}  ")),
            "exit code {code} is not documented"
        );
    }
    // What prints data prints it for scripts too.
    for verb in [
        "status", "block", "unblock", "allow", "blocks", "report", "reload", "log",
    ] {
        let (help, ..) = portcullis(&[verb, "--help"]);
        assert!(help.contains("--json"), "{verb}");
    }
}

#[test]
fn run_puts_options_over_the_configuration() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("p.toml");
    std::fs::write(
        &file,
        "[engine]\ninterface = 'eth0'\nlog = 'warn'\n[scoring]\nanomaly = 7\n",
    )
    .expect("written");
    let file = file.to_str().expect("text");
    let (text, code, config) = portcullis(&[
        "run",
        "--config",
        file,
        "--iface",
        "eth1",
        "--mode",
        "detect",
        "--on-failure",
        "drop",
        "--set",
        "limits.max_flows=128",
        "--set",
        "service=[{port=8080}]",
        "--socket",
        "/tmp/x.sock",
    ]);
    assert_eq!((text.as_str(), code), ("", ExitCode::SUCCESS));
    let config = config.expect("it ran");
    assert_eq!(config.interface(), Ok("eth1"));
    assert_eq!(config.scoring.mode, crate::config::Mode::Detect);
    assert_eq!(config.engine.on_failure, crate::config::FailurePolicy::Drop);
    assert_eq!(config.engine.log, crate::config::Level::Warn);
    assert_eq!(
        (
            config.scoring.anomaly,
            config.limits.max_flows,
            config.services()[0].port
        ),
        (7, 128, 8080)
    );
    assert_eq!(config.engine.control_socket.to_str(), Some("/tmp/x.sock"));

    // No file at all: an interface is enough.
    let (.., config) = portcullis(&["run", "--config", "/dev/null", "--iface", "eth9"]);
    assert_eq!(
        config.expect("it ran").services(),
        [crate::config::Service::http()]
    );
}

#[test]
fn mistakes_say_what_to_do() {
    for (args, code, message) in [
        (&["run", "--config", "/dev/null"][..], 6, "--iface eth0"),
        (&["run", "--config", "/nowhere.toml"], 6, "config init"),
        (
            &["run", "--config", "/dev/null", "--iface", "a/b"],
            6,
            "--iface a/b: engine.interface",
        ),
        (
            &[
                "run",
                "--config",
                "/dev/null",
                "--iface",
                "e",
                "--set",
                "limits.max_flows=0",
            ],
            6,
            "use 64 to",
        ),
        (&["run", "--set", "novalue"], 2, "has no `=`"),
        (&["block", "10.0.0.1/8"], 2, "write 10.0.0.0/8"),
        (
            &["block", "10.0.0.1", "--for", "5w"],
            2,
            "like 90s, 10m, 2h or 7d",
        ),
        (&["allow", "--remove"], 2, "required"),
        (&["log"], 2, "--engine"),
        (
            &["status", "--socket", "/nowhere/control.sock"],
            3,
            "portcullis run --iface",
        ),
        (&["check", "/nowhere.toml"], 6, "cannot read"),
        (&["rules", "lint", "/nowhere"], 6, "cannot read the rules"),
        (&["report", "--from", "/nowhere.json"], 1, "latency.json"),
        (&["frobnicate"], 2, "unrecognized subcommand"),
    ] {
        let (text, seen, _) = portcullis(args);
        assert!(text.contains(message), "{args:?}: {text}");
        assert_eq!(seen, ExitCode::from(code), "{args:?}: {text}");
    }
}

#[test]
fn check_tells_rules_from_configurations() {
    let dir = tempfile::tempdir().expect("a directory");
    let check = |name: &str, text: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).expect("written");
        portcullis(&["check", file.to_str().expect("text")])
    };
    let pack = "family = \"sqli\"\n[[rule]]\nid = 1\nmessage = \"x\"\nseverity = \"critical\"\ntargets = [\"inputs\"]\n\
                regex = 'needle'\nsamples.match = [\"needle\", \"a needle\"]\nsamples.pass = [\"hay\", \"stack\"]\n";
    for (name, text, code, message) in [
        ("a.toml", pack, 0, "a.toml: ok, 1 rules"),
        (
            "b.toml",
            "family = \"sqli\"\n[[rule]]\nid = 'x'\n",
            6,
            "b.toml:3:",
        ),
        (
            "c.toml",
            "[limits]\nmax_flows = 1\n",
            6,
            "c.toml:2:1: limits.max_flows",
        ),
        ("d.toml", "", 0, "d.toml: ok"),
    ] {
        let (text, seen, _) = check(name, text);
        assert!(text.contains(message), "{name}: {text}");
        assert_eq!(seen, ExitCode::from(code), "{name}");
    }
}

#[test]
fn config_init_and_show_are_configurations() {
    let (init, code, _) = portcullis(&["config", "init"]);
    assert_eq!(code, ExitCode::SUCCESS);
    assert_eq!(
        Config::parse("init", &init, None, &[]).expect("valid"),
        Config::default()
    );
    let (show, ..) = portcullis(&[
        "config",
        "show",
        "--config",
        "/dev/null",
        "--set",
        "engine.interface=eth7",
    ]);
    assert_eq!(
        Config::parse("show", &show, None, &[])
            .expect("valid")
            .interface(),
        Ok("eth7")
    );
    let (json, ..) = portcullis(&["config", "show", "--config", "/dev/null", "--json"]);
    assert_eq!(
        serde_json::from_str::<Config>(&json).expect("JSON").limits,
        Config::default().limits
    );
}

#[test]
fn scan_reads_files_and_says_what_it_could_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, bytes: &[u8]| {
        let file = dir.path().join(name);
        std::fs::write(&file, bytes).expect("written");
        file.to_str().expect("text").to_owned()
    };
    let good = write(
        "good.jsonl",
        b"{\"id\":\"a\",\"path\":\"/\"}\n{\"id\":\"b\",\"path\":\"/?q=1 union select 2\"}\n",
    );
    let bad = write("bad.jsonl", b"{\"id\":\"a\",\"path\":\"/\"}\nnot json\n");
    let capture = write("cut.pcap", b"\xd4\xc3\xb2\xa1");
    let scan = |args: &[&str]| portcullis(&[&["scan", "--config", "/dev/null"], args].concat());

    let (text, code, _) = scan(&["--stats", &good]);
    assert_eq!(code, ExitCode::SUCCESS);
    let decisions: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    assert_eq!(
        decisions
            .iter()
            .map(|d| d["decision"].as_str().expect("text"))
            .collect::<Vec<_>>(),
        ["allow", "block"]
    );
    // A threshold of the configuration counts.
    let (text, ..) = scan(&[
        "--output",
        "text",
        "--set",
        "scoring.anomaly=100",
        "--set",
        "scoring.block=1",
        &good,
    ]);
    assert!(
        text.lines()
            .nth(1)
            .is_some_and(|line| line.starts_with("suspicious ")),
        "{text}"
    );

    let (text, code, _) = scan(&[&bad, &good]);
    assert_eq!((text.lines().count(), code), (3, ExitCode::from(exit::BAD_INPUT)));
    let (.., code, _) = scan(&["/nowhere.jsonl", &good]);
    assert_eq!(code, ExitCode::from(exit::BAD_INPUT));
    let (text, code, _) = scan(&["--format", "pcap", &capture]);
    assert_eq!((text.as_str(), code), ("", ExitCode::from(exit::BAD_INPUT)));
    let (text, code, _) = scan(&["--set", "scoring.rules=/nowhere", &good]);
    assert_eq!(code, ExitCode::from(6), "{text}");
}

#[test]
fn completions_know_the_verbs() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (script, code, _) = portcullis(&["completions", shell]);
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(script.contains("unblock"), "{shell}");
    }
}
