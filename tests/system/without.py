"""Runs a program on a kernel that lacks a system call: without.py NAME PROGRAM [ARGUMENT ...]

NAME is one of CALLS. The call answers ENOSYS in the program and in all that it starts.
"""

import ctypes
import os
import struct
import sys

# Numbers of x86-64; the second one is what the first argument must be, where it matters.
CALLS = {
    'unshare': (272, None),
    'pivot_root': (155, None),
    'move_mount': (429, None),
    'landlock_create_ruleset': (444, None),
    'seccomp': (317, None),
    'prctl(PR_SET_SECCOMP)': (157, 22),
}

ENOSYS = 38
PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
ALLOW = 0x7FFF0000
REFUSE = 0x00050000 | ENOSYS
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER, FIRST_ARGUMENT = 0, 16


def instruction(code, value, if_true=0, if_false=0):
    return struct.pack('HBBI', code, if_true, if_false, value)


def refusing(number, argument):
    """A filter in classic BPF."""
    is_checked = argument is not None
    check = [
        instruction(LOAD, FIRST_ARGUMENT),
        instruction(JUMP_IF_EQUAL, argument, 0, 1),
    ] if is_checked else []
    return b''.join([
        instruction(LOAD, NUMBER),
        instruction(JUMP_IF_EQUAL, number, 0, len(check) + 1),
        *check,
        instruction(RETURN, REFUSE),
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
