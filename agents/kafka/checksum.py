"""Makes kafka-python compute checksums of records with google-crc32c, which is written in C and under Apache-2.0.

kafka-python itself looks only for the package crc32c, which is LGPL, and otherwise computes in Python, which takes most
of the time of reading. Owns the replaced function. Called by `agents.kafka.client` when it is imported.
"""

from __future__ import annotations

import google_crc32c
from kafka.record import default_records


def crc32c(data: memoryview | bytes) -> int:
    """The CRC-32C (Castagnoli) of some bytes."""
    return int(google_crc32c.value(bytes(data)))


def use_fast_checksum() -> None:
    """Replace kafka-python's function, for records that are read and written."""
    default_records.calc_crc32c = crc32c
