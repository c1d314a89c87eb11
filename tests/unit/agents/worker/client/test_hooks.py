"""Every hook of Faust, mode and aiokafka that a worker overrides, calls or sets, private ones first of all.

Each row says what would break without an error if the hook were gone or nobody called it any more. A new version of
these libraries that moves one fails here, not in production. A test below finds hooks that the table does not name.
"""

# long because: one table of hooks, which a reader goes through as a whole

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import faust
import mode
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer import fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import TopicPartitionState
from aiokafka.protocol.api import Request, RequestStruct
from aiokafka.protocol.fetch import FetchRequest
from faust import App, Table
from faust.assignor.partition_assignor import PartitionAssignor
from faust.stores import memory
from faust.tables.base import Collection
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport import base as transport_base
from faust.transport import consumer as faust_consumer
from faust.transport.drivers import aiokafka as driver
from mode.threads import QueueServiceThread, ServiceThread

from agents.worker.client.consumer import BatchConsumer, BatchTransport
from agents.worker.client.fetch_session import SessionRequest
from agents.worker.client.single_records import SingleRecords
from agents.worker.client.store import EngineStore, EngineTable, Tables
from agents.worker.client.thread import LeasedThread, WholeBatches
from agents.worker.run import _Runner
from tests.driving.hooks import PRODUCING, Hook

FOLDER = Path(__file__).parents[5] / "agents"
Consumer, Thread = faust_consumer.Consumer, driver.AIOKafkaConsumerThread


