//! Each mistake with its line and remedy.

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse("portcullis.toml", text, None, &[])
}

fn set(text: &str) -> Override {
    Override::parse(text).expect("an override")
}

#[test]
fn the_empty_file_is_the_default() {
    let config = parse("").expect("the defaults are valid");
    assert_eq!(config, Config::default());
    assert_eq!(config.services(), [Service::http()]);
    assert!(config.interfaces().is_err());
}

/// The dotted keys of a configuration's values.
fn keys(table: &toml::Table, prefix: &str, into: &mut Vec<String>) {
    for (key, value) in table {
        let path = format!("{prefix}{key}");
        match value {
            toml::Value::Table(table) => keys(table, &format!("{path}."), into),
            _ => into.push(path),
        }
    }
}

#[test]
fn the_initial_file_shows_every_key_at_its_default() {
    assert_eq!(
        parse(INITIAL).expect("the initial file is valid"),
        Config::default()
    );

    let (mut shown, mut known) = (Vec::new(), Vec::new());
    keys(&INITIAL.parse().expect("TOML"), "", &mut shown);
    keys(
        &Config::default().to_toml().parse().expect("TOML"),
        "",
        &mut known,
    );
    known.retain(|key| !["service", "limit", "feed"].contains(&key.as_str()));
    shown.sort();
    known.sort();
    assert_eq!(shown, known);
    // The keys without a default are there as comments.
    for line in [
        "# profile =",
        "# [profiles.staging]",
        "# interface =",
        "# [[service]]",
        "# [[limit]]",
        "# [[feed]]",
        "# database =",
        "# asn_database =",
        "# credits =",
        "# page =",
        "# socket =",
        "# folder =",
        "# certificate =",
        "# key =",
        "# detect_paranoia =",
        "burst = 20000",
        "# keep_syns =",
    ] {
        assert!(INITIAL.contains(line), "{line}");
    }
}

#[test]
fn what_show_prints_reads_back() {
    let config = parse(
        "[engine]\ninterface = 'eth0'\nqueues = 2\ncpus = [0, 1]\n[[service]]\naddress = '192.0.2.1'\nport = 8080\n\
         inspect = 'suspicious'\nscoring = { mode = 'detect', exclusions = [{ reason = 'a', rules = [1, '2-3'], \
         paths = ['/a'], targets = ['args'], names = ['b*'], families = ['xss'], sources = ['192.0.2.1'] }] }\n[lists]\nblock = ['198.51.100.0/24', '2001:db8::1']\n[limits]\ncredits = 10\n",
    )
    .expect("valid");
    assert_eq!(parse(&config.to_toml()).expect("valid"), config);
    assert_eq!(config.lists.block[1].to_string(), "2001:db8::1/128");
}

