"""YAML that people write. Nothing in it is lost without a word, and none of it ends the process."""

from typing import Any, Final

import yaml

DEEPEST: Final = 100  # levels


class _Loader(yaml.CSafeLoader):
    """PyYAML keeps the last of two equal keys; YAML 1.2.2, 3.2.1.1, has keys unique."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - as PyYAML has it
        """Make a map. Raises ConstructorError when a key comes twice."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f"the key {key.value!r} comes twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def check_depth(text: str | bytes) -> None:
    """Raise ValueError when a text has more levels than libyaml's loader has stack for (seen: 100,000 end the process).

    Raises yaml.YAMLError when it is no YAML.
    """
    depth = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            message = f"more than {DEEPEST} levels"
            raise ValueError(message)


def document_of(text: str | bytes) -> Any:
    """Return the one document of a text. Raises yaml.YAMLError, and ValueError for some bad values."""
    check_depth(text)
    return yaml.load(text, _Loader)  # noqa: S506 - a safe one
