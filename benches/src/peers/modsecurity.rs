//! nginx in the gateway, a reverse proxy with `ModSecurity` and the Core Rule Set.

use std::{fs, net::TcpStream};

use anyhow::{Context as _, Result};
use xtask::{
    lab::{Lab, address},
    peers,
};

use super::PORT;
use crate::process::Process;

/// What every request goes through: the rules as they come, bodies included, answers and logs not.
const RULES: &str = "SecRuleEngine On\nSecRequestBodyAccess On\nSecResponseBodyAccess Off\nSecAuditEngine Off\n\
    Include /etc/modsecurity/crs/crs-setup.conf\nInclude /etc/modsecurity/crs/REQUEST-900-EXCLUSION-RULES-BEFORE-CRS.conf\n";

/// Starts it; clients connect to the gateway.
pub(super) fn start(lab: &Lab) -> Result<Process> {
    let directory = lab.directory().join("modsecurity");
    fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        fs::write(&path, text)
            .with_context(|| format!("writing {}", path.display()))
            .map(|()| path)
    };
    let rules = format!("{RULES}Include {}/*.conf\n", peers::CORE_RULES);
    let rules = write("modsecurity.conf", rules)?;
    let (here, server) = (address::OUTSIDE_V4, address::SERVER_V4);
    let (module, folder) = (peers::MODSECURITY, directory.display());
    let text = format!(
        "load_module {module};\ndaemon off;\nuser root;\nworker_processes auto;\npid {folder}/pid;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n  access_log off;\n  client_max_body_size 64m;\n  keepalive_requests 1000000000;\n\
         \x20 client_body_temp_path {folder}/body;\n  proxy_temp_path {folder}/proxy;\n  large_client_header_buffers 8 32k;\n\
         \x20 upstream origin {{ server {server}:{PORT}; keepalive 64; keepalive_requests 1000000000; }}\n\
         \x20 server {{\n    listen {here}:{PORT} backlog=4096;\n    modsecurity on;\n    modsecurity_rules_file {};\n\
         \x20   location / {{\n      proxy_pass http://origin;\n      proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n\
         \x20     proxy_set_header Host $http_host;\n    }}\n  }}\n}}\n",
        rules.display()
    );
    let configuration = write("nginx.conf", text)?;
    let mut command = lab.gateway().command("nginx");
    // Each refusal would be a line.
    command.arg("-c").arg(configuration).args(["-e", "/dev/null"]);
    Process::start(lab, "modsecurity", command, |_| {
        let connect = || TcpStream::connect((here, PORT)).is_ok();
        lab.gateway().enter(connect).unwrap_or(false)
    })
}
