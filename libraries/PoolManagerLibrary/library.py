"""The keyword library: all keywords of :mod:`PoolManagerLibrary.keywords` in one class."""

from __future__ import annotations

from typing import Any

from robotlibcore import DynamicCore

from pool_managerd import __version__
from PoolManagerLibrary.keywords.adoptions import AdoptionKeywords
from PoolManagerLibrary.keywords.answers import AnswerKeywords
from PoolManagerLibrary.keywords.attempts import AttemptKeywords
from PoolManagerLibrary.keywords.browser import BrowserKeywords
from PoolManagerLibrary.keywords.cli import CliKeywords
from PoolManagerLibrary.keywords.completions import CompletionKeywords
from PoolManagerLibrary.keywords.config_texts import ConfigTextKeywords
from PoolManagerLibrary.keywords.contract import ContractKeywords
from PoolManagerLibrary.keywords.crowds import CrowdKeywords
from PoolManagerLibrary.keywords.daemon import DaemonKeywords
from PoolManagerLibrary.keywords.daemon_config import DaemonConfigKeywords
from PoolManagerLibrary.keywords.daemon_log import DaemonLogKeywords
from PoolManagerLibrary.keywords.dashboard import DashboardKeywords
from PoolManagerLibrary.keywords.device_holders import DeviceHolderKeywords
from PoolManagerLibrary.keywords.devices import DeviceKeywords
from PoolManagerLibrary.keywords.disks import DiskKeywords
from PoolManagerLibrary.keywords.engines import EngineKeywords
from PoolManagerLibrary.keywords.events import EventKeywords
from PoolManagerLibrary.keywords.exposition import ExpositionKeywords
from PoolManagerLibrary.keywords.faults import FaultKeywords
from PoolManagerLibrary.keywords.files import FileKeywords
from PoolManagerLibrary.keywords.grpc import GrpcKeywords
from PoolManagerLibrary.keywords.handoff_watches import HandoffWatchKeywords
from PoolManagerLibrary.keywords.heartbeats import HeartbeatKeywords
from PoolManagerLibrary.keywords.http import HttpKeywords
from PoolManagerLibrary.keywords.kill_moments import KillMomentKeywords
from PoolManagerLibrary.keywords.last_errors import LastErrorKeywords
from PoolManagerLibrary.keywords.lease_mixes import LeaseMixKeywords
from PoolManagerLibrary.keywords.leases import LeaseKeywords
from PoolManagerLibrary.keywords.load import LoadKeywords
from PoolManagerLibrary.keywords.log_lines import LogLineKeywords
from PoolManagerLibrary.keywords.memory_limits import MemoryLimitKeywords
from PoolManagerLibrary.keywords.metric_samples import MetricSampleKeywords
from PoolManagerLibrary.keywords.metrics import MetricKeywords
from PoolManagerLibrary.keywords.models import ModelKeywords
from PoolManagerLibrary.keywords.openapi import OpenapiKeywords
from PoolManagerLibrary.keywords.orphans import OrphanKeywords
from PoolManagerLibrary.keywords.page_security import PageSecurityKeywords
from PoolManagerLibrary.keywords.phases import PhaseKeywords
from PoolManagerLibrary.keywords.plans import PlanKeywords
from PoolManagerLibrary.keywords.pool_operations import PoolOperationKeywords
from PoolManagerLibrary.keywords.pool_states import PoolStateKeywords
from PoolManagerLibrary.keywords.pool_statuses import PoolStatusKeywords
from PoolManagerLibrary.keywords.pools import PoolKeywords
from PoolManagerLibrary.keywords.ports import PortKeywords
from PoolManagerLibrary.keywords.probes import ProbeKeywords
from PoolManagerLibrary.keywords.process_ends import ProcessEndKeywords
from PoolManagerLibrary.keywords.processes import ProcessKeywords
from PoolManagerLibrary.keywords.programs import ProgramKeywords
from PoolManagerLibrary.keywords.prometheus import PrometheusKeywords
from PoolManagerLibrary.keywords.real_gpus import RealGpuKeywords
from PoolManagerLibrary.keywords.real_triton import RealTritonKeywords
from PoolManagerLibrary.keywords.reflection import ReflectionKeywords
from PoolManagerLibrary.keywords.repeated_calls import RepeatedCallKeywords
from PoolManagerLibrary.keywords.restarts import RestartKeywords
from PoolManagerLibrary.keywords.sampled_statuses import SampledStatusKeywords
from PoolManagerLibrary.keywords.scenarios import ScenarioKeywords
from PoolManagerLibrary.keywords.serving import ServingKeywords
from PoolManagerLibrary.keywords.state_database import StateDatabaseKeywords
from PoolManagerLibrary.keywords.state_folders import StateFolderKeywords
from PoolManagerLibrary.keywords.steady_calls import SteadyCallKeywords
from PoolManagerLibrary.keywords.strangers import StrangerKeywords
from PoolManagerLibrary.keywords.streams import StreamKeywords
from PoolManagerLibrary.keywords.suite_runs import SuiteRunKeywords
from PoolManagerLibrary.keywords.summaries import SummaryKeywords
from PoolManagerLibrary.keywords.surfaces import SurfaceKeywords
from PoolManagerLibrary.keywords.views import ViewKeywords
from PoolManagerLibrary.keywords.watchers import WatcherKeywords
from PoolManagerLibrary.listener import ScenarioListener
from PoolManagerLibrary.world import World

