"""The one error that a user is meant to read."""


class InputError(ValueError):
    """Something that the user gave is not usable: a file, a folder, a setting.

    The message names it, says what was expected and what was found. Entry points print the message alone,
    without a traceback, and exit with status 1.
    """

    def __init__(self, where: object, expected: str, found: object) -> None:
        super().__init__(f"{where}: expected {expected}; found {found}")

    def __reduce__(self) -> tuple:
        # Crosses process boundaries (workers); the default would call __init__ with one argument.
        return (_rebuild, (self.args[0],))


def _rebuild(message: str) -> InputError:
    error = InputError.__new__(InputError)
    ValueError.__init__(error, message)
    return error
