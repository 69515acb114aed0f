//! Mistakes are told once, clearly, with their place and what to do, and stop nothing that runs.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::Xdp;
use filter_common::Reason;
use filter_user::bpf::{Attachment, Kernel, LoadOptions, Place, Sizes, XdpMode};
use xtask::lab::{
    namespace::{Namespace, output_of},
    wait::wait_for,
};

use crate::support::{
    SOON,
    engine::{INTERFACE, PROGRAM, RunningEngine, links},
    request::curl,
    site::{self, Site},
};

const ATTACK: &str = "/1k?id=1'+UNION+SELECT+password+FROM+users--";

/// Runs the program, which must fail, and returns its exit code and standard error.
fn fail(command: &mut Command) -> Result<(i32, String)> {
    let Output { status, stderr, .. } = command.output().context("starting the program")?;
    let text = String::from_utf8_lossy(&stderr).into_owned();
    ensure!(!status.success(), "{command:?} succeeded");
    let errors = text.lines().filter(|line| line.starts_with("error: ")).count();
    ensure!(errors == 1, "one error: {text}");
    ensure!(!text.contains("panicked"), "{text}");
    Ok((status.code().context("ended by a signal")?, text))
}

#[test]
fn in_the_configuration() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("portcullis.toml");
    for (text, place, what, remedy) in [
        (
            "[engine]\nqeues = 1\n",
            "2:1",
            "engine.qeues: unknown field",
            "did you mean `queues`?",
        ),
        (
            "[engine]\nqueues = \"many\"\n",
            "2:10",
            "engine.queues: invalid value",
            "fix: ",
        ),
        ("[engine\n", "1:8", "unclosed table", "fix: this line is not TOML"),
        (
            "\n[limits]\nmax_flows = 1\n",
            "3:1",
            "limits.max_flows: 1 is out of range",
            "use 64 to",
        ),
        (
            "[[service]]\nport = 0\n",
            "2:1",
            "service.0.port: 0 is not a TCP port",
            "use 1 to 65535",
        ),
        (
            "[scoring]\nrules = \"/nonexistent\"\n",
            "2:1",
            "not a directory",
            "or \"builtin\"",
        ),
        (
            "[lists]\nblock = [\"10.0.0.1/33\"]\n",
            "2:10",
            "lists.block.0",
            "write it like 192.0.2.7",
        ),
        (
            "[scoring]\nmode = \"blok\"\n",
            "2:8",
            "scoring.mode",
            "did you mean `block`?",
        ),
        (
            "[lists]\nblock = [\"10.0.0.0/8\"]\nnever_block = [\"10.1.2.3\"]\n",
            "2:10",
            "overlaps 10.1.2.3",
            "fix: ",
        ),
    ] {
        fs::write(&file, text)?;
        // Checking and running say the same.
        for arguments in [&["check"][..], &["run", "--iface", "lo", "--config"]] {
            let (code, error) = fail(Command::new(PROGRAM).args(arguments).arg(&file))?;
            ensure!(code == 6, "{code}: {error}");
            for part in [&format!("{}:{place}: ", file.display()), what, remedy] {
                ensure!(error.contains(part), "`{part}` in {error}");
            }
        }
    }
    Ok(())
}

const PACK: &str = "family = \"sqli\"\n\n[[rule]]\nid = 1\nmessage = \"a test\"\nseverity = \"critical\"\n\
    targets = [\"inputs\"]\nregex = '''REGEX'''\nsamples.match = [\"tick foo\", \"tick foo bar\"]\n\
    samples.pass = [\"one\", \"two\"]\n";

fn pack(regex: &str) -> String {
    PACK.replace("REGEX", regex)
}

#[test]
fn in_rules() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("pack.toml");
    for (text, place, what) in [
        (pack("(unclosed"), "8:", "unclosed"),
        (pack("nothing"), "9:18", "does not match this sample"),
        (pack("foo").replace("critical", "criticl"), "6:", "criticl"),
        (pack("foo").replace("regex", "regx"), "8:", "regx"),
        (
            pack("foo") + &pack("foo").replace("family = \"sqli\"\n", ""),
            "",
            "1",
        ),
        ("family = \"sqli\"\n[[rule]\n".into(), "2:", "fix: "),
    ] {
        fs::write(&file, &text)?;
        let (code, error) = fail(Command::new(PROGRAM).arg("check").arg(directory.path()))?;
        ensure!(code == 6, "{code}: {error}");
        for part in [format!("{}:{place}", file.display()).as_str(), what, "fix: "] {
            ensure!(error.contains(part), "`{part}` in {error}\n{text}");
        }
    }
    fs::write(&file, pack("foo"))?;
    let output = Command::new(PROGRAM)
        .arg("check")
        .arg(directory.path())
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

