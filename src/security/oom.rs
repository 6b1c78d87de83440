//! `process.oomScoreAdj` (proc_pid_oom_score_adj(5)).

use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{Error, Result};
use crate::sys::procfs::ProcFs;

/// Sets the score of a process, or of this one. Lowering it below the inherited one needs CAP_SYS_RESOURCE.
///
/// # Errors
/// Names the field.
pub fn apply(score: Option<i32>, pid: Option<Pid>, proc: &ProcFs) -> Result<()> {
    let Some(score) = score else { return Ok(()) };
    let path = match pid {
        Some(pid) => format!("{}/oom_score_adj", pid.as_raw_nonzero()),
        None => "self/oom_score_adj".to_owned(),
    };
    proc.write(path, score.to_string().as_bytes()).map_err(|errno| {
        let error = Error::call(format!("process.oomScoreAdj: write {score}"), errno);
        match errno {
            Errno::ACCESS | Errno::PERM => error.hint("a score below the runtime's own needs CAP_SYS_RESOURCE"),
            _ => error,
        }
    })
}
