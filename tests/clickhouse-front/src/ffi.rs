//! The engine: `libchdb.so` loaded at run time, called through the few C functions that the front needs.
//!
//! This is the only file of the workspace with unsafe code, and all of it is C calls. The signatures are those of
//! the library's `chdb.h`: a connection handle is a pointer to a struct, `chdb_connect` returns a pointer to such a
//! handle, and a result is an opaque pointer that its own functions read and destroy.
#![expect(unsafe_code, reason = "the engine is a C library; everything here is a call into it")]

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::path::Path;
use std::sync::Mutex;

type Handle = *mut c_void;
type ResultPointer = *mut c_void;

/// The functions of `libchdb.so`. They stay valid for the life of the process: the library is never unloaded.
#[derive(Clone, Copy)]
struct Functions {
    connect: unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut Handle,
    close: unsafe extern "C" fn(*mut Handle),
    query: unsafe extern "C" fn(Handle, *const c_char, usize, *const c_char, usize) -> ResultPointer,
    error: unsafe extern "C" fn(ResultPointer) -> *const c_char,
    buffer: unsafe extern "C" fn(ResultPointer) -> *const c_char,
    length: unsafe extern "C" fn(ResultPointer) -> usize,
    rows_read: unsafe extern "C" fn(ResultPointer) -> u64,
    rows_written: unsafe extern "C" fn(ResultPointer) -> u64,
    destroy: unsafe extern "C" fn(ResultPointer),
}

/// The running engine, on one data folder.
pub(crate) struct Engine {
    functions: Functions,
    arguments: Vec<CString>,
    /// Connections are opened one at a time; the header promises nothing about opening them concurrently.
    opening: Mutex<()>,
}

/// One connection, with a session (current database, settings) of its own. It runs one query at a time.
pub(crate) struct Connection {
    functions: Functions,
    pointer: *mut Handle,
}

/// What a query gave.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The rows, in the format asked for.
    pub(crate) body: Vec<u8>,
    /// Rows read by the query.
    pub(crate) rows_read: u64,
    /// Rows written by the query.
    pub(crate) rows_written: u64,
}

impl Engine {
    /// Loads the library and starts the engine on `folder`, creating it where there is none yet.
    ///
    /// # Errors
    ///
    /// A line that says what could not be loaded or opened.
    pub(crate) fn start(library: &OsStr, folder: &Path) -> Result<Self, String> {
        let functions = load(library)?;
        let folder = folder.to_str().ok_or_else(|| format!("the data folder {} is not UTF-8", folder.display()))?;
        let arguments = ["clickhouse-front".to_owned(), format!("--path={folder}")]
            .into_iter()
            .map(|argument| CString::new(argument).map_err(|error| format!("argument with a zero byte: {error}")))
            .collect::<Result<_, _>>()?;
        let engine = Self { functions, arguments, opening: Mutex::new(()) };
        // The engine lives as long as one connection does, so this one is never closed.
        std::mem::forget(engine.connect()?);
        Ok(engine)
    }

    /// Opens a connection with a fresh session.
    ///
    /// # Errors
    ///
    /// A line, when the engine refuses.
    pub(crate) fn connect(&self) -> Result<Connection, String> {
        let mut arguments: Vec<*mut c_char> =
            self.arguments.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
        let count = c_int::try_from(arguments.len()).map_err(|error| error.to_string())?;
        let guard = self.opening.lock().map_err(|error| error.to_string())?;
        // SAFETY: `arguments` holds `count` pointers to zero-terminated strings that outlive the call, and the
        // library only reads them.
        let pointer = unsafe { (self.functions.connect)(count, arguments.as_mut_ptr()) };
        drop(guard);
        if pointer.is_null() {
            return Err(format!("the engine could not be opened with {:?}", self.arguments));
        }
        Ok(Connection { functions: self.functions, pointer })
    }
}

impl Connection {
    /// Runs one query and waits for all of its answer.
    ///
    /// # Errors
    ///
    /// The engine's own message, which begins with `Code: N.`.
    pub(crate) fn query(&mut self, sql: &[u8], format: &str) -> Result<Answer, String> {
        let functions = self.functions;
        // SAFETY: `pointer` is what `chdb_connect` returned and is closed only on drop; `&mut self` keeps other
        // queries off this connection. Both texts are passed with their lengths and outlive the call.
        let result = unsafe {
            let handle = *self.pointer;
            (functions.query)(handle, sql.as_ptr().cast(), sql.len(), format.as_ptr().cast(), format.len())
        };
        if result.is_null() {
            return Err("the engine gave no result".to_owned());
        }
        // SAFETY: `result` is live until `destroy` below. Its message is null or zero-terminated, its buffer is null
        // or `length` bytes long; both are copied before the result is destroyed, which happens exactly once.
        unsafe {
            let message = (functions.error)(result);
            let answer = if message.is_null() {
                let buffer = (functions.buffer)(result).cast::<u8>();
                let length = (functions.length)(result);
                let body = if buffer.is_null() || length == 0 {
                    Vec::new()
                } else {
                    std::slice::from_raw_parts(buffer, length).to_vec()
                };
                let (rows_read, rows_written) = ((functions.rows_read)(result), (functions.rows_written)(result));
                Ok(Answer { body, rows_read, rows_written })
            } else {
                Err(CStr::from_ptr(message).to_string_lossy().into_owned())
            };
            (functions.destroy)(result);
            answer
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: `pointer` came from `chdb_connect`, and this is the only place that closes it.
        unsafe { (self.functions.close)(self.pointer) }
    }
}

fn load(path: &OsStr) -> Result<Functions, String> {
    // SAFETY: loading runs the library's initialisers, which is what the front is for; nothing else runs yet.
    let library = unsafe { libloading::Library::new(path) }
        .map_err(|error| format!("{} could not be loaded: {error}", Path::new(path).display()))?;
    // The engine's threads run for the life of the process, so its code must never be unmapped.
    let library: &'static libloading::Library = Box::leak(Box::new(library));
    let disable_handlers: unsafe extern "C" fn(c_int) = symbol(library, "chdb_set_signal_handlers_enabled")?;
    // SAFETY: sets a flag in the library. With its own handlers a crash would sleep for minutes before it shows.
    unsafe { disable_handlers(0) };
    Ok(Functions {
        connect: symbol(library, "chdb_connect")?,
        close: symbol(library, "chdb_close_conn")?,
        query: symbol(library, "chdb_query_n")?,
        error: symbol(library, "chdb_result_error")?,
        buffer: symbol(library, "chdb_result_buffer")?,
        length: symbol(library, "chdb_result_length")?,
        rows_read: symbol(library, "chdb_result_rows_read")?,
        rows_written: symbol(library, "chdb_result_rows_written")?,
        destroy: symbol(library, "chdb_destroy_query_result")?,
    })
}

/// Looks up one function; `F` must be its type as `chdb.h` declares it.
fn symbol<F: Copy>(library: &libloading::Library, name: &str) -> Result<F, String> {
    // SAFETY: every call site gives `F` as the C declaration of `name`; a library without it is an error here.
    unsafe { library.get::<F>(name.as_bytes()) }
        .map(|symbol| *symbol)
        .map_err(|error| format!("the library has no function {name}: {error}"))
}
