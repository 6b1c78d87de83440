//! `diff` as a person and as a script read it: renamings, the tree, colours, patterns, expectations.

use crate::place::Place;
use crate::util::tty::Terminal;
use crate::util::{TestCommand, Value};

/// Files of the host, by a script that runs there.
fn host(place: &Place, script: &str) {
    TestCommand::shell(script, [""]).cwd(place.host()).run().ok();
}

/// The lines of `diff` below the host's folder, without the line that counts.
#[track_caller]
fn lines(place: &Place) -> Vec<String> {
    let text = place.sandbox("diff", ["b"]).run().ok().out();
    let below = format!("{}/", place.host().display());
    text.lines().filter(|line| line.contains(&below)).map(|line| line.replace(&below, "")).collect()
}

#[test]
fn a_file_that_moved_is_told_as_one() {
    let place = Place::new();
    host(
        &place,
        "mkdir d; echo moved >moved; echo edited >edited; ln -s /nowhere link; : >empty; echo a >twin; echo a >d/other",
    );
    let script =
        "mv moved d/here; mv edited renamed; echo more >>renamed; chmod 600 renamed; mv link elsewhere; mv empty void
                  echo b >twin2; rm twin";
    place.script(script).run().ok();
    assert_eq!(
        lines(&place),
        [
            "R d/here  was moved",
            "R elsewhere  was link",
            "R renamed  was edited, content 7 B to 12 B, mode 644 to 600, times",
            "D twin",
            "A twin2  2 B",
            "R void  was empty",
        ]
    );
    let json = place.sandbox("diff", ["--format", "json", "b"]).run().json();
    let renamed = json["changes"].as_array().unwrap().iter().find(|change| change["path"] == place.path("renamed"));
    let renamed = renamed.unwrap();
    assert_eq!((&renamed["change"], &renamed["from"]), (&"renamed".into(), &place.path("edited").into()));
    assert_eq!((&renamed["before"]["size"], &renamed["after"]["size"]), (&7.into(), &12.into()));
    assert_eq!((&json["summary"]["renamed"], &json["summary"]["deleted"]), (&4.into(), &1.into()));
    // What a part of the box is asked for is a part of the truth.
    let part = place.sandbox("diff", ["b", "d"]).run().ok().out();
    assert!(part.contains("A ") && part.contains("/d/here") && part.ends_with("1 added\n"), "{part}");
}

#[test]
fn a_folder_that_moved_is_told_as_one() {
    let place = Place::new();
    host(
        &place,
        "mkdir -p d/sub same/x other/x; echo 1 >d/one; echo 2 >d/sub/two; ln -s one d/link; mkdir d/empty
                  echo 1 >same/x/f; echo 2 >other/x/f; touch -d @1000 same/x/f other/x/f same/x other/x same other",
    );
    place
        .script(
            "mv d e; mv same new; cp -a other copy; echo 3 >copy/x/f; touch -d @1000 copy/x/f copy/x copy; rm -r other",
        )
        .run()
        .ok();
    assert_eq!(
        lines(&place),
        ["A copy/", "A copy/x/", "A copy/x/f  2 B", "R e/  was d", "R new/  was same", "D other/"]
    );
    // What is committed is what it is made of.
    let wanted = place.content_by(|command| place.wrap(command));
    place.sandbox("commit", ["b"]).run().ok();
    assert_eq!(place.content(), wanted);
}

#[test]
fn an_attribute_has_its_name_and_a_right_is_seen() {
    let place = Place::new();
    host(&place, "echo x >old; echo x >kept");
    place
        .python(
            r"
import os
os.setxattr('old', 'user.odd\x1bname', b'x')
open('raised', 'w').write('#!/bin/true\n'); os.chmod('raised', 0o6755)
open('able', 'w').write('x'); os.setxattr('able', 'security.capability', bytes.fromhex('0100000200040000000000000000000000000000'))
",
        )
        .run()
        .ok();
    assert_eq!(
        lines(&place),
        ["A able  1 B, capabilities", "M old  xattr user.odd\\x1bname", "A raised  12 B, setuid, setgid"]
    );
    let json = place.sandbox("diff", ["--format", "json", "b"]).run().json();
    let able = json["changes"].as_array().unwrap().iter().find(|change| change["path"] == place.path("able")).unwrap();
    assert_eq!(able["xattrs"], serde_json::json!(["security.capability"]));
}

