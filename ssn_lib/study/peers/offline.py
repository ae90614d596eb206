"""anomalib without its warnings and without downloads."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_and_offline() -> Iterator[None]:
    """Without anomalib's warnings, without what importing timm logs, and without timm's download of
    weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            import timm
        except ImportError:
            yield  # who builds a model says what is missing
            return
        finally:
            logging.disable(before)
        create = timm.create_model
        timm.create_model = lambda *given, **named: create(*given, **named | {"pretrained": False})
        try:
            yield
        finally:
            timm.create_model = create
