"""Taking a journal elsewhere with its whole history: into files and out of them, and from database to database.

An export is as sensitive as the database: it holds every value, and the salts that keep redacted ones from being
guessed.
"""

from __future__ import annotations

from casty_es.audit.transfer.exporting import export_journal
from casty_es.audit.transfer.importing import copy_journal, import_journal
from casty_es.audit.transfer.places import Filter
from casty_es.audit.transfer.report import TransferReport

__all__ = ["Filter", "TransferReport", "copy_journal", "export_journal", "import_journal"]
