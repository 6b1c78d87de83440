//! What files inherit from the folder that they are made in, on the host or in the image: nothing. And attributes that have
//! a meaning of their own to the kernel.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use crate::make::{Header, Layout, Place, Tar};
use crate::util::TestCommand;

/// An access control list in the kernel's form: the owner, user 1000, the group, the mask and everybody else.
fn acl(user: u16, others: u16) -> Vec<u8> {
    let entries: [(u16, u16, u32); 5] =
        [(1, 7, u32::MAX), (2, user, 1000), (4, 5, u32::MAX), (0x10, 7, u32::MAX), (0x20, others, u32::MAX)];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        bytes.extend(tag.to_le_bytes().into_iter().chain(rights.to_le_bytes()).chain(id.to_le_bytes()));
    }
    bytes
}

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

/// An extended attribute, where the file has it.
fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let length = rustix::fs::lgetxattr(path, name, value.as_mut_slice()).ok()?;
    value.truncate(length);
    Some(value)
}

/// Mode, owner and group.
fn rights(path: &Path) -> (u32, u32, u32) {
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.mode() & 0o7777, meta.uid(), meta.gid())
}

#[test]
fn a_setgid_folder_hands_nothing_down() {
    let place = Place::new("setgid");
    let tar = Tar::default()
        .entry(&Header { mode: 0o2775, gid: 50, ..Header::new("staff", b'5') }, b"")
        .folder("staff/sub")
        .file("staff/file", "x")
        .file("staff/implied/file", "x");
    Layout::of(&place, &[tar]);
    assert_eq!(rights(&place.unpacked("staff")), (0o2775, 0, 50));
    assert_eq!(rights(&place.unpacked("staff/sub")), (0o755, 0, 0));
    assert_eq!(rights(&place.unpacked("staff/file")), (0o644, 0, 0));
    // No entry says anything of this one: it is root's like any other.
    assert_eq!(rights(&place.unpacked("staff/implied")), (0o755, 0, 0));
}

#[test]
fn access_control_lists_arrive_and_are_not_inherited() {
    let place = Place::new("acl");
    let tar = Tar::default()
        .pax(&[("SCHILY.xattr.system.posix_acl_default", &acl(7, 0)), ("SCHILY.xattr.user.x", b"y")])
        .folder("d")
        .file("d/plain", "x")
        .folder("d/sub")
        .entry(&Header { mode: 0o666, ..Header::new("d/fifo", b'6') }, b"")
        .symlink("d/link", "plain")
        .pax(&[("SCHILY.xattr.system.posix_acl_access", &acl(4, 0))])
        .entry(&Header { mode: 0o770, ..Header::new("d/listed", b'0') }, b"x");
    let upper = Tar::default().file("d/later", "x").file("d/implied/file", "x");
    Layout::of(&place, &[tar, upper]);
    let at = |name: &str| place.unpacked(name);
    assert_eq!(xattr(&at("d"), DEFAULT), Some(acl(7, 0)));
    assert_eq!(xattr(&at("d/listed"), ACCESS), Some(acl(4, 0)));
    assert_eq!(rights(&at("d/listed")).0, 0o770);
    for (name, mode) in [
        ("d/plain", 0o644),
        ("d/sub", 0o755),
        ("d/fifo", 0o666),
        ("d/later", 0o644),
        ("d/implied", 0o755),
        ("d/implied/file", 0o644),
    ] {
        assert_eq!((xattr(&at(name), ACCESS), xattr(&at(name), DEFAULT)), (None, None), "{name}");
        assert_eq!(rights(&at(name)).0, mode, "{name}");
    }
}