#[test]
fn on_the_command_line() -> Result<()> {
    for (arguments, code, what, remedy) in [
        (&["statsu"][..], 2, "unrecognized subcommand", "'status'"),
        (&["run", "--iface"], 2, "a value is required", "--help"),
        (&["run"], 6, "no interface is named", "fix: add `--iface eth0`"),
        (
            &["run", "--iface", "lo", "--set", "limits.max_flow=3"],
            6,
            "unknown field",
            "`max_flows`",
        ),
        (
            &["run", "--iface", "lo", "--set", "limits"],
            2,
            "has no `=`",
            "write it like",
        ),
        (
            &["block", "10.0.0.0/40"],
            2,
            "not an IP address",
            "write it like 192.0.2.7",
        ),
        (
            &["block", "10.0.0.1", "--for", "soon"],
            2,
            "no unit of time",
            "write it like 90s",
        ),
        (
            &["status", "--socket", "/nonexistent.sock"],
            3,
            "no engine is running",
            "fix: start one",
        ),
        (
            &["scan", "/nonexistent"],
            7,
            "/nonexistent: cannot be opened",
            "No such file",
        ),
        (
            &["run", "--iface", "lo", "--config", "/nonexistent"],
            6,
            "cannot read",
            "fix: ",
        ),
    ] {
        let (given, error) = fail(Command::new(PROGRAM).args(arguments))?;
        ensure!(given == code, "{arguments:?}: {given}: {error}");
        for part in [what, remedy] {
            ensure!(error.contains(part), "`{part}` in {error}");
        }
    }
    Ok(())
}

/// `portcullis run` in the gateway, which must fail.
pub(crate) fn run(site: &Site, arguments: &[&str]) -> Result<(i32, String)> {
    let mut command = site.lab.gateway().command(PROGRAM);
    command.args(["run"]).args(arguments);
    if !arguments.contains(&"--socket") {
        command
            .arg("--socket")
            .arg(site.lab.directory().join("second.sock"));
    }
    // Log lines before the error are none.
    let Output { status, stderr, .. } = command.output().context("starting the program")?;
    let text = String::from_utf8_lossy(&stderr).into_owned();
    ensure!(!status.success() && !text.contains("panicked"), "{text}");
    Ok((status.code().context("ended by a signal")?, text))
}

#[test]
fn about_interfaces() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let (code, error) = run(&site, &["--iface", "nonexistent"])?;
    ensure!(
        code == 1 && error.contains("no interface `nonexistent`"),
        "{error}"
    );
    site.lab.gateway().ip("link set inside down\n")?;
    let (code, error) = run(&site, &["--iface", "inside"])?;
    ensure!(
        code == 1 && error.contains("ip link set dev inside up"),
        "{error}"
    );
    let (code, error) = run(&site, &["--iface", INTERFACE, "--set", "engine.queues=9"])?;
    ensure!(code == 1 && error.contains("engine.queues"), "{error}");
    let (code, error) = run(&site, &["--iface", INTERFACE, "--set", "engine.cpus=[4000]"])?;
    ensure!(
        code == 1 && error.contains("engine.cpus names CPU 4000"),
        "{error}"
    );
    let (code, error) = run(&site, &["--iface", INTERFACE, "--set", "engine.pin_dir=/tmp"])?;
    ensure!(code == 1 && error.contains("not on a BPF file system"), "{error}");
    nothing_is_left(&site)
}

fn nothing_is_left(site: &Site) -> Result<()> {
    let links = links(site.lab.gateway())?;
    ensure!(!links.contains("xdp") && !links.contains("pc-"), "{links}");
    Ok(())
}

/// Neither a second engine nor another owner of the interface is pushed aside.
#[test]
fn a_second_engine_is_refused() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &[])?;
    let socket = site.lab.directory().join("control.sock");
    let (code, error) = run(
        &site,
        &["--iface", INTERFACE, "--socket", &socket.to_string_lossy()],
    )?;
    ensure!(code != 0 && error.contains("control.sock"), "{error}");

    let other = ["--iface", INTERFACE, "--set", "engine.pin_dir=/sys/fs/bpf/other"];
    let (code, error) = run(&site, &other)?;
    ensure!(
        code == 1 && error.contains("another engine filters outside already"),
        "{error}"
    );
    // On another interface, but with the same maps.
    site.lab
        .gateway()
        .ip("link add spare type veth peer name spare2\nlink set spare up\n")?;
    let socket = site.lab.directory().join("other.sock");
    let (code, error) = run(
        &site,
        &["--iface", "spare", "--socket", &socket.to_string_lossy()],
    )?;
    ensure!(
        code != 0 && error.contains("has its maps in") && error.contains("engine.pin_dir"),
        "{code}: {error}"
    );
    filters(&site, &engine)?;
    engine.stop()
}

/// The engine is alive and looks at requests.
fn filters(site: &Site, engine: &RunningEngine) -> Result<()> {
    for server in site::nginx() {
        let before = engine.counter(Reason::ServiceAll)?;
        ensure!(curl(&site.lab, server, "/1k", &[])?.status == 200);
        ensure!(engine.counter(Reason::ServiceAll)? > before);
    }
    Ok(())
}

