"""The one exception that a user is meant to read."""


class UserError(Exception):
    """A mistake the user can mend: one sentence that names the key or path and says what to do.

    Commands print it after `error: ` and exit with code 2, without a traceback; nothing half-written is left behind.
    Keys and values of foreign files stand in it: what a terminal would obey is written out as an escape.
    """

    def __init__(self, sentence: str):
        super().__init__(plain(sentence))


def plain(text: str) -> str:
    r"""`text` on one line, a line feed as \n."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` is a lack of memory, for which torch has no common class.

    CUDA raises OutOfMemoryError, a RuntimeError; the CPU's allocator a plain RuntimeError.
    """
    told = isinstance(error, RuntimeError) and "memory" in str(error).split("\n")[0].lower()
    return told or isinstance(error, MemoryError)
