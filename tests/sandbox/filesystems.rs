//! Filesystems whose files can share blocks: a copy of a box, or a commit, takes no room there until somebody writes.
//!
//! Host and store lie on one in a file, with a loop device between, in a mount namespace of the test's own.

use crate::place::{LOOK, Place};
use crate::util::{TestCommand, runtime};

/// Prints how many KiB are used after each step, then what the host's folder holds at three moments, as digests.
const STEPS: &str = r#"
mount -t tmpfs t .; cd "$PWD"
truncate -s 600M disk; "mkfs.$kind" -q disk >made 2>&1; mkdir m
# A folder of another device number below the same mount, where there are such.
folder() { if [ "$kind" = btrfs ]; then btrfs -q subvolume create "$1" >>made; else mkdir "$1"; fi; }
mount -o loop disk m; mkdir m/host; cd m/host; folder sub
head -c 20M /dev/urandom >big; head -c 20M /dev/urandom >sub/big
sandbox() { verb=$1; shift; "$runtime" sandbox "$verb" --store ../store "$@" >>../said; }
used() { sync; echo "$1 $(df --output=used -k . | tail -1)"; }
content() { /usr/bin/python3 -c "$LOOK" false | sha256sum; }
echo "content $(content)"
sandbox run --name b sh -ec 'for f in new sub/new; do head -c 30M /dev/urandom >$f; done
    for f in big sub/big; do printf x | dd of=$f bs=1 seek=5000 conv=notrunc status=none; done; mv sub/big sub/other'
used made
sandbox snapshot b
sandbox clone b c
used copied
sandbox commit b
used committed
echo "content $(content)"
sandbox undo b
echo "content $(content)"
used undone
cd ../..; umount m
"#;

#[test]
fn copies_share_their_blocks_where_the_filesystem_can() {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap();
    for kind in ["btrfs", "xfs"] {
        // A kernel that has it as a module has not loaded it yet.
        let there = known.contains(kind) || TestCommand::new(["modprobe", kind]).run().exit_code() == 0;
        if !there {
            println!("not run: the kernel has no {kind}");
            continue;
        }
        let place = Place::new();
        let steps = TestCommand::new(["unshare", "-m", "sh", "-ec", STEPS])
            .env("kind", kind)
            .env("runtime", runtime())
            .env("LOOK", LOOK)
            .cwd(place.host());
        let lines = steps.run().ok().lines();
        let values = |name: &str| {
            let found = lines.iter().filter_map(|line| line.split_once(' ').filter(|(word, _)| *word == name));
            found.map(|(_, value)| value.trim().to_owned()).collect::<Vec<_>>()
        };
        let used = |name: &str| values(name)[0].parse::<u64>().unwrap();
        // Of 100 MB and more in the box, less than 5 were written once more each time.
        let steps = ["made", "copied", "committed", "undone"];
        assert!(used("made") > 100_000, "{kind}: {lines:?}");
        for pair in steps.windows(2) {
            assert!(used(pair[1]) < used(pair[0]) + 5_000, "{kind}, {pair:?}: {lines:?}");
        }
        let content = values("content");
        assert_eq!(content.len(), 3, "{lines:?}");
        assert!(content[0] == content[2] && content[0] != content[1], "{kind}: {lines:?}");
    }
}
