//! Hosts with mounts below `/`: each is made in a mount namespace of its own.

use crate::place::Place;
use crate::util::TestCommand;

/// Runs `script` in a box on a host where `mounts` was run first, in the host's folder.
fn on_a_host_with(place: &Place, mounts: &str, script: &str, after: &str) -> crate::util::command::Output {
    let inner = place.script(script);
    let around = format!("{mounts}\n\"$@\" || exit $?\n{after}");
    inner.by(["unshare", "-m", "sh", "-ec", &around, "sh"]).run()
}

#[test]
fn every_writable_filesystem_below_the_root_has_its_changes_kept_apart() {
    let place = Place::new();
    let mounts = "mkdir a; mount -t tmpfs t a; mkdir a/b; mount -t tmpfs t a/b; echo one >a/f; echo two >a/b/f; mkdir 'a/with, comma:x'
                  mount -t tmpfs t 'a/with, comma:x'; echo three >'a/with, comma:x/f'";
    let script = "cat a/f a/b/f a/with*/f; echo more >>a/f; rm a/b/f; echo new >'a/with, comma:x/g'; ls a/b; cat a/f";
    let after = "cat a/f a/b/f; ls a/with*; umount -R a; rmdir a";
    let out = on_a_host_with(&place, mounts, script, after);
    out.ok().stdout("one\ntwo\nthree\none\nmore\none\ntwo\nf");
}

#[test]
fn the_changes_of_a_mounted_filesystem_are_told() {
    let place = Place::new();
    let store = place.store().display().to_string();
    let mounts = "mkdir a; mount -t tmpfs t a; echo one >a/f; echo two >a/g";
    let after = format!("{} sandbox diff --store {store} b; umount a; rmdir a", crate::util::runtime());
    let out = on_a_host_with(&place, mounts, "rm a/f; chmod 600 a/g; mkdir a/h", &after);
    let host = place.path("a");
    out.ok().stdout(&format!("D {host}/f\nM {host}/g  mode 644 to 600\nA {host}/h/\n1 added, 1 modified, 1 deleted"));
}

#[test]
fn a_mount_may_have_any_bytes_in_its_name() {
    let place = Place::new();
    let store = place.store().display().to_string();
    let mounts =
        "a=$(printf 'a\\377\\200 b'); mkdir \"$a\"; mount -t tmpfs t \"$a\"; echo one >\"$a/f\"; echo source >s
                  : >\"$a/bound\"; mount --bind s \"$a/bound\"";
    let sandbox = format!("{} sandbox", crate::util::runtime());
    let after = format!(
        "cat \"$a/f\"; {sandbox} diff --store {store} b | tail -n 1; {sandbox} commit --store {store} b; cat \"$a/f\"
         {sandbox} undo --store {store} b; cat \"$a/f\"; umount -R \"$a\"; rmdir \"$a\""
    );
    let out = on_a_host_with(&place, mounts, "cat a*/f a*/bound; echo two >\"$(echo a*)/f\"; cat a*/f", &after);
    out.ok().stdout("one\nsource\ntwo\none\n1 modified\n1 taken over\ntwo\n1 taken back\none");
}

#[test]
fn what_is_removed_inside_is_read_on_the_host_without_a_trace() {
    let place = Place::new();
    let mounts = "mkdir a; mount -t tmpfs -o strictatime t a; mkdir -p a/d/e/f; touch -a -d @1000 a/d/e/f a/d/e a/d";
    let after = "stat -c %X a/d a/d/e a/d/e/f; umount a; rmdir a";
    on_a_host_with(&place, mounts, "rm -r a/d", after).ok().stdout("1000\n1000\n1000");
}

#[test]
fn a_file_that_is_mounted_by_itself_can_be_read_and_a_socket_not_be_reached() {
    let place = Place::new();
    let mounts = "echo below >a; echo above >b; mount --bind b a; : >s
                  python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"listens\")'; mount --bind listens s";
    let script = "cat a; (echo x >a) || true; test ! -S s || echo reached; echo y >c";
    let out = on_a_host_with(&place, mounts, script, "cat a; umount a s; test ! -e c");
    out.ok().stdout("above\nabove").err_has("read-only inside");
    assert_eq!(place.changes(), ["c: added"]);
}