#[test]
fn a_terminal_gets_a_tree_in_colour_and_a_pipe_a_list() {
    let place = Place::new();
    host(&place, "mkdir -p a/b; echo 1 >a/b/old; echo 1 >a/gone");
    place.script("echo 2 >a/b/new; echo 22 >a/b/old; rm a/gone").run().ok();
    let plain = place.sandbox("diff", ["b"]).run().ok().out();
    assert!(!plain.contains('\x1b') && plain.lines().count() == 4, "{plain}");
    let tree = |words: &[&str], env: &[(&str, &str)]| {
        let (mut terminal, slave) = Terminal::open();
        let copy = || slave.try_clone().unwrap().into();
        let command = place.sandbox("diff", words.iter().copied().chain(["b"]));
        let command = env
            .iter()
            .fold(command.env("TERM", "xterm").env("LANG", "C.UTF-8"), |all, (name, value)| all.env(name, value));
        command.spawn_with(copy(), copy(), copy(), None).wait().ok();
        terminal.until_seen("1 deleted");
        terminal.seen().replace('\r', "")
    };
    let top = place.host().display().to_string();
    let wanted = format!(
        "{top}/a/\n├── b/\n│   ├── A new  2 B\n│   └── M old  content 2 B to 3 B, times\n└── D gone\n1 added, 1 modified, 1 deleted\n"
    );
    assert_eq!(tree(&[], &[("NO_COLOR", "1")]), wanted);
    assert_eq!(tree(&[], &[("TERM", "dumb")]), wanted);
    assert_eq!(tree(&["--color", "never"], &[]), wanted);
    let ascii = wanted.replace("├── ", "|-- ").replace("│   ", "|   ").replace("└── ", "`-- ");
    assert_eq!(tree(&[], &[("NO_COLOR", "1"), ("LC_ALL", "C")]), ascii);
    let coloured = tree(&[], &[]);
    assert!(coloured.contains("\x1b[32mA new\x1b[0m") && coloured.contains("\x1b[31mD gone\x1b[0m"), "{coloured}");
    assert_eq!(tree(&["--list", "--color", "never"], &[]), plain);
    place.sandbox("diff", ["--tree", "--color", "always", "b"]).run().ok().out_has("\x1b[31mD gone");
    place.sandbox("diff", ["--tree", "--list", "b"]).run().fails().err_has("contradict");
}

#[test]
fn a_tree_with_very_much_in_it_counts() {
    let place = Place::new();
    let script =
        "mkdir -p many few deep; seq 1 300 | while read i; do echo >many/$i; done; echo >few/one; echo >few/two
                  cd deep; for i in $(seq 1 100); do mkdir d; cd d; done; echo >end";
    place.script(script).run().ok();
    let tree = place.sandbox("diff", ["--tree", "b"]).run().ok().out();
    let has = |line: &str| tree.lines().any(|found| found.trim_start_matches(['|', '`', '-', ' ']) == line);
    assert!(has("A many/  ... 300 added") && has("A one  1 B") && has("A two  1 B"), "{tree}");
    assert!(tree.lines().count() < 100 && tree.contains("A d/  ... ") && !tree.contains("A end"), "{tree}");
    let all = place.sandbox("diff", ["--tree", "--all", "b"]).run().ok().out();
    assert!(all.contains("A 300  1 B"), "{all}");
    for flags in [&["--list"][..], &["--all", "--list"], &["--all"]] {
        let list = place.sandbox("diff", [flags, &["b"]].concat()).run().ok().lines();
        assert!(list.len() == 407 && list[0].starts_with("A /"), "{flags:?}");
    }
    for flag in ["--tree", "--list", "--content"] {
        place.sandbox("diff", [flag, "--format", "json", "b"]).run().fails().stdout("").err_has(flag);
    }
}

