#!/usr/bin/env python3
"""A small client of the Container Runtime Interface, as a kubelet is one, for the tests.

    cri.py SOCKET

reads lines {"call": METHOD, "request": {...}} and answers each with {"response": {...}} or {"error": "CODE: words"}.
It knows the messages that the tests need; numbers and names of the fields are those of the interface's version v1. A map
of strings is written as a list of {"key": K, "value": V}, which is how it travels.
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

PATIENCE = 30  # seconds

# MESSAGE: field=number type, ...; a list has a star.
MESSAGES = """
KeyValue: key=1 string, value=2 string
Int64Value: value=1 int64
UInt64Value: value=1 uint64
VersionRequest: version=1 string
VersionResponse: version=1 string, runtime_name=2 string, runtime_version=3 string, runtime_api_version=4 string
RuntimeCondition: type=1 string, status=2 bool, reason=3 string, message=4 string
RuntimeStatus: conditions=1 *RuntimeCondition
StatusRequest: verbose=1 bool
StatusResponse: status=1 RuntimeStatus, info=2 *KeyValue
ImageSpec: image=1 string
Image: id=1 string, repo_tags=2 *string, size=4 uint64
ImageStatusRequest: image=1 ImageSpec
ImageStatusResponse: image=1 Image
NamespaceOption: network=1 int32, pid=2 int32, ipc=3 int32, target_id=4 string
SecurityProfile: profile_type=1 int32, localhost_ref=2 string
LinuxSandboxSecurityContext: namespace_options=1 NamespaceOption, run_as_user=3 Int64Value, privileged=6 bool,
    seccomp=9 SecurityProfile
LinuxPodSandboxConfig: cgroup_parent=1 string, security_context=2 LinuxSandboxSecurityContext, sysctls=3 *KeyValue
PodSandboxMetadata: name=1 string, uid=2 string, namespace=3 string, attempt=4 uint32
DNSConfig: servers=1 *string, searches=2 *string, options=3 *string
PodSandboxConfig: metadata=1 PodSandboxMetadata, hostname=2 string, log_directory=3 string, dns_config=4 DNSConfig,
    labels=6 *KeyValue, annotations=7 *KeyValue, linux=8 LinuxPodSandboxConfig
RunPodSandboxRequest: config=1 PodSandboxConfig, runtime_handler=2 string
RunPodSandboxResponse: pod_sandbox_id=1 string
StopPodSandboxRequest: pod_sandbox_id=1 string
StopPodSandboxResponse:
RemovePodSandboxRequest: pod_sandbox_id=1 string
RemovePodSandboxResponse:
PodSandboxStatusRequest: pod_sandbox_id=1 string, verbose=2 bool
PodSandboxNetworkStatus: ip=1 string
PodSandboxStatus: id=1 string, metadata=2 PodSandboxMetadata, state=3 int32, network=5 PodSandboxNetworkStatus,
    labels=7 *KeyValue, annotations=8 *KeyValue, runtime_handler=9 string
PodSandboxStatusResponse: status=1 PodSandboxStatus, info=2 *KeyValue
PodSandboxStatsRequest: pod_sandbox_id=1 string
CpuUsage: timestamp=1 int64, usage_core_nano_seconds=2 UInt64Value
MemoryUsage: timestamp=1 int64, working_set_bytes=2 UInt64Value, usage_bytes=4 UInt64Value, rss_bytes=5 UInt64Value
ProcessUsage: timestamp=1 int64, process_count=2 UInt64Value
LinuxPodSandboxStats: cpu=1 CpuUsage, memory=2 MemoryUsage, process=4 ProcessUsage, containers=5 *ContainerStats
PodSandboxStats: linux=2 LinuxPodSandboxStats
PodSandboxStatsResponse: stats=1 PodSandboxStats
ContainerMetadata: name=1 string, attempt=2 uint32
ContainerAttributes: id=1 string, metadata=2 ContainerMetadata
ContainerStats: attributes=1 ContainerAttributes, cpu=2 CpuUsage, memory=3 MemoryUsage
ContainerStatsRequest: container_id=1 string
ContainerStatsResponse: stats=1 ContainerStats
Mount: container_path=1 string, host_path=2 string, readonly=3 bool, propagation=5 int32
Device: container_path=1 string, host_path=2 string, permissions=3 string
LinuxContainerResources: cpu_period=1 int64, cpu_quota=2 int64, cpu_shares=3 int64, memory_limit_in_bytes=4 int64,
    oom_score_adj=5 int64, cpuset_cpus=6 string, cpuset_mems=7 string
