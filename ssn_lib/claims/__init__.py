"""The ledger: what the slides claim, and what the records say of it, by stated rules."""

from ssn_lib.claims.evidence import Evidence, margin
from ssn_lib.claims.noise import LEARNED_NOISE
from ssn_lib.claims.rules import Claim, Finding, judge, ledger
from ssn_lib.claims.supervision import MIXED, WEAK
from ssn_lib.claims.swap import BACKBONE_SWAP

__all__ = [
    "BACKBONE_SWAP",
    "LEARNED_NOISE",
    "MIXED",
    "WEAK",
    "Claim",
    "Evidence",
    "Finding",
    "judge",
    "ledger",
    "margin",
]