OVERRIDDEN = [
    Hook(
        driver.Consumer,
        "_new_consumer_thread",
        faust_consumer.ThreadDelegateConsumer.__init__,
        "no lease is renewed and nothing is ever written; fetches come record by record",
        (),
        BatchConsumer,
    ),
    Hook(
        driver.Consumer,
        "_to_message",
        Consumer.getmany,
        "an agent of others gets records without topic and partition, and the worker ends",
        ("tp", "record"),
        SingleRecords,
    ),
    Hook(
        driver.Consumer,
        "_getmany",
        Consumer._wait_next_records,
        "partitions of which enough waits are fetched on, until memory is full",
        ("active_partitions", "timeout"),
        BatchConsumer,
    ),
    Hook(
        driver.Consumer,
        "_add_gap",
        Consumer,
        "Faust keeps a tree of every offset inside a batch: the loop slows down more and more",
        ("tp", "offset_from", "offset_to"),
        BatchConsumer,
    ),
    Hook(
        driver.Consumer,
        "getmany",
        Consumer._drain_messages,
        "events are single records again: 0.1 ms each",
        ("timeout",),
        BatchConsumer,
    ),
    Hook(
        driver.Consumer,
        "ack",
        None,
        "Faust commits offsets of batches whose effects are not safe: a crash loses events",
        ("message",),
        BatchConsumer,
    ),
    Hook(
        driver.Consumer,
        "force_commit",
        Consumer.commit,
        "the timer commits what Faust saw acknowledged, without outputs and state",
        ("topics", "start_new_transaction"),
        BatchConsumer,
    ),
    *(
        Hook(
            faust_consumer.ThreadDelegateConsumer,
            name,
            caller,
            "a broker that does not answer for half a minute ends the worker",
            parameters,
            BatchConsumer,
        )
        for name, caller, parameters in (
            ("earliest_offsets", Recovery._build_offsets, ("partitions",)),
            ("highwaters", Recovery._build_highwaters, ("partitions",)),
            ("seek_to_committed", Consumer.perform_seek, ()),
            ("seek_wait", Recovery._seek_offsets, ("partitions",)),
        )
    ),
    Hook(
        driver.Consumer,
        "wait_empty",
        App._consumer_wait_empty,
        "partitions go without a last commit, and a worker that is asked to end waits for ever",
        (),
        BatchConsumer,
    ),
    Hook(
        driver.Consumer, "on_start", None, "the first assignment in a cluster can cost the session", (), BatchConsumer
    ),
    Hook(driver.Consumer, "on_stop", None, "producers go on writing after the last commit", (), BatchConsumer),
    Hook(
        driver.Consumer,
        "on_partitions_revoked",
        faust_consumer.ThreadDelegateConsumer.threadsafe_partitions_revoked,
        "a revocation has no deadline, and after a lost session tasks write over their successors",
        ("revoked",),
        BatchConsumer,
    ),
    Hook(
        driver.Consumer,
        "on_partitions_assigned",
        faust_consumer.ThreadDelegateConsumer.threadsafe_partitions_assigned,
        "the lease begins only with the first heartbeat, and late records of another worker count",
        ("assigned", "generation_id"),
        BatchConsumer,
    ),
    Hook(
        driver.Consumer,
        "stop_flow",
        App._on_partitions_revoked,
        "changelog records of before a rebalance count for the recovery after it",
        (),
        BatchConsumer,
    ),
    Hook(mode.Worker, "_gather_all", mode.Worker._shutdown_loop, "an end takes a second longer", (), _Runner),
    Hook(mode.Worker, "_sentinel_task", mode.Worker._shutdown_loop, "an end takes a second longer", (), _Runner),
    Hook(TableManager, "on_start", None, "a start takes a second longer", (), Tables),
    Hook(
        transport_base.Transport,
        "create_consumer",
        App._new_consumer,
        "the app gets Faust's own consumer",
        ("callback", "kwargs"),
        BatchTransport,
    ),
    Hook(
        Thread,
        "on_start",
        None,
        "no lease is renewed and nothing is ever written; fetches come record by record",
        (),
        LeasedThread,
    ),
    Hook(
        Thread,
        "seek_to_committed",
        faust_consumer.ThreadDelegateConsumer.seek_to_committed,
        "on a slow network a restore takes a round trip for each partition",
        (),
        LeasedThread,
    ),
    Hook(
        Thread,
        "_commit",
        Thread.commit,
        "offsets that are refused, or a coordinator that is not found, end the worker or stop it for ever",
        ("offsets",),
        LeasedThread,
    ),
    Hook(
        faust.Worker,
        "install_signal_handlers",
        None,
        "a signal that comes while the worker starts is lost",
        (),
        _Runner,
    ),
    *(
        Hook(
            faust.Worker,
            name,
            mode.Worker._install_signal_handlers_unix,
            "a worker that is asked to end may take for ever",
            (),
            _Runner,
        )
        for name in ("_on_sigterm", "_on_sigint")
    ),
    Hook(
        Thread,
        "_create_worker_consumer",
        Thread._create_consumer,
        "records of aborted transactions are counted as events",
        ("transport",),
        LeasedThread,
    ),
    Hook(
        Thread,
        "highwater",
        faust_consumer.ThreadDelegateConsumer.highwater,
        "an open transaction looks like lag: the merge waits for records that nobody can read",
        ("tp",),
        LeasedThread,
    ),
    Hook(
        Thread,
        "getmany",
        faust_consumer.ThreadDelegateConsumer._getmany,
        "a fetch is handed over through a queue that makes four tasks for it: 0.2 ms each",
        ("active_partitions", "timeout"),
        LeasedThread,
    ),
    *(
        Hook(
            mode.Service,
            name,
            Consumer._drain_messages,
            "Faust makes six tasks for each fetch and its message: 0.2 ms each",
            parameters,
            BatchConsumer,
        )
        for name, parameters in (("sleep", ("n",)), ("wait_first", ("coros", "timeout")))
    ),
    Hook(
        FetchRequest,
        "build",
        Request.prepare,
        "each fetch names all partitions of the worker, and so does its answer: 0.45 ms each",
        ("request_struct_class",),
        SessionRequest,
    ),
    Hook(
        fetcher.PartitionRecords,
        "__iter__",
        None,
        "fetches come record by record, and no span says which offsets they went through",
        (),
        WholeBatches,
    ),
    Hook(
        Collection,
        "_changelog_topic_name",
        Collection,
        "the changelog has the name that Faust gives it, without the prefix of the deployment: no state is restored",
        (),
        EngineTable,
    ),
    Hook(
        Collection,
        "_new_store",
        Collection,
        "the changelog is kept in a dictionary and no task is ever restored",
        (),
        EngineTable,
    ),
    Hook(
        memory.Store,
        "apply_changelog_batch",
        Collection.apply_changelog_batch,
        "state is empty after a restart",
        ("batch", "to_key", "to_value"),
        EngineStore,
    ),
    Hook(
        memory.Store,
        "on_rebalance",
        Collection.on_rebalance,
        "tasks are neither created nor closed",
        ("assigned", "revoked", "newly_assigned", "generation_id"),
        EngineStore,
    ),
    Hook(
        memory.Store,
        "on_recovery_completed",
        Collection.on_recovery_completed,
        "no task ever runs",
        ("active_tps", "standby_tps"),
        EngineStore,
    ),
    Hook(
        memory.Store,
        "persisted_offset",
        Collection.persisted_offset,
        "a standby that takes over reads its changelog from the beginning",
        ("tp",),
        EngineStore,
    ),
]

