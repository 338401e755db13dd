//! The real `ClickHouse` engine behind as much of `ClickHouse`'s HTTP interface as the `clickhouse` crate needs.
//!
//! `clickhouse-front LIBRARY FOLDER ADDRESS` loads `libchdb.so` from `LIBRARY`, opens the databases in `FOLDER` and
//! serves them at `ADDRESS` until it is killed; data that was acknowledged survives that.
//!
//! Every request gets an engine connection of its own, so neither a database nor a setting leaks into the next one.
//! What the front does not speak (compression, sessions, multipart parameters, authentication by more than ignoring
//! it) it refuses by name. Answers are sent once they are whole, as if `wait_end_of_query` were always set.

mod errors;
mod ffi;
mod insert;
mod request;

use std::env::args_os;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use errors::Failure;
use ffi::{Answer, Engine};
use insert::RowsFile;
use request::Query;
use tiny_http::{Header, Method, Request, Response, Server, StatusCode};

/// Requests served at once; each may keep one of the engine's connections busy.
const WORKERS: usize = 24;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            // Nobody is left to tell when even this cannot be written.
            let _ = writeln!(std::io::stderr(), "clickhouse-front: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// What every worker needs.
struct Front {
    engine: Engine,
    /// Where the rows of running inserts lie.
    rows: PathBuf,
    server: Server,
}

fn run() -> Result<(), String> {
    let arguments: Vec<_> = args_os().skip(1).collect();
    let [library, folder, address] = arguments.as_slice() else {
        return Err("usage: clickhouse-front LIBRARY FOLDER ADDRESS".to_owned());
    };
    let folder = Path::new(folder);
    let address = address.to_str().ok_or("ADDRESS is not UTF-8")?;
    let rows = folder.join("rows");
    fs::create_dir_all(&rows).map_err(|error| format!("cannot create {}: {error}", rows.display()))?;
    let engine = Engine::start(library, &folder.join("engine"))?;
    let server = Server::http(address).map_err(|error| format!("cannot listen at {address}: {error}"))?;
    let front = Arc::new(Front { engine, rows, server });
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let front = Arc::clone(&front);
            thread::spawn(move || {
                while let Ok(request) = front.server.recv() {
                    front.serve(request);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| "a worker panicked".to_owned())?;
    }
    Ok(())
}

impl Front {
    fn serve(&self, mut request: Request) {
        let outcome = if *request.method() == Method::Get && matches!(request.url(), "/" | "/ping") {
            Ok(Answer { body: b"Ok.\n".to_vec(), rows_read: 0, rows_written: 0 })
        } else {
            Query::read(&mut request).and_then(|query| self.execute(&query))
        };
        // An error here means that the client has gone; its query has run all the same, as on the real server.
        let _ = match outcome {
            Ok(answer) => {
                let summary =
                    format!(r#"{{"read_rows":"{}","written_rows":"{}"}}"#, answer.rows_read, answer.rows_written);
                let mut response = Response::from_data(answer.body);
                add(&mut response, "X-ClickHouse-Summary", &summary);
                request.respond(response)
            }
            Err(failure) => {
                let mut response = Response::from_data(format!("{}\n", failure.message.trim_end()))
                    .with_status_code(StatusCode(failure.status()));
                add(&mut response, "X-ClickHouse-Exception-Code", &failure.code.to_string());
                request.respond(response)
            }
        };
    }

    fn execute(&self, query: &Query) -> Result<Answer, Failure> {
        let mut connection = self.engine.connect().map_err(|message| Failure::from_engine(&message))?;
        let mut run =
            |sql: &[u8], format: &str| connection.query(sql, format).map_err(|message| Failure::from_engine(&message));
        for statement in query.session() {
            run(statement.as_bytes(), "Null")?;
        }
        match &query.rows {
            None => run(&query.sql, &query.format),
            Some(rows) => {
                let file = RowsFile::create(&self.rows, rows)?;
                run(&query.insert_from(file.path()), &query.format)
            }
        }
    }
}

fn add<R: std::io::Read>(response: &mut Response<R>, name: &str, value: &str) {
    if let Ok(header) = Header::from_bytes(name, value) {
        response.add_header(header);
    }
}
