"""What is known of a hostile file besides its bytes, and the harmless thing that each payload does."""

import dataclasses

# Every payload that can do anything leaves this file in the current folder and does nothing else. A test that finds it
# has proof that something ran.
CANARY = "TAPER_CANARY"
SHELL = f"touch {CANARY}"
PYTHON = f"open('{CANARY}', 'a').close()"


@dataclasses.dataclass(frozen=True)
class HostileFile:
    """A file and what is to be expected of those who read it.

    `runs` names what Python would call while it loads the file, as `module.name`, the first call first; empty if
    loading calls nothing that is not part of reading weights. `proof`: loading it with PyTorch (weights_only=False) on
    Linux with Python 3.11 leaves the canary, which proves the claim of `runs`. `program` is how taper is given it:
    `checkpoint`, `config` or `verify-input`. `may_convert`: what is wrong with it may be invisible or harmless to a
    converter that calls nothing, so that exporting is right too. `mentions`: the error holds one of these words.
    """

    name: str
    group: str
    about: str
    data: bytes = dataclasses.field(repr=False)
    runs: tuple = ()
    proof: bool = False
    program: str = "checkpoint"
    may_convert: bool = False
    mentions: tuple = ()

    def description(self):
        """Everything but the bytes, for the manifest."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "data"} | {
            "bytes": len(self.data)
        }
