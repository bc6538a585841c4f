"""Orders from a dirty CSV file into SQLite: extract, clean, convert, aggregate, load, check.

    python examples/etl_pipeline.py [--rows 2000] [--folder DIR] [--state FILE]

With --state each step is kept: where it was killed or has failed, the same command goes on from there. The loading step
bears a repetition, because one transaction replaces what an earlier attempt has written.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import random
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from typing import Any

from flowweaver import RetryPolicy, SQLiteStateStore, StatusEvent, Task, ThreadedExecutor, Workflow

Order = dict[str, Any]
CENTS = {"EUR": 100, "USD": 92, "GBP": 117}  # what one unit is worth in euro cents


def make_orders(path: Path, rows: int) -> None:
    """A file as it comes from three shops: amounts in two spellings, gaps, wrong dates, lines that come twice."""
    chance = random.Random(20)
    lines = []
    for number in range(1, rows + 1):
        day = dt.date(2026, 1, 1) + dt.timedelta(days=chance.randrange(181))
        amount = f"{chance.uniform(3, 400):.2f}"
        if chance.random() < 0.2:
            amount = amount.replace(".", ",")
        line = [str(number), day.isoformat(), f"customer-{chance.randrange(40):02}", amount, chance.choice([*CENTS])]
        if chance.random() < 0.06:
            line[chance.choice([1, 3, 4])] = chance.choice(["", "n/a", "2026-02-30"])
        lines += [line] * (2 if chance.random() < 0.03 else 1)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id", "day", "customer", "amount", "currency"], *lines])


def clean(extract: list[Order]) -> dict[str, list[Order]]:
    """Orders that can be read, each once, with their amounts in euro cents; and the others."""
    good: dict[str, Order] = {}
    bad = []
    for order in extract:
        try:
            day = dt.date.fromisoformat(order["day"])
            cents = Decimal(order["amount"].replace(",", ".")) * CENTS[order["currency"]]
        except (ValueError, InvalidOperation, KeyError) as exc:
            bad.append({**order, "why": type(exc).__name__})
        else:
            # What goes from task to task is JSON: a date as text, and money as a whole number.
            good[order["id"]] = {**order, "month": f"{day:%Y-%m}", "cents": int(cents)}
    return {"good": list(good.values()), "bad": bad}


def sums(orders: list[Order], key: str) -> dict[str, int]:
    """Cents for each value of `key`."""
    found: Counter[str] = Counter()
    for order in orders:
        found[order[key]] += order["cents"]
    return dict(sorted(found.items()))


def load(database: Path, good: list[Order]) -> int:
    """Put it all in, or nothing of it."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, customer TEXT, cents INTEGER)")
        connection.execute("DELETE FROM orders")
        connection.executemany("INSERT INTO orders VALUES (:id, :customer, :cents)", good)
    return len(good)


def check(database: Path, load: int, by_month: dict[str, int]) -> int:
    """The sum in the database, in cents; raises where it is not the one of the file."""
    with closing(sqlite3.connect(database)) as connection:
        rows, cents = connection.execute("SELECT count(*), sum(cents) FROM orders").fetchone()
    if (rows, cents) != (load, sum(by_month.values())):
        raise ValueError(f"the database has {rows} rows with {cents} cents: it should be {load} with {by_month}")
    return cents


def build(source: Path, database: Path) -> Workflow:
    """Six tasks; the sums and the loading go on side by side."""
    workflow = Workflow("etl-pipeline")
    busy = RetryPolicy(delay=0.2, on=(sqlite3.OperationalError,))  # a locked database; nothing else is worth a retry

    def extract() -> list[Order]:
        with source.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    workflow.add_task(Task("extract", extract))
    workflow.add_task(Task("clean", clean), depends_on=["extract"])
    workflow.add_task(Task("by_month", lambda clean: sums(clean["good"], "month")), depends_on=["clean"])
    workflow.add_task(Task("by_customer", lambda clean: sums(clean["good"], "customer")), depends_on=["clean"])
    workflow.add_task(
        Task("load", lambda clean: load(database, clean["good"]), retries=3, retry=busy), depends_on=["clean"]
    )
    workflow.add_task(Task("check", partial(check, database)), depends_on=["load", "by_month"])
    return workflow


def show(event: StatusEvent) -> None:
    """A line for each task that ended."""
    if event.task and event.status.value in {"completed", "failed"}:
        print(f"  {event.task:12}{event.status.value} {event.error}")


def report(results: dict[str, Any]) -> None:
    """What came out."""
    refused = Counter(order["why"] for order in results["clean"]["bad"])
    print(f"\n{len(results['extract'])} lines: {results['load']} orders loaded, refused: {dict(refused)}")
    for month, cents in results["by_month"].items():
        print(f"  {month} {cents / 100:12,.2f} EUR")
    best, cents = max(results["by_customer"].items(), key=lambda item: item[1])
    print(f"{best} bought most, for {cents / 100:,.2f} EUR")
    print(f"in all {results['check'] / 100:,.2f} EUR, in the file and in the database")


def main() -> None:
    parser = argparse.ArgumentParser(description="Clean a file of orders and load it into SQLite.")
    parser.add_argument("--rows", type=int, default=2000, help="how many orders are made")
    parser.add_argument(
        "--folder", type=Path, help="where the files are; without it beside the state, or gone at the end"
    )
    parser.add_argument("--state", help="a file that keeps what has completed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or (Path(arguments.state).parent if arguments.state else Path(temporary))
        source = folder / "orders.csv"
        if not source.exists():
            make_orders(source, arguments.rows)
        workflow = build(source, folder / "orders.db")
        workflow.add_listener(show)
        store = SQLiteStateStore(arguments.state) if arguments.state else None
        workflow.execute(ThreadedExecutor(max_workers=2, state_store=store))
        report(workflow.results)


if __name__ == "__main__":
    main()
