"""The command that archives files inside a container, and what it tells before the archive begins.

It runs in whatever shell and tar the container has: dash, bash or busybox; GNU tar or busybox tar. Paths travel as
arguments and never become part of the script. Before the archive the script prints a preamble, on the same stream
and therefore in order: one "KEY PATH" per line, closed by an empty line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from posixpath import normpath

from firebreak.kube.tarheader import normalised

PREAMBLE_START = b"firebreak-tar 1\n"
PREAMBLE_END = b"\n\n"
MAIN_PROCESS = "/proc/1/cwd"
"""Where the container's main process works; `/` when the pod shares its process namespace."""
MAX_PREAMBLE = 64 * 1024
"""Bytes of the preamble: at most a few paths of 4 KiB each."""

SCRIPT = r"""
export LC_ALL=C
IFS='
'
set -f
main=$1
secrets=$2
shift 2
printf '%s\n' 'firebreak-tar 1'

# Directories are taken where they really are: ./home would be a mere link where /home links to /usr/home.
real() { (cd -P "$1" 2>/dev/null && pwd -P); }

patterns=
while [ "$secrets" -gt 0 ]; do
  secrets=$((secrets - 1))
  if [ -d "$1" ]; then at=$(real "$1")
  else at=$(real "${1%/*}/") && at=${at%/}/${1##*/}
  fi
  case $at in
    *"$IFS"* | / | '') ;;
    *)
      printf '%s\n' "secret $at"
      case $1 in /var/run/*) alias=${1#/var} ;; *) alias=$1 ;; esac
      # Where a link leads is no business of tar's here: the reader of the archive decides what stays out of it.
      # tar reads these as patterns, so odd names are left to that reader too.
      case $at in
        *[]*?[\\]*) ;;
        "$1" | "$alias") patterns=$patterns${patterns:+$IFS}--exclude=.$at ;;
      esac
      ;;
  esac
  shift
done

roots=
covered() {
  for root in $roots; do
    case $1/ in "$root"/*) return 0 ;; esac
  done
  return 1
}
take() {
  case $1 in
    *"$IFS"* | / | /proc | /proc/* | /sys | /sys/* | '') printf '%s\n' 'refused a path that is no place for files' ;;
    *) covered "$1" || { roots=$roots${roots:+$IFS}$1; printf '%s\n' "root $1"; } ;;
  esac
}
for path do
  if [ -L "$path" ]; then take "$path"; fi
  if [ -d "$path" ]; then take "$(real "$path")"
  elif [ -e "$path" ]; then take "$path"
  elif ! [ -L "$path" ]; then printf '%s\n' "missing $path"
  fi
done
if at=$(real "$main"); then
  case $at in *"$IFS"*) ;; *) printf '%s\n' "cwd $at" ;; esac
  [ "$at" = / ] || take "$at"
fi
echo

[ -n "$roots" ] || exit 0
cd / || exit
# Without exclusion, times of access and a way to leave them alone, tar does its main job all the same.
tar -cf - --exclude=./x /dev/null >/dev/null 2>&1 || patterns=
times='--format=posix
--atime-preserve=system'
tar -cf - $times /dev/null >/dev/null 2>&1 || times=
set -- $patterns $times
for root in $roots; do set -- "$@" ".$root"; done
exec tar -cf - "$@"
"""


def tar_command(
    paths: Sequence[str], excludes: Sequence[str] = (), working_directory: str = MAIN_PROCESS
) -> tuple[str, ...]:
    """Archive `paths` and the working directory to stdout, without what lies under `excludes`.

    All are absolute paths in the container; missing ones are named in the preamble. Excluding here only saves
    bytes: what guarantees it is the TarFilter on our side.
    """
    hidden = absolute(excludes)
    return ("sh", "-c", SCRIPT, "firebreak", working_directory, str(len(hidden)), *hidden, *outermost(paths))


def direct_command(paths: Sequence[str]) -> tuple[str, ...]:
    """Archive `paths` without a shell: no preamble, no working directory, and tar complains of missing ones."""
    return ("tar", "-cf", "-", "-C", "/", *(f".{path}" for path in outermost(paths)))


def absolute(paths: Sequence[str]) -> tuple[str, ...]:
    """Write paths in one way, without duplicates, `..` and line breaks; the root itself is left out."""
    spelled = dict.fromkeys(normpath(f"/{path.lstrip('/')}") for path in paths if not {"\n", "\0"} & set(path))
    return tuple(path for path in spelled if path != "/")


def outermost(paths: Sequence[str]) -> tuple[str, ...]:
    """Leave out paths that lie under another one, so that no file is archived twice."""
    all_paths = absolute(paths)
    return tuple(path for path in all_paths if not any(path.startswith(other + "/") for other in all_paths))


@dataclass(frozen=True, slots=True)
class Preamble:
    """What the script found: hostile text, like everything from a container."""

    roots: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    working_directory: str | None = None


def parse_preamble(data: bytes) -> Preamble:
    """Read the preamble's lines, without its start and its end. Never raises; unknown lines are skipped."""
    found: dict[str, list[str]] = {}
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        key, blank, path = line.partition(" ")
        if blank and path.startswith("/"):
            found.setdefault(key, []).append(path)
    return Preamble(
        roots=tuple(found.get("root", ())),
        missing=tuple(found.get("missing", ())),
        secrets=tuple(found.get("secret", ())),
        working_directory=found["cwd"][0] if "cwd" in found else None,
    )


@dataclass(frozen=True, slots=True)
class Detours:
    """Where known secret mounts lead in the container, other than where the pod's spec says.

    A link chooses that place, and the container chooses its links: what is left out there may be no secret at all.
    """

    left_out: tuple[str, ...] = ()
    """Below something that was asked for: left out, for a mount behind a link really is there."""
    kept: tuple[str, ...] = ()
    """At or above something that was asked for: leaving it out would leave nothing, so it was not."""

    def __bool__(self) -> bool:
        return bool(self.left_out or self.kept)


def detours(preamble: Preamble, declared: Sequence[str], paths: Sequence[str]) -> Detours:
    """Judge the places that the script calls secret; those that touch nothing asked for do not matter.

    /var/run and /run are one place. The script names one place for each declared path: what it names beyond that is
    made up, and kept.
    """
    expected = [_parts(path) for path in absolute(declared)]
    asked = {_parts(path) for path in (*absolute(paths), *preamble.roots, preamble.working_directory or "/")} - {()}
    left_out, kept = [], list(preamble.secrets[len(expected) :])
    for path in dict.fromkeys(preamble.secrets[: len(expected)]):
        place = _parts(path)
        if any(_is_at_or_below(place, known) for known in expected):
            continue
        if any(_is_at_or_below(root, place) for root in asked):
            kept.append(path)
        elif any(_is_at_or_below(place, root) for root in asked):
            left_out.append(path)
    return Detours(tuple(left_out), tuple(kept))


def _parts(path: str) -> tuple[bytes, ...]:
    return normalised(path.encode("utf-8", "surrogateescape"))


def _is_at_or_below(place: tuple[bytes, ...], other: tuple[bytes, ...]) -> bool:
    return place[: len(other)] == other
