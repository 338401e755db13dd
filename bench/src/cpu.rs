//! Processor time by process, as Linux keeps it in `/proc`: on a busy machine, it says more than the clock.

use std::collections::BTreeMap;
use std::time::Duration;

/// A tick of `/proc/PID/stat`: 100 a second on every Linux of our time.
const TICK: Duration = Duration::from_millis(10);

/// Processor time used up to a moment.
#[derive(Clone, Copy, Default)]
pub(crate) struct Used {
    /// By this process.
    pub(crate) own: Duration,
    /// By `PostgreSQL`.
    pub(crate) postgres: Duration,
    /// By all other children: the broker.
    pub(crate) broker: Duration,
}

struct Process {
    parent: u32,
    name: String,
    used: Duration,
}

impl Used {
    /// Up to now. Zero where the system does not tell, or the engine is no child of ours.
    pub(crate) fn now() -> Self {
        let processes = processes();
        let me = std::process::id();
        let mut used = Self::default();
        for (id, process) in &processes {
            if *id == me {
                used.own += process.used;
            } else if descends(&processes, *id, me) {
                match process.name.as_str() {
                    "postgres" => used.postgres += process.used,
                    _ => used.broker += process.used,
                }
            }
        }
        used
    }

    /// What was used since then.
    pub(crate) fn since(self, then: Self) -> Self {
        Self {
            own: self.own.saturating_sub(then.own),
            postgres: self.postgres.saturating_sub(then.postgres),
            broker: self.broker.saturating_sub(then.broker),
        }
    }
}

/// What a process and its children have used up to now.
pub(crate) fn of(id: u32) -> Duration {
    let processes = processes();
    let its = processes.iter().filter(|(other, _)| **other == id || descends(&processes, **other, id));
    its.map(|(_, process)| process.used).sum()
}

fn descends(processes: &BTreeMap<u32, Process>, id: u32, ancestor: u32) -> bool {
    let mut at = id;
    // Of two readings of one process each may be of another moment: a chain of parents could have a ring.
    for _ in 0..64 {
        match processes.get(&at) {
            Some(process) if process.parent == ancestor => return true,
            Some(process) => at = process.parent,
            None => return false,
        }
    }
    false
}

fn processes() -> BTreeMap<u32, Process> {
    let Ok(folder) = std::fs::read_dir("/proc") else { return BTreeMap::new() };
    let ids = folder.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter_map(|id| Some((id, stat(&std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?)?))).collect()
}

/// See proc(5): `pid (name) state ppid …`, times from the 14th field on; a name may hold anything.
fn stat(text: &str) -> Option<Process> {
    let (before, after) = text.rsplit_once(')')?;
    let name = before.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = after.split_whitespace().collect();
    let parent = fields.get(1)?.parse().ok()?;
    // Own time, and that of children that ended and were waited for.
    let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u32>().unwrap_or(0)).sum();
    Some(Process { parent, name, used: TICK * ticks })
}

/// The most memory that this process ever held, in bytes.
pub(crate) fn peak_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1_024)
}
