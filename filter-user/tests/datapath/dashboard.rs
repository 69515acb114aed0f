//! The dashboard in a real browser, in front of a running engine.

use std::{env, fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use xtask::lab::{address::CLIENT_V4, wait::wait_until};

use crate::{
    browser::Browser,
    support::{
        SOON,
        engine::RunningEngine,
        request::curl,
        site::{self, Site},
    },
};

const PLACE: &str = "127.0.0.1:9180";
const ATTACK: &str = "/1k?id=1'+UNION+SELECT+password+FROM+users--&x=<img+src=x+onerror=alert(1)>";
/// A directory that pictures of the page are written to, for the documentation.
const PICTURES: &str = "PORTCULLIS_PICTURES";

/// What the keyboard should reach: all that is seen and can be used.
const REACHABLE: &str = r#"Array.from(document.querySelectorAll(
    "a[href], button:enabled, input:enabled, select:enabled, summary, [tabindex='0']"))
    .filter((node) => node.checkVisibility())"#;

/// Settings with which the API is served to the bearers of two tokens.
fn settings(directory: &Path) -> Result<Vec<String>> {
    let mut tokens = Vec::new();
    for (role, letter) in [("viewer", "v"), ("operator", "o")] {
        let file = directory.join(format!("{role}.token"));
        fs::write(&file, letter.repeat(40))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        tokens.push(format!(
            "{{name=\"{role}\", role=\"{role}\", file=\"{}\"}}",
            file.display()
        ));
    }
    Ok(vec![
        format!("api.listen=[\"{PLACE}\"]"),
        format!("api.tokens=[{}]", tokens.join(", ")),
        "reputation.half_life_s=86400".into(),
    ])
}

/// Gives the page a token, as a person does.
fn sign_in(browser: &mut Browser, letter: &str) -> Result<()> {
    browser.wait("document.getElementById('token').open")?;
    browser.value(&format!(
        "(() => {{ const form = document.querySelector('#token form');
            form.elements.token.value = '{}'; form.requestSubmit(); }})()",
        letter.repeat(40)
    ))?;
    browser.wait("document.getElementById('connection').textContent === 'live'")?;
    Ok(())
}

/// Presses Tab until everything has had the focus, and sees that it shows.
fn walk(browser: &mut Browser) -> Result<()> {
    let mark = format!("{REACHABLE}.map((node, i) => node.dataset.walk = i).length");
    let count = browser.value(&mark)?.as_u64().context("a count")?;
    ensure!(count > 15, "only {count} can be used");
    browser.value("document.activeElement.blur()")?;
    for _ in 0..count + 10 {
        browser.press("Tab", 9)?;
        browser.value(
            "(() => { const node = document.activeElement;
                if (getComputedStyle(node).outlineStyle !== 'none') delete node.dataset.walk; })()",
        )?;
    }
    let left = browser.value(&format!(
        "{REACHABLE}.filter((node) => node.dataset.walk).map((node) => node.outerHTML.slice(0, 200))"
    ))?;
    ensure!(
        left.as_array().is_some_and(Vec::is_empty),
        "the keyboard does not reach {left}"
    );
    Ok(())
}

/// Nothing is wider than the screen.
fn ensure_fits(browser: &mut Browser) -> Result<()> {
    let wide = browser.value(
        "Array.from(document.querySelectorAll('body *'))
            .filter((node) => node.checkVisibility() && !node.matches('.skip'))
            .filter((node) => node.getBoundingClientRect().right > innerWidth + 1)
            .map((node) => node.outerHTML.slice(0, 120))",
    )?;
    ensure!(
        wide.as_array().is_some_and(Vec::is_empty),
        "wider than the screen: {wide}"
    );
    let width = browser.value("document.documentElement.scrollWidth - innerWidth")?;
    ensure!(width.as_i64().is_some_and(|width| width <= 0), "{width} too wide");
    Ok(())
}

/// Something to see: visitors, and another attacker.
fn liven(site: &Site) -> Result<()> {
    let [server, over_v6] = site::nginx();
    for n in 0..150_u64 {
        let path = format!("/1k?page={n}&q=garden+chairs");
        ensure!(curl(&site.lab, server, &path, &[])?.status == 200);
        if n % 50 == 20 {
            ensure!(curl(&site.lab, over_v6, "/1k?file=../../../../etc/passwd", &[])?.status == 403);
        }
        std::thread::sleep(Duration::from_millis(n % 7 * 20));
    }
    Ok(())
}

