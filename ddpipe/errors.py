"""The one exception that a user is meant to read."""


class UserError(Exception):
    """A mistake the user can mend: one sentence that names the key or path and says what to do.

    Commands print it after `error: ` and exit with code 2, without a traceback; nothing half-written is left behind.
    """
