//! `docker build` with RUN steps, by the classic builder and by BuildKit, and what else makes images.

use std::fs;

use rustix::process::Signal;

use super::{Daemon, docker, sh};
use crate::util::{TestCommand, until};

pub(super) const DOCKERFILE: &str = r#"
FROM scratch
ADD box.tar /
ARG WORD=none
ENV WORD=$WORD
RUN echo "$WORD by $(id -u)" > /tmp/first
RUN ["/bin/sh", "-c", "cat /tmp/first > /tmp/second; hostname >> /tmp/first"]
WORKDIR /home/guest
RUN chown 1000:1000 .
USER guest
RUN pwd > own && id -un >> own
CMD ["cat", "/tmp/second", "own"]
"#;

/// Builds a Dockerfile in a folder of its own, with what the image `box` was made of.
pub(super) fn build(name: &str, dockerfile: &str, kit: bool) -> TestCommand {
    let daemon = Daemon::shared();
    let folder = daemon.path(name);
    fs::create_dir(&folder).unwrap();
    fs::write(format!("{folder}/Dockerfile"), dockerfile).unwrap();
    fs::copy(daemon.path("box.tar"), format!("{folder}/box.tar")).unwrap();
    let words = format!("build --no-cache --tag {name} --build-arg WORD=built {folder}");
    docker(&words).env("DOCKER_BUILDKIT", u8::from(kit))
}

#[test]
fn the_classic_builder_runs_its_steps() {
    build("classic", DOCKERFILE, false).run().ok().out_has("Successfully built");
    docker("run --rm classic").run().ok().stdout("built by 0\n/home/guest\nguest");
    docker("history classic").run().ok().out_has("chown 1000:1000");
    docker("rmi classic").run().ok();
}

#[test]
fn so_does_buildkit() {
    build("kit", DOCKERFILE, true).run().ok();
    docker("run --rm kit").run().ok().stdout("built by 0\n/home/guest\nguest");
}

#[test]
fn a_step_that_fails_is_named_with_its_code() {
    let dockerfile = "FROM box\nRUN echo said before; exit 23\n";
    build("classic_fails", dockerfile, false)
        .run()
        .fails()
        .err_has("returned a non-zero code: 23")
        .out_has("said before");
    build("kit_fails", dockerfile, true).run().fails().err_has("exit code: 23").err_has("said before");
}

#[test]
fn a_build_that_is_given_up_leaves_no_process() {
    let seen = || docker("run --rm --pid host box ps").run().ok().out().contains("sleep 4321");
    let building = build("kit_endless", "FROM box\nRUN trap '' TERM INT; sleep 4321; true\n", true).spawn();
    until("the step runs", || seen().then_some(()));
    building.signal(Signal::INT);
    building.wait().fails();
    until("the step is gone", || (!seen()).then_some(()));
}

#[test]
fn a_container_becomes_an_image_and_an_image_a_file() {
    let container = Daemon::shared().detached("", "echo changed > /root/file");
    container.until_status("exited");
    container.is_told("diff").run().ok().out_has("A /root/file");
    docker(&format!("commit {} committed", container.name)).run().ok();
    docker("run --rm committed cat /root/file").run().ok().stdout("changed");
    let file = Daemon::shared().path("committed.tar");
    docker("save --output").args([&file, "committed"]).run().ok();
    docker("rmi committed").run().ok();
    docker("load --input").arg(&file).run().ok();
    docker("run --rm committed cat /root/file").run().ok().stdout("changed");
    sh("", "cat /root/file").run().fails();
}