/// Pictures, if they are wanted.
fn picture(browser: &mut Browser, name: &str) -> Result<()> {
    let Some(directory) = env::var_os(PICTURES) else {
        return Ok(());
    };
    // Some points for the charts, and nothing said that hides a part of it.
    browser.value("scrollTo(0, 0); new Promise((done) => setTimeout(done, 4000))")?;
    browser.picture(&Path::new(&directory).join(format!("dashboard-{name}.png")))
}

#[test]
fn an_operator_sees_an_attack_and_unblocks_its_source() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let Some(mut browser) = Browser::start(&site.lab)? else {
        return Ok(());
    };
    let settings = settings(site.lab.directory())?;
    let settings: Vec<_> = settings.iter().map(String::as_str).collect();
    let engine = RunningEngine::start(&site.lab, &settings)?;
    let [server, _] = site::nginx();
    browser.open(&format!("http://{PLACE}/"))?;
    browser.resize(1280, 1100)?;

    // Who may only read sees everything, and changes nothing.
    sign_in(&mut browser, "v")?;
    browser.wait("document.getElementById('note').textContent.includes('viewer')")?;
    browser.wait(
        "document.querySelector('#rules button').disabled && document.querySelector('#rules button').title",
    )?;
    browser.value("sessionStorage.clear(); location.reload()")?;
    sign_in(&mut browser, "o")?;

    // There is a line to begin with.
    browser.wait("document.querySelector('#traffic path.series0').getAttribute('d')")?;
    if env::var_os(PICTURES).is_some() {
        liven(&site)?;
    }

    // Figures move, and the attack is there with its explanation, as text.
    ensure!(curl(&site.lab, server, "/1k", &[])?.status == 200);
    for _ in 0..3 {
        let answer = curl(&site.lab, server, ATTACK, &[])?;
        ensure!(answer.status == 403, "{answer:?}");
    }
    let explained = browser.wait(
        "Array.from(document.querySelectorAll('#requests tbody tr'))
            .map((row) => row.textContent).find((text) => text.includes('<img'))",
    )?;
    ensure!(
        explained.as_str().is_some_and(|text| text.contains("sqli")),
        "{explained}"
    );
    ensure!(browser.value("document.querySelector('main img')")?.is_null());
    browser
        .wait("Number(document.querySelector('#way li:last-child li span:last-child')?.textContent) >= 3")?;
    browser.value("document.querySelector('#requests tbody button').click()")?;
    let details = browser.wait("document.querySelector('.details').innerText")?;
    for word in ["UNION", "Exclude", "GET /1k", "10.71.0.2"] {
        ensure!(
            details.as_str().is_some_and(|text| text.contains(word)),
            "{word} is not in {details}"
        );
    }

    // The source is blocked; a click, and it is served again.
    let unblock = format!("document.querySelector('[aria-label=\"Unblock {CLIENT_V4}/32\"]')");
    browser.wait(&format!("!!{unblock}"))?;
    ensure!(curl(&site.lab, server, "/1k", &["--connect-timeout", "1"])?.status == 0);
    for (name, scheme) in [("light", "light"), ("dark", "dark")] {
        browser.prefer("prefers-color-scheme", scheme)?;
        browser.wait(&format!("matchMedia('(prefers-color-scheme: {scheme})').matches"))?;
        picture(&mut browser, name)?;
    }
    walk(&mut browser)?;
    browser.value(&format!("{unblock}.click()"))?;
    wait_until("the client served again", SOON, || {
        curl(&site.lab, server, "/1k", &["--connect-timeout", "1"]).is_ok_and(|answer| answer.status == 200)
    })?;
    browser.wait(&format!("!{unblock}"))?;

    let ground = "getComputedStyle(document.body).backgroundColor";
    let dark = browser.value(ground)?;
    browser.value("const theme = document.getElementById('theme'); theme.click()")?;
    ensure!(browser.value(ground)? != dark, "the switch to light");
    browser.resize(360, 800)?;
    ensure_fits(&mut browser)?;
    picture(&mut browser, "phone")?;

    let elsewhere: Vec<_> = browser
        .requests
        .iter()
        .filter(|url| {
            !url.split_once("://")
                .is_some_and(|(_, rest)| rest.starts_with(PLACE))
        })
        .collect();
    ensure!(
        browser.requests.len() > 20 && elsewhere.is_empty(),
        "asked elsewhere: {elsewhere:?}"
    );
    // Without a token the first answer is a 401, and a browser says so.
    let errors: Vec<_> = browser
        .errors
        .iter()
        .filter(|error| !error.contains("status of 401"))
        .collect();
    ensure!(errors.is_empty(), "the console says {errors:?}");
    engine.stop()
}
