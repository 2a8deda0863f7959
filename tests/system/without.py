"""Runs a program on a kernel that refuses system calls.

without.py NAME[,NAME] PROGRAM [ARGUMENT ...]: NAME is one of CALLS. The calls are refused in the
program and in all that it starts.
"""

import ctypes
import os
import struct
import sys

ENOSYS, EPERM = 38, 1

# The number on x86-64, the error, and what an argument must be (its place, its value).
CALLS = {
    'unshare': (272, ENOSYS, None),
    'pivot_root': (155, ENOSYS, None),
    'move_mount': (429, ENOSYS, None),
    'landlock_create_ruleset': (444, ENOSYS, None),
    'seccomp': (317, ENOSYS, None),
    'prctl(PR_SET_SECCOMP)': (157, ENOSYS, (0, 22)),
    # Without flags: that is how datagrams are sent, and nothing else is.
    'sendmsg(0)': (46, EPERM, (2, 0)),
}

PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
ALLOW = 0x7FFF0000
REFUSE = 0x00050000
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER, FIRST_ARGUMENT, ARGUMENT_BYTES = 0, 16, 8


def instruction(code, value, if_true=0, if_false=0):
    return struct.pack('HBBI', code, if_true, if_false, value)


def refusing(number, error, argument):
    """A filter in classic BPF."""
    place, value = argument or (0, 0)
    check = [
        instruction(LOAD, FIRST_ARGUMENT + place * ARGUMENT_BYTES),
        instruction(JUMP_IF_EQUAL, value, 0, 1),
    ] if argument else []
    return b''.join([
        instruction(LOAD, NUMBER),
        instruction(JUMP_IF_EQUAL, number, 0, len(check) + 1),
        *check,
        instruction(RETURN, REFUSE | error),
        instruction(RETURN, ALLOW),
    ])


def main():
    _, names, *command = sys.argv
    libc = ctypes.CDLL(None, use_errno=True)
    for name in names.split(','):
        code = refusing(*CALLS[name])
        program = ctypes.create_string_buffer(code, len(code))
        header = struct.pack('HxxxxxxP', len(code) // 8, ctypes.addressof(program))
        # As root no promise of fewer privileges is needed, and the server makes its own.
        if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0) != 0:
            sys.exit(f'no filter for {name}: {os.strerror(ctypes.get_errno())}')
    os.execv(command[0], command)


main()