/// A text, how its first mistake begins, and parts of its message and remedy.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    (
        "[[feed]]\nname = 'a/b'\nsource = '/a'\n",
        "portcullis.toml:2:1: feed.0.name",
        "cannot be the name",
        "use letters",
    ),
    (
        "[[feed]]\nname = 'a'\nsource = 'ftp://a/b'\n",
        "portcullis.toml:3:10: feed.0.source",
        "neither a file nor a URL",
        "",
    ),
    (
        "[[feed]]\nname = 'a'\nsource = 'http://127.0.0.1.example/b'\n",
        "portcullis.toml:3:1: feed.0.source",
        "over plain HTTP",
        "https://",
    ),
    (
        "[[feed]]\nname = 'a'\nsource = '/a'\nsha256 = 'abc'\n",
        "portcullis.toml:4:1: feed.0.sha256",
        "no SHA-256",
        "sha256sum",
    ),
    (
        "[[feed]]\nname = 'a'\nsource = '/a'\nrefresh_s = 1\n",
        "portcullis.toml:4:1: feed.0.refresh_s",
        "out of range",
        "use 60 to",
    ),
    (
        "[[feed]]\nname = 'a'\nsource = '/a'\n[[feed]]\nname = 'a'\nsource = '/b'\n",
        "portcullis.toml:5:1: feed.1.name",
        "also feed.0",
        "another name",
    ),
    (
        "[geo]\nblock_countries = ['NL']\n",
        "portcullis.toml:1:2: geo.database",
        "there is no database",
        ".mmdb",
    ),
    (
        "[geo]\ndatabase = '/dev/null'\nallow_countries = ['NL', 'holland']\n",
        "portcullis.toml:2:1: geo.database",
        "not a file",
        "codes of ISO 3166-1",
    ),
    (
        "profile = 'prod'\n[profiles.lab]\n",
        "portcullis.toml:1:1: profile",
        "there is no profile `prod`",
        "use one of dev, staging, production, lab",
    ),
    (
        "[engine]\nlog = 'info'\n[profiles.lab.limits]\nmax_flow = 9\n",
        "portcullis.toml:4:1: profiles.lab.limits.max_flow",
        "unknown field",
        "did you mean `max_flows`?",
    ),
    (
        "profile = 'lab'\n[profiles.lab]\nlimits.max_flows = 9\n",
        "portcullis.toml:3:8: profiles.lab.limits.max_flows",
        "9 is out of range",
        "use 64 to",
    ),
    (
        "[profiles.lab]\nprofile = 'dev'\n",
        "portcullis.toml:2:1: profiles.lab.profile",
        "does not choose a profile",
        "top of the file",
    ),
    (
        "profiles = 'dev'\n",
        "portcullis.toml:1:1: profiles",
        "no table",
        "[profiles.NAME]",
    ),
    (
        "[profile.dev]\nscoring.mode = 'detect'\n",
        "portcullis.toml:1:",
        "invalid type",
        "",
    ),
    ("[engine\n", "portcullis.toml:1:", "", "not TOML"),
    (
        "\n\nmode = 'block'\n",
        "portcullis.toml:3:1: mode",
        "unknown field `mode`",
        "fix:",
    ),
    (
        "[engine]\nuser = 'root'\n",
        "portcullis.toml:2:1: engine.user",
        "root is no ordinary user",
        "name another",
    ),
    (
        "[[limit]]\nname = 'a'\nrequests = 5\n",
        "portcullis.toml:1:1: limit.0",
        "missing field `window_s`",
        "add `window_s",
    ),
    (
        "[[limit]]\nname = 'a'\nrequests = 0\nwindow_s = 60\n",
        "portcullis.toml:3:1: limit.0.requests",
        "0 is out of range",
        "use 1 to 1000000",
    ),
    (
        "[[limit]]\nname = 'a'\nrequests = 5\nwindow_s = 100000\n",
        "portcullis.toml:4:1: limit.0.window_s",
        "out of range",
        "use 1 to 86400",
    ),
    (
        "[[limit]]\nname = ''\nrequests = 5\nwindow_s = 60\n",
        "portcullis.toml:2:1: limit.0.name",
        "has no name",
        "name = \"login\"",
    ),
    (
        "[[limit]]\nname = 'a'\nrequests = 5\nwindow_s = 60\n[[limit]]\nname = 'a'\nrequests = 6\nwindow_s = 60\n",
        "portcullis.toml:6:1: limit.1.name",
        "is also limit.0",
        "another name",
    ),
    (
        "[[limit]]\nname = 'a'\nservice = 'any:81'\nrequests = 5\nwindow_s = 60\n",
        "portcullis.toml:3:1: limit.0.service",
        "there is no service any:81",
        "any:80",
    ),
    (
        "[[limit]]\nname = 'a'\nservice = 'shop'\nrequests = 5\nwindow_s = 60\n",
        "portcullis.toml:3:11: limit.0.service",
        "`shop` is not \"any\" or a service",
        "",
    ),
    (
        "[[limit]]\nname = 'a'\nmethods = ['post']\nrequests = 5\nwindow_s = 60\n",
        "portcullis.toml:3:12: limit.0.methods.0",
        "`post` is no method",
        "in capitals",
    ),
    (
        "[[limit]]\nname = 'a'\npaths = ['login']\nrequests = 5\nwindow_s = 60\n",
        "portcullis.toml:3:10: limit.0.paths.0",
        "a path begins with `/`",
        "",
    ),
    (
        "[[service]]\nport = 80\nproxy_protocol = 'accept'\n",
        "portcullis.toml:3:1: service.0.proxy_protocol",
        "clients.trusted_proxies is empty",
        "trusted_proxies = [",
    ),
    (
        "[clients]\ntrusted_proxies = ['10.0.0.1']\n[[service]]\nport = 80\ninspect = 'none'\nproxy_protocol = 'require'\n",
        "portcullis.toml:6:1: service.0.proxy_protocol",
        "nothing is read",
        "inspect = \"all\"",
    ),
    (
        "[[service]]\nport = 80\nproxy_protocol = 'accpet'\n",
        "portcullis.toml:3:18: service.0.proxy_protocol",
        "unknown variant",
        "did you mean `accept`?",
    ),
    (
        "[clients]\ntrusted_proxies = ['10.0.0.1', '0.0.0.0/0']\n",
        "portcullis.toml:2:32: clients.trusted_proxies.1",
        "trusts everybody",
        "name the proxies alone",
    ),
    (
        "[clients]\ntrusted_proxies = ['10.0.0.1/8']\n",
        "portcullis.toml:2:20: clients.trusted_proxies.0",
        "bits set beyond its prefix",
        "write 10.0.0.0/8",
    ),
    (
        "[clients]\ntrusted_proxies = ['10.0.0.0/8']\n[lists]\nblock = ['10.1.0.0/16']\n",
        "portcullis.toml:4:10: lists.block.0",
        "overlaps 10.0.0.0/8 of clients.trusted_proxies",
        "remove one of the two",
    ),
    (
        "[clients]\nclient_header = 'x forwarded for'\n",
        "portcullis.toml:2:1: clients.client_header",
        "cannot be the name of a header",
        "x-real-ip",
    ),
    (
        "[limits]\nmax_flow = 1\n",
        "portcullis.toml:2:1: limits.max_flow",
        "unknown field",
        "did you mean `max_flows`?",
    ),
    (
        "[limits]\nmax_flows = 'many'\n",
        "portcullis.toml:2:13: limits.max_flows",
        "expected u32",
        "expected kind",
    ),
    (
        "[limits]\nmax_flows = -1\n",
        "portcullis.toml:2:13: limits.max_flows",
        "-1",
        "expected kind",
    ),
    (
        "[limits]\nmax_flows = 1\n",
        "portcullis.toml:2:1: limits.max_flows",
        "1 is out of range",
        "use 64 to",
    ),
    (
        "[flood.source]\nsyns = { rate = 200000000 }\n",
        "portcullis.toml:2:10: flood.source.syns.rate",
        "out of range",
        "use 0 to 100000000",
    ),
    (
        "[flood.total]\nudp = { rate = 5000, burst = 49 }\n",
        "portcullis.toml:2:22: flood.total.udp.burst",
        "less than what comes in 10 ms",
        "use 50 or more",
    ),
    (
        "[flood.source]\nicmp = { burst = 10 }\n",
        "portcullis.toml:2:10: flood.source.icmp.burst",
        "limits nothing",
        "add `rate`",
    ),
    (
        "[flood.source]\nsyn = { rate = 10 }\n",
        "portcullis.toml:2:1: flood.source.syn",
        "unknown field",
        "did you mean `syns`?",
    ),
    (
        "[flood.challenge]\nsyns = 100\nkeep_syns = 200\n",
        "portcullis.toml:3:1: flood.challenge.keep_syns",
        "not between 1 and syns = 100",
        "leave it out",
    ),
    (
        "[flood.challenge]\nhold_s = 0\n",
        "portcullis.toml:2:1: flood.challenge.hold_s",
        "out of range",
        "use 1 to",
    ),
    (
        "[flood]\nipv4_prefix = 33\n",
        "portcullis.toml:2:1: flood.ipv4_prefix",
        "out of range",
        "use 8 to 32",
    ),
    (
        "[limits]\nframes_per_queue = 5000\n",
        "portcullis.toml:2:1: limits.frames_per_queue",
        "power of two",
        "use 8192",
    ),
    (
        "[limits]\nheld_bytes = 10\n",
        "portcullis.toml:1:2: limits.held_bytes_per_flow",
        "is more than",
        "raise limits.held_bytes",
    ),
    (
        "[limits]\ncredits = 0\n",
        "portcullis.toml:2:1: limits.credits",
        "out of range",
        "use 1 to 4096",
    ),
    (
        "[engine]\non_failure = 'pas'\n",
        "portcullis.toml:2:14: engine.on_failure",
        "unknown variant",
        "did you mean `pass`?",
    ),
    (
        "[engine]\nqueues = 'all'\n",
        "portcullis.toml:2:10: engine.queues",
        "\"auto\" or a number",
        "expected kind",
    ),
    (
        "[engine]\nqueues = 0\n",
        "portcullis.toml:2:1: engine.queues",
        "out of range",
        "use 1 to 256",
    ),
    (
        "[engine]\nqueues = 2\ncpus = [1]\n",
        "portcullis.toml:3:1: engine.cpus",
        "1 CPUs for 2 queues",
        "one CPU a queue",
    ),
    (
        "[engine]\nforward = 'bridge'\n",
        "portcullis.toml:2:1: engine.forward",
        "the second one is not named",
        "--bridge eth1",
    ),
    (
        "[engine]\nserver_interface = 'eth1'\n",
        "portcullis.toml:2:1: engine.server_interface",
        "only a bridge",
        "forward = \"bridge\"",
    ),
    (
        "[engine]\nforward = 'bridge'\ninterface = 'eth0'\nserver_interface = 'eth0'\n",
        "portcullis.toml:4:1: engine.server_interface",
        "clients come in by",
        "the other one",
    ),
    (
        "[engine]\nforward = 'bridge'\nserver_interface = 'a:b'\n",
        "portcullis.toml:3:1: engine.server_interface",
        "cannot be the name",
        "ip link",
    ),
    (
        "[engine]\ninterface = 'a/b'\n",
        "portcullis.toml:2:1: engine.interface",
        "cannot be the name",
        "ip link",
    ),
    (
        "[engine]\ninterface = ['eth0', 'a b']\n",
        "portcullis.toml:2:1: engine.interface",
        "`a b` cannot be the name",
        "ip link",
    ),
    (
        "[engine]\ninterface = ['eth0', 'eth1', 'eth0']\n",
        "portcullis.toml:2:1: engine.interface",
        "`eth0` is named twice",
        "name it once",
    ),
    (
        "[engine]\ninterface = []\n",
        "portcullis.toml:2:1: engine.interface",
        "0 interfaces",
        "name 1 to 8",
    ),
    (
        "[engine]\ninterface = ['1', '2', '3', '4', '5', '6', '7', '8', '9']\n",
        "portcullis.toml:2:1: engine.interface",
        "9 interfaces",
        "name 1 to 8",
    ),
    (
        "[engine]\ninterface = ['eth0', 'eth1']\nforward = 'bridge'\nserver_interface = 'eth2'\n",
        "portcullis.toml:2:1: engine.interface",
        "a bridge has one interface",
        "forward = \"host\"",
    ),
    (
        "[engine]\ninterface = ['eth0', 'eth1']\nqueues = 2\ncpus = [0, 1]\n",
        "portcullis.toml:4:1: engine.cpus",
        "2 CPUs for 4 queues",
        "one CPU a queue",
    ),
    (
        "[engine]\ninterface = 7\n",
        "portcullis.toml:2:13: engine.interface",
        "the name of an interface or a list of names",
        "config init",
    ),
    (
        "[engine]\ncontrol_socket = 'x.sock'\n",
        "portcullis.toml:2:1: engine.control_socket",
        "absolute",
        "start it with",
    ),
    (
        "[api]\nsocket = 'x.sock'\n",
        "portcullis.toml:2:1: api.socket",
        "absolute",
        "start it with",
    ),
    (
        "[api]\nsocket = '/run/portcullis/control.sock'\n",
        "portcullis.toml:2:1: api.socket",
        "the control socket",
        "another path",
    ),
    (
        "[api]\nlisten = ['127.0.0.1:9180']\n",
        "portcullis.toml:2:1: api.listen",
        "no token",
        "openssl rand",
    ),
    (
        "[api.tls]\ncertificate = 'a.pem'\n",
        "portcullis.toml:2:1: api.tls.certificate",
        "without its private key",
        "as api.tls.key",
    ),
    (
        "[api.tls]\nkey = 'a.key'\n",
        "portcullis.toml:2:1: api.tls.key",
        "without its certificate",
        "as api.tls.certificate",
    ),
    (
        "[api]\nconnections = 0\n",
        "portcullis.toml:2:1: api.connections",
        "out of range",
        "use 1 to",
    ),
    (
        "[engine.poll]\nbusy_budget = 65\n",
        "portcullis.toml:2:1: engine.poll.busy_budget",
        "out of range",
        "use 0 to 64",
    ),
    (
        "[engine.poll]\nspin_us = 2000000\n",
        "portcullis.toml:2:1: engine.poll.spin_us",
        "out of range",
        "use 0 to",
    ),
    (
        "[[service]]\naddress = 'any'\n",
        "portcullis.toml:1:1: service.0",
        "missing field `port`",
        "add `port",
    ),
    (
        "[[service]]\nport = 80\n[[service]]\nport = 70000\n",
        "portcullis.toml:4:8: service.1.port",
        "70000",
        "fix:",
    ),
    (
        "[[service]]\nport = 0\n",
        "portcullis.toml:2:1: service.0.port",
        "not a TCP port",
        "1 to 65535",
    ),
    (
        "[[service]]\nport = 1\naddress = 'web'\n",
        "portcullis.toml:3:11: service.0.address",
        "neither \"any\"",
        "",
    ),
    (
        "[[service]]\nport = 80\n[[service]]\nport = 80\n",
        "portcullis.toml:3:1: service.1",
        "also service.0",
        "keep one",
    ),
    (
        "[scoring]\nblock = 1.5\n",
        "portcullis.toml:2:1: scoring.block",
        "1.5 is out of range",
        "use 0 to 1",
    ),
    (
        "[scoring]\nblock = nan\n",
        "portcullis.toml:2:1: scoring.block",
        "NaN is out of range",
        "use 0 to 1",
    ),
    (
        "[scoring]\nsuspicious = 0.9\n",
        "portcullis.toml:2:1: scoring.suspicious",
        "above block",
        "raise scoring.block",
    ),
    (
        "[scoring.allow]\nmethods = ['GET', 'post']\n",
        "portcullis.toml:2:19: scoring.allow.methods.1",
        "`post` is no method",
        "capitals",
    ),
    (
        "[scoring.limits]\nparam_bytes = 17000\n",
        "portcullis.toml:2:1: scoring.limits.param_bytes",
        "out of range",
        "use 0 to 16384",
    ),
    (
        "[scoring.baseline]\nentries = 10\n",
        "portcullis.toml:2:1: scoring.baseline.entries",
        "out of range",
        "use 64 to 65536",
    ),
    (
        "[scoring.baseline]\nmode = 'lern'\n",
        "portcullis.toml:2:8: scoring.baseline.mode",
        "unknown variant",
        "did you mean `learn`?",
    ),
    (
        "[[service]]\nport = 80\nscoring.baseline.entries = 64\n",
        "portcullis.toml:3:",
        "unknown field",
        "fix:",
    ),
    (
        "[[service]]\nport = 80\nscoring.limits.params = 0\n",
        "portcullis.toml:3:",
        "out of range",
        "use 1 to",
    ),
    (
        "[scoring]\ndetect_paranoia = 9\n",
        "portcullis.toml:2:1: scoring.detect_paranoia",
        "out of range",
        "use 1 to 4",
    ),
    (
        "[scoring]\nparanoia = 3\ndetect_paranoia = 2\n",
        "portcullis.toml:3:1: scoring.detect_paranoia",
        "below paranoia = 3",
        "leave it out",
    ),
    (
        "[[scoring.exclusions]]\nreason = 'x'\nrules = ['a']\n",
        "portcullis.toml:3:10: scoring.exclusions.0.rules.0",
        "`a` is not a rule id",
        "100100-100199",
    ),
    (
        "[[scoring.exclusions]]\nreason = 'x'\nrules = [1, '20-10']\n",
        "portcullis.toml:3:13: scoring.exclusions.0.rules.1",
        "ends before it begins",
        "write \"10-20\"",
    ),
    (
        "[[scoring.exclusions]]\nreason = 'x'\npaths = ['wiki']\n",
        "portcullis.toml:3:10: scoring.exclusions.0.paths.0",
        "a path begins with `/`",
        "write `/name`",
    ),
    (
        "[[scoring.exclusions]]\nreason = 'x'\nnames = ['']\n",
        "portcullis.toml:3:10: scoring.exclusions.0.names.0",
        "empty pattern",
        "`*` for any",
    ),
    (
        "[[scoring.exclusions]]\nreason = 'x'\ntargets = ['qeury']\n",
        "portcullis.toml:3:12: scoring.exclusions.0.targets.0",
        "unknown target `qeury`",
        "query-name",
    ),
    (
        "[[scoring.exclusions]]\nreason = 'x'\nfamilies = ['sql']\n",
        "portcullis.toml:3:13: scoring.exclusions.0.families.0",
        "unknown variant `sql`",
        "did you mean `sqli`?",
    ),
    (
        "[[scoring.exclusions]]\nreason = 'x'\nsources = ['10.0.0.1/8']\n",
        "portcullis.toml:3:12: scoring.exclusions.0.sources.0",
        "bits set",
        "10.0.0.0/8",
    ),
    (
        "[[scoring.exclusions]]\nreason = 'x'\nname = ['q']\n",
        "portcullis.toml:3:1: scoring.exclusions.0.name",
        "unknown field",
        "did you mean `names`?",
    ),
    (
        "[[service]]\nport = 80\nscoring = { anomaly = 0 }\n",
        "portcullis.toml:3:13: service.0.scoring.anomaly",
        "out of range",
        "use 1 to",
    ),
    (
        "[[service]]\nport = 80\nscoring.block = 0.3\n",
        "portcullis.toml:3:1: service.0.scoring",
        "above block",
        "raise service.0.scoring.block",
    ),
    (
        "[scoring]\nrules = '/nowhere'\n",
        "portcullis.toml:2:1: scoring.rules",
        "not a directory",
        "builtin",
    ),
    (
        "[rules]\nfolder = '/nowhere'\n",
        "portcullis.toml:2:1: rules.folder",
        "not a directory",
        "create it",
    ),
    (
        "[response]\npage = '/nowhere.html'\n",
        "portcullis.toml:2:1: response.page",
        "/nowhere.html",
        "readable HTML file",
    ),
    (
        "[reputation]\nmax_block_s = 5\n",
        "portcullis.toml:2:1: reputation.max_block_s",
        "below first_block_s",
        "raise it",
    ),
    (
        "[reputation]\nipv6_prefix = 8\n",
        "portcullis.toml:2:1: reputation.ipv6_prefix",
        "out of range",
        "32 to 128",
    ),
    (
        "[lists]\nallow = ['10.0.0.1/8']\n",
        "portcullis.toml:2:10: lists.allow.0",
        "bits set",
        "10.0.0.0/8",
    ),
    (
        "[lists]\nblock = ['x']\n",
        "portcullis.toml:2:10: lists.block.0",
        "not an IP address",
        "192.0.2.0/24",
    ),
    (
        "[lists]\nblock = ['10.0.0.0/8']\nnever_block = ['10.1.2.3']\n",
        "portcullis.toml:2:10: lists.block.0",
        "overlaps 10.1.2.3",
        "around it",
    ),
    (
        "[lists]\nblock = ['10.0.0.0/8']\nallow = ['10.0.0.0/8']\n",
        "portcullis.toml:2:10: lists.block.0",
        "also on lists.allow",
        "one list",
    ),
];

