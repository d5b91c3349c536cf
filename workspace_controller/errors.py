"""The errors that end a plan: what only the user can mend."""

from __future__ import annotations


class UserError(Exception):
    """Something in the Workspace, or in what it names, cannot work as it stands.

    It becomes the condition `condition`=False with `reason` (a wire word: letters, digits,
    underscores) and `message` (the words that admission uses), and one event. It is not
    retried: the next change of the Workspace, or of what it names, starts a new round. What is
    not watched (a Secret) is looked at again after `look_again` seconds.
    """

    def __init__(
        self, condition: str, reason: str, message: str, *, look_again: float | None = None
    ) -> None:
        super().__init__(message)
        self.condition = condition
        self.reason = reason
        self.message = message
        self.look_again = look_again
