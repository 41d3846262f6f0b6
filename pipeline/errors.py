"""The one exception that a user's mistake raises."""


class PipelineError(Exception):
    """Something that the user can mend; the command line prints its text, without a traceback, and exits with 1.

    The text names the file or key, what was found, what was expected and what to do.
    """
