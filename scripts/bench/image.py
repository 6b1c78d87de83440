#!/usr/bin/env python3
"""What unpacking an image costs, beside umoci, skopeo and the limits. scripts/bench.sh image calls it.

  image.py WORK ARCHIVE MYRT ROUNDS

WORK is a folder on a tmpfs, ARCHIVE a root filesystem as a tar, MYRT the binary. The archive becomes images in WORK: one layer
with gzip, one with zstd, and the same entries split over five layers with gzip. Contenders take turns within a round; the
table has the fastest and the median of the rounds in seconds, the median of the processor's seconds, the largest resident set,
and the median of each round's ratio to the slower of the two limits of its image: `tar xf` of the archive, and unpacking the layers without writing anything.
"""

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import time

GZIP, ZSTD = ["gzip", "-6", "-c"], ["zstd", "-q", "-3", "-c"]


def put(layout, content):
    digest = hashlib.sha256(content).hexdigest()
    with open(f"{layout}/blobs/sha256/{digest}", "wb") as file:
        file.write(content)
    return {"digest": f"sha256:{digest}", "size": len(content)}


def make_image(layout, archives, packer):
    """An OCI layout with these archives as layers; gives the paths of the packed ones."""
    os.makedirs(f"{layout}/blobs/sha256")
    diff_ids, layers, paths = [], [], []
    for archive in archives:
        with open(archive, "rb") as file:
            diff_ids.append("sha256:" + hashlib.file_digest(file, "sha256").hexdigest())
        packed = subprocess.run([*packer, archive], stdout=subprocess.PIPE, check=True).stdout
        layer = put(layout, packed)
        layers.append({"mediaType": "application/vnd.oci.image.layer.v1.tar+" + packer[0], **layer})
        paths.append(f"{layout}/blobs/sha256/{layer['digest'][7:]}")
    config = {"os": "linux", "config": {"Cmd": ["true"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    config["architecture"] = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **put(layout, json.dumps(config).encode())},
        "layers": layers,
    }
    entry = {"mediaType": manifest["mediaType"], **put(layout, json.dumps(manifest).encode())}
    entry["annotations"] = {"org.opencontainers.image.ref.name": "bench"}
    with open(f"{layout}/index.json", "w") as file:
        json.dump({"schemaVersion": 2, "manifests": [entry]}, file)
    with open(f"{layout}/oci-layout", "w") as file:
        file.write('{"imageLayoutVersion":"1.0.0"}')
    return paths


def split(archive, count):
    """The entries of an archive in `count` archives of about the same size."""
    names, share, index = [], os.path.getsize(archive) / count, -1
    with tarfile.open(archive) as tar:
        writer, target = None, 0
        for member in tar:
            if index + 1 < count and member.offset >= target and member.type != tarfile.LNKTYPE:
                if writer:
                    writer.close()
                index += 1
                target = share * (index + 1)
                names.append(f"{archive}.{index}")
                writer = tarfile.open(names[-1], "w", format=tarfile.PAX_FORMAT)
            writer.addfile(member, tar.extractfile(member) if member.isreg() else None)
        writer.close()
    return names


def run(command, folder):
    """Seconds, KiB and processor seconds of a command whose result lies in `folder`, which is removed after."""
    # A child of ours would count what we have resident ourselves: time(1) is small.
    timed = ["/usr/bin/time", "--format", "%M %U %S", "--output", "used", *command]
    began = time.monotonic()
    status = subprocess.run(timed, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL).returncode
    took = time.monotonic() - began
    if status != 0:
        sys.exit(f"{' '.join(command)} failed")
    shutil.rmtree(folder, ignore_errors=True)
    with open("used") as file:
        kib, user, system = file.read().split()
    return took, int(kib), float(user) + float(system)


def main():
    work, source, myrt, rounds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    os.chdir(work)
    shutil.copy(source, "image.tar")
    shutil.copy(myrt, "myrt")
    shutil.copy(os.path.join(os.path.dirname(myrt), "myrt-image"), "myrt-image")
    parts = split("image.tar", 5)
    cases = [
        ("one layer, gzip", "gzip", make_image("gzip", ["image.tar"], GZIP), ["gzip", "-dc"]),
        ("one layer, zstd", "zstd", make_image("zstd", ["image.tar"], ZSTD), ["zstd", "-dcq"]),
        ("five layers, gzip", "five", make_image("five", parts, GZIP), ["gzip", "-dc"]),
    ]
    for part in parts:
        os.remove(part)
    size = os.path.getsize("image.tar")
    print(f"{size / 1e6:.0f} MB unpacked, {rounds} rounds on {os.cpu_count()} processors; seconds: fastest/median\n")
    print("| image | contender | seconds | of the limit | processor | resident |\n|---|---|---|---|---|---|")
    for title, layout, blobs, unpacker in cases:
        contenders = {
            "limit: tar xf": (["sh", "-c", "mkdir tree && tar -C tree -xf image.tar"], "tree"),
            "limit: " + " ".join(unpacker): ([*unpacker, *blobs], "none"),
            "myrt image unpack": (["./myrt", "image", "unpack", "-q", f"oci:{layout}", "ours"], "ours"),
            "umoci unpack": (["umoci", "unpack", "--image", f"{layout}:bench", "theirs"], "theirs"),
            "skopeo copy to dir:": (["skopeo", "copy", "-q", "--dest-decompress", f"oci:{layout}", "dir:copy"], "copy"),
        }
        if layout == "zstd":
            del contenders["umoci unpack"]  # Debian 12's knows gzip alone
        results = {name: [] for name in contenders}
        for _ in range(rounds):
            for name, (command, folder) in contenders.items():
                results[name].append(run(command, folder))
        limits = [name for name in contenders if name.startswith("limit")]
        slower = [max(results[name][index][0] for name in limits) for index in range(rounds)]
        for name, measured in results.items():
            seconds = [took for took, _, _ in measured]
            ratio = statistics.median(took / limit for took, limit in zip(seconds, slower))
            processor = statistics.median(used for _, _, used in measured)
            resident = max(kib for _, kib, _ in measured) / 1024
            times = f"{min(seconds):.2f}/{statistics.median(seconds):.2f}"
            print(f"| {title} | {name} | {times} | {ratio:.2f} | {processor:.2f} | {resident:.0f} MiB |", flush=True)


main()
