"""Everything a training run is made of, read from YAML and checked before anything is loaded."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any, Self

import yaml

from blockskim.checks import check_count, check_known, check_range, check_whole
from blockskim.data.windows import WindowSettings
from blockskim.errors import ConfigError
from blockskim.method.config import SkimConfig
from blockskim.training.distillation_settings import DistillationSettings

GROUPS = ("skim", "windows", "distillation")
"""Settings that are mappings of settings."""

POSITIVE = (
    "epochs",
    "batch_size",
    "gradient_accumulation",
    "learning_rate",
    "head_learning_rate",
    "predictor_learning_rate",
    "max_grad_norm",
    "max_answer_length",
)
FROM_ZERO = ("weight_decay", "eval_steps", "eval_examples", "seed")
SHARES = ("warmup", "hidden_dropout", "attention_dropout", "drop_share", "elsewhere_share")
WHOLE = ("batch_size", "gradient_accumulation", "eval_steps", "eval_examples", "max_answer_length", "seed")
"""What the numbers among the settings may be: above 0, at least 0, from 0 to 1; and which of them are whole."""

SWITCHES = ("predictors_only", "label_evidence", "group_by_length")
MOST = 1e30
"""Of other numbers; what is larger overflows in float32."""

LARGEST = 2**32 - 1
"""Of whole numbers; it is the largest seed of NumPy."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings of a training run.

    Attributes:
        skim: blocks, predictors and the weights of the skim loss.
        windows: how contexts are cut.
        distillation: what is learned from a teacher, if there is one, and from the model's own dense run.
        predictors_only: leave encoder and QA head as they are and train the predictors alone, so that what the model
            answers without skimming does not change: those that it has, or new ones where the recipe calls for others.
        label_evidence: whether blocks of sentences that support the answer (HotpotQA) count as relevant, as in the
            paper, or only those of the answer itself.
        elsewhere_share: share of the answerable questions that are asked once more of another context of their article
            (of their file where titles name no articles), in which no answer of theirs stands, so that the model learns
            to say that there is none.
        drop_share: share of the steps in which blocks are really dropped, as at inference, but none with an answer.
        drop_thresholds: lowest and highest threshold of such a step, which is drawn in between on a logarithmic scale
            and holds for all layers.
        epochs: passes over the data.
        batch_size: windows per step, those of all processes together.
        gradient_accumulation: parts in which the windows of a step run, one after the other; more need less memory.
        learning_rate: of the encoder, at its peak.
        head_learning_rate: of the QA head, at its peak; of the predictors, too, if they have none of their own.
        predictor_learning_rate: of the predictors, at its peak; None for that of the QA head.
        warmup: share of the steps in which the learning rate rises; it falls linearly after.
        weight_decay: of the optimizer (AdamW).
        max_grad_norm: gradients are clipped to this norm.
        hidden_dropout: dropout on hidden states.
        attention_dropout: dropout on attention probabilities.
        precision: "float32", "bfloat16", "float16", or "auto" for bfloat16 where the machine has it in hardware.
        group_by_length: whether windows of similar length share a batch, so that little padding is computed.
        eval_steps: evaluate and save every so many steps; 0: after each epoch.
        eval_examples: evaluate on that many examples of the development data; 0 for all.
        max_answer_length: most tokens in an answer, at evaluation.
        seed: of everything random.

    Examples:
        >>> from blockskim import Recipe
        >>> recipe = Recipe.load("skim").replace(epochs=3, skim={"block_size": 32})
        >>> recipe.epochs, recipe.skim.block_size
        (3, 32)
    """

    skim: SkimConfig = field(default_factory=SkimConfig)
    windows: WindowSettings = field(default_factory=WindowSettings)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    predictors_only: bool = False
    label_evidence: bool = True
    elsewhere_share: float = 0.0
    drop_share: float = 0.0
    drop_thresholds: tuple[float, float] = (0.05, 0.5)
    epochs: float = 2.0
    batch_size: int = 16
    gradient_accumulation: int = 1
    learning_rate: float = 3e-5
    head_learning_rate: float = 1e-3
    predictor_learning_rate: float | None = None
    warmup: float = 0.06
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    hidden_dropout: float = 0.1
    attention_dropout: float = 0.0
    precision: str = "auto"
    group_by_length: bool = True
    eval_steps: int = 0
    eval_examples: int = 0
    max_answer_length: int = 30
    seed: int = 42

    def __post_init__(self) -> None:
        """Bring numbers to Python's own and refuse impossible values."""
        for name, kind in (("skim", SkimConfig), ("windows", WindowSettings), ("distillation", DistillationSettings)):
            if not isinstance(getattr(self, name), kind):
                raise ConfigError(f"{name} is {getattr(self, name)!r:.80}; it must be a {kind.__name__}")
        for name in (*POSITIVE, *FROM_ZERO, *SHARES):
            value = getattr(self, name)
            if value is None and name == "predictor_learning_rate":
                continue
            most = 1.0 if name in SHARES else LARGEST if name in WHOLE else MOST
            value = check_range(name, value, 0.0, most, open_low=name in POSITIVE)
            object.__setattr__(self, name, check_whole(name, value) if name in WHOLE else value)
        object.__setattr__(self, "windows", _checked_windows(self.windows))
        object.__setattr__(self, "drop_thresholds", _range("drop_thresholds", self.drop_thresholds))
        self.part_size()
        if self.distillation.self_weight and self.predictors_only:
            raise ConfigError(
                f"distillation.self_weight is {self.distillation.self_weight}; a model's own dense run teaches encoder "
                "and QA head, which predictors_only leaves as they are"
            )
        if self.predictors_only and not (self.skim.has_skim_loss or self.skim.teaching_factor):
            raise ConfigError(
                "skim.skim_factor and skim.teaching_factor are 0, and predictors_only trains nothing else; one of them "
                "must be above 0"
            )
        if self.distillation.self_weight and not self.drop_share:
            raise ConfigError(
                f"distillation.self_weight is {self.distillation.self_weight} but drop_share is 0; it is for the steps "
                "in which blocks are dropped"
            )
        for name in SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it must be true or false")
        if self.precision not in ("auto", "float32", "bfloat16", "float16"):
            raise ConfigError(f"precision is {self.precision!r}; it must be auto, float32, bfloat16 or float16")

    def part_size(self, processes: int = 1) -> int:
        """Windows that one of several processes runs at once.

        Raises:
            ConfigError: the windows of a step can't be shared out evenly.
        """
        parts = self.gradient_accumulation * processes
        if self.batch_size % parts:
            among = f" in each of {processes} processes" if processes > 1 else ""
            raise ConfigError(
                f"batch_size is {self.batch_size}, which does not divide into gradient_accumulation "
                f"{self.gradient_accumulation} equal parts{among}; it must be a multiple of {parts}"
            )
        return self.batch_size // parts

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read settings by name; ``skim``, ``windows`` and ``distillation`` are mappings of their own.

        Raises:
            ConfigError: a name is unknown or a value impossible.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(f"a recipe is {values!r:.80}; it must be a mapping of settings")
        given = _named(values)
        check_known("setting", given, [item.name for item in fields(cls)])
        for name in GROUPS:
            if not isinstance(given.get(name, {}), Mapping):
                raise ConfigError(f"{name} is {given[name]!r}; it must be a mapping of settings")
        windows = _named(given.pop("windows", {}))
        check_known("windows setting", windows, [item.name for item in fields(WindowSettings)])
        skim = SkimConfig.from_dict(_named(given.pop("skim", {})))
        distillation = DistillationSettings.from_dict(_named(given.pop("distillation", {})))
        return cls(skim=skim, windows=WindowSettings(**windows), distillation=distillation, **given)

    @classmethod
    def load(cls, source: str | Path) -> Self:
        """Read a recipe from a YAML file, or one that comes with the library by its name.

        A name of the latter stands for it even where there is such a file; ``./skim`` is a file.
        ``extends: NAME_OR_FILE`` takes all settings of another recipe that the file does not have itself.

        Raises:
            ConfigError: there is no such recipe, or something in it is wrong.
        """
        values = _settings(_find(source), ())
        try:
            return cls.from_dict(values)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Values as JSON and YAML know them."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values["drop_thresholds"] = list(self.drop_thresholds)
        groups = {
            "skim": self.skim.to_dict(),
            "windows": asdict(self.windows),
            "distillation": self.distillation.to_dict(),
        }
        return {**values, **groups}

    def replace(self, **changes: Any) -> Self:
        """A checked copy with some values changed; a group of settings may be a mapping of those to change, or new."""
        values = self.to_dict()
        for name in GROUPS:
            change = changes.pop(name, {})
            if isinstance(change, SkimConfig | DistillationSettings):
                change = change.to_dict()
            elif isinstance(change, WindowSettings):
                change = asdict(change)
            # What is no mapping at all is refused below, by name.
            values[name] = {**values[name], **change} if isinstance(change, Mapping) else change
        return self.from_dict({**values, **changes})


