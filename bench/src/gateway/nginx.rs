//! nginx as a plain proxy: connections to the upstream stay open, nothing is logged.

use std::path::PathBuf;

use tempfile::TempDir;
use tests::process::Process;

use super::pinned;

/// A running nginx.
pub(super) struct Nginx {
    /// Where whole answers pass, buffered as by default.
    pub(super) address: String,
    /// Where streams pass, each chunk at once.
    pub(super) streams: String,
    pub(super) process: Process,
    _folder: TempDir,
}

/// Starts it.
pub(super) async fn start(program: &PathBuf, upstream: &str) -> anyhow::Result<Nginx> {
    let folder = tempfile::tempdir()?;
    let [address, streams] = [(); 2].map(|()| format!("127.0.0.1:{}", tests::port()));
    let at = folder.path().display();
    let temporary =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path {at}/{kind};"));
    let server = |listen: &str, buffering: &str| {
        format!(
            "server {{ listen {listen}; keepalive_requests 100000000; location = /healthz {{ return 200; }} location / {{ \
             proxy_pass http://upstream; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
             proxy_buffering {buffering}; }} }}"
        )
    };
    let configuration = format!(
        "user root; worker_processes 1; daemon off; master_process off; pid {at}/pid; error_log stderr; events {{ worker_connections 4096; }}\n\
         http {{ access_log off; tcp_nodelay on; {}\n\
         upstream upstream {{ server {upstream}; keepalive 256; keepalive_requests 100000000; }}\n{}\n{}\n}}\n",
        temporary.join(" "),
        server(&address, "on"),
        server(&streams, "off"),
    );
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, configuration)?;
    let mut command = pinned::command(pinned::PROXY, program);
    command.arg("-c").arg(&file).arg("-p").arg(folder.path()).args(["-e", "stderr"]);
    let process = Process::start(&command);
    process.answers(&address, "/healthz").await;
    Ok(Nginx { address, streams, process, _folder: folder })
}
