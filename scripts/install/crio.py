"""CRI-O: a drop-in that declares the runtime `myrt`, which is what a Kubernetes RuntimeClass calls its handler."""

import toml_block

PATH = "/etc/crio/crio.conf.d/50-myrt.conf"


def add(text, name, binary, default, _destdir):
    """The text of the drop-in; what others added outside of our block stays."""
    entry = {"runtime_path": binary, "runtime_type": "oci", "runtime_root": "/run/myrt"}
    runtime, lines = {"runtimes": {"myrt": entry}}, []
    if default:
        runtime["default_runtime"] = "myrt"
        lines += ["[crio.runtime]", 'default_runtime = "myrt"']
    lines.append("[crio.runtime.runtimes.myrt]")
    lines += [f"{key} = {toml_block.string(value)}" for key, value in entry.items()]
    return toml_block.put(text or "", name, lines, {"crio": {"runtime": runtime}})