__all__ = ["PoolManagerLibrary"]


class PoolManagerLibrary(DynamicCore):  # type: ignore[misc]  # PythonLibCore ships without types
    """Drives a live ``pool-managerd`` from outside: daemon, pools, GPUs, engines, leases, events, files, answers.

    = How a scenario runs =

    A scenario (a test) says what it needs, and the library starts it: one daemon per run is shared by all
    scenarios, with
    a state folder and simulated GPUs of its own and ports that the kernel chose. Each scenario has its own pools,
    with unique ids,
    on its own simulated GPUs. What it made is removed at its end by itself, and a scenario that leaves a process or
    file behind fails. A scenario that needs other server settings, or kills the daemon, says `Prepare Daemon` first.

    Started with ``--variable URL:http://host:9200`` (and ``GRPC``, ``TOKEN`` where needed) the keywords call that
    daemon, start none,
    and skip the tests that need local processes, files or simulated devices.

    = Names =

    ``the pool`` is the pool that was defined (or named by `Use Pool`) last, ``chat`` or ``pool chat`` the one of
    that name, ``every pool``
    all of the scenario. ``the engine`` is replica r0 of the pool, ``engine r1``, ``engine r1 of pool chat`` and
    ``chat/r1`` are others.
    ``the GPU`` and ``GPU big`` likewise. ``the lease``, ``the event``, ``the error`` and the answer are the last ones.

    = Time =

    Each act (preload, kill, drain, fault …) is noted with its time. ``within`` counts from the last act, and is
    checked against
    the times in the event stream, not against when a keyword happened to look.

    = Answers =

    Keywords that act do not judge what the daemon answers: `Answer Should Be` does. A refusal that no step has
    looked at fails the
    scenario at its end.

    = Assertions =

    Getters take an operator and an expected value: ``==``, ``!=``, ``>``, ``<=``, ``contains``, ``matches``,
    ``validate`` …, as the
    Browser library's do.
    """

    ROBOT_LIBRARY_SCOPE = "GLOBAL"
    ROBOT_LIBRARY_VERSION = __version__
    ROBOT_LIBRARY_DOC_FORMAT = "ROBOT"

    def __init__(self) -> None:
        """Takes no arguments.

        Example:
        | Library | PoolManagerLibrary |
        """
        self.world = World()
        self.ROBOT_LIBRARY_LISTENER: list[Any] = [ScenarioListener(self.world)]
        topics = (
            AdoptionKeywords,
            AnswerKeywords,
            AttemptKeywords,
            BrowserKeywords,
            CliKeywords,
            CompletionKeywords,
            ConfigTextKeywords,
            ContractKeywords,
            CrowdKeywords,
            DaemonConfigKeywords,
            DaemonKeywords,
            DaemonLogKeywords,
            DashboardKeywords,
            DeviceHolderKeywords,
            DeviceKeywords,
            DiskKeywords,
            EngineKeywords,
            EventKeywords,
            ExpositionKeywords,
            FaultKeywords,
            FileKeywords,
            GrpcKeywords,
            HandoffWatchKeywords,
            HeartbeatKeywords,
            HttpKeywords,
            KillMomentKeywords,
            LastErrorKeywords,
            LeaseKeywords,
            LeaseMixKeywords,
            LoadKeywords,
            LogLineKeywords,
            MemoryLimitKeywords,
            MetricKeywords,
            MetricSampleKeywords,
            ModelKeywords,
            OpenapiKeywords,
            OrphanKeywords,
            PageSecurityKeywords,
            PhaseKeywords,
            PlanKeywords,
            PoolKeywords,
            PoolOperationKeywords,
            PoolStateKeywords,
            PoolStatusKeywords,
            PortKeywords,
            ProbeKeywords,
            ProcessEndKeywords,
            ProcessKeywords,
            ProgramKeywords,
            PrometheusKeywords,
            RealGpuKeywords,
            RealTritonKeywords,
            ReflectionKeywords,
            RepeatedCallKeywords,
            RestartKeywords,
            SampledStatusKeywords,
            ScenarioKeywords,
            ServingKeywords,
            StateDatabaseKeywords,
            StateFolderKeywords,
            SteadyCallKeywords,
            StrangerKeywords,
            StreamKeywords,
            SuiteRunKeywords,
            SummaryKeywords,
            SurfaceKeywords,
            ViewKeywords,
            WatcherKeywords,
        )
        super().__init__([topic(self.world) for topic in topics])
