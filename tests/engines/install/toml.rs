//! The TOML of Podman, containerd and CRI-O: one marked block of ours, and all that others wrote.

use super::{CONFIG_TOML, CRIO_DROP_IN, PODMAN_DROP_IN, Root, refused};

const CRI: &str = "plugins.\"io.containerd.grpc.v1.cri\"";

#[test]
fn what_others_wrote_into_the_same_file_stays() {
    let own = "# mine\nversion = 2\nroot = \"/srv/c\"   # kept\n";
    let root = Root::with(CONFIG_TOML, own);
    root.install(&["--containerd"]).ok();
    assert!(root.read(CONFIG_TOML).starts_with(own));
    root.write(CONFIG_TOML, &(root.read(CONFIG_TOML) + "[debug]\n  level = \"info\"\n"));
    root.install(&["--containerd"]).ok();
    root.install(&["--containerd"]).ok().err_has("already");
    root.run(&["--uninstall", "--containerd"]).ok();
    assert_eq!(root.read(CONFIG_TOML), format!("{own}[debug]\n  level = \"info\"\n"));

    for (flag, file) in [("--podman", PODMAN_DROP_IN), ("--crio", CRIO_DROP_IN)] {
        let root = Root::new();
        root.install(&[flag, "--default"]).ok();
        root.write(file, &format!("# a note\n{}[x]\ny = 1\n", root.read(file)));
        root.run(&["--uninstall", flag]).ok();
        assert_eq!(root.read(file), "# a note\n[x]\ny = 1\n");
    }
}

#[test]
fn a_file_without_a_line_end_gets_it_back_that_way() {
    let root = Root::with(CONFIG_TOML, "version = 2");
    root.install(&["--containerd"]).ok();
    root.run(&["--uninstall", "--containerd"]).ok();
    assert_eq!(root.read(CONFIG_TOML), "version = 2");
}

#[test]
fn toml_that_is_broken_or_taken_is_left() {
    let table = format!("version = 2\n[{CRI}.containerd.runtimes.myrt]\n  runtime_type = \"x\"\n");
    let inline = format!("version = 2\n[{CRI}.containerd]\n  runtimes = {{ runc = {{ runtime_type = \"x\" }} }}\n");
    for (text, words) in [
        ("version = 2\n[plugins\n", "line 2"),
        ("version = 1\n", "version 1"),
        ("disabled_plugins = [\"cri\"]\n", "version 2 is needed"),
        (&table, "runtimes.myrt is already there"),
        (&inline, "cannot be added to"),
    ] {
        refused(&Root::with(CONFIG_TOML, text), &["--containerd", "--docker"], &["config.toml", words]);
    }
    for (flag, file, text) in [
        ("--podman", PODMAN_DROP_IN, "[engine.runtimes]\nmyrt = [\"/opt/mine\"]\n"),
        ("--crio", CRIO_DROP_IN, "[crio.runtime.runtimes.myrt]\nruntime_path = \"/opt/mine\"\n"),
    ] {
        refused(&Root::with(file, text), &[flag], &["50-myrt.conf", "runtimes.myrt is already there"]);
    }
}

#[test]
fn a_block_that_lost_its_end_is_not_guessed_at() {
    let root = Root::new();
    root.install(&["--crio"]).ok();
    root.write(CRIO_DROP_IN, &(root.read(CRIO_DROP_IN).replace("# END myrt\n", "") + "[x]\ny = 1\n"));
    refused(&root, &["--crio"], &["no longer one pair"]);
    let before = root.tree();
    root.run(&["--uninstall"]).fails().err_has("no longer one pair");
    super::assert_same(&before, &root.tree());
}

#[test]
fn containerds_choice_of_cgroups_is_kept() {
    for choice in ["true", "false"] {
        let own = format!("version = 2\n[{CRI}.containerd.runtimes.runc.options]\n  SystemdCgroup = {choice}\n");
        let root = Root::with(CONFIG_TOML, &own);
        root.install(&["--containerd"]).ok();
        let ours = root.read(CONFIG_TOML)[own.len()..].to_owned();
        assert!(ours.contains(&format!("SystemdCgroup = {choice}")), "{ours}");
    }
}

#[test]
fn newer_containerd_has_another_name_for_the_plugin() {
    let root = Root::with(CONFIG_TOML, "version = 3\n");
    root.install(&["--containerd"]).ok();
    let text = root.read(CONFIG_TOML);
    assert!(text.contains("[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.myrt.options]"), "{text}");
}

#[test]
fn podmans_lists_go_on_from_what_was_in_force() {
    let root = Root::with("etc/containers/containers.conf", "[engine]\nruntime_supports_json = [\"crun\", \"own\"]\n");
    root.write("etc/containers/containers.conf.d/90-later.conf", "[engine]\nruntime_supports_json = [\"later\"]\n");
    root.install(&["--podman"]).ok();
    let text = root.read(PODMAN_DROP_IN);
    assert!(text.contains("runtime_supports_json = [\"crun\", \"own\", \"myrt\"]"), "{text}");
    assert!(text.contains("runtime_supports_nocgroup = [\"crun\", \"krun\", \"myrt\"]"), "{text}");
    // A file of Podman's that is broken is named, not skipped.
    let root = Root::with("etc/containers/containers.conf", "[engine\n");
    refused(&root, &["--podman"], &["etc/containers/containers.conf: ", "line 1"]);
}
