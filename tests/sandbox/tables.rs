//! Completions and manual pages of the commands below `sandbox`: the engine's program has only the row.

use std::path::Path;

use crate::place::Place;
use crate::util::{TestCommand, runtime};

/// Something that finds the program under test by its name.
fn with_path(command: TestCommand) -> TestCommand {
    let folder = Path::new(&runtime()).parent().unwrap().display().to_string();
    command.env("PATH", format!("{folder}:/usr/bin:/bin"))
}

/// What bash offers for the last of the words.
fn offered(words: &[&str]) -> Vec<String> {
    let script = r#"eval "$(myrt completion bash)"; compopt() { :; }
        COMP_WORDS=(myrt "$@"); COMP_CWORD=$#; _myrt; printf '%s\n' "${COMPREPLY[@]}""#;
    let command = TestCommand::new(["bash", "-uc", script, "bash"]).args(words);
    let said = with_path(command).run();
    assert_eq!(said.ok().err(), "");
    said.out().lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_flags_below() {
    assert_eq!(offered(&["sandbox", "s"]), ["shell", "snapshot"]);
    assert_eq!(offered(&["--debug", "sandbox", "cl"]), ["clone"]);
    assert_eq!(offered(&["sandbox", "snapshot", "--re"]), ["--restore", "--remove"]);
    assert_eq!(offered(&["sandbox", "run", "--net", "p"]), ["private"]);
    assert_eq!(offered(&["sandbox", "export", "--format", "j"]), ["json"]);
    assert_eq!(offered(&["image", "pu"]), ["pull"]);
    let none: [&str; 0] = [];
    for words in
        [&["sandbox", "nonsense", "-"][..], &["sandbox", "run", "ls", "-"], &["sandbox", "run", "--memory", ""]]
    {
        assert_eq!(offered(words), none, "{words:?}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let place = Place::new();
    let help = TestCommand::new([runtime(), "sandbox".into(), "--help".into()]).run().ok().out();
    let names = help.lines().filter_map(|line| line.strip_prefix("  sandbox ")?.split(' ').next());
    for name in names {
        TestCommand::new([runtime(), "sandbox".into(), "man".into(), place.path("man")]).run().ok();
        let page = std::fs::read_to_string(place.path(&format!("man/myrt-sandbox-{name}.1"))).unwrap();
        assert!(page.contains(&format!("\\fBmyrt sandbox {name}\\fR")), "{page}");
    }
    assert!(place.host().join("man/myrt-sandbox-prune.1").exists());
}

#[test]
fn a_flag_is_no_folder_and_no_shell() {
    let place = Place::new();
    let myrt = |words: &str| TestCommand::new([runtime()]).args(words.split(' ')).cwd(place.host()).run();
    for program in ["sandbox", "image"] {
        for what in ["man", "completion"] {
            for flag in ["--help", "-h"] {
                myrt(&format!("{program} {what} {flag}")).ok().out_has(&format!("Usage: myrt {program} {what} "));
            }
            myrt(&format!("{program} {what} --nonsense")).fails().err_has("flag provided but not defined: --nonsense");
        }
    }
    assert_eq!(std::fs::read_dir(place.host()).unwrap().count(), 0);
}

#[test]
fn help_is_of_what_was_asked() {
    let help = |words: &str| TestCommand::new([runtime()]).args(words.split(' ')).run().ok().out();
    for (asked, usage) in [
        ("help sandbox run", "Usage: myrt sandbox run "),
        ("help sandbox", "Usage: myrt sandbox COMMAND "),
        ("help image unpack", "Usage: myrt image unpack "),
        ("sandbox help", "Usage: myrt sandbox COMMAND "),
        ("sandbox help run", "Usage: myrt sandbox run "),
        ("image help", "Usage: myrt image COMMAND "),
        ("help run", "Usage: myrt run "),
    ] {
        assert!(help(asked).contains(usage), "{asked}: {}", help(asked));
    }
    let wrong = |words: &str| TestCommand::new([runtime()]).args(words.split(' ')).run().fails().err();
    assert!(wrong("help sandbox rum").contains("did you mean `myrt sandbox run`?"));
    assert!(wrong("sandbox --store /tmp/x list").contains("after the command"));
    assert!(wrong("sandbox list more").contains("usage: myrt sandbox list\n"));
}