#[test]
fn patterns_choose_what_is_shown() {
    let place = Place::new();
    place
        .script(
            "mkdir -p d/e; echo >d/e/x.conf; echo >d/y.conf; echo >z.conf; echo >'new
line'",
        )
        .run()
        .ok();
    let shown = |patterns: &[&str]| {
        let out = place.sandbox("diff", ["b"].iter().chain(patterns)).run().ok().out();
        out.lines()
            .filter_map(|line| line.strip_prefix("A ")?.split_once("/host/"))
            .map(|(_, name)| name.to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(&["d/e"]), ["d/e/", "d/e/x.conf  1 B"]);
    assert_eq!(shown(&["*.conf"]), ["z.conf  1 B"]);
    assert_eq!(shown(&["**/*.conf"]), ["d/e/x.conf  1 B", "d/y.conf  1 B", "z.conf  1 B"]);
    // A path as it was shown.
    assert_eq!(shown(&["new\\x0aline"]), ["new\\x0aline  1 B"]);
    place.sandbox("diff", ["b", "/nowhere"]).run().fails().err_has("names no change of this box");
}

#[test]
fn a_box_is_held_against_what_was_expected() {
    let place = Place::new();
    host(&place, "echo 1 >conf; echo 1 >gone; mkdir dir");
    let script = "echo 2 >conf; rm gone; mkdir logs; name=$(cat /proc/sys/kernel/random/uuid); echo x >logs/$name; echo x >tool; chmod 4755 tool; mv dir moved";
    place.script(script).run().ok();
    let list = place.path("../expected");
    place.sandbox("diff", ["b", "--record", &list]).run().ok().stdout("").err_has("noted in");
    // The same once more, later, with another name in its logs.
    let again = place.sandbox("run", ["--name", "c", "sh", "-ec", script]);
    again.run().ok();
    place.sandbox("diff", ["b", "--expect", &list]).run().ok().out_has("as expected");
    let refused = place.sandbox("diff", ["c", "--expect", &list]).run();
    refused.code(4).out_has("1 missing, 1 unexpected");
    let text = std::fs::read_to_string(&list).unwrap();
    assert!(text.contains(&format!("A file,setuid {}\n", place.path("tool"))), "{text}");
    let folder = format!("{}/", place.path("logs"));
    let wider: String = text
        .lines()
        .map(|line| if line.contains(&folder) { format!("A file {folder}*  \n") } else { format!("{line}\n") })
        .collect();
    std::fs::write(&list, wider + "# and this need not happen\n?M /etc/passwd\n").unwrap();
    place.sandbox("diff", ["c", "--expect", &list]).run().ok();
    place
        .sandbox(
            "run",
            ["--name", "c", "sh", "-ec", "chmod 755 tool; echo >extra; echo 1 >conf; touch -r /etc/passwd conf"],
        )
        .run()
        .ok();
    let refused = place.sandbox("diff", ["c", "--expect", &list, "--format", "json"]).run();
    let refused: Value = serde_json::from_str(&refused.code(4).out()).unwrap();
    assert_eq!(refused["same"], false);
    let paths = |key: &str, field: &str| {
        refused[key].as_array().unwrap().iter().map(|one| one[field].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(paths("unexpected", "path"), [place.path("extra"), place.path("tool")]);
    assert_eq!(
        paths("missing", "text"),
        [format!("M content {}", place.path("conf")), format!("A file,setuid {}", place.path("tool"))]
    );
    std::fs::write(&list, "A file\n").unwrap();
    place.sandbox("diff", ["c", "--expect", &list]).run().code(1).err_has("line 1");
    place.sandbox("diff", ["c", "--expect", "/nowhere"]).run().code(1).err_has("no such file");
}

/// Makes changes of every sort that a patch can carry.
fn all_texts(place: &Place) {
    host(
        place,
        "seq 1 40 >long; echo a >crlf; printf 'no end' >tail; echo gone >gone; : >nothing; echo mode >mode; mkdir -p full/of
         echo 1 >full/of/one; echo 2 >full/two; echo x >'with blank'; ln -s old link; echo m >moved; seq 1 20 >edited
         echo kind >kind; echo 'quote\"' >'quote\"'; echo u >ümläut; mkdir folder; echo f >folder/f",
    );
    place
        .script(
            "sed -i 's/^5$/five/; s/^35$/thirty-five/; 20d' long; printf 'a\\r\\nb\\r\\n' >crlf; printf 'still none' >tail; rm gone nothing
             chmod 755 mode; rm -r full; echo y >'with blank'; ln -sfn new link; mv moved 'moved here'; mv edited renamed
             sed -i s/7/seven/ renamed; rm kind; ln -s nowhere kind; echo more >>'quote\"'; echo v >ümläut; mv folder there
             mkdir -p new/er; seq 1 5 >new/er/f; chmod 750 new/er/f; : >empty",
        )
        .run()
        .ok();
}

#[test]
fn a_patch_does_to_the_host_what_the_box_did() {
    let place = Place::new();
    all_texts(&place);
    // Names, kinds, modes of files and contents; a patch knows no owners, times and folders.
    let look = TestCommand::shell(
        "find . ! -type d -printf '%p %y %m %l\\n' | sort; find . -type f -print0 | sort -z | xargs -0 sha256sum",
        [""],
    )
    .cwd(place.host());
    let wanted = place.wrap(look.clone()).run().ok().out();
    let patch = place.sandbox("diff", ["--content", "b"]).run().ok().out();
    assert!(patch.contains("@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n"), "{patch}");
    let plain = TestCommand::new(["patch", "-p1", "-d", "/", "--no-backup-if-mismatch"]).stdin(&patch).run();
    plain.ok();
    assert_eq!(look.run().ok().out(), wanted, "{patch}\n{plain}");
    place.sandbox("diff", ["--content", "b"]).run().ok().out_lacks("@@");
}

#[test]
fn what_is_no_plain_text_reaches_no_terminal() {
    let place = Place::new();
    host(
        &place,
        "printf 'a\\0b' >binary; printf 'same\\0' >same; echo text >became-binary; echo plain >escape; echo t >other",
    );
    place
        .python(
            r"
open('binary', 'wb').write(b'\0' * 5000)
open('became-binary', 'wb').write(b'\0')
open('escape', 'wb').write(b'plain\n\x1b[2Jgone\xff\n')
open('over\x1b[31m', 'wb').write(b'x\rY\n')
open('turned', 'w').write('a \u202e b\n')
open('large', 'w').write('x\n' * 5_000_000)
open('sparse', 'w').truncate(1 << 40)
import os
os.symlink('\x1b[5m', 'link'); os.chmod('same', 0o755)
open('other', 'w').write('u\n')
",
        )
        .run()
        .ok();
    let out = place.sandbox("diff", ["--content", "b"]).run().ok().out();
    let wild = |letter: char| letter.is_control() && letter != '\n' || letter == '\u{202e}';
    assert!(!out.contains(wild), "{out:?}");
    for part in [
        "binary files differ (3 B, 4.9 KiB)\n",
        "binary files differ (5 B, 1 B)\n",
        "| @@ -1 +1,2 @@\n|  plain\n| +\\x1b[2Jgone\\xff\n",
        "over\\x1b[31m  4 B\n| no plain text",
        "| +a \\xe2\\x80\\xae b\n",
        "large file (9.5 MiB)\n",
        "large file (1.0 TiB)\n",
        "| +\\x1b[5m\n",
        "old mode 100644\nnew mode 100755\n",
    ] {
        assert!(out.contains(part), "{part:?} in {out}");
    }
    // Patch leaves what is not plain alone, and takes the rest.
    TestCommand::new(["patch", "-p1", "-d", "/", "--no-backup-if-mismatch"]).stdin(&out).run().ok();
    let read = |name: &str| std::fs::read_to_string(place.host().join(name)).unwrap();
    assert_eq!((read("escape"), read("other")), ("plain\n".into(), "u\n".into()));
    place.sandbox("diff", ["--content", "--format", "json", "b"]).run().fails().err_has("--content");
}

#[test]
fn who_asks_for_json_gets_some() {
    let place = Place::new();
    place.script("echo x >x").run().ok();
    let list = place.path("list");
    let noted = place.sandbox("diff", ["b", "--record", &list, "--format", "json"]).run().json();
    assert_eq!(noted["changes"][0]["path"], place.path("x"));
    assert!(std::fs::read_to_string(&list).unwrap().contains("A file /"));
    place.sandbox("snapshot", ["b", "s"]).run().ok();
    for (flag, member) in [("--restore", "restored"), ("--remove", "removed")] {
        let done = place.sandbox("snapshot", ["b", flag, "s", "--format", "json"]).run().json();
        assert_eq!((&done["box"], &done[member]), (&"b".into(), &"s".into()));
    }
}

#[test]
fn an_expectation_is_looked_at_as_far_as_the_patterns_go() {
    let place = Place::new();
    place.script("mkdir d; echo x >d/x; echo y >y").run().ok();
    let list = place.path("list");
    place.sandbox("diff", ["b", "--record", &list]).run().ok();
    place.sandbox("diff", ["b", "d", "--expect", &list]).run().ok().out_has("as expected: 2 added");
    std::fs::write(&list, format!("A {0}/d/**\nA {0}/d\nA {0}/d/z\nA {0}/z\n", place.host().display())).unwrap();
    let said = place.sandbox("diff", ["b", "d", "--expect", &list]).run();
    said.code(4).out_has("/d/z  (line 3)\n1 missing, 0 unexpected");
}
