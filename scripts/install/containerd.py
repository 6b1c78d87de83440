"""containerd: a runtime `myrt` of the CRI plugin, which is what a Kubernetes RuntimeClass calls its handler.

`ctr` needs no configuration: `ctr run --runc-binary FILE`. A file of `imports` would be simpler than a block, but
containerd 1.6 lets the last file replace a plugin's settings as a whole, those of the user with them.
"""

import toml_block
from files import Refused

PATH = "/etc/containerd/config.toml"

# What the CRI plugin is called, by the version of the file.
PLUGINS = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.runtime"}
SHIM = "io.containerd.runc.v2"


def add(text, name, binary, default, _destdir):
    """The text with a block that declares the runtime. Without a file, or with one that says nothing, a version is needed."""
    if default:
        raise Refused("--default is not for containerd: choose myrt by a RuntimeClass, or set default_runtime_name yourself")
    text = text or ""
    settings = toml_block.parse(text, name)
    lines, ours = [], {}
    if not settings:
        lines, ours = ["version = 2"], {"version": 2}
    version = settings.get("version", 2 if ours else 1)
    if version not in PLUGINS:
        raise Refused(
            f"{name}: this is a file of version {version}; version 2 is needed, whose plugins have other names"
            " (`containerd config default` shows them). Docker's containerd.io package ships a file that only switches the"
            " CRI plugin off: if that is yours, empty it"
        )
    plugin = PLUGINS[version]
    runtimes = settings
    for key in ("plugins", plugin, "containerd", "runtimes"):
        runtimes = _table(runtimes.get(key, {}))
    entry = {"runtime_type": SHIM, "options": {"BinaryName": binary}}
    declared = {"myrt": entry}
    # A file's runtimes take the place of containerd's own: without runc, which is the default, the plugin does not load,
    # though `containerd config dump` still shows it.
    if not runtimes or "runtime_type" not in _table(runtimes.get("runc", {"runtime_type": ""})):
        declared["runc"] = {"runtime_type": SHIM}
        lines += [f'[plugins."{plugin}".containerd.runtimes.runc]', f"  runtime_type = {toml_block.string(SHIM)}"]
    # kubelet and all runtimes of a node have to agree on who makes the cgroups.
    systemd = _table(_table(runtimes.get("runc", {})).get("options", {})).get("SystemdCgroup")
    if isinstance(systemd, bool):
        entry["options"]["SystemdCgroup"] = systemd
    table = f'plugins."{plugin}".containerd.runtimes.myrt'
    lines += [f"[{table}]", f"  runtime_type = {toml_block.string(SHIM)}", f"  [{table}.options]"]
    lines.append(f"    BinaryName = {toml_block.string(binary)}")
    if isinstance(systemd, bool):
        lines.append(f"    SystemdCgroup = {str(systemd).lower()}")
    ours["plugins"] = {plugin: {"containerd": {"runtimes": declared}}}
    return toml_block.put(text, name, lines, ours)


def _table(value):
    return value if isinstance(value, dict) else {}
