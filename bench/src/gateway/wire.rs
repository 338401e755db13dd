//! As little HTTP/1.1 as load and upstream need: messages one after the other on a connection that stays open.

use anyhow::{Context, bail};
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection that stays open.
pub(super) struct Connection {
    stream: TcpStream,
    read: BytesMut,
}

/// A request or an answer.
pub(super) struct Message {
    /// `POST /path HTTP/1.1`, or `HTTP/1.1 200 OK`.
    pub(super) first_line: String,
    pub(super) body: BytesMut,
}

enum Framing {
    Length(usize),
    Chunked,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: BytesMut::with_capacity(64 << 10) })
    }

    pub(super) async fn open(address: &str) -> anyhow::Result<Self> {
        Self::new(TcpStream::connect(address).await.with_context(|| address.to_owned())?)
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// The next message; `None` where the other side closed the connection after the last one.
    pub(super) async fn message(&mut self) -> anyhow::Result<Option<Message>> {
        let end = loop {
            if let Some(end) = find(&self.read, b"\r\n\r\n") {
                break end + 4;
            }
            if !self.more().await? {
                match self.read.is_empty() {
                    true => return Ok(None),
                    false => bail!("the connection broke off in a head"),
                }
            }
        };
        let head = self.read.split_to(end);
        let head = std::str::from_utf8(&head).context("a head that is no text")?;
        let (first_line, headers) = head.split_once("\r\n").context("a head of one line")?;
        let (first_line, framing) = (first_line.to_owned(), framing(headers)?);
        let body = match framing {
            Framing::Length(length) => {
                self.have(length).await?;
                self.read.split_to(length)
            }
            Framing::Chunked => self.chunks().await?,
        };
        Ok(Some(Message { first_line, body }))
    }

    async fn chunks(&mut self) -> anyhow::Result<BytesMut> {
        let mut body = BytesMut::new();
        loop {
            let end = loop {
                match find(&self.read, b"\r\n") {
                    Some(end) => break end,
                    None => self.have(self.read.len() + 1).await?,
                }
            };
            let line = self.read.split_to(end + 2);
            let size = std::str::from_utf8(&line[..end]).context("the size of a chunk")?;
            let size =
                usize::from_str_radix(size.trim(), 16).with_context(|| format!("the size of a chunk: {size}"))?;
            self.have(size + 2).await?;
            body.extend_from_slice(&self.read[..size]);
            self.read.advance(size + 2);
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn have(&mut self, bytes: usize) -> anyhow::Result<()> {
        while self.read.len() < bytes {
            if !self.more().await? {
                bail!("the connection broke off in a body");
            }
        }
        Ok(())
    }

    async fn more(&mut self) -> anyhow::Result<bool> {
        Ok(self.stream.read_buf(&mut self.read).await? > 0)
    }
}

fn framing(headers: &str) -> anyhow::Result<Framing> {
    for (name, value) in headers.lines().filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            return Ok(Framing::Length(value.trim().parse().context("a length")?));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") && value.trim().eq_ignore_ascii_case("chunked") {
            return Ok(Framing::Chunked);
        }
    }
    Ok(Framing::Length(0))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
