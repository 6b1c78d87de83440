//! The runtime as an engine finds it: a program named `myrt` that writes down how it is called and then is the runtime
//! under test. What was called is compared with the contract table, so that a row that no engine exercises is seen.

use std::fs;
use std::path::{Path, PathBuf};

use crate::util::command::write_executable;
use crate::util::runtime;

/// Makes the wrapper `FOLDER/myrt`; its calls go to a file of its own below `MYRT_CALLS`, or below `folder`.
///
/// One call is one line: `CALLER<TAB>arguments`, each argument quoted for a shell. The wrapper is called `myrt` whatever
/// runtime is under test, because Podman looks at the base name.
pub fn wrapper(folder: &Path, caller: &str) -> PathBuf {
    let log = std::env::var_os("MYRT_CALLS").map_or_else(|| folder.to_owned(), PathBuf::from);
    fs::create_dir_all(&log).unwrap();
    let log = log.join(format!("{caller}-{}.calls", std::process::id()));
    let script = format!(
        "#!/bin/bash\n# One write per call: O_APPEND keeps the lines of parallel calls apart.\n\
         printf '%s\\t%s\\n' {caller} \"${{*@Q}}\" >>{log}\nexec {runtime} \"$@\"\n",
        log = log.display(),
        runtime = runtime(),
    );
    let path = folder.join("myrt");
    write_executable(&path, script);
    path
}

/// The calls that were written down below `folder`.
pub fn read(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let logs = files.filter(|path| path.extension().is_some_and(|extension| extension == "calls"));
    logs.flat_map(|path| fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn a_call_is_written_down_and_made() {
    let folder = std::env::temp_dir().join(format!("myrt-calls-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let wrapper = wrapper(&folder, "nobody");
    crate::util::TestCommand::new([wrapper.to_str().unwrap(), "--version"]).run().ok();
    let log = std::env::var_os("MYRT_CALLS").map_or_else(|| folder.clone(), PathBuf::from);
    assert!(read(&log).contains(&"nobody\t'--version'".to_owned()));
    fs::remove_dir_all(&folder).unwrap();
}
