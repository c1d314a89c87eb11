"""Synthetic names of accounts and of their owners.

Called by `agents.demo.company`. The first words are invented, so that no name is that of a real company.
"""

from __future__ import annotations

from random import Random

FIRST_WORDS = (  # noqa: SIM905  a list of quoted words reads worse
    "Alderwick Arbolane Astervale Banfield Belmora Birchmont Brinmoor Calloway Castovar Cindrel Corvane Dalemark "
    "Delmere Dorvane Eastermoor Elmquist Emberlow Fallowby Fenmarsh Fernhollow Galdmoor Glenvarra Greymont "
    "Halvorne Hartsmere Hollin Ivermoor Jarrowby Juniver Kelbrook Kestamar Kirvale Larkmoor Lindovar Lorrimer "
    "Marlovan Merrowdale Millbrae Nethercombe Norvane Oakhollow Orrindale Palloway Pendrake Pinemarsh Quillmore "
    "Quenby Ravenmoor Redlarch Rosemarsh Saltmere Silvane Stonebeck Tarnwick Thornvale Trevanna Ulverby Umberlow "
    "Valdemar Vesterby Wexmoor Willowmere Wrenfield Yarrowby Zellamar"
).split()

TRADES = (  # noqa: SIM905  a list of quoted words reads worse
    "Analytics Apparel Automation Bakery Biotech Brewing Builders Ceramics Clinics Couriers Dental Energy Fabrics "
    "Farms Fitness Foods Freight Furniture Games Gardens Hotels Insurance Instruments Labs Lighting Logistics "
    "Marine Media Motors Optics Outdoors Packaging Paper Pharmacy Press Robotics Schools Solar Studios Textiles "
    "Tools Toys Travel Water"
).split()

OWNERS = ("Amara", "Dmitri", "Elif", "Hana", "Joaquim", "Leonie", "Mateo", "Priya", "Sven", "Thandi")


def company_names(random: Random, count: int) -> list[str]:
    """`count` different names, in an order that `random` decides: `Alderwick Foods`, after the last pair `… 2`."""
    pairs = [f"{first} {trade}" for first in FIRST_WORDS for trade in TRADES]
    random.shuffle(pairs)
    return [
        pairs[index % len(pairs)] + (f" {index // len(pairs) + 1}" if index >= len(pairs) else "")
        for index in range(count)
    ]


def account_id(name: str) -> str:
    """The id of the account of that name: `alderwick-foods`."""
    return name.lower().replace(" ", "-")