#[test]
fn each_mistake_has_its_line_and_remedy() {
    for (text, place, message, remedy) in MISTAKES {
        let error = parse(text).expect_err(text);
        let shown = error.to_string();
        assert!(
            shown.starts_with(place),
            "{text:?}\n  wanted {place}\n  got {shown}"
        );
        assert!(
            shown.contains(message),
            "{text:?}\n  wanted {message}\n  got {shown}"
        );
        assert!(
            shown.contains(remedy),
            "{text:?}\n  wanted {remedy}\n  got {shown}"
        );
    }
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let types = parse("[engine]\nlog = 'loud'\nfoo = 1\n[lists]\nallow = ['a', 'b']\n[[service]]\n")
        .expect_err("five mistakes");
    let lines: Vec<_> = types
        .mistakes
        .iter()
        .map(|m| m.position.expect("a position").0)
        .collect();
    assert_eq!(lines, [2, 3, 5, 5, 6], "{types}");

    let ranges = parse("[limits]\nmax_flows = 1\nmax_blocks = 2\n[scoring]\nanomaly = 0\n")
        .expect_err("three mistakes");
    let lines: Vec<_> = ranges
        .mistakes
        .iter()
        .map(|m| m.position.expect("a position").0)
        .collect();
    assert_eq!(lines, [2, 3, 5], "{ranges}");
}

