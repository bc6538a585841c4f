"""The stores keep their contract."""

from __future__ import annotations

from pathlib import Path

from flowweaver.stores import JSONStore, MemoryStore, SQLiteStore
from flowweaver.testing.simulation import ManualClock
from flowweaver.testing.stores import StoreContract


class TestMemoryStore(StoreContract):
    def opened(self, folder):
        return MemoryStore()

    def restarted(self, store, folder):
        store.close()
        store.begin_epoch()
        return store


class TestSQLiteStore(StoreContract):
    def setup_method(self):
        self._stores = []

    def teardown_method(self):
        for store in self._stores:
            store.close()

    def opened(self, folder: Path):
        self._stores.append(SQLiteStore(folder / "state.db", clock=ManualClock()))
        return self._stores[-1]

    def restarted(self, store, folder):
        store.close()
        return self.opened(folder)


class TestJSONStore(TestSQLiteStore):
    def opened(self, folder: Path):
        self._stores.append(JSONStore(folder / "state.json", clock=ManualClock()))
        return self._stores[-1]
