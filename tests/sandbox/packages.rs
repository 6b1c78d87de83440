//! Installers, each with a package made here: none needs a network.

use crate::place::Place;
use crate::util::TestCommand;

/// A Debian package whose script makes a user and gives it a folder.
const PACKAGE: &str = "
mkdir -p p/DEBIAN p/usr/bin p/etc
printf 'Package: myrt-probe\\nVersion: 1\\nArchitecture: all\\nMaintainer: nobody <nobody@example.org>\\nDescription: probe\\n' >p/DEBIAN/control
printf '/etc/myrt-probe.conf\\n' >p/DEBIAN/conffiles
printf '#!/bin/sh\\nset -e\\nuseradd --system --create-home --home-dir /var/lib/myrt-probe myrt-probe\\nchown myrt-probe: /etc/myrt-probe.conf\\n' >p/DEBIAN/postinst
chmod 755 p/DEBIAN/postinst
printf '#!/bin/sh\\necho probe says hello\\n' >p/usr/bin/myrt-probe
chmod 4755 p/usr/bin/myrt-probe
echo key=value >p/etc/myrt-probe.conf
dpkg-deb --root-owner-group --build p probe.deb >/dev/null
rm -r p";

fn make_package(place: &Place) {
    TestCommand::shell(PACKAGE, [""]).cwd(place.host()).run().ok();
}

fn check_installed(place: &Place) {
    let script = "myrt-probe; stat -c '%U %a' /etc/myrt-probe.conf; stat -c %a /usr/bin/myrt-probe; id -un myrt-probe; su myrt-probe -s /bin/sh -c 'id -un; cd; pwd; touch mine'";
    place
        .script(script)
        .run()
        .ok()
        .stdout("probe says hello\nmyrt-probe 644\n4755\nmyrt-probe\nmyrt-probe\n/var/lib/myrt-probe");
    assert!(!std::path::Path::new("/usr/bin/myrt-probe").exists());
    TestCommand::new(["id", "myrt-probe"]).run().fails();
    let diff = place.sandbox("diff", ["b"]).run();
    diff.ok()
        .out_has("A /usr/bin/myrt-probe  32 B, setuid\n")
        .out_has("M /etc/passwd  content")
        .out_has("A /var/lib/myrt-probe/\n");
}

#[test]
fn dpkg_installs_and_removes() {
    let place = Place::new();
    make_package(&place);
    place.script("dpkg -i probe.deb").run().ok();
    check_installed(&place);
    place
        .script("dpkg --purge myrt-probe; userdel -r myrt-probe 2>/dev/null; ! test -e /usr/bin/myrt-probe")
        .run()
        .ok();
    place.sandbox("diff", ["b"]).run().ok().out_lacks("A /usr/bin/myrt-probe");
}

#[test]
fn apt_installs() {
    let place = Place::new();
    make_package(&place);
    place.script("apt-get install -y ./probe.deb").env("DEBIAN_FRONTEND", "noninteractive").run().ok();
    check_installed(&place);
}

#[test]
fn apt_installs_from_a_repository_that_the_box_alone_knows() {
    let place = Place::new();
    make_package(&place);
    // Packages, as dpkg-scanpackages writes it, and the one line of sources, both made inside.
    let script = "
        mkdir -p repository lists/partial cache/archives/partial; mv probe.deb repository/
        cd repository; { dpkg-deb -f probe.deb; echo Filename: ./probe.deb; echo Size: $(stat -c %s probe.deb)
                         echo SHA256: $(sha256sum probe.deb | cut -d' ' -f1); echo; } >Packages; cd ..
        echo \"deb [trusted=yes] file://$PWD/repository ./\" >only.list
        apt() { apt-get -o Dir::Etc::sourcelist=$PWD/only.list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$PWD/lists \\
                        -o Dir::Cache=$PWD/cache -o APT::Sandbox::User=root \"$@\"; }
        apt update; apt install -y myrt-probe";
    place.script(script).env("DEBIAN_FRONTEND", "noninteractive").run().ok();
    check_installed(&place);
    assert!(!place.host().join("repository").exists());
}

#[test]
fn useradd_adds_a_user_who_can_be_become() {
    let place = Place::new();
    place
        .script("useradd --create-home myrt-probe-user; su myrt-probe-user -c 'id -un; test -w ~'")
        .run()
        .ok()
        .stdout("myrt-probe-user");
    TestCommand::new(["id", "myrt-probe-user"]).run().fails();
}

#[test]
fn make_installs() {
    let place = Place::new();
    std::fs::write(place.host().join("probe.c"), "int main(void) { return 42; }\n").unwrap();
    let rules = "install: probe\n\tinstall -D -m 755 probe /usr/local/bin/myrt-probe\n\tldconfig\nprobe: probe.c\n\tcc -o probe probe.c\n";
    std::fs::write(place.host().join("Makefile"), rules).unwrap();
    place.script("make install").run().ok();
    place.script("myrt-probe").run().code(42);
    assert!(!std::path::Path::new("/usr/local/bin/myrt-probe").exists());
    assert!(!place.host().join("probe").exists());
}

#[test]
fn pip_installs() {
    let place = Place::new();
    let folder = place.host().join("probe");
    std::fs::create_dir_all(&folder).unwrap();
    // A wheel needs no builder from the network.
    let make = "import zipfile
with zipfile.ZipFile('myrt_probe-1-py3-none-any.whl', 'w') as wheel:
    wheel.writestr('myrt_probe.py', 'word = \"probe\"\\n')
    wheel.writestr('myrt_probe-1.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: myrt-probe\\nVersion: 1\\n')
    wheel.writestr('myrt_probe-1.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr('myrt_probe-1.dist-info/RECORD', '')
";
    TestCommand::new(["/usr/bin/python3", "-c", make]).cwd(&folder).run().ok();
    place
        .script(
            "/usr/bin/python3 -m pip install --break-system-packages --no-index --root-user-action=ignore probe/*.whl",
        )
        .run()
        .ok();
    place.script("/usr/bin/python3 -c 'import myrt_probe; print(myrt_probe.word)'").run().ok().stdout("probe");
    TestCommand::new(["/usr/bin/python3", "-c", "import myrt_probe"]).run().fails();
}

#[test]
fn pip_builds_and_installs() {
    let place = Place::new();
    // A source distribution, which setuptools of the host builds.
    let make = "import io, tarfile
with tarfile.open('myrt_probe-1.tar.gz', 'w:gz') as archive:
    def add(name, text):
        entry = tarfile.TarInfo('myrt_probe-1/' + name); entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text.encode()))
    add('setup.py', 'from setuptools import setup\\nsetup(name=\"myrt_probe\", version=\"1\", py_modules=[\"myrt_probe\"])\\n')
    add('myrt_probe.py', 'word = \"built\"\\n')
    add('PKG-INFO', 'Metadata-Version: 2.1\\nName: myrt_probe\\nVersion: 1\\n')
";
    TestCommand::new(["/usr/bin/python3", "-c", make]).cwd(place.host()).run().ok();
    let pip = "/usr/bin/python3 -m pip install --break-system-packages --no-index --no-build-isolation --root-user-action=ignore ./*.tar.gz";
    place.script(pip).run().ok();
    place.script("/usr/bin/python3 -c 'import myrt_probe; print(myrt_probe.word)'").run().ok().stdout("built");
    place.script("/usr/bin/python3 -m pip uninstall -y --break-system-packages myrt_probe; ! /usr/bin/python3 -c 'import myrt_probe' 2>/dev/null").run().ok();
    TestCommand::new(["/usr/bin/python3", "-c", "import myrt_probe"]).run().fails();
}
