//! `modelhub ready URL`: a container's health check, in an image that has no curl.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const WITHIN: Duration = Duration::from_secs(4);

/// Succeeds where `url` answers 200.
pub(crate) async fn check(url: &str) -> Result<()> {
    let Some(rest) = url.strip_prefix("http://") else { bail!("`{url}` is not an http:// URL") };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let exchange = async {
        let mut stream = TcpStream::connect(authority).await.with_context(|| format!("connecting to {authority}"))?;
        let request = format!("GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(64 << 10).read_to_end(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer =
        timeout(WITHIN, exchange).await.with_context(|| format!("{url} did not answer within {WITHIN:?}"))??;
    let status = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
    ensure!(status.split(' ').nth(1) == Some("200"), "{url} is not ready: {status}");
    Ok(())
}
