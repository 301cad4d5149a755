"""The state of a model, from which a later call goes on."""

from dataclasses import dataclass, field, replace

import numpy as np

from skgd._latest_rows import LatestRows, Table
from skgd._moments import Moments
from skgd._past_rows import PastRows
from skgd._reference import AVERAGE, COEF
from skgd._renewable import Renewable
from skgd._residuals import Residuals
from skgd._shuffle_test import ShuffleTest, Slopes
from skgd._stream import Stream
from skgd._version import __version__

CLASSES = LatestRows, Moments, PastRows, Renewable, Residuals, ShuffleTest, Slopes, Stream, Table
OF_CLASSES = "stream", "renewable", "shuffle_test"  # parts of a state that are not plain
KINDS = {kind.__name__: kind for kind in CLASSES}


@dataclass(frozen=True)
class State:
    """Where a model stands: its parameters in the user's units, and what paused schedules and plateaus need to go on."""

    parameters: np.ndarray  # (n_targets, 3, n_features + 1): coef, velocity, average; intercepts, last, are for x = 0
    seed: int  # of all orders to come
    mean_weight: float = 1.0  # of the rows of the last fit; partial_fit divides its weights by it
    n_passes: int = 0
    n_steps: int = 0
    stream: Stream = Stream()  # noqa: RUF009 (immutable)
    renewable: Renewable = Renewable()  # noqa: RUF009 (immutable)
    shuffle_test: ShuffleTest = ShuffleTest()  # noqa: RUF009 (immutable)
    told: tuple = ()  # what a stream has warned of
    factor: np.ndarray | float = 1.0  # (n_targets,): by which plateaus have cut the step
    plateau: dict = field(default_factory=dict)  # of a fit that max_iter has ended: see `Plateau.state`
    largest: np.ndarray | float = 0.0  # (n_targets,): the largest loss of a start or of a constant prediction so far
    objective: np.ndarray | None = None  # (n_targets,): the objective in the last epoch of the last fit
    best: dict | None = None  # with early stopping: see `Validation.state`
    memory: dict | None = None  # the `memory` of a solver of the full batch: arrays with an entry for each target
    subject: tuple = ()  # what the last fit was about: a fit of the same resumes its plateau rule

    @classmethod
    def start(cls, parameters, seed, mean_weight=1.0):
        """The state of a new model that begins at `parameters`, of shape (n_targets, n_features + 1)."""
        start = np.zeros((len(parameters), 3, parameters.shape[1]))
        start[:, [COEF, AVERAGE]] = parameters[:, None]
        return cls(start, seed, mean_weight)

    def stored(self):
        """This state as a dict of plain arrays and tuples, which tools that save models can read without a class of ours."""
        state = replace(self, renewable=replace(self.renewable, latest=self.renewable.latest.copied()))
        return vars(state) | {"skgd": __version__} | {name: plain(getattr(state, name)) for name in OF_CLASSES}

    @classmethod
    def restored(cls, stored):
        """The state from what `stored` has made of it."""
        try:
            parts = {name: stored[name] for name in cls.__dataclass_fields__}
            state = cls(**parts | {name: of_plain(parts[name]) for name in OF_CLASSES})
            if not isinstance(state.stream, Stream):
                raise TypeError("another form")
            return state
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise ValueError(
                f"This model was saved by skgd {stored.get('skgd', 'an older version')}, and skgd {__version__} can predict "
                f"with it but not go on from it: fit it anew, or install that version."
            ) from error

    def about(self, subject):
        """This state; if the subject has changed, without what the last fit left for its continuation."""
        if self.subject == subject:
            return self
        return replace(self, subject=subject, factor=1.0, plateau={}, best=None, memory=None)

    def after(self, problem, parameters, n_passes, n_batches):
        """The state after a descent of `n_passes` passes, of `n_batches` steps each, that has ended at these parameters."""
        return replace(
            self,
            parameters=problem.published(parameters[:, :3]),
            n_passes=self.n_passes + n_passes,
            n_steps=self.n_steps + n_passes * n_batches,
        )

    def for_engine(self, problem):
        """The parameters as the engine descends with them: four rows for each target, the intercept at the problem's origin."""
        parameters = np.zeros((len(self.parameters), 4, self.parameters.shape[2]))
        parameters[:, :3] = problem.at_origin(self.parameters)
        return parameters

    def without_intercept(self):
        """This state with intercepts of zero."""
        parameters = np.array(self.parameters)
        parameters[:, :, -1] = 0.0
        return replace(self, parameters=parameters)


def plain(value):
    """A part of a state as {"kind": its class, **fields}; tuples of parts as tuples, all else as it is."""
    if type(value).__name__ in KINDS:
        fields = value._asdict() if hasattr(value, "_asdict") else vars(value)
        return {"kind": type(value).__name__, **{name: plain(field) for name, field in fields.items()}}
    return tuple(map(plain, value)) if type(value) is tuple else value


def of_plain(value):
    """The part of a state that `plain` was made of."""
    if isinstance(value, dict) and "kind" in value:
        return KINDS[value["kind"]](**{name: of_plain(field) for name, field in value.items() if name != "kind"})
    return tuple(map(of_plain, value)) if type(value) is tuple else value
