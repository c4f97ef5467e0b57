"""What goes wrong in a way that the user can mend."""


class UserError(Exception):
    """Shown as one paragraph without a traceback; the process ends with code 2.

    The message names what is wrong with which value, the rule, and a way out. Constructors raise ValueError
    for their arguments, which is shown in the same way; this is for what comes to light later.
    """


class RankLost(Exception):
    """A process of the run is gone. Shown as one paragraph too, but ends with code 1: nobody typed it."""
