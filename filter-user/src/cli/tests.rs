//! The command line as a user meets it.

use clap::{CommandFactory as _, Parser as _};

use super::*;
use crate::{
    config::{Config, Origin},
    control::{ServerLimits, testing::Served},
};

/// A datapath that only notes what it was started with.
#[derive(Default)]
struct Noted(std::cell::RefCell<Option<Config>>);

impl Datapath for Noted {
    fn run(&self, config: Config, _: Origin, _: bool) -> anyhow::Result<()> {
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
        "status", "block", "unblock", "allow", "blocks", "report", "reload", "confirm", "log",
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
    assert_eq!(config.interfaces().expect("named").names(), ["eth1"]);
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

    // Several interfaces, in one option or in more.
    for several in [&["--iface", "eth1,eth0"][..], &["--iface", "eth1", "-i", "eth0"]] {
        let (.., config) = portcullis(&[&["run", "--config", "/dev/null"], several].concat());
        let config = config.expect("it ran");
        assert_eq!(config.interfaces().expect("named").names(), ["eth1", "eth0"]);
    }

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
        (&["rules", "lint", "--patch"], 2, "PATH"),
        (&["rules", "list", "--family", "sql"], 2, "use one of sqli"),
        (&["rules", "list", "--paranoia", "5"], 2, "1..=4"),
        (&["rules", "explain", "x"], 2, "invalid"),
        (
            &["rules", "explain", "7", "--config", "/dev/null"],
            1,
            "there is no rule 7\n  fix: `portcullis rules list`",
        ),
        (&["scan", "--service", "80", "x"], 2, "invalid"),
        (&["report", "--from", "/nowhere.json"], 1, "latency.json"),
        (&["frobnicate"], 2, "unrecognized subcommand"),
    ] {
        let (text, seen, _) = portcullis(args);
        assert!(text.contains(message), "{args:?}: {text}");
        assert_eq!(seen, ExitCode::from(code), "{args:?}: {text}");
    }
}

/// A rule pack.
const PACK: &str = "family = \"sqli\"\n[[rule]]\nid = 1\nmessage = \"x\"\nseverity = \"critical\"\ntargets = [\"inputs\"]\n\
                regex = 'needle'\nsamples.match = [\"needle\", \"a needle\"]\nsamples.pass = [\"hay\", \"stack\"]\n";

