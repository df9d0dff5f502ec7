"""Executes a program for which the kernel refuses some calls.

    deny.py NAME=ERROR[,NAME=ERROR...] PROGRAM ARGUMENT...

ERROR is a name of errno(3).
"""

import errno
import os
import sys

import seccomp

made = seccomp.SyscallFilter(seccomp.ALLOW)
for rule in sys.argv[1].split(","):
    name, error = rule.split("=")
    made.add_rule(seccomp.ERRNO(getattr(errno, error)), name)
made.load()
os.execv(sys.argv[2], sys.argv[2:])
