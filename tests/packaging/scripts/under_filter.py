"""Executes a program under the system call filter of a container profile or of a systemd unit.

    under_filter.py profile FILE [--without NAME,NAME] -- PROGRAM ARGUMENT...
    under_filter.py unit FILE -- PROGRAM ARGUMENT...

A profile is installed as a container runtime does it. Of a unit this is, with systemd's own list of what is in each set of
calls: SystemCallFilter=, RestrictAddressFamilies=, MemoryDenyWriteExecute= and the limits.
"""

import argparse
import errno
import json
import os
import resource
import socket
import subprocess
import sys

import seccomp

PROT_WRITE, PROT_EXEC = 2, 4
OPERATORS = {"SCMP_CMP_EQ": seccomp.EQ, "SCMP_CMP_MASKED_EQ": seccomp.MASKED_EQ}
RESOURCES = {
    "LimitMEMLOCK": resource.RLIMIT_MEMLOCK,
    "LimitNOFILE": resource.RLIMIT_NOFILE,
    "LimitCORE": resource.RLIMIT_CORE,
}


def known(name):
    """Whether this processor has the call: lists name those of all processors."""
    return seccomp.resolve_syscall(seccomp.Arch(), name) >= 0


def profile_filter(path, without):
    with open(path) as file:
        profile = json.load(file)
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO", profile["defaultAction"]
    made = seccomp.SyscallFilter(seccomp.ERRNO(profile["defaultErrnoRet"]))
    for rule in profile["syscalls"]:
        allowed = rule["action"] == "SCMP_ACT_ALLOW"
        assert allowed or rule["action"] == "SCMP_ACT_ERRNO", rule["action"]
        action = seccomp.ALLOW if allowed else seccomp.ERRNO(rule["errnoRet"])
        arguments = [condition(argument) for argument in rule.get("args", [])]
        for name in rule["names"]:
            if known(name) and name not in without:
                made.add_rule(action, name, *arguments)
    return made


def condition(argument):
    operands = [argument["value"]]
    if argument["op"] == "SCMP_CMP_MASKED_EQ":
        operands.append(argument["valueTwo"])
    return seccomp.Arg(argument["index"], OPERATORS[argument["op"]], *operands)


def unit_settings(path):
    """Every value of every setting, in order."""
    settings = {}
    with open(path) as file:
        for line in file:
            if "=" in line and not line.startswith(("#", ";")):
                name, value = line.strip().split("=", 1)
                settings.setdefault(name, []).append(value)
    return settings


def members(name):
    """The calls in one of systemd's sets, which may have sets in them."""
    if not name.startswith("@"):
        return {name}
    listing = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True)
    lines = [line.strip() for line in listing.stdout.splitlines()[1:]]
    return set().union(*(members(line) for line in lines if line and not line.startswith("#")))


def allowed_calls(lines):
    """systemd's reading: the first line says that this is a list of what is allowed, later ones add and take away."""
    assert lines and not lines[0].startswith("~"), lines
    allowed = members("@default")
    for line in lines:
        calls = set().union(*(members(name) for name in line.lstrip("~").split()))
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed


def unit_filter(settings):
    assert settings["SystemCallErrorNumber"] == ["EPERM"], settings["SystemCallErrorNumber"]
    made = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    allowed = {name for name in allowed_calls(settings["SystemCallFilter"]) if known(name)}
    for name in sorted(allowed - {"socket", "mmap", "mprotect", "pkey_mprotect", "shmat"}):
        made.add_rule(seccomp.ALLOW, name)
    for family in settings["RestrictAddressFamilies"][-1].split():
        made.add_rule(seccomp.ALLOW, "socket", seccomp.Arg(0, seccomp.EQ, getattr(socket, family)))
    assert settings["MemoryDenyWriteExecute"] == ["yes"], settings["MemoryDenyWriteExecute"]
    both = PROT_WRITE | PROT_EXEC
    for protection in (0, PROT_WRITE, PROT_EXEC):
        made.add_rule(seccomp.ALLOW, "mmap", seccomp.Arg(2, seccomp.MASKED_EQ, both, protection))
    made.add_rule(seccomp.ALLOW, "mprotect", seccomp.Arg(2, seccomp.MASKED_EQ, PROT_EXEC, 0))
    return made


def set_limits(settings):
    for name, which in RESOURCES.items():
        value = settings[name][-1]
        limit = resource.RLIM_INFINITY if value == "infinity" else int(value)
        try:
            resource.setrlimit(which, (limit, limit))
        except (ValueError, PermissionError):
            # systemd may raise any limit; where the tests may not, what they have is less than the unit gives.
            hard = resource.getrlimit(which)[1]
            resource.setrlimit(which, (hard, hard))


def main():
    divider = sys.argv.index("--")
    program = sys.argv[divider + 1 :]
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["profile", "unit"])
    parser.add_argument("file")
    parser.add_argument("--without", default="")
    arguments = parser.parse_args(sys.argv[1:divider])
    if arguments.kind == "profile":
        made = profile_filter(arguments.file, arguments.without.split(","))
    else:
        settings = unit_settings(arguments.file)
        set_limits(settings)
        made = unit_filter(settings)
    made.load()
    os.execv(program[0], program)


main()
