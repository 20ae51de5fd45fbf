"""The error for input that the user can correct."""


class InputError(ValueError):
    """An error in the user's input: a file, a folder or a setting is not usable.

    The message is ``where: expected …; found …``. Entry points print only the message, without a traceback, and exit
    with status 1.

    Args:
        where: the file, folder or setting.
        expected: the input that would be valid.
        found: the actual input, or the reason why it is not usable.
    """

    def __init__(self, where: object, expected: str, found: object) -> None:
        super().__init__(f"{where}: expected {expected}; found {found}")

    def __reduce__(self) -> tuple:
        # Worker processes pickle this error. The default would call __init__ with a single argument.
        return (_rebuild, (self.args[0],))


def _rebuild(message: str) -> InputError:
    error = InputError.__new__(InputError)
    ValueError.__init__(error, message)
    return error
