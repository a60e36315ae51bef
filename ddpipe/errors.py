"""The one exception that a user is meant to read."""


class UserError(Exception):
    """A mistake the user can mend: one sentence that names the key or path and says what to do.

    Commands print it after `error: ` and exit with code 2, without a traceback; nothing half-written is left behind.
    """


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` is a lack of memory, for which torch has no common class.

    CUDA raises OutOfMemoryError, a RuntimeError; the CPU's allocator a plain RuntimeError.
    """
    told = isinstance(error, RuntimeError) and "memory" in str(error).split("\n")[0].lower()
    return told or isinstance(error, MemoryError)