#[test]
fn check_tells_rules_from_configurations() {
    let dir = tempfile::tempdir().expect("a directory");
    let check = |name: &str, text: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).expect("written");
        portcullis(&["check", file.to_str().expect("text")])
    };
    for (name, text, code, message) in [
        ("a.toml", PACK, 0, "a.toml: ok, 1 rules"),
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
fn rules_are_listed_explained_and_linted() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).expect("written");
        file.to_str().expect("text").to_owned()
    };
    let tagged = PACK.replace("targets", "tags = [\"mine\"]\nparanoia = 2\ntargets");
    let other = tagged
        .replace("id = 1", "id = 2")
        .replace("[\"mine\"]", "[]")
        .replace("paranoia = 2", "paranoia = 1");
    let two = write("two.toml", &(tagged + &other.replace("family = \"sqli\"\n", "")));
    for (filter, ids) in [
        (&[][..], "1 2"),
        (&["--tag", "mine"], "1"),
        (&["--paranoia", "1"], "2"),
        (&["--family", "sqli"], "1 2"),
        (&["--family", "xss"], ""),
    ] {
        let (json, code, _) = portcullis(&[&["rules", "list", "--json", &two], filter].concat());
        assert_eq!(code, ExitCode::SUCCESS, "{json}");
        let rows: Vec<serde_json::Value> = serde_json::from_str(&json).expect("JSON");
        let seen: Vec<_> = rows.iter().map(|row| row["id"].to_string()).collect();
        assert_eq!(seen.join(" "), ids, "{filter:?}");
    }

    let (text, code, _) = portcullis(&["rules", "explain", "1", &two]);
    assert_eq!(code, ExitCode::SUCCESS, "{text}");
    for part in [
        "Rule 1: x",
        "adds 5 to the anomaly sum; family sqli; from paranoia level 2",
        "two.toml:3",
        "the expression `needle`",
        "in path, query,",
        "url, url-repeated",
        "where a field has one of `needle`",
        "It finds\n  needle\n  a needle",
        "It leaves alone\n  hay",
        "[[scoring.exclusions]]",
        "rules = [1]",
    ] {
        assert!(text.contains(part), "wanted {part}\n{text}");
    }
    let (text, ..) = portcullis(&["rules", "explain", "100112", "--config", "/dev/null"]);
    assert!(
        text.contains("It runs over fields that have a byte such as `"),
        "{text}"
    );
    let (json, ..) = portcullis(&["rules", "explain", "1", &two, "--json"]);
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(value["description"]["matching"][1], "a needle");

    let odd = write(
        "odd.toml",
        &PACK.replace("regex = 'needle'", "regex = 'needle'\nliterals = ['needle']"),
    );
    let (text, code, _) = portcullis(&["rules", "lint", &odd]);
    assert!(
        text.contains("odd.toml:3:6: rule 1 does not need") && text.contains("  fix: remove"),
        "{text}"
    );
    assert!(text.contains("1 rules, no mistakes, 1 oddities"), "{text}");
    assert_eq!(code, ExitCode::SUCCESS);
    let (text, code, _) = portcullis(&["rules", "lint", "--strict", &odd]);
    assert_eq!(code, ExitCode::from(6), "{text}");

    // A pack that changes others is right only together with them.
    std::fs::create_dir(dir.path().join("packs")).expect("a directory");
    write("packs/pack.toml", PACK);
    let config = write("p.toml", "[scoring]\nrules = 'packs'\n");
    let patch = write("patch.toml", "[[override]]\nid = 1\nenabled = false\n");
    let (text, code, _) = portcullis(&["rules", "lint", &patch]);
    assert!(text.contains("patch.toml:2:6: there is no rule 1"), "{text}");
    assert_eq!(code, ExitCode::from(6));
    let (text, code, _) = portcullis(&["rules", "lint", "--patch", &patch, "--config", &config]);
    assert_eq!(code, ExitCode::SUCCESS, "{text}");
    let (text, ..) = portcullis(&["rules", "explain", "1", "--patch", &patch, "--config", &config]);
    assert!(text.contains("switched off by an [[override]]"), "{text}");
}

