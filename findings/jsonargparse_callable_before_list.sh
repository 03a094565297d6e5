#!/bin/sh
# jsonargparse writes a list as "Unable to serialize instance" if a Callable stands before the list in the type.
#
# One would guess: the order of the members of a union does not matter, so that what was parsed from a configuration can be
#   written and parsed again (LightningCLI saves every run's configuration this way).
# What is so: a value is written by the first member that does not refuse it, and a Callable refuses
#   nothing: the list of parsed classes becomes one string, which no longer parses; a warning says "Unable to serialize instance". With the list first it is
#   written as it was read.
# Seen with: jsonargparse 4.53.0, Python 3.11.
# Source: jsonargparse's documentation on unions (members are tried in order when a value is parsed).
set -eu
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install --quiet "jsonargparse[signatures]==4.53.0" PyYAML==6.0.3
cat > "$room/shop.py" <<'PYTHON'
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Price:
    amount: float


class Discount:
    def __init__(self, percent: int = 10):
        self.percent = percent

    def __call__(self, amount: float) -> Price:
        return Price(amount)


class CallableFirst:
    def __init__(self, rules: Callable[..., Price] | Sequence[Callable[..., Price]]):
        pass


class ListFirst:
    def __init__(self, rules: Sequence[Callable[..., Price]] | Callable[..., Price]):
        pass
PYTHON
cd "$room"
"$room/venv/bin/python" - <<'PYTHON'
import sys

import jsonargparse
import shop

rules = [{"class_path": "shop.Discount", "init_args": {"percent": 5}}, {"class_path": "shop.Discount"}]
written = {}
for kind in (shop.CallableFirst, shop.ListFirst):
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "till")
    text = parser.dump(parser.parse_object({"till": {"rules": rules}}))
    try:
        parser.parse_string(text)
        again = "parses again"
    except jsonargparse.ArgumentError:
        again = "does not parse again"
    written[kind.__name__] = ("Unable to serialize" in text, again)
    print(kind.__name__, "unreadable" if "Unable to serialize" in text else "a list", "-", again)
print("jsonargparse", jsonargparse.__version__)
expected = {"CallableFirst": (True, "does not parse again"), "ListFirst": (False, "parses again")}
sys.exit(0 if written == expected else 1)
PYTHON
