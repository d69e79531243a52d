"""What the core's properties draw from: policies, failures, and walks through a replica's life with a given clock."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from pool_managerd.core.errors import Code
from pool_managerd.core.failures import Failure, FailureClass
from pool_managerd.core.phases import WITH_PROCESS, Phase
from pool_managerd.core.replica import step
from pool_managerd.core.replica_state import Action, DrainCause, Input, ReplicaState, Signal, StartCause, Step
from pool_managerd.core.restart_values import RestartPolicy

DEFAULTS = RestartPolicy()

_CODES = {
    FailureClass.CRASH: Code.ENGINE_EXITED,
    FailureClass.DRIVER: Code.CUDA_ERROR,
    FailureClass.CONFIGURATION: Code.MODEL_NOT_FOUND,
    FailureClass.DEVICE: Code.GPU_UNAVAILABLE,
    FailureClass.MEMORY: Code.INSUFFICIENT_VRAM,
    FailureClass.PORT: Code.SPAWN_FAILED,
    FailureClass.STORE: Code.STORE_UNAVAILABLE,
    FailureClass.CLEAN_EXIT: Code.ENGINE_EXITED,
}


def failure(failure_class: FailureClass) -> Failure:
    code = _CODES[failure_class]
    return Failure(code, f"a failure of class {failure_class}", "a hint", failure_class, "exit_code", {})


failures = st.sampled_from([failure(one) for one in FailureClass])
spreads = st.floats(-1, 1)
policies = st.builds(
    RestartPolicy,
    initial_ms=st.integers(1, 5_000),
    factor=st.floats(1, 4),
    max_ms=st.integers(500, 120_000),
    floor_ms=st.integers(1, 500),
    jitter=st.floats(0, 0.5),
    driver_factor=st.floats(1, 4),
    stable_ms=st.integers(1_000, 600_000),
    rate=st.integers(1, 20),
    storm_open=st.integers(2, 20),
    breaker_failures=st.integers(1, 6),
    breaker_driver_failures=st.integers(1, 6),
    breaker_open_ms=st.integers(1_000, 300_000),
    breaker_max_open_ms=st.integers(300_000, 3_600_000),
    on_exit_zero=st.sampled_from(["stop", "restart"]),
)


@dataclass
class Life:
    """A replica with a shell that does what a real one does, but in no time and by chance."""

    policy: RestartPolicy = DEFAULTS
    now: float = 1_000_000.0
    state: ReplicaState = field(default_factory=ReplicaState)
    process: bool = False
    steps: list[tuple[ReplicaState, Input, Step, float]] = field(default_factory=list)

    def tell(self, given: Input) -> Step:
        before = self.state
        taken = step(before, given, self.policy, self.now)
        self.state = taken.state
        self.steps.append((before, given, taken, self.now))
        if Action.SPAWN in taken.actions:
            self.process = True
        if Action.CLEAR_PROCESS in taken.actions:
            self.process = False
        return taken

    def fail(self, what: Failure, *, left: bool, drain: bool = False, spread: float = 0.0) -> Step:
        left = left and self.process
        self.process = left
        given = Input(Signal.FAILED, failure=what, process_left=left, let_leases_end=drain, spread=spread)
        return self.tell(given)

    def gone(self) -> Step:
        if self.state.phase is Phase.STOPPING:
            self.process = False
        return self.tell(Input(Signal.GONE, reason="gone"))

    def wait_timer(self) -> Step | None:
        due = self.state.next_restart_at
        if due is None:
            return None
        self.now = max(self.now, due)
        return self.tell(Input(Signal.TIMER))

    def load(self) -> None:
        """From a preflight to Ready."""
        if self.state.phase is Phase.HALF_OPEN:
            self.tell(Input(Signal.TRIAL))
        for signal in (Signal.PREFLIGHT_PASSED, Signal.SPAWNED, Signal.BECAME_READY):
            self.tell(Input(signal))

    def progress(self) -> None:
        """What comes next if nothing goes wrong."""
        by_itself = {
            Phase.PREFLIGHT: Signal.PREFLIGHT_PASSED,
            Phase.STARTING: Signal.SPAWNED,
            Phase.LOADING: Signal.BECAME_READY,
            Phase.HALF_OPEN: Signal.TRIAL,
        }
        if self.state.phase in by_itself:
            self.tell(Input(by_itself[self.state.phase]))
        elif self.state.phase is Phase.STOPPING:
            self.gone()
        else:
            self.wait_timer()

    def adopted(self) -> None:
        self.state = replace(self.state, phase=Phase.STOPPED)
        self.process = True
        self.tell(Input(Signal.ADOPTED))


#: What the shell does by itself.
SHELL = {"gone": Life.gone, "timer": Life.wait_timer, "load": Life.load, "progress": Life.progress}

#: What happens, some of it more often than the rest.
KINDS = (
    *("start", "passed", "spawned", "ready", "fail", "fail", "fail", "drain", "undrain", "stop"),
    *("gone", "timer", "timer", "trial", "recheck", "stable", "reset", "time", "start", "start"),
    # Chance alone would seldom bring a replica up.
    *("progress",) * 6,
    *("load",) * 3,
)


@st.composite
def moves(draw):
    """One thing that may happen to a replica at any time, as a function of its life."""
    kind = draw(st.sampled_from(KINDS))
    if kind == "fail":
        what, left, drain, spread = draw(failures), draw(st.booleans()), draw(st.booleans()), draw(spreads)
        return lambda life: life.fail(what, left=left, drain=drain, spread=spread) if possible(life) else None
    if kind == "time":
        seconds = draw(st.floats(0, 4_000))
        return lambda life: setattr(life, "now", life.now + seconds)
    if kind in SHELL:
        return SHELL[kind]
    given = {
        "start": Input(Signal.START, start=draw(st.sampled_from([StartCause.OPERATOR, StartCause.RELOAD]))),
        "passed": Input(Signal.PREFLIGHT_PASSED),
        "spawned": Input(Signal.SPAWNED),
        "ready": Input(Signal.BECAME_READY),
        "drain": Input(Signal.DRAIN, drain=draw(st.sampled_from([DrainCause.OPERATOR, DrainCause.RELOAD]))),
        "undrain": Input(Signal.UNDRAIN),
        "stop": Input(Signal.STOP, drain=draw(st.sampled_from([DrainCause.OPERATOR, DrainCause.DRIVER]))),
        "trial": Input(Signal.TRIAL),
        "recheck": Input(Signal.RECHECK),
        "stable": Input(Signal.STABLE),
        "reset": Input(Signal.RESET),
    }[kind]
    return lambda life: life.tell(given)


def possible(life: Life) -> bool:
    """A failure of what has a process, or is just being checked."""
    return life.state.phase is Phase.PREFLIGHT or (life.process and life.state.phase in WITH_PROCESS)


@st.composite
def lives(draw, policy=policies, most=40):
    life = Life(policy=draw(policy))
    for move in draw(st.lists(moves(), min_size=most // 2, max_size=most)):
        move(life)
    return life


#: What an operator may do between a failure and the next start.
MEDDLING = (*("wait",) * 6, "preload", "reset", "stop and preload")


#: Such as do not open a circuit at once, so that counts and windows fill.
patient_policies = st.builds(
    replace,
    policies,
    breaker_failures=st.sampled_from([3, 4, 5, 6, 30]),
    breaker_driver_failures=st.sampled_from([3, 4, 5, 6, 30]),
    storm_open=st.sampled_from([4, 10, 30]),
)

#: Such as open a circuit at the first failure, for a time that is far shorter than the rate window.
impatient_policies = st.builds(
    replace,
    policies,
    breaker_failures=st.integers(1, 2),
    breaker_driver_failures=st.integers(1, 2),
    breaker_open_ms=st.integers(1, 2_000),
    breaker_max_open_ms=st.integers(1, 2_000),
    rate=st.integers(1, 6),
)


@st.composite
def hard_lives(draw, policy=patient_policies, most=40):
    """A replica that comes up and fails, again and again, while its operator meddles now and then."""
    life = Life(policy=draw(policy))
    life.tell(Input(Signal.START))
    turns = st.tuples(failures, st.booleans(), st.booleans(), spreads, st.floats(0, 20), st.sampled_from(MEDDLING))
    for what, left, drain, spread, seconds, meddling in draw(st.lists(turns, min_size=most // 4, max_size=most)):
        if life.state.phase in {Phase.PREFLIGHT, Phase.HALF_OPEN}:
            life.load()
        life.now += seconds
        if possible(life):
            life.fail(what, left=left, drain=drain, spread=spread)
        life.tell(Input(Signal.STOP, drain=DrainCause.DRIVER)) if life.state.phase is Phase.DRAINING else None
        life.gone()
        if meddling == "stop and preload":
            life.tell(Input(Signal.STOP))
        elif meddling == "reset":
            life.tell(Input(Signal.RESET))
        elif meddling == "wait" and life.state.phase in {Phase.BACKOFF, Phase.CIRCUIT_OPEN}:
            life.wait_timer()
        elif meddling == "wait" and life.state.phase is Phase.FAILED:
            life.tell(Input(Signal.RECHECK))
        life.tell(Input(Signal.START))
    return life


#: Walks of all kinds.
histories_of_all_kinds = st.one_of(lives(), hard_lives(), hard_lives(impatient_policies))