USED = [
    Hook(Consumer, "_get_active_partitions", Consumer._wait_next_records, "an idle consumer waits a second", ()),
    Hook(TableManager, "_update_channels", TableManager.on_start, "the table is not restored", ()),
    Hook(
        faust.Worker,
        "spinner",
        faust.Worker._on_startup_end_spinner,
        "escape sequences are written into the log",
    ),
    Hook(
        Consumer,
        "_wait_next_records",
        Consumer.getmany,
        "there are no records to make batches of",
        ("timeout",),
    ),
    Hook(
        Consumer,
        "_read_offset",
        Consumer,
        "Faust drops records that it counts as read since a rebalance, until they are fetched again after 5 s",
    ),
    Hook(
        Consumer,
        "_buffered_partitions",
        Consumer,
        "records of partitions that Faust does not track are dropped or doubled",
    ),
    Hook(Consumer, "_unacked_messages", Consumer.wait_empty, "batches that were taken long ago are kept in memory"),
    Hook(Consumer, "_acked", Consumer, "every offset that a stream has acknowledged stays in memory"),
    Hook(Consumer, "_acked_index", Consumer, "every offset that a stream has acknowledged stays in memory"),
    Hook(Consumer, "_waiting_for_ack", Consumer._wait_for_ack, "whoever waits for a batch waits a second longer"),
    Hook(
        Consumer,
        "_filter_committable_offsets",
        Consumer._commit_tps,
        "what agents of others have acknowledged is never committed",
        ("tps",),
    ),
    Hook(
        Consumer,
        "_handle_attached",
        Consumer._commit_tps,
        "what agents of others send with their acknowledgements is not sent",
        ("commit_offsets",),
    ),
    Hook(
        Consumer,
        "_commit_offsets",
        Consumer._commit_tps,
        "what agents of others have acknowledged is never committed",
        ("offsets", "start_new_transaction"),
    ),
    Hook(Consumer, "_committed_offset", Consumer, "Faust seeks to offsets that it has not seen committed"),
    Hook(
        faust_consumer.ThreadDelegateConsumer,
        "_commit",
        None,
        "no offset is ever committed",
        ("offsets",),
    ),
    Hook(
        faust_consumer.ThreadDelegateConsumer, "_thread", faust_consumer.ThreadDelegateConsumer, "nothing can be sought"
    ),
    Hook(
        Thread,
        "_ensure_consumer",
        Thread,
        "nothing can be sought, and no lag is known",
        (),
    ),
    Hook(QueueServiceThread, "call_thread", None, "seeks run in the wrong thread", ("fun", "args", "kwargs")),
    Hook(QueueServiceThread, "thread_loop", ServiceThread, "connections are closed in the wrong thread"),
    Hook(AIOKafkaConsumer, "_fetcher", AIOKafkaConsumer, "fetches wait 1.5 s for idle partitions"),
    Hook(AIOKafkaConsumer, "_coordinator", AIOKafkaConsumer, "no lease is renewed and nothing is ever written"),
    Hook(AIOKafkaConsumer, "_isolation_level", AIOKafkaConsumer.start, "records of aborted transactions are counted"),
    Hook(
        fetcher.Fetcher,
        "_proc_fetch_request",
        fetcher.Fetcher._fetch_requests_routine,
        "each fetch names all partitions of the worker, and so does its answer: 0.45 ms each",
        ("assignment", "node_id", "request"),
    ),
    *(
        Hook(
            fetcher.Fetcher, name, fetcher.Fetcher._fetch_requests_routine, "two looks for what to fetch instead of one"
        )
        for name in ("_fetch_waiters", "_notify")
    ),
    Hook(FetchRequest, "_topics", FetchRequest.build, "a session asks for the wrong partitions"),
    *(
        Hook(TopicPartitionState, name, fetcher.Fetcher._proc_fetch_request, "a session goes on after a lost answer")
        for name in ("highwater", "timestamp")
    ),
    Hook(RequestStruct, "RESPONSE_TYPE", AIOKafkaConnection._handle_frame, "a session never sees an answer"),
    Hook(
        Thread,
        "_fetch_records",
        Thread.getmany,
        "nothing is fetched",
        ("consumer", "active_partitions", "timeout", "max_records"),
    ),
    Hook(fetcher.Fetcher, "_fetch_max_wait_ms", fetcher.Fetcher, "fetches wait 1.5 s for idle partitions"),
    Hook(fetcher.Fetcher, "_fetch_min_bytes", fetcher.Fetcher, "a step for every few records: throughput falls"),
    Hook(
        GroupCoordinator,
        "_do_heartbeat",
        GroupCoordinator._heartbeat_routine,
        "the lease is renewed at assignments only: after one session nothing is written",
        (),
    ),
    Hook(
        GroupCoordinator,
        "_do_rejoin_group",
        GroupCoordinator,
        "a second worker of the same instance name takes the place of the first, and back again",
        ("subscription",),
    ),
    Hook(
        GroupCoordinator,
        "_on_join_complete",
        GroupCoordinator._do_rejoin_group,
        "over a slow connection the session ends while partitions are taken over, again and again",
        ("generation", "member_id", "protocol", "member_assignment_bytes"),
    ),
    Hook(GroupCoordinator, "_heartbeat_interval_ms", GroupCoordinator, "as above"),
    Hook(GroupCoordinator, "member_id", GroupCoordinator, "the instance name is not checked before a join"),
    Hook(
        AIOKafkaConsumer,
        "commit",
        driver.AIOKafkaConsumerThread._commit,
        "committed offsets do not say that a worker committed them: a changelog that is older is not noticed",
        ("offsets",),
    ),
    Hook(
        fetcher,
        "PartitionRecords",
        fetcher.Fetcher._proc_fetch_request,
        "fetches come record by record, and no span says which offsets they went through",
    ),
    Hook(
        fetcher,
        "MemoryRecords",
        fetcher.Fetcher._proc_fetch_request,
        "every record of a fetch is an object of its own: a third more processor time",
    ),
    Hook(
        fetcher.PartitionRecords,
        "_aborted_transactions",
        fetcher.PartitionRecords._consume_aborted_up_to,
        "after a fetch that can not be indexed, records of aborted transactions are counted as events",
    ),
    Hook(
        fetcher.PartitionRecords,
        "_records_iterator",
        fetcher.PartitionRecords.__init__,
        "the bytes of every fetch stay until the collector of cyclic garbage runs, which it hardly does: gigabytes",
    ),
    Hook(fetcher.PartitionRecords, "_tp", fetcher.PartitionRecords, "spans are lost"),
    Hook(fetcher.PartitionRecords, "_records", fetcher.PartitionRecords, "fetches are empty"),
    Hook(fetcher.PartitionRecords, "_check_crcs", fetcher.PartitionRecords, "corrupt batches are read"),
    Hook(
        fetcher.PartitionRecords,
        "next_fetch_offset",
        fetcher.FetchResult,
        "the same records are fetched for ever, or some never",
    ),
    Hook(
        fetcher.PartitionRecords,
        "_consume_aborted_up_to",
        fetcher.PartitionRecords._unpack_records,
        "records of aborted transactions are counted as events",
        ("batch_offset",),
    ),
    Hook(
        fetcher.PartitionRecords,
        "_contains_abort_marker",
        fetcher.PartitionRecords._unpack_records,
        "records after an aborted transaction are dropped",
        ("next_batch",),
    ),
    Hook(
        fetcher.PartitionRecords,
        "_aborted_producers",
        fetcher.PartitionRecords,
        "records of aborted transactions are counted as events",
    ),
    Hook(
        GroupCoordinator,
        "generation",
        GroupCoordinator._do_heartbeat,
        "a worker that the group has given up goes on until its lease runs out",
    ),
    Hook(
        GroupCoordinator,
        "request_rejoin",
        GroupCoordinator.reset_generation,
        "a worker whose session is lost has no partitions until it is restarted",
        (),
    ),
    Hook(
        GroupCoordinator,
        "check_errors",
        None,
        "an error of the group that nobody asks about stops the worker for ever",
        (),
    ),
    Hook(AIOKafkaConsumer, "_client", AIOKafkaConsumer, "no connection is closed after a lost session"),
    Hook(
        AIOKafkaClient,
        "_get_conn",
        AIOKafkaClient.ready,
        "after a broken network a worker waits half a minute for a connection",
        ("node_id", "group", "no_hint"),
    ),
    Hook(AIOKafkaClient, "_conns", AIOKafkaClient, "no connection is closed after a lost session"),
    Hook(
        Recovery,
        "_wait",
        Recovery.on_recovery_completed,
        "a broker that does not answer for half a minute ends recovery for good, without a word",
        ("coro", "timeout"),
    ),
    Hook(TableManager, "recovery", TableManager, "a changelog is not read from its beginning: state is in parts"),
    Hook(Recovery, "revoke", Recovery, "a changelog is not read from its beginning: state is in parts", ("tp",)),
    Hook(Recovery, "active_offsets", Recovery, "what a standby misses is read from the beginning"),
    Hook(Recovery, "standby_offsets", Recovery, "Faust drops what a standby has it fetch again"),
    Hook(Recovery, "standby_tps", Recovery.on_rebalance, "a partition that moved away is sought as a standby's"),
    Hook(Recovery, "buffer_sizes", Recovery, "a standby is one fetch behind"),
    Hook(
        PartitionAssignor,
        "assigned_standbys",
        Recovery.on_rebalance,
        "a standby shuts out the worker that has its partition",
        (),
    ),
    Hook(Recovery, "active_remaining_total", Recovery, "the gauge of records to restore stays at 0", ()),
    Hook(TableManager, "actives_ready", TableManager, "/readyz says ready while state is being recovered"),
]
ALL = [*OVERRIDDEN, *USED, *PRODUCING]