#[test]
fn overrides_win_and_are_named_in_mistakes() {
    let text = "[engine]\ninterface = 'eth0'\n[[service]]\nport = 80\n";
    let overrides = [
        set("engine.interface=eth1"),
        set("engine.poll.spin_us = 0"),
        set("service.0.port=8080"),
        set("lists.block=['192.0.2.1']"),
        Override::option("--mode detect", "scoring.mode", "detect"),
    ];
    let config = Config::parse("f", text, None, &overrides).expect("valid");
    assert_eq!(config.interfaces().expect("named").names(), ["eth1"]);
    assert_eq!(config.engine.poll.spin_us, 0);
    assert_eq!(config.service[0].port, 8080);
    assert_eq!(config.lists.block.len(), 1);
    assert_eq!(config.scoring.mode, Mode::Detect);

    for (change, message) in [
        (
            "limits.max_flows=1",
            "--set limits.max_flows=1: limits.max_flows: 1 is out of range",
        ),
        ("limits.max_flow=100", "did you mean `max_flows`?"),
        ("scoring.mode=deny", "unknown variant `deny`"),
        ("service.3.port=1", "no element `3`"),
        ("engine.log.x=1", "--set engine.log.x=1"),
    ] {
        let error = Config::parse("f", text, None, &[set(change)])
            .expect_err(change)
            .to_string();
        assert!(error.contains(message), "{change}: {error}");
    }
    for text in ["novalue", "=1", "a..b=1"] {
        assert!(Override::parse(text).is_err(), "{text}");
    }
}

