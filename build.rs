//! Tells the program which commit it was built from (MYRT_COMMIT, `unknown` outside a checkout of its own repository),
//! and the linker where it begins (src/sys/entry.rs).

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=MYRT_COMMIT={}", commit().unwrap_or_else(|| "unknown".to_owned()));
    // Four thousand pointers of tables are to be moved by where the program lies: a bit for each instead of three words.
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    // Elsewhere the program begins at _start and looks after itself later, at the cost of starting libc twice. So does a
    // build without optimisation: its calls go through tables that nobody has filled in yet at the entry.
    let known = matches!(std::env::var("CARGO_CFG_TARGET_ARCH").as_deref(), Ok("x86_64" | "aarch64"));
    if known && std::env::var("OPT_LEVEL").is_ok_and(|level| level != "0") {
        println!("cargo::rustc-link-arg-bin=myrt=-Wl,-e,myrt_entry");
    }
}

fn commit() -> Option<String> {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")?;
    // An unpacked package may lie somewhere below another project's checkout: its commit is not ours.
    if Path::new(&git(&["rev-parse", "--show-toplevel"])?).canonicalize().ok()?
        != Path::new(&here).canonicalize().ok()?
    {
        return None;
    }
    // The log of HEAD grows with each commit and each checkout; where it is switched off, HEAD and its branch must do.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["logs/HEAD", "HEAD"].into_iter().chain(branch.as_deref()) {
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "HEAD"])
}

/// What git answers, without its newline; nothing when git is missing or says no.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}