def named(hook: Hook) -> str:
    return f"{getattr(hook.owner, '__name__', hook.owner)}.{hook.name}"


@pytest.mark.parametrize("hook", ALL, ids=named)
def test_a_hook_is_there_and_the_library_uses_it(hook: Hook) -> None:
    if hook.parameters is None:
        assert mentions(hook.owner, hook.name), hook.breaks
    else:
        parameters = tuple(inspect.signature(getattr(hook.owner, hook.name)).parameters)
        assert parameters[1:] == hook.parameters, hook.breaks
    if hook.caller is not None:
        assert mentions(hook.caller, hook.name), hook.breaks


def mentions(source: Any, name: str) -> bool:
    return re.search(rf"\b{name}\b", inspect.getsource(source)) is not None


@pytest.mark.parametrize("hook", OVERRIDDEN, ids=named)
def test_a_hook_is_overridden_by_a_subclass(hook: Hook) -> None:
    assert hook.ours is not None
    assert issubclass(hook.ours, hook.owner)
    assert hook.name in vars(hook.ours), hook.breaks


def test_what_is_awaited_is_a_coroutine_and_what_is_called_is_none() -> None:
    coroutines = {hook.name for hook in ALL if hook.parameters is not None and is_async(hook)}
    assert coroutines == {
        "_fetch_records",
        "_getmany",
        "_proc_fetch_request",
        "sleep",
        "wait_first",
        "_add_gap",
        "_sentinel_task",
        "_update_channels",
        "getmany",
        "force_commit",
        "earliest_offsets",
        "highwaters",
        "seek_to_committed",
        "seek_wait",
        "_get_conn",
        "_wait",
        "wait_empty",
        "on_partitions_revoked",
        "on_partitions_assigned",
        "on_start",
        "on_rebalance",
        "on_recovery_completed",
        "_wait_next_records",
        "_commit",
        "_commit_offsets",
        "_handle_attached",
        "call_thread",
        "_do_heartbeat",
        "on_stop",
        "coordinator_lookup",
        "_do_rejoin_group",
        "_on_join_complete",
        "commit",
    }


