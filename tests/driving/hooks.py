"""The table of hooks, its form, and the rows of what a worker relies on to send.

Owns values only. Called by `tests/unit/agents/worker/client/test_hooks.py`, which has the other rows and the checks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.producer.sender import Sender
from aiokafka.producer.transaction_manager import TransactionManager
from faust.transport.drivers import aiokafka as driver


class Hook(NamedTuple):
    """One hook: where it is, who there calls or sets it, and what a worker relies on."""

    owner: Any
    name: str
    caller: Any
    """A function or class of the library whose source must mention the name; None where only we call it."""
    breaks: str
    parameters: tuple[str, ...] | None = None
    """Names of a method's parameters without `self`; None for an attribute."""
    ours: type | None = None
    """The class of ours that overrides it."""


PRODUCING = [
    Hook(driver.Producer, "_ensure_producer", driver.Producer, "nothing can be sent", ()),
    Hook(
        driver.Producer,
        "_new_producer",
        driver.Producer.on_start,
        "no task has a producer of its own",
        ("transactional_id",),
    ),
    Hook(AIOKafkaProducer, "_txn_manager", AIOKafkaProducer, "records have no producer id: nobody can be shut out"),
    Hook(TransactionManager, "transactional_id", MessageAccumulator.create_builder, "records are part of transactions"),
    Hook(
        TransactionManager,
        "set_pid_and_epoch",
        None,
        "records have no producer id: nobody can be shut out",
        ("pid", "epoch"),
    ),
    Hook(
        TransactionManager,
        "sequence_number",
        MessageAccumulator._pop_batch,
        "a batch that is sent again is refused, or written twice",
        ("tp",),
    ),
    Hook(
        TransactionManager,
        "_sequence_numbers",
        TransactionManager.increment_sequence_number,
        "every batch after one that the broker has refused is refused, too",
    ),
    Hook(AIOKafkaProducer, "_sender", AIOKafkaProducer, "a producer that gave up looks like one that tries"),
    Hook(Sender, "sender_task", AIOKafkaProducer.stop, "the producer of a closed task goes on sending"),
    Hook(AIOKafkaProducer, "_message_accumulator", AIOKafkaProducer, "each closed task can leave an error in the log"),
    Hook(MessageAccumulator, "_pending_batches", MessageAccumulator, "each closed task can leave an error in the log"),
    Hook(AIOKafkaProducer, "_closed", AIOKafkaProducer, "each closed task leaves a warning"),
    Hook(
        AIOKafkaClient,
        "coordinator_lookup",
        Sender._find_coordinator,
        "no producer id can be had",
        ("coordinator_type", "coordinator_key"),
    ),
    Hook(AIOKafkaClient, "_conns", AIOKafkaClient, "the embedded broker is taken for one that can fence"),
    Hook(AIOKafkaConnection, "_versions", AIOKafkaConnection, "the embedded broker is taken for one that can fence"),
]