#[test]
fn one_interface_is_a_name_and_several_are_a_list() {
    for (text, written, joined) in [
        ("interface = 'eth0'", "interface = \"eth0\"", "eth0"),
        ("interface = ['eth0']", "interface = \"eth0\"", "eth0"),
        (
            "interface = ['eth1', 'eth0']",
            "interface = [\"eth1\", \"eth0\"]",
            "eth1,eth0",
        ),
    ] {
        let config = Config::parse("f", &format!("[engine]\n{text}\n"), None, &[]).expect("valid");
        assert_eq!(config.interfaces().expect("named").to_string(), joined);
        let toml = config.to_toml();
        assert!(toml.contains(written), "{toml}");
        assert_eq!(Config::parse("f", &toml, None, &[]).expect("valid"), config);
    }
    let change = set("engine.interface=['eth0', 'eth1']");
    let config = Config::parse("f", "[engine]\ninterface = 'eth7'\n", None, &[change]).expect("valid");
    assert_eq!(config.interfaces().expect("named").names(), ["eth0", "eth1"]);
}

#[test]
fn relative_paths_start_at_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(dir.path().join("packs")).expect("a directory");
    std::fs::write(dir.path().join("p.toml"), "[scoring]\nrules = 'packs'\n").expect("a file");
    let config = Config::load(Some(&dir.path().join("p.toml")), &[]).expect("valid");
    assert_eq!(
        config.scoring.rules,
        RulesSource::Directory(dir.path().join("packs"))
    );

    let missing = Config::load(Some(&dir.path().join("none.toml")), &[])
        .expect_err("no such file")
        .to_string();
    assert!(
        missing.contains("none.toml: cannot read") && missing.contains("config init"),
        "{missing}"
    );
}