Capability: add_capabilities=1 *string, drop_capabilities=2 *string
LinuxContainerSecurityContext: capabilities=1 Capability, privileged=2 bool, namespace_options=3 NamespaceOption,
    run_as_user=5 Int64Value, run_as_username=6 string, readonly_rootfs=7 bool, supplemental_groups=8 *int64,
    no_new_privs=11 bool, run_as_group=12 Int64Value, masked_paths=13 *string, readonly_paths=14 *string,
    seccomp=15 SecurityProfile
LinuxContainerConfig: resources=1 LinuxContainerResources, security_context=2 LinuxContainerSecurityContext
ContainerConfig: metadata=1 ContainerMetadata, image=2 ImageSpec, command=3 *string, args=4 *string,
    working_dir=5 string, envs=6 *KeyValue, mounts=7 *Mount, devices=8 *Device, log_path=11 string, stdin=12 bool,
    tty=14 bool, linux=15 LinuxContainerConfig
CreateContainerRequest: pod_sandbox_id=1 string, config=2 ContainerConfig, sandbox_config=3 PodSandboxConfig
CreateContainerResponse: container_id=1 string
StartContainerRequest: container_id=1 string
StartContainerResponse:
StopContainerRequest: container_id=1 string, timeout=2 int64
StopContainerResponse:
RemoveContainerRequest: container_id=1 string
RemoveContainerResponse:
ContainerStatusRequest: container_id=1 string, verbose=2 bool
ContainerStatus: id=1 string, metadata=2 ContainerMetadata, state=3 int32, exit_code=7 int32, reason=10 string,
    message=11 string, log_path=15 string
ContainerStatusResponse: status=1 ContainerStatus, info=2 *KeyValue
UpdateContainerResourcesRequest: container_id=1 string, linux=2 LinuxContainerResources
UpdateContainerResourcesResponse:
ExecSyncRequest: container_id=1 string, cmd=2 *string, timeout=3 int64
ExecSyncResponse: stdout=1 bytes, stderr=2 bytes, exit_code=3 int32
"""


def classes():
    """A class for each message of the table."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="cri.proto", package="runtime.v1", syntax="proto3")
    for line in MESSAGES.replace("\n    ", " ").strip().splitlines():
        name, _, fields = line.partition(":")
        message = file.message_type.add(name=name)
        for item in filter(None, map(str.strip, fields.split(","))):
            name, _, rest = item.partition("=")
            number, kind = rest.split()
            label = field.LABEL_REPEATED if kind.startswith("*") else field.LABEL_OPTIONAL
            kind = kind.lstrip("*")
            made = message.field.add(name=name, number=int(number), label=label)
            if kind[0].isupper():
                made.type, made.type_name = field.TYPE_MESSAGE, ".runtime.v1." + kind
            else:
                made.type = getattr(field, "TYPE_" + kind.upper())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    return {
        message.name: factory.GetPrototype(pool.FindMessageTypeByName("runtime.v1." + message.name))
        for message in file.message_type
    }


def plain(value):
    """A message as JSON; what has no value keeps its default, a message that is absent is null."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if not hasattr(value, "DESCRIPTOR"):
        return value
    result = {}
    for field in value.DESCRIPTOR.fields:
        content = getattr(value, field.name)
        if field.label == field.LABEL_REPEATED:
            result[field.name] = [plain(item) for item in content]
        else:
            absent = field.message_type is not None and not value.HasField(field.name)
            result[field.name] = None if absent else plain(content)
    return result


def main():
    known = classes()
    channel = grpc.insecure_channel("unix://" + sys.argv[1])
    for line in sys.stdin:
        asked = json.loads(line)
        method = asked["call"]
        service = "ImageService" if method.startswith("Image") else "RuntimeService"
        call = channel.unary_unary(
            f"/runtime.v1.{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=known[method + "Response"].FromString,
        )
        try:
            request = json_format.ParseDict(asked["request"], known[method + "Request"]())
            answer = {"response": plain(call(request, timeout=PATIENCE))}
        except grpc.RpcError as error:
            answer = {"error": f"{error.code().name}: {error.details()}"}
        except json_format.ParseError as error:
            answer = {"error": f"the test's own: {error}"}
        print(json.dumps(answer), flush=True)


main()