/// Any program does for that of somebody else: this one's own, by another loader.
pub(crate) fn foreign_program() -> Result<Kernel> {
    Ok(Kernel::load(&LoadOptions {
        shared: false,
        pin_dir: "/sys/fs/bpf/other".into(),
        sizes: Sizes {
            flows: 64,
            sources: 64,
            blocks: 64,
            prefixes: 64,
            services: 64,
        },
        log_level: 0,
    })?)
}

/// Attaches one that no process holds.
pub(crate) fn attach_foreign(gateway: &Namespace, mode: &str) -> Result<()> {
    let pin = "/sys/fs/bpf/foreign";
    gateway.enter(|| -> Result<()> {
        let mut kernel = foreign_program()?;
        let program: &mut Xdp = kernel
            .ebpf_mut()
            .program_mut(filter_common::program::XDP)
            .context("it has one")?
            .try_into()?;
        program.pin(pin)?;
        Ok(())
    })??;
    let arguments = ["net", "attach", mode, "pinned", pin, "dev", INTERFACE];
    output_of(gateway.command("bpftool").args(arguments)).map(drop)
}

#[test]
fn a_foreign_program_is_replaced_if_that_is_wanted() -> Result<()> {
    for (attach, mode) in [("xdpgeneric", "generic"), ("xdpdrv", "native")] {
        let Some(site) = Site::plain()? else {
            return Ok(());
        };
        attach_foreign(site.lab.gateway(), attach)?;
        let (code, error) = run(&site, &["--iface", INTERFACE])?;
        ensure!(code == 1 && error.contains("replace_foreign"), "{code}: {error}");
        let mode = format!("engine.xdp_mode={mode}");
        let engine = RunningEngine::start(&site.lab, &["engine.replace_foreign=replace", &mode])?;
        ensure!(engine.log().contains("was taken off"), "{}", engine.log());
        filters(&site, &engine)?;
        engine.stop()?;
    }
    Ok(())
}

#[test]
fn a_foreign_program_is_not_replaced() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    // Its timers run, and would show.
    site.lab.cut_wire()?;
    let _attached = site.lab.gateway().enter(|| -> Result<_> {
        let mut kernel = foreign_program()?;
        Ok(Attachment::new(
            &mut kernel,
            Place::Host(INTERFACE),
            &[XdpMode::Native],
        )?)
    })??;
    let before = links(site.lab.gateway())?;
    let (code, error) = run(&site, &["--iface", INTERFACE])?;
    ensure!(code == 1, "{error}");
    let left = site.lab.gateway().enter(|| {
        let pin = Path::new("/sys/fs/bpf/portcullis").join(format!("link_egress_{INTERFACE}"));
        pin.exists()
    })?;
    ensure!(!left, "the refused engine left its egress observer attached");
    ensure!(
        error.contains("another XDP program is attached to outside")
            && error.contains("ip link set dev outside xdp off"),
        "{error}"
    );
    ensure!(
        links(site.lab.gateway())? == before,
        "the program is still there, and nothing else"
    );
    Ok(())
}

#[test]
fn bad_rules_never_stop_a_running_engine() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let rules = site.lab.directory().join("rules");
    fs::create_dir(&rules)?;
    let file = rules.join("pack.toml");
    fs::write(&file, pack("tick"))?;
    let from = format!("scoring.rules={}", rules.display());
    let engine = RunningEngine::start(
        &site.lab,
        &[&from, "scoring.model=off", "reputation.threshold=1000000"],
    )?;
    let [server, _] = site::nginx();
    let status = |query: &str| Ok::<_, anyhow::Error>(curl(&site.lab, server, query, &[])?.status);
    ensure!(status("/1k?q=tick")? == 403 && status("/1k?q=tock")? == 200);

    fs::write(&file, pack("(unclosed"))?;
    let (code, error) = engine.refuse(&["reload"])?;
    ensure!(code == 6 && error.contains("pack.toml:8:"), "{code}: {error}");
    ensure!(error.contains("the rules before it stay in force"), "{error}");
    ensure!(status("/1k?q=tick")? == 403 && status("/1k?q=tock")? == 200);
    let state = engine.status()?;
    ensure!(
        state.rules.last_error.is_some() && !state.warnings.is_empty(),
        "{state:#?}"
    );
    // The signal does the same.
    engine.signal(nix::sys::signal::Signal::SIGHUP)?;
    wait_for("the refusal in the log", SOON, || {
        engine.log().contains("reload refused").then_some(())
    })?;

    fs::write(&file, pack("tock").replace("tick foo", "tock"))?;
    engine.tell(&["reload"])?;
    wait_for("the new rules in force", SOON, || {
        (status("/1k?q=tock").ok()? == 403).then_some(())
    })?;
    ensure!(status("/1k?q=tick")? == 200, "the old ones are gone");
    ensure!(engine.status()?.rules.last_error.is_none());
    ensure!(status(ATTACK)? == 200, "only this pack is in force");
    engine.stop()
}