#[test]
fn scan_shows_what_is_excluded() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).expect("written");
        file.to_str().expect("text").to_owned()
    };
    std::fs::create_dir(dir.path().join("packs")).expect("a directory");
    write("packs/pack.toml", &PACK.replace("needle", "union select"));
    let config = write(
        "p.toml",
        "[scoring]\nrules = 'packs'\n[[scoring.exclusions]]\nreason = 'the editor'\nnames = ['q']\n\
         sources = ['192.0.2.0/24']\n[[service]]\nport = 8080\nscoring.mode = 'detect'\nscoring.anomaly = 100\n\
         scoring.block = 1.0\n",
    );
    let good = write("a.jsonl", "{\"id\":\"b\",\"path\":\"/?q=1 union select 2\"}\n");
    let scan = |args: &[&str]| {
        let (text, code, _) = portcullis(&[&["scan", "--config", &config, &good], args].concat());
        assert_eq!(code, ExitCode::SUCCESS, "{text}");
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")
    };
    let plain = scan(&[]);
    assert_eq!(plain["decision"], "block");
    assert!(plain.get("excluded").is_none());
    let excluded = scan(&["--source", "192.0.2.9"]);
    assert_eq!(excluded["decision"], "allow");
    assert_eq!(excluded["excluded"][0]["id"], 1);
    assert_eq!(excluded["excluded"][0]["reason"], "the editor");
    assert_eq!(scan(&["--service", "192.0.2.1:8080"])["decision"], "suspicious");
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
            .interfaces()
            .expect("named")
            .names(),
        ["eth7"]
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
    let pack = write("pack.toml", PACK.replace("needle", "union select").as_bytes());
    let rules = format!("scoring.rules={}", pack.trim_end_matches("/pack.toml"));
    let scan =
        |args: &[&str]| portcullis(&[&["scan", "--config", "/dev/null", "--set", &rules], args].concat());

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
fn a_running_engine_is_asked_and_told() {
    let served = Served::start(ServerLimits::default());
    let socket = served.path.to_str().expect("text");
    let ask = |args: &[&str]| portcullis(&[args, &["--socket", socket]].concat());
    let report = tempfile::tempdir().expect("a directory");
    let report = report.path().to_str().expect("text");
    for (args, code, message) in [
        (
            &["status"][..],
            0,
            "portcullis 1.2.3 on eth0 (native XDP, forwards to host), pid 7, up 1s",
        ),
        (&["status"], 0, "source_blocked"),
        (&["status"], 0, "warning: look"),
        (&["status"], 0, "3/1024 parameters learnt, 2 of them mature"),
        (
            &["block", "198.51.100.7", "--for", "10m", "--reason", "x\ty"],
            0,
            "198.51.100.7 is blocked for 600 s",
        ),
        (
            &["block", "2001:db8::/48"],
            0,
            "2001:db8::/48 is blocked until it is unblocked",
        ),
        (
            &["blocks"],
            0,
            "198.51.100.7                                operator         10m            0  x\u{fffd}y",
        ),
        (
            &["blocks"],
            0,
            "2001:db8::/48                               operator       never",
        ),
        (
            &["blocks", "--json"],
            0,
            "{\"target\":\"198.51.100.7/32\",\"origin\":\"operator\",\"remaining_s\":600",
        ),
        (
            &["block", "192.0.2.0/24"],
            5,
            "overlaps 192.0.2.1, which lists.never_block names\n  fix: block the parts",
        ),
        (&["unblock", "198.51.100.7", "--json"], 0, "\"result\": \"done\""),
        (&["unblock", "198.51.100.7"], 5, "no such entry"),
        (&["allow", "10.0.0.0/8"], 0, "10.0.0.0/8 is on the allow list"),
        (&["allow"], 0, "10.0.0.0/8"),
        (&["allow", "--json"], 0, "\"10.0.0.0/8\""),
        (&["allow", "10.0.0.0/8", "--remove"], 0, "off the allow list"),
        (&["reload"], 6, "rules/x.toml:3"),
        (&["confirm"], 5, "no such entry"),
        (&["reload", "--confirm-within", "4s"], 2, "between 5s and 1h"),
        (
            &["reload", "--confirm-within", "2m", "--revert"],
            2,
            "cannot be used with",
        ),
        (&["reload", "--confirm-within", "2m"], 0, "7 rules in force"),
        (
            &["status"],
            0,
            "on trial: the last reload is taken back in 2m unless `portcullis confirm` comes before",
        ),
        (&["reload"], 5, "the reload before is on trial\n  fix: confirm it"),
        (&["reload", "--revert"], 0, "taken back"),
        (&["reload", "--confirm-within", "5s"], 0, "7 rules in force"),
        (&["confirm", "--json"], 0, "\"result\": \"done\""),
        (
            &["report", "--output", report],
            0,
            "driver_to_forwarded    all            1",
        ),
        (&["report", "--json", "--reset"], 0, "\"driver_to_forwarded\""),
        (
            &["report", "--output", report],
            0,
            "driver_to_forwarded    all            0",
        ),
    ] {
        let (text, seen, _) = ask(args);
        assert!(
            text.contains(message),
            "{args:?}\n  wanted {message}\n  got {text}"
        );
        assert_eq!(seen, ExitCode::from(code), "{args:?}: {text}");
    }
    let (json, ..) = ask(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(status["queues"][0]["received"], u64::MAX);
    let (again, ..) = portcullis(&["report", "--json", "--from", &format!("{report}/latency.json")]);
    assert!(serde_json::from_str::<serde_json::Value>(&again).expect("JSON")["percentiles"].is_array());
}

/// The engine has room for four; 192.0.2.1 is on its never-block list.
#[test]
fn a_list_is_blocked_up_to_what_is_refused() {
    let served = Served::start(ServerLimits::default());
    let socket = served.path.to_str().expect("text");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("list");
    let file = file.to_str().expect("text");
    let block = |text: &str, args: &[&str]| {
        std::fs::write(file, text).expect("written");
        let (text, code, _) = portcullis(&[&["block", "--file", file, "--socket", socket], args].concat());
        (text, code)
    };
    let (text, code) = block(
        "# a list\n198.51.100.7\n\n2001:db8::/48 ; why\n",
        &["--for", "10m", "--reason", "listed"],
    );
    assert!(
        text.starts_with("2 blocked, 0 refused, 0 lines not readable"),
        "{text}"
    );
    assert_eq!(code, ExitCode::SUCCESS);
    let (blocks, ..) = portcullis(&["blocks", "--socket", socket]);
    assert_eq!(blocks.matches("10m            0  listed").count(), 2, "{blocks}");

    let (text, code) = block("198.51.100.7\n198.51.100.7/24\nnonsense\n", &[]);
    assert!(
        text.starts_with("1 blocked, 0 refused, 2 lines not readable"),
        "{text}"
    );
    assert_eq!(code, ExitCode::from(exit::BAD_INPUT));
    // What is longer than a line can be is read as two, and the next one is found again.
    let (text, _) = block(&format!("{}\n198.51.100.7\n", "9".repeat(4097)), &[]);
    assert!(
        text.starts_with("1 blocked, 0 refused, 2 lines not readable"),
        "{text}"
    );

    let (text, code) = block("nonsense\n192.0.2.0/24\n198.51.100.8", &["--json"]);
    let outcome: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        [&outcome["blocked"], &outcome["refused"], &outcome["unreadable"]],
        [1, 1, 1]
    );
    assert_eq!(code, ExitCode::from(exit::REFUSED));

    let (text, code) = block("192.0.2.1\n203.0.113.1\n\n203.0.113.2\n192.0.2.1\n", &[]);
    let expected =
        format!("{file}:4: the map is full; 1 entries before it are blocked, the rest is not\n  fix: raise");
    assert!(text.starts_with(&expected), "{text}");
    assert_eq!(code, ExitCode::from(exit::REFUSED));

    let (text, code, _) = portcullis(&["block", "--file", "/nowhere", "--socket", socket]);
    assert!(text.contains("/nowhere"), "{text}");
    assert_eq!(code, ExitCode::FAILURE);
    for args in [&["block"][..], &["block", "192.0.2.7", "--file", file]] {
        let (text, code, _) = portcullis(args);
        assert_eq!(code, ExitCode::from(2), "{text}");
    }
}

