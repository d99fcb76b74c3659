"""Whether a section of a document names just the options that a program's --help has, but those
of every program.

    python3 documented_options.py PROGRAM FILE SECTION
"""

import re
import subprocess
import sys
from pathlib import Path


OF_EVERY_PROGRAM = {"--help", "--version"}


def options_of(program: str) -> set[str]:
    shown = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^  (?:-\w,)?(--[\w-]+)", shown, flags=re.MULTILINE))


def options_in(section: str, file: Path) -> set[str]:
    """Those between backquotes that begin with them."""
    parts = re.split(r"^## (.*)\n", file.read_text(), flags=re.MULTILINE)
    texts = dict(zip(parts[1::2], parts[2::2]))
    return set(re.findall(r"`(--[\w-]+)", texts[section]))


def main() -> int:
    program, file, section = sys.argv[1:]
    known, named = (options - OF_EVERY_PROGRAM
                    for options in (options_of(program), options_in(section, Path(file))))
    for option in sorted(known - named):
        print(f"{file}, {section}: {option} is not there")
    for option in sorted(named - known):
        print(f"{file}, {section}: {Path(program).name} has no {option}")
    return int(known != named or not known)


if __name__ == "__main__":
    sys.exit(main())
