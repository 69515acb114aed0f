//! Chromium without a screen in the lab's gateway, driven over the `DevTools` protocol.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};
use xtask::{
    lab::{Lab, wait::wait_for},
    requirements::BROWSERS,
    workspace::find_program,
};

/// A browser takes long to start on a busy machine.
const START: Duration = Duration::from_mins(1);
/// So long one answer of it is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    socket: WebSocket<TcpStream>,
    session: Option<String>,
    calls: u64,
    /// Where it has asked anything of.
    pub(crate) requests: Vec<String>,
    /// What the page's console says is wrong.
    pub(crate) errors: Vec<String>,
}

impl Browser {
    /// `None` without one, which is said.
    pub(crate) fn start(lab: &Lab) -> Result<Option<Self>> {
        let Some(program) = BROWSERS.into_iter().find_map(find_program) else {
            eprintln!("SKIPPED: there is no Chromium; `cargo xtask setup` installs it");
            return Ok(None);
        };
        let home = lab.directory().join("chromium");
        let child = lab
            .gateway()
            .command(program)
            // In a sandbox it does not run as root; it sees nothing but the lab.
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ])
            .args([
                "--no-first-run",
                "--no-proxy-server",
                "--disable-background-networking",
            ])
            .args([
                "--disable-component-update",
                "--disable-sync",
                "--disable-extensions",
            ])
            .args([
                "--password-store=basic",
                "--remote-debugging-port=0",
                "--remote-allow-origins=*",
            ])
            .arg(format!("--user-data-dir={}", home.display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(lab.directory().join("chromium.log"))?)
            .spawn()
            .context("starting Chromium")?;
        let socket = connect(lab, &home);
        match socket {
            Ok(socket) => Ok(Some(Self {
                child,
                socket,
                session: None,
                calls: 0,
                requests: Vec::new(),
                errors: Vec::new(),
            })),
            Err(error) => {
                end(child);
                let log = fs::read_to_string(lab.directory().join("chromium.log")).unwrap_or_default();
                Err(error.context(log))
            }
        }
    }

    /// Opens a page.
    pub(crate) fn open(&mut self, url: &str) -> Result<()> {
        let target = self.call("Target.createTarget", &json!({ "url": "about:blank" }))?;
        let session = self.call(
            "Target.attachToTarget",
            &json!({ "targetId": target["targetId"], "flatten": true }),
        )?;
        self.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Runtime", "Log", "Network", "Page"] {
            self.call(&format!("{domain}.enable"), &json!({}))?;
        }
        self.call("Page.navigate", &json!({ "url": url }))?;
        Ok(())
    }

    /// The value of an expression in the page, or what it promises.
    pub(crate) fn value(&mut self, expression: &str) -> Result<Value> {
        let answer = self.call(
            "Runtime.evaluate",
            &json!({ "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true }),
        )?;
        ensure!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {}",
            answer["exceptionDetails"]
        );
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until an expression has another value than false, null, 0 or none, and returns it.
    pub(crate) fn wait(&mut self, expression: &str) -> Result<Value> {
        let mut last = None;
        let is_there =
            |value: &Value| !matches!(value, Value::Null | Value::Bool(false)) && *value != 0 && *value != "";
        wait_for(expression, PATIENCE, || {
            last = Some(self.value(expression));
            last.as_ref()
                .and_then(|value| value.as_ref().ok())
                .filter(|value| is_there(value))
                .cloned()
        })
        .with_context(|| format!("last {last:?}; the console says {:?}", self.errors))
    }

    /// Presses a key that writes nothing.
    pub(crate) fn press(&mut self, key: &str, code: u32) -> Result<()> {
        for kind in ["rawKeyDown", "keyUp"] {
            self.call(
                "Input.dispatchKeyEvent",
                &json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code }),
            )?;
        }
        Ok(())
    }

    /// Gives the page another size.
    pub(crate) fn resize(&mut self, width: u32, height: u32) -> Result<()> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.call("Emulation.setDeviceMetricsOverride", &size).map(drop)
    }

    /// Has the system prefer something: `prefers-color-scheme`, `dark`.
    pub(crate) fn prefer(&mut self, feature: &str, value: &str) -> Result<()> {
        let features = json!({ "features": [{ "name": feature, "value": value }] });
        self.call("Emulation.setEmulatedMedia", &features).map(drop)
    }

    /// Writes what is seen into a PNG file.
    pub(crate) fn picture(&mut self, file: &Path) -> Result<()> {
        let picture = self.call(
            "Page.captureScreenshot",
            &json!({ "format": "png", "optimizeForSpeed": false }),
        )?;
        let data = picture["data"].as_str().context("a picture")?;
        fs::write(file, STANDARD.decode(data)?).with_context(|| format!("writing {}", file.display()))
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Result<Value> {
        self.calls += 1;
        let id = self.calls;
        let mut call = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            call["sessionId"] = session.as_str().into();
        }
        self.socket.send(Message::Text(call.to_string().into()))?;
        loop {
            let Message::Text(text) = self
                .socket
                .read()
                .with_context(|| format!("waiting for {method}"))?
            else {
                continue;
            };
            let mut said: Value = serde_json::from_str(&text)?;
            if said["id"] == id {
                ensure!(said["error"].is_null(), "{method}: {}", said["error"]);
                return Ok(said["result"].take());
            }
            self.hear(&said);
        }
    }

    fn hear(&mut self, event: &Value) {
        let about = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => {
                self.requests
                    .extend(about["request"]["url"].as_str().map(str::to_owned));
            }
            "Network.webSocketCreated" => self.requests.extend(about["url"].as_str().map(str::to_owned)),
            "Runtime.exceptionThrown" => self.errors.push(about["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled" if about["type"] == "error" || about["type"] == "warning" => {
                self.errors.push(about["args"].to_string());
            }
            "Log.entryAdded" if about["entry"]["level"] == "error" => {
                self.errors.push(about["entry"].to_string());
            }
            _ => {}
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends its own processes so; what does not is killed.
        let _ = self.call("Browser.close", &json!({}));
        let _ = wait_for("Chromium ending", Duration::from_secs(5), || {
            self.child.try_wait().ok().flatten()
        });
        if self.child.try_wait().ok().flatten().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Connects to the browser that keeps its files in `home`.
fn connect(lab: &Lab, home: &Path) -> Result<WebSocket<TcpStream>> {
    let file = home.join("DevToolsActivePort");
    let (port, path) = wait_for("Chromium listening", START, || {
        let text = fs::read_to_string(&file).ok()?;
        let (port, path) = text.trim().split_once('\n')?;
        Some((port.parse::<u16>().ok()?, path.to_owned()))
    })?;
    let stream = lab
        .gateway()
        .enter(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)))??;
    stream.set_read_timeout(Some(PATIENCE))?;
    match tungstenite::client(format!("ws://127.0.0.1:{port}{path}"), stream) {
        Ok((socket, _)) => Ok(socket),
        Err(error) => bail!("Chromium's DevTools: {error}"),
    }
}
