//! `export`: the archive, as other programs read it.

use std::path::PathBuf;

use crate::commits::all_sorts;
use crate::place::Place;
use crate::util::{TestCommand, Value};

fn export(place: &Place) -> PathBuf {
    let file = place.host().join("../box.tar");
    place.sandbox("export", ["b", "-o", file.to_str().unwrap()]).run().ok();
    file
}

/// The names in an archive below the host's folder, by GNU tar; of one with a newline its first line.
fn names(place: &Place, file: &std::path::Path) -> Vec<String> {
    let list = TestCommand::new(["tar", "--quoting-style=literal", "-tf", file.to_str().unwrap()]).run().ok().out();
    let host = format!("{}/", place.host().to_str().unwrap().trim_start_matches('/'));
    list.lines()
        .filter_map(|line| line.strip_prefix(&host))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn an_archive_has_what_the_box_has() {
    let place = Place::new();
    all_sorts(&place);
    let file = export(&place);
    assert_eq!(
        names(&place, &file),
        [
            "a",
            "d/",
            "d/copy",
            "d/pipe",
            "file/",
            "file/.wh..wh..opq",
            "file/new",
            "folder",
            ".wh.full",
            ".wh.gone",
            "link",
            "new/",
            "new/er/",
            "new/er/est/",
            "new/er/est/f",
            "new/linked",
            ".wh.odd",
            "other",
            "same",
            "sparse",
            "suid",
            "times/",
            "times/f",
            ".wh.zz",
        ]
    );
    // Unpacked beside the box, by a program of others, it is the same.
    let program = "import os, sys, tarfile
archive = tarfile.open(sys.argv[1])
for entry in archive:
    if not entry.name.startswith(sys.argv[2]): continue
    print(entry.name[len(sys.argv[2]):], oct(entry.mode), entry.uid, entry.gid, entry.mtime, entry.type, entry.linkname, entry.size,
          sorted((k, v) for k, v in entry.pax_headers.items() if 'xattr' in k))";
    let prefix = place.path("").trim_start_matches('/').to_owned();
    let seen = TestCommand::new(["/usr/bin/python3", "-c", program, file.to_str().unwrap(), &prefix]).run().ok().out();
    let line = |name: &str| {
        seen.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{seen}")).to_owned()
    };
    assert!(line("same").contains("0o711 7 8 ") && line("same").contains("SCHILY.xattr.user.note"), "{seen}");
    assert!(line("new/linked").contains(&format!("b'1' {prefix}new/er/est/f")), "{seen}");
    assert!(line("link").contains("b'2' elsewhere"), "{seen}");
    assert!(line("times/f").contains(" 200 "), "{seen}");
    assert!(line("d/pipe").contains("b'6'") && line(".wh.gone").ends_with("b'0'  0 []"), "{seen}");
    assert!(!seen.contains("trusted.overlay"), "{seen}");
}

#[test]
fn the_same_box_gives_the_same_bytes_to_a_file_and_to_a_pipe() {
    let place = Place::new();
    all_sorts(&place);
    let file = export(&place);
    let path = file.to_str().unwrap();
    let first: Value = place.sandbox("export", ["b", "-o", path, "--format", "json"]).run().json();
    let sum = TestCommand::new(["sha256sum", path]).run().ok().out();
    assert_eq!(first["digest"].as_str().unwrap(), format!("sha256:{}", sum.split(' ').next().unwrap()));
    assert_eq!(first["bytes"].as_u64().unwrap(), std::fs::metadata(&file).unwrap().len());
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    place.sandbox("clone", ["b", "c"]).run().ok();
    for (name, output) in [("b", "-"), ("c", "-"), ("b", "/dev/stdout")] {
        let again = place.sandbox("export", [name, "-o", output]).by(["sh", "-c", "\"$@\" | sha256sum", "sh"]).run();
        assert_eq!(again.ok().out().split(' ').next(), sum.split(' ').next(), "{name} {output}");
    }
    let left = std::fs::read_dir(file.parent().unwrap()).unwrap().flatten();
    let left: Vec<_> =
        left.map(|entry| entry.file_name().into_string().unwrap()).filter(|name| name.contains(".tar")).collect();
    assert_eq!(left, ["box.tar"]);
}

#[test]
fn an_archive_is_never_written_to_a_terminal() {
    let place = Place::new();
    place.script("echo x >x").run().ok();
    let (mut terminal, slave) = crate::util::tty::Terminal::open();
    let end = || slave.try_clone().unwrap().into();
    let running = place.sandbox("export", ["b"]).spawn_with(end(), end(), end(), None);
    terminal.until_seen("nothing for a terminal");
    running.wait().fails();
}

#[test]
fn long_and_odd_names_and_times_are_kept() {
    let place = Place::new();
    let long = "n".repeat(200);
    place
        .python(&format!(
            "import os
os.makedirs('{long}/{long}'); open('{long}/{long}/file', 'w').write('x'); os.symlink('{long}' * 2, 'link'); os.link('{long}/{long}/file', 'hard')
open(b'not\\xffutf8', 'w'); open('new\\nline', 'w'); open('before', 'w'); os.utime('before', ns=(0, -1_250_000_000))
open('exact', 'w'); os.utime('exact', ns=(0, 1_700_000_000_123_456_789)); os.chown('exact', 3_000_000, 4_000_000)
os.setxattr('exact', 'user.bytes', b'\\x00=\\n\\xff')"
        ))
        .run()
        .ok();
    let file = export(&place);
    let out = place.host().join("../out");
    std::fs::create_dir(&out).unwrap();
    TestCommand::new([
        "tar",
        "--xattrs",
        "--xattrs-include=*",
        "-xpf",
        file.to_str().unwrap(),
        "-C",
        out.to_str().unwrap(),
    ])
    .run()
    .ok();
    let program = "import os
s = os.stat('exact'); print(s.st_mtime_ns, s.st_uid, s.st_gid, os.getxattr('exact', 'user.bytes'))
print(os.stat('before').st_mtime_ns, len(os.readlink('link')), os.stat('hard').st_nlink, sorted(os.listdir(b'.'))[-3:])";
    let below = out.join(place.host().strip_prefix("/").unwrap());
    let exact = r"1700000000123456789 3000000 4000000 b'\x00=\n\xff'";
    let names = format!(r"[b'new\nline', b'{long}', b'not\xffutf8']");
    TestCommand::new(["/usr/bin/python3", "-c", program])
        .cwd(&below)
        .run()
        .ok()
        .stdout(&format!("{exact}\n-1250000000 400 2 {names}"));
}

#[test]
fn a_name_that_would_remove_something_is_refused() {
    let place = Place::new();
    place.script("mkdir d; touch d/.wh.passwd").run().ok();
    let file = place.host().join("../box.tar");
    let refused = place.sandbox("export", ["b", "-o", file.to_str().unwrap()]).run();
    refused.fails().err_has("d/.wh.passwd is a mark of a layer");
    assert!(!file.exists());
}

/// Puts two archives into an OCI layout, as layers of one image.
const LAYOUT: &str = "import hashlib, json, os, shutil, sys
os.makedirs('layout/blobs/sha256')
def blob(data):
    digest = hashlib.sha256(data).hexdigest()
    open('layout/blobs/sha256/' + digest, 'wb').write(data)
    return {'digest': 'sha256:' + digest, 'size': len(data)}
layers = [blob(open(name, 'rb').read()) for name in sys.argv[1:]]
config = {'architecture': {'x86_64': 'amd64', 'aarch64': 'arm64'}[os.uname().machine], 'os': 'linux', 'config': {},
          'rootfs': {'type': 'layers', 'diff_ids': [layer['digest'] for layer in layers]}}
manifest = {'schemaVersion': 2, 'mediaType': 'application/vnd.oci.image.manifest.v1+json',
            'config': {'mediaType': 'application/vnd.oci.image.config.v1+json', **blob(json.dumps(config).encode())},
            'layers': [{'mediaType': 'application/vnd.oci.image.layer.v1.tar', **layer} for layer in layers]}
index = {'schemaVersion': 2, 'manifests': [{'mediaType': manifest['mediaType'], **blob(json.dumps(manifest).encode())}]}
json.dump(index, open('layout/index.json', 'w')); json.dump({'imageLayoutVersion': '1.0.0'}, open('layout/oci-layout', 'w'))";

#[test]
fn over_the_hosts_files_an_image_shows_what_the_box_shows() {
    let place = Place::new();
    all_sorts(&place);
    TestCommand::shell("mkdir -p opaque/deep; echo 1 >opaque/deep/one; echo 2 >opaque/two", [""])
        .cwd(place.host())
        .run()
        .ok();
    place.script("rm -r opaque; mkdir opaque; echo 3 >opaque/three; rm -f d/pipe").run().ok();
    let (top, file) = (place.host().join(".."), export(&place));
    let host = place.host().strip_prefix("/").unwrap().display().to_string();
    TestCommand::new(["tar", "--xattrs", "--format=pax", "-cf", "host.tar", "-C", "/", &host]).cwd(&top).run().ok();
    TestCommand::new(["/usr/bin/python3", "-c", LAYOUT, "host.tar", file.to_str().unwrap()]).cwd(&top).run().ok();
    TestCommand::new([crate::util::runtime(), "image".into(), "unpack".into(), "oci:layout".into(), "bundle".into()])
        .cwd(&top)
        .run()
        .ok();
    let wanted = place.content_by(|command| place.wrap(command));
    let unpacked = top.join("bundle/rootfs").join(&host);
    let found = place.content_by(|command| command.cwd(&unpacked));
    assert_eq!(found, wanted);
}

#[test]
fn an_archive_is_not_lost_where_standard_output_is_closed() {
    let place = Place::new();
    place.script("echo x >x").run().ok();
    let with =
        |stream: &str| place.sandbox("export", ["b"]).by(["sh", "-c", &format!("exec \"$@\" {stream}"), "sh"]).run();
    with(">&-").fails().err_has("standard output is closed");
    with(">/dev/null").ok();
}
