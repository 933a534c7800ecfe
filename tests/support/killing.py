"""A process that is killed just before any change that it makes to names of files, and a file system that knows few ways."""

from __future__ import annotations

import errno
import os

from wherry import safetree

CHANGES = [(os, "rename"), (os, "replace"), (os, "unlink"), (os, "rmdir"), (os, "fsync"), (safetree, "_rename")]


def without_exchange(source, target, flags):
    """As a file system that knows neither flag of renameat2."""
    if flags == safetree._RENAME_EXCHANGE:
        raise OSError(errno.EINVAL, "Invalid argument", target)
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, "File exists", target)
    os.rename(source, target)


def killed(at, action):
    """Runs ``action`` in a process that is killed just before it changes something the ``at``-th time; tells whether it was."""
    child = os.fork()
    if not child:
        left = [at]

        def counting(real):
            def changes(*given, **named):
                if not left[0]:
                    os._exit(9)
                left[0] -= 1
                return real(*given, **named)

            return changes

        try:
            for module, name in CHANGES:
                setattr(module, name, counting(getattr(module, name)))
            action()
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 9