#[test]
fn what_is_read_only_on_the_host_is_read_only_inside() {
    let place = Place::new();
    let mounts = "mkdir a b; mount -t tmpfs t a; echo x >a/f; mount -o remount,ro a; mount --bind a b
                  mkdir c; mount -t tmpfs t c; echo x >c/f; mount -o remount,bind,ro c";
    let script = "cat a/f b/f c/f; for i in a b c; do touch $i/g 2>/dev/null && echo written; done; true";
    on_a_host_with(&place, mounts, script, "umount a b c").ok().stdout("x\nx\nx");
}

#[test]
fn what_was_mounted_over_is_not_seen() {
    let place = Place::new();
    let mounts = "mkdir -p a/b; mount -t tmpfs t a/b; echo hidden >a/b/f; mount -t tmpfs t a; echo seen >a/f
                  mkdir c; mount -t tmpfs t c; echo first >c/f; mount -t tmpfs t c; echo second >c/f";
    on_a_host_with(&place, mounts, "find a c -type f | sort | xargs cat", "true").ok().stdout("seen\nsecond");
}

#[test]
fn flags_of_the_hosts_mounts_hold_inside() {
    let place = Place::new();
    let mounts = "mkdir a; mount -t tmpfs -o nosuid,noexec t a; cp /bin/true a/true";
    let script = "a/true && echo ran; grep \" $PWD/a \" /proc/self/mountinfo | cut -d' ' -f6";
    let out = on_a_host_with(&place, mounts, script, "true");
    out.ok().out_lacks("ran").out_has("nosuid").out_has("nodev").out_has("noexec");
}

#[test]
fn the_store_is_hidden_inside() {
    let place = Place::new();
    place.script(&format!("ls -A {}", place.store().display())).run().ok().stdout("");
}

#[test]
fn another_filesystem_at_the_same_place_is_not_given_the_changes() {
    let place = Place::new();
    let tmpfs = "mkdir -p a; mount -t tmpfs t a; echo one >a/f";
    on_a_host_with(&place, tmpfs, "echo x >a/f", "true").ok();
    let other = "mkdir -p a; mount -t ramfs t a; echo two >a/f";
    on_a_host_with(&place, other, "cat a/f", "true").code(125).err_has("but now ramfs is mounted there");
    TestCommand::shell("rmdir a", [""]).cwd(place.host()).run().ok();
}

/// A root that is an overlay, so many deep, as that of a container is; `script` runs there, with a store on a tmpfs.
fn on_an_overlay(place: &Place, depth: u32, script: &str) -> crate::util::command::Output {
    let around = format!(
        "exec </dev/null; mount -t tmpfs t .; cd \"$PWD\"; mkdir boxes; mount -t tmpfs -o mode=700 t boxes; below=/
         for i in $(seq {depth}); do
             mkdir u$i w$i r$i; mount -t overlay -o lowerdir=$below,upperdir=u$i,workdir=w$i o r$i; below=r$i
         done
         cd $below; mkdir store old-root; mount --move ../boxes store
         mount --rbind /proc proc; mount --rbind /dev dev; mount --rbind /sys sys
         pivot_root . old-root; cd /; umount -l old-root; exec </dev/null
         sandbox() {{ verb=$1; shift; {} sandbox \"$verb\" --store \"${{store:-/store}}\" \"$@\"; }}
         {script}",
        crate::util::runtime()
    );
    TestCommand::new(["unshare", "-m", "sh", "-ec", &around]).cwd(place.host()).run()
}

#[test]
fn a_host_whose_root_is_an_overlay_is_a_host_as_any() {
    let script = "echo host >/file; sandbox run --name b sh -c 'cat /file; echo box >/file; echo new >/new'
                  cat /file; sandbox commit b; cat /file /new; sandbox undo b; cat /file; ls /new 2>/dev/null || true";
    on_an_overlay(&Place::new(), 1, script).ok().stdout("host\nhost\n2 taken over\nbox\nnew\n2 taken back\nhost");
}

#[test]
fn where_an_overlay_cannot_be_made_the_reason_is_said() {
    let refused = on_an_overlay(&Place::new(), 2, "sandbox run --name b true");
    refused.code(125).err_has("\"/\" is an overlay on an overlay already").err_has("invalid argument");
    let upper = on_an_overlay(&Place::new(), 1, "store=/elsewhere; sandbox run --name b true");
    upper.code(125).err_has("cannot hold the changes of an overlay");
}