#[test]
fn layers_count_in_their_order() {
    let text = "profile = 'dev'\n[scoring]\nanomaly = 7\n[profiles.dev]\nscoring.anomaly = 9\nscoring.paranoia = 2\n\
                [profiles.lab]\nengine.log = 'warn'\n";
    let environment = Override::written("PORTCULLIS_SCORING__PARANOIA".to_owned(), "scoring.paranoia", "3");
    let read = |overrides: &[Override]| Config::parse("f", text, None, overrides).expect("valid");
    let dev = read(&[]);
    assert_eq!((dev.scoring.mode, dev.engine.log), (Mode::Detect, Level::Debug));
    assert_eq!((dev.scoring.anomaly, dev.scoring.paranoia), (9, 2));
    let dev = read(std::slice::from_ref(&environment));
    assert_eq!(dev.scoring.paranoia, 3);
    let dev = read(&[environment.clone(), set("scoring.paranoia=4")]);
    assert_eq!(dev.scoring.paranoia, 4);
    let lab = read(&[Override::option("--profile lab", "profile", "lab")]);
    assert_eq!(
        (lab.scoring.mode, lab.engine.log, lab.scoring.anomaly),
        (Mode::Block, Level::Warn, 7)
    );
    // What the file says counts more than what is built in.
    let text = "profile = 'dev'\n[engine]\nlog = 'error'\n";
    assert_eq!(parse(text).expect("valid").engine.log, Level::Error);
    let error = Config::parse("f", "", None, &[Override::option("--profile x", "profile", "x")])
        .expect_err("unknown");
    assert!(
        error
            .to_string()
            .starts_with("--profile x: profile: there is no profile `x`"),
        "{error}"
    );
}