class _Loader(yaml.SafeLoader):
    """Reads 5e-5 as a number; YAML 1.1 wants it written 5.0e-5, and takes anything else for text.

    A name that stands twice in a mapping is refused; one of the values would be lost.
    """

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A mapping of different names."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        names: set[str] = set()
        for name, _ in node.value:
            if isinstance(name, yaml.ScalarNode) and name.value in names:
                raise yaml.MarkedYAMLError(problem=f"{name.value!r} stands twice", problem_mark=name.start_mark)
            names.update([name.value] if isinstance(name, yaml.ScalarNode) else [])
        return node

    def construct_exponent(self, node: yaml.ScalarNode) -> float:
        """The number that is written with an exponent; whole where it is, so that 2e3 can be a batch size."""
        value = float(self.construct_scalar(node).replace("_", ""))
        return int(value) if value.is_integer() and abs(value) < 2.0**53 else value


_EXPONENT = "!exponent"
# Tables of its own. The first resolver of a letter that matches decides, so this one is put before that of floats.
_Loader.yaml_implicit_resolvers = {
    letter: list(resolvers) for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _letter in "-+.0123456789":
    _Loader.yaml_implicit_resolvers.setdefault(_letter, []).insert(
        0,
        (_EXPONENT, re.compile(r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$")),
    )
_Loader.add_constructor(_EXPONENT, _Loader.construct_exponent)


def parse_yaml(text: str) -> Any:
    """What a YAML document holds; 5e-5, 1E-4 and 2e3 are numbers in it.

    Raises:
        YAMLError: it is no YAML.
    """
    try:
        return yaml.load(text, _Loader)
    except (ValueError, RecursionError) as error:
        # Of numbers with too many digits, dates that don't exist, and very deep nesting.
        raise yaml.YAMLError(str(error)) from error


def shipped_recipes() -> list[str]:
    """Names of the recipes that come with the library."""
    folder = resources.files("blockskim") / "recipes"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def _settings(source: str | Path, extended: tuple[str, ...]) -> dict[str, Any]:
    """The settings of a recipe, those of the recipe that it extends included.

    Args:
        source: a file, or the name of a recipe that comes along, as ``_find`` gives them.
        extended: what extends it.

    Raises:
        ConfigError: it is no recipe, what it extends is not there, or recipes extend each other in a circle.
    """
    values = _read(source)
    if "extends" not in values:
        return values
    parent = values.pop("extends")
    if not isinstance(parent, str):
        raise ConfigError(f"{source}: extends is {parent!r:.80}; it must be the name or file of a recipe")
    found = _find(parent, source)
    known = (*extended, _identity(source))
    if _identity(found) in known:
        raise ConfigError(f"{source}: extends {parent}, which extends it in turn")
    below = _settings(found, known)
    merged = {**below, **values}
    for name in GROUPS:
        own, other = values.get(name, {}), below.get(name, {})
        if isinstance(own, Mapping) and isinstance(other, Mapping) and (own or other):
            merged[name] = {**other, **own}
    return merged


def _find(source: str | Path, extending: str | Path | None = None) -> str | Path:
    """The name of a recipe that comes along, or else the path of a file.

    A name comes first: recipes that come along mean the same in every working directory.

    Args:
        source: the name, or a file; a ``Path`` is a file if there is one.
        extending: the recipe that names it, beside which a file is looked for; None for none.

    Raises:
        ConfigError: there is neither.
    """
    shipped = shipped_recipes()
    if isinstance(source, str) and source in shipped:
        return source
    if isinstance(extending, Path) and (beside := extending.parent / source).is_file():
        return beside
    if Path(source).is_file():
        return Path(source)
    if str(source) in shipped:
        return str(source)
    raise ConfigError(f"there is no recipe {source}; name a YAML file or one of {', '.join(shipped)}")


def _identity(source: str | Path) -> str:
    """The same for every way to write the path of a file; a name for a recipe that comes along."""
    return str(source.resolve()) if isinstance(source, Path) else source


def _read(source: str | Path) -> dict[str, Any]:
    if isinstance(source, Path):
        try:
            text = source.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{source} is no UTF-8 text (byte {error.start}); a recipe is a YAML file") from error
    else:
        text = (resources.files("blockskim") / "recipes" / f"{source}.yaml").read_text(encoding="utf-8")
    try:
        values = parse_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, Mapping):
        raise ConfigError(f"{source} must hold settings as 'name: value' lines")
    return dict(values)


def _range(name: str, value: object) -> tuple[float, float]:
    numbers = list(value) if isinstance(value, list | tuple) else []
    for number in numbers:
        check_range(name, number, 0.0, 1.0, open_low=True)
    if len(numbers) != 2 or numbers[0] > numbers[1]:
        raise ConfigError(f"{name} is {value!r}; it must be two numbers, the lower one first")
    return float(numbers[0]), float(numbers[1])


def _named(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Settings whose names are text: YAML has numbers and nothing for names, too."""
    return {str(name): value for name, value in values.items()}


def _checked_windows(windows: WindowSettings) -> WindowSettings:
    """Settings of windows that are whole numbers."""
    least = {"max_length": 1, "doc_stride": 0, "max_question_length": 1}
    values = asdict(windows)
    for name, value in values.items():
        number = check_count(f"windows.{name}", value, least.get(name, 0))
        values[name] = int(check_range(f"windows.{name}", number, 0, LARGEST))
    return WindowSettings(**values)
