import pickle

from umlite.commands.reporting import message_of, naming
from umlite.errors import OutputError


def test_an_error_says_what_it_is_about_in_another_process_too() -> None:
    error = pickle.loads(pickle.dumps(OutputError("Full.", about=("overwrite", "output"))))
    assert (str(error), error.about) == ("Full.", ("overwrite", "output"))
    assert OutputError("Full.", about="output").about == ("output",)
    assert OutputError("Full.").about == ()


def test_only_flags_of_the_running_command_are_named() -> None:
    error = OutputError("It exists.", about=("overwrite", "output"))
    assert message_of(error) == "It exists."
    with naming({"output": "--output", "seed": "--seed"}):
        assert message_of(error) == "It exists. (--output)"
        assert message_of(ValueError("Odd.")) == "Odd."
        assert message_of(ValueError()) == "ValueError()"
