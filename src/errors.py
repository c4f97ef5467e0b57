"""Errors that are printed as one paragraph."""


class UserError(Exception):
    """What the user can fix: printed as one paragraph without a traceback; the process exits with code 2.

    The message names the value, the rule, and what to do. Constructors raise ValueError for their arguments, which
    is printed in the same way; this is for what is found later.
    """


class RankLost(Exception):
    """Another process of the run has died: printed as one paragraph too, but the process exits with code 1."""
