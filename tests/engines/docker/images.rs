//! Images that `docker build` has made, as bundles.

use std::path::Path;

use super::build::{DOCKERFILE, build};
use super::{Daemon, docker};
use crate::util::listing::same;
use crate::util::{TestCommand, runtime};

/// What changes files of the layers below.
const CHANGES: &str = "
USER root
RUN mkdir -m 2775 /staff && chown 0:50 /staff && mkdir /staff/sub && ln /bin/busybox /staff/busybox
RUN rm -r /home/guest/own && chmod 700 /etc && ln -s /etc /tmp/link && mkfifo /tmp/fifo && rm /tmp/first
RUN rm -r /staff/sub && mkdir /staff/sub && echo x >/staff/sub/new
CMD [\"sh\", \"-c\", \"cat /tmp/second /staff/sub/new; ls /home/guest; stat -c %a /etc /staff\"]
";

#[test]
fn what_docker_builds_is_the_same_by_umoci_and_runs_by_one_command() {
    for (name, kit) in [("bundle_classic", false), ("bundle_kit", true)] {
        build(name, &format!("{DOCKERFILE}{CHANGES}"), kit).run().ok();
        let folder = Daemon::shared().path(&format!("{name}.bundles"));
        std::fs::create_dir(&folder).unwrap();
        docker("save --output").args([&format!("{folder}/saved.tar"), name]).run().ok();
        let here = |argv: &[&str]| TestCommand::new(argv.iter()).cwd(&folder);
        here(&["skopeo", "copy", "--quiet", "docker-archive:saved.tar", "oci:oci:x"]).run().ok();
        here(&["umoci", "unpack", "--image", "oci:x", "theirs"]).run().ok();
        let myrt = runtime();
        here(&[&myrt, "image", "unpack", "--quiet", "docker-archive:saved.tar", "ours"]).run().ok();
        same(&Path::new(&folder).join("ours/rootfs"), &Path::new(&folder).join("theirs/rootfs"));
        let one_go = "docker=$1; shift; $docker save \"$1\" | \"$2\" --root state image run -";
        let run = TestCommand::new(["bash", "-euo", "pipefail", "-c", one_go, "sh", "/usr/bin/docker", name, &myrt]);
        run.env("DOCKER_HOST", Daemon::shared().host()).cwd(&folder).run().ok().stdout("built by 0\nx\n700\n2775");
        docker(&format!("rmi {name}")).run().ok();
    }
}
