"""What a program may write. Each line marked `# wrong` is refused by a type checker, and no other line is."""
# ruff: noqa: D101, F841, T201, UP045 - a program that is checked and never run

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional, TypeAlias, assert_type

from casty_es import Dict, Distributed, EntityGateway, Queue, Set
from casty_es.domain.barrier import Arrive
from casty_es.domain.counter import Increment
from casty_es.domain.decider import Command
from casty_es.domain.lock import GetHolder, Holder
from casty_es.gateway import RegionRef, ShardEnvelope


@dataclass
class User:
    name: str


@dataclass
class Robot:
    serial: int


Anybody: TypeAlias = User | Robot


async def replies_have_types(d: Distributed) -> None:
    assert_type(await d.counter("c").increment(), int)
    assert_type(await d.counter("c").increment(max=10, min=None), int)
    assert_type(await d.counter("c").set(5), None)
    assert_type(await d.counter("c").get_and_set(5), int)
    assert_type(await d.counter("c").compare_and_set(5, 6), bool)
    assert_type(await d.counter("c").destroy(), bool)
    await d.counter("c").set("5")  # wrong
    await d.counter("c").increment(max=1.5)  # wrong
    assert_type(await d.lock("l").try_acquire(), bool)
    assert_type(await d.lock("l").release(), bool)
    assert_type(await d.semaphore("s", permits=2).available(), int)
    users = d.map[str, User]("users", shards=3, timeout=1.0)
    assert_type(users, Dict[str, User])
    assert_type(await users.get("alice"), User | None)
    assert_type(await users.delete("alice"), bool)
    assert_type(await d.set[str]("tags").size(), int)
    jobs = d.queue[User]("jobs")
    assert_type(jobs, Queue[User])
    assert_type(await jobs.dequeue(), User | None)
    assert_type(d.queue[list[int]]("lists"), Queue[list[int]])
    assert_type(await users.get("alice", default=0), User | int)
    assert_type(await users.pop("alice"), User | None)
    assert_type(await users.get_many(["alice", "bob"]), dict[str, User])
    assert_type(await users.put_many({"alice": User("a")}), None)
    assert_type(await users.delete_many(name for name in ("alice", "bob")), int)
    await users.put_many({"alice": 1})  # wrong
    assert_type(await users.put_if_absent("alice", User("a")), bool)
    assert_type(await users.update("alice", lambda user: user, default=User("a")), User)
    assert_type(await users.update("alice", lambda user: user or User("a")), User)
    await users.replace("alice", User("a"), 1)  # wrong
    await users.update("alice", lambda user: user.name, default=User("a"))  # wrong
    await users.put("alice", Robot(1))  # wrong
    await users.get(1)  # wrong
    await jobs.enqueue("alice")  # wrong
    name: str = await d.counter("c").get()  # wrong


async def a_command_says_what_its_caller_is_told(gateway: EntityGateway, ref: RegionRef) -> None:
    assert_type(await gateway.entity_ask(ref, lambda _: ShardEnvelope("c", Increment(1)), timeout=1.0), int)
    assert_type(await gateway.entity_ask(ref, lambda _: ShardEnvelope("l", GetHolder()), timeout=1.0), Holder | None)
    asked: Command[int | None] = Arrive("p", "r", 2)
    anything: Command = asked
    text: Command[str] = Increment(1)  # wrong
    print(anything, text)


def every_type_of_values_is_taken(d: Distributed) -> None:
    users: Dict[str, User | Robot] = d.map[str, User | Robot]("users")
    d.map[int, User | None]("users", shards=3)
    d.map[str, Optional[User]]("users")
    d.map[str, Annotated[int, "at least 0"]]("users")
    d.map[str, Literal["on", "off"]]("switches")
    d.map[str, Anybody]("users")
    d.map[str, Any]("users")
    d.map[str, dict[str, User | Robot]]("users")
    tags: Set[int | str] = d.set[int | str]("tags")
    d.set[Literal[1, 2]]("numbers")
    d.set[Annotated[int, "at least 0"]]("numbers")
    d.set[Optional[int]]("numbers", timeout=1.0)
    jobs: Queue[User | Robot] = d.queue[User | Robot]("jobs")
    d.queue[Annotated[int, "at least 0"]]("jobs")
    d.queue[Optional[User]]("jobs")
    d.queue[Literal["a"]]("jobs")
    d.queue[Any]("jobs")
    print(users, tags, jobs)


def a_wrong_call_is_refused(d: Distributed) -> None:
    d.map[str, User]("users", shard=3)  # wrong
    d.map[str, User | Robot]("users", shard=3)  # wrong
    d.set[str]("tags", shards="3")  # wrong
    d.queue[User]("jobs", 3)  # wrong
    d.queue[User | None]()  # wrong
    d.map[str]("users")  # wrong
    d.counter("c", shard=3)  # wrong
    d.semaphore("s")  # wrong