#[test]
fn completions_know_the_verbs() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (script, code, _) = portcullis(&["completions", shell]);
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(script.contains("unblock"), "{shell}");
    }
}

#[test]
fn a_running_engine_tells_its_configuration_and_feeds() {
    let served = Served::start(ServerLimits::default());
    let socket = served.path.to_str().expect("text");
    for (args, code, message) in [
        (&["feeds"][..], 0, "  the server answered 404 Not Found"),
        (&["feeds", "--json"], 0, "\"entries\": 9"),
        (&["feeds", "--refresh"], 0, "feeds that are being fetched: 1"),
        (&["feeds", "--refresh", "x"], 5, "no such entry"),
        (&["reload", "--dry-run"], 0, "7 rules are right"),
        (
            &["reload", "--dry-run", "--json"],
            0,
            "\"key\": \"limits.max_flows\"",
        ),
        (&["reload", "--dry-run", "--revert"], 2, "cannot be used with"),
        (&["config", "show", "--running"], 0, "[engine.poll]"),
    ] {
        let (text, seen, _) = portcullis(&[args, &["--socket", socket]].concat());
        assert!(
            text.contains(message),
            "{args:?}\n  wanted {message}\n  got {text}"
        );
        assert_eq!(seen, ExitCode::from(code), "{args:?}: {text}");
    }
}