def is_async(hook: Hook) -> bool:
    function = inspect.unwrap(getattr(hook.owner, hook.name))
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def private_names(file: Path) -> set[str]:
    """Private attributes that a file reads or sets and that no class of ours has: those of the libraries."""
    tree = ast.parse(file.read_text("utf-8"))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr.startswith("_")}
    used = {name for name in used if not name.startswith("__")}
    ours = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets if isinstance(node, ast.Assign | ast.AnnAssign) else ():
            if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
                ours.add(target.attr)
            elif isinstance(target, ast.Name):
                ours.add(target.id)
    return used - ours


def test_the_table_names_every_private_hook() -> None:
    files = [file for file in FOLDER.rglob("*.py") if {"faust", "aiokafka", "mode"} & imports(file)]
    assert {file.name for file in files} >= {"consumer.py", "thread.py", "store.py", "broker.py"}
    used = {name for file in files for name in private_names(file)}
    known = {hook.name for hook in ALL} | {"_replace", "_exit"}
    assert used <= known, f"not in the table: {sorted(used - known)}"


def imports(file: Path) -> set[str]:
    tree = ast.parse(file.read_text("utf-8"))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def test_a_removed_hook_is_detected() -> None:
    gone = Hook(Table, "_was_here_once", None, "everything", ())
    with pytest.raises(AttributeError):
        test_a_hook_is_there_and_the_library_uses_it(gone)
    unused = Hook(Consumer, "ack", App._new_consumer, "everything", ("message",))
    with pytest.raises(AssertionError, match="everything"):
        test_a_hook_is_there_and_the_library_uses_it(unused)
