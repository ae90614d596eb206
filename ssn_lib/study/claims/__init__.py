"""The ledger: what the slides claim, and what the records say of it, by stated rules."""

from ssn_lib.study.claims.evidence import Evidence, margin
from ssn_lib.study.claims.noise import LEARNED_NOISE
from ssn_lib.study.claims.rules import Claim, Finding, judge, ledger
from ssn_lib.study.claims.supervision import MIXED, WEAK
from ssn_lib.study.claims.swap import BACKBONE_SWAP

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
