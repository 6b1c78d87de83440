//! A folder in words, so that two of them can be compared.

use std::path::Path;

use super::TestCommand;

/// A line for each file with everything that can be told of it, extended attributes included. The root itself has no entry in
/// many images, so that its time is that of unpacking.
pub fn listing(folder: &Path) -> Vec<String> {
    let script = "cd \"$1\" && stat -c '%a %u %g' . && find . -mindepth 1 -printf '%P %y %#m %U %G %T@ %n %l ' \\( -type d -printf '\\n' -o -printf '%s\\n' \\) | sort
                  find . \\( -type b -o -type c \\) -exec stat -c '%n %t %T' {} + | sort
                  find . -type f -exec sha256sum {} + | sort
                  python3 -c \"$2\" | sort";
    let attributes = "import os
for folder, folders, files in os.walk('.'):
    for path in [folder] + [os.path.join(folder, name) for name in files]:
        for name in os.listxattr(path, follow_symlinks=False):
            print(path, name, os.getxattr(path, name, follow_symlinks=False))";
    TestCommand::new(["bash", "-c", script, "sh"]).arg(folder.display()).arg(attributes).run().ok().lines()
}

/// Asserts that two folders are the same, byte for byte and attribute for attribute.
#[track_caller]
pub fn same(ours: &Path, theirs: &Path) {
    let (ours, theirs) = (listing(ours), listing(theirs));
    assert!(ours.len() >= 10, "{ours:?}");
    for (line, (our, their)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(our, their, "line {line}");
    }
    assert_eq!(ours.len(), theirs.len());
}