#[test]
fn the_hosts_folder_hands_nothing_down() {
    let place = Place::new("handed-down");
    Layout::of(&place, &[Tar::default().file("implied/file", "x").folder("folder")]);
    std::os::unix::fs::chown(&place.0, Some(0), Some(1234)).unwrap();
    fs::set_permissions(&place.0, fs::Permissions::from_mode(0o2755)).unwrap();
    rustix::fs::setxattr(&place.0, DEFAULT, &acl(7, 7), rustix::fs::XattrFlags::empty()).unwrap();
    let image = |words: &[&str]| place.image(words).run().ok().out();
    image(&["unpack", "--quiet", "oci:oci", "box"]);
    let store = place.text("store");
    image(&["pull", "--quiet", "--store", &store, "oci:oci"]);
    image(&["bundle", "--store", &store, "oci", "over"]);
    assert_eq!(rights(&place.path("box")), (0o700, 0, 0));
    let layer = place.path("store/d/0");
    for root in [place.path("box/rootfs"), layer, place.path("over/upper")] {
        let names: &[&str] = if root.ends_with("upper") { &["."] } else { &[".", "implied", "folder", "implied/file"] };
        for name in names {
            let path = root.join(name);
            let mode = if path.is_dir() { 0o755 } else { 0o644 };
            assert_eq!(rights(&path), (mode, 0, 0), "{path:?}");
            assert_eq!((xattr(&path, ACCESS), xattr(&path, DEFAULT)), (None, None), "{path:?}");
        }
    }
    assert_eq!(rights(&place.path("store")), (0o700, 0, 0));
}

#[test]
fn attributes_of_the_hosts_policy_are_not_taken() {
    let place = Place::new("policy");
    let tar = Tar::default()
        .pax(&[
            ("SCHILY.xattr.security.SMACK64EXEC", b"_"),
            ("SCHILY.xattr.security.SMACK64", b"_"),
            ("SCHILY.xattr.security.selinux", b"system_u:object_r:bin_t:s0\0"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.trusted.other", b"kept"),
        ])
        .file("f", "x");
    Layout::of(&place, &[tar]);
    for name in ["security.SMACK64EXEC", "security.SMACK64", "security.selinux", "trusted.overlay.redirect"] {
        assert_eq!(xattr(&place.unpacked("f"), name), None, "{name}");
    }
    assert_eq!(xattr(&place.unpacked("f"), "trusted.other").as_deref(), Some(&b"kept"[..]));
}

#[test]
fn a_links_own_attributes_are_not_its_targets() {
    let place = Place::new("link-xattr");
    let tar =
        Tar::default().file("target", "x").pax(&[("SCHILY.xattr.trusted.own", b"link")]).symlink("link", "target");
    Layout::of(&place, &[tar]);
    assert_eq!(xattr(&place.unpacked("link"), "trusted.own").as_deref(), Some(&b"link"[..]));
    assert_eq!(xattr(&place.unpacked("target"), "trusted.own"), None);
}

/// GNU tar's own way to keep the lists is text, which engines do not read; the kernel's form is what images have.
#[test]
fn attributes_that_gnu_tar_has_kept() {
    let place = Place::new("tar-xattrs");
    let folder = place.path("source");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("f"), "x").unwrap();
    symlink("f", folder.join("s")).unwrap();
    let set = |name: &str, value: &[u8]| {
        rustix::fs::setxattr(folder.join("f"), name, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    set("user.with space", b"1");
    set("user.zero", b"a\0b\n=");
    set(ACCESS, &acl(6, 4));
    let archive = place.text("a.tar");
    let tar = ["tar", "--xattrs", "--xattrs-include=*", "-C", folder.to_str().unwrap(), "-cf", &archive, "."];
    TestCommand::new(tar).run().ok();
    let mut layout = Layout::new(&place.path("oci"));
    let layer = (fs::read(&archive).unwrap(), crate::make::Pack::Gzip);
    layout.image("latest", &serde_json::json!({}), &[layer]);
    for name in ["user.with space", "user.zero", ACCESS] {
        assert_eq!(xattr(&place.unpacked("f"), name), xattr(&folder.join("f"), name), "{name}");
        assert!(xattr(&folder.join("f"), name).is_some());
    }
}