#[test]
fn a_check_looks_at_all_profiles() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("p.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).expect("written");
        let origin = Origin::read(Some(&file), &[set("profile=a")]).expect("read");
        origin.config().expect("this profile is right");
        origin.check().map_err(|error| error.to_string())
    };
    let profiles = "[profiles.a]\n[profiles.b.limits]\n";
    assert_eq!(
        check(&format!("{profiles}max_flows = 99\n"))
            .expect("right")
            .limits
            .max_flows,
        65_536
    );
    let error = check(&format!("{profiles}max_flows = 9\n")).expect_err("too few");
    assert!(
        error.contains("p.toml:3:1: profiles.b.limits.max_flows: 9 is out of range"),
        "{error}"
    );
}

#[test]
fn each_value_says_where_it_is_from() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("p.toml");
    let text = "profile = 'dev'\n[scoring]\nanomaly = 7\n[profiles.dev]\nscoring.paranoia = 2\n[[service]]\nport = 80\n";
    std::fs::write(&file, text).expect("written");
    let origin = Origin::read(Some(&file), &[set("limits.max_flows=99")]).expect("read");
    let keys = [
        "scoring.anomaly",
        "scoring.paranoia",
        "scoring.mode",
        "limits.max_flows",
        "limits.max_blocks",
        "service.0.port",
        "service.0.inspect",
    ];
    let sources = origin.sources(keys.into_iter()).expect("valid");
    let at = |line| Source::File(file.display().to_string(), line);
    assert_eq!(
        sources,
        [
            at(3),
            at(5),
            Source::BuiltIn("dev".to_owned()),
            Source::Override("--set limits.max_flows=99".to_owned()),
            Source::Default,
            at(7),
            Source::Default,
        ]
    );
}
