"""What a task's function is called with, for every shape that a function can have."""

import functools
import inspect
import math

import pytest

from flowweaver.runners.parameters import MissingParameter, arguments, takes_nothing

RESULTS = {"a": 1, "b-c": 2, "rest": 3}


def called(function, results=RESULTS, missing=None):
    """What it gives when it is called with these results."""
    positional, keywords = arguments(function, "t", results, missing or {}, lambda result: result * 10)
    return function(*positional, **keywords)


class Callable:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, a):
        return self.factor * a

    def method(self, b_c):
        return self.factor * b_c

    @classmethod
    def of_class(cls, a, /, b_c):
        return cls, a, b_c

    @staticmethod
    def static(a, *, b_c=0):
        return a, b_c


class Made:
    def __init__(self, a):
        self.a = a


def wrapped(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return "wrapped", function(*args, **kwargs)

    return wrapper


def with_everything(a, **rest):
    return a, rest


@wrapped
def one_parameter(a):
    return a


def positional_only(x=7, a=0, /, b_c=0, **rest):
    return x, a, b_c, rest


def with_args(a, *args, b_c):
    return a, args, b_c


def with_own_signature(**anything):
    return anything


with_own_signature.__signature__ = inspect.Signature([inspect.Parameter("a", inspect.Parameter.KEYWORD_ONLY)])


@pytest.mark.parametrize(
    ("function", "given"),
    [
        (lambda: "nothing", "nothing"),
        (lambda a: a, 10),
        (lambda b_c, a: (a, b_c), (10, 20)),
        (lambda other=5: other, 5),
        (lambda a=5: a, 10),
        (lambda *args: args, ()),
        (lambda *, a, other=6: (a, other), (10, 6)),
        (lambda a, /: a, 10),
        (lambda **every: every, {"a": 10, "b-c": 20, "rest": 30}),
        (with_everything, (10, {"b-c": 20, "rest": 30})),
        (positional_only, (7, 10, 20, {"rest": 30})),
        (with_args, (10, (), 20)),
        (one_parameter, ("wrapped", 10)),
        (wrapped(lambda: "nothing"), ("wrapped", "nothing")),
        (with_own_signature, {"a": 10}),
        (functools.partial(lambda a, other: (a, other), other=6), (10, 6)),
        (functools.partial(lambda other, a: (a, other), 6), (10, 6)),
        (functools.partial(lambda a: a, a=6), 10),
        (Callable(3), 30),
        (Callable(3).method, 60),
        (Callable.of_class, (Callable, 10, 20)),
        (Callable.static, (10, 20)),
        (dict, {}),
        (math.pi.hex, math.pi.hex()),
        (functools.partial(max, 1, 2), 2),
    ],
)
def test_results_go_to_the_parameters_of_their_names(function, given):
    assert called(function) == given


def test_a_class_can_be_the_function():
    assert called(Made).a == 10


def test_a_function_in_c_gets_its_parameters_where_it_says_what_they_are():
    assert called(len, {"obj": "x"}) == 10
    assert arguments(max, "t", RESULTS, {}, int) == ([], {})


def test_a_name_with_an_underscore_wins_over_one_with_a_hyphen():
    results = {"b-c": 1, "b_c": 2}
    assert called(lambda b_c: b_c, results) == 20
    assert called(lambda **every: every, results) == {"b-c": 10, "b_c": 20}
    assert called(lambda **every: every, dict(reversed(results.items()))) == {"b-c": 10, "b_c": 20}
    assert called(lambda b_c, **rest: (b_c, rest), results) == (20, {"b-c": 10})


def test_each_result_is_read_for_each_parameter_that_takes_it_and_no_other_is():
    read = []
    arguments(lambda a: a, "t", RESULTS, {}, read.append)
    assert read == [1]


@pytest.mark.parametrize(
    ("function", "parameter"),
    [
        (lambda x: x, "x"),
        (lambda a, *, x: x, "x"),
        (lambda a, x, /: x, "x"),
        (Callable(1).method.__func__, "self"),
        (wrapped(lambda x: x), "x"),
        (functools.partial(lambda x, y: x, 1), "y"),
    ],
)
def test_a_parameter_that_nothing_fills_is_named_with_its_task(function, parameter):
    with pytest.raises(
        MissingParameter, match=f"task 't' needs the parameter '{parameter}': depend on a task"
    ) as error:
        called(function)
    assert isinstance(error.value, TypeError)


def test_a_parameter_whose_task_did_not_complete_says_so_and_a_default_holds():
    missing = {"b-c": "Skipped"}
    with pytest.raises(
        MissingParameter, match="'b-c' ended as Skipped and has no result: give the parameter a default"
    ):
        called(lambda b_c: b_c, {}, missing)
    assert called(lambda b_c=None: b_c, {}, missing) is None
    assert called(lambda **every: every, {}, missing) == {}


@pytest.mark.parametrize(
    ("function", "nothing"),
    [
        (lambda: None, True),
        (lambda *args: None, True),
        (lambda a: None, False),
        (lambda a=1: None, False),
        (lambda *, a=1: None, False),
        (lambda **every: None, False),
        (one_parameter, False),
        (with_own_signature, False),
        (Callable(1), False),
        (functools.partial(lambda: None), False),
    ],
)
def test_what_certainly_takes_nothing(function, nothing):
    assert takes_nothing(function) is nothing


def test_what_is_read_from_the_code_is_what_the_signature_says():
    def function(a, b=2, /, c=3, *args, d, e=5, **every):
        pass

    positional, keywords = arguments(function, "t", {"a": 1, "d": 4, "z": 9}, {}, lambda result: result)
    assert (positional, keywords) == ([1, 2], {"d": 4, "z": 9})
    assert inspect.signature(function).bind(*positional, **keywords).arguments == {
        "a": 1,
        "b": 2,
        "d": 4,
        "every": {"z": 9},
    }
