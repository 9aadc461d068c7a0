"""Which locks the frames of Python refer to, and which they hold by `with`: from the saved memory.

A lock of Python does not record who holds it. But while a block `with lock:` runs, its `__exit__` lies
on the value stack of the frame, bound to the lock. The offsets are those of CPython 3.8 to 3.13 on
64-bit machines, the ordinary build (Include/internal/pycore_frame.h, pycore_runtime.h, cpython/pystate.h,
cpython/code.h, cpython/frameobject.h; gdb's `ptype /o` shows them). Of other versions nothing is found.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from snaptui.engine.inspect.waits.facts import Program, Thread

LOCK, RLOCK, THREAD = "_thread.lock", "_thread.RLock", "_thread._ThreadHandle"  # tp_name
HANDLE: Final = 16
"""Offset of lock_lock in a lock object, re-entrant or not, behind PyObject_HEAD; and of a thread handle's."""
_TYPE: Final = 8  # offset of ob_type
_TYPE_NAME: Final = 24  # offset of tp_name in PyTypeObject
_METHOD: Final = (16, 24)  # offsets of m_ml and m_self in PyCFunctionObject
_LOCKED: Final = 32  # offset of `locked` in a lock object
_IDENT: Final = 32  # offset of ident in ThreadHandle (3.13)
_REFERENT: Final = 16  # offset of wr_object in PyWeakReference
_CONTENTS: Final = 16  # offset of ob_ref in PyCellObject
_NAMES, _NAMES_OLD = 32, 64  # offset of co_names in PyCodeObject, since 3.11 and up to 3.10
_ITEMS: Final = 24  # offset of ob_item in PyTupleObject
_REFERENCES_MAX: Final = 0xFFFF_FFFF
"""More references than an object has: what was freed holds a pointer where the count was."""
_FRAMES_MAX: Final = 1024
_SLOTS_MAX: Final = 1024  # of one frame
_THREADS_MAX: Final = 1 << 16
_ENTRIES_MAX: Final = 1 << 16  # of one dictionary
_OWNED_BY_C: Final = 3  # FRAME_OWNED_BY_CSTACK
_VERSION: Final = re.compile(r"python3\.(\d+)")


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where things are in the interpreter's structures, in bytes."""

    interpreter: int
    """The pointer to the main interpreter in _PyRuntime."""
    threads: int
    """In PyInterpreterState the pointer to its first thread."""
    thread_id: int
    """In PyThreadState the pthread_t; `next` is at 8."""
    frame: int
    """In PyThreadState the pointer to the innermost frame, or to _PyCFrame."""
    within: int
    """In _PyCFrame the pointer to that; -1: there is none between."""
    tstate_lock: int
    """In PyThreadState the weak reference to the lock that a join waits for; -1: there is none."""
    previous: int
    """In a frame the one that called it; then its code, its globals, and its variables."""
    code: int
    globals: int
    slots: int
    owner: int
    """In a frame who made it; -1: not recorded."""
    stacksize: int
    """In PyCodeObject; the number of variables is 8 behind it."""
    text: int
    """In an ASCII str its characters."""

    @property
    def is_old(self) -> bool:
        """Whether frames are objects, which know where their stack is: up to 3.10."""
        return self.slots > 72


_LAYOUTS: Final = {
    8: _Layout(40, 8, 176, 24, -1, 208, 24, 32, 48, 360, -1, 32, 48),
    9: _Layout(40, 8, 176, 24, -1, 208, 24, 32, 48, 360, -1, 32, 48),
    10: _Layout(40, 8, 176, 24, -1, 208, 24, 32, 48, 352, -1, 32, 48),
    11: _Layout(48, 16, 152, 56, 8, 192, 48, 32, 8, 72, -1, 68, 48),
    12: _Layout(48, 72, 136, 56, 0, 176, 8, 0, 24, 72, 70, 64, 40),
    13: _Layout(640, 7344, 152, 72, -1, -1, 8, 0, 24, 72, 70, 64, 40),
}
_VALUE_STACK: Final = 64  # offset of f_valuestack in the frame objects of 3.8 to 3.10


@dataclass(frozen=True, slots=True)
class Reference:
    """An object that a frame refers to."""

    address: int
    kind: str
    """The name of its type."""
    is_held: bool
    """Whether the frame is inside of a `with` block of it, or on the way into it."""


@dataclass(frozen=True, slots=True)
class PyFrame:
    """A frame of Python in memory."""

    references: tuple[Reference, ...]
    globals: int
    """The address of its dictionary."""
    code: int
    """The address of its code."""


class PythonMemory:
    """The frames of a process's Python threads. Where the version is none of those known, there are none."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._layout = _LAYOUTS.get(_minor_version(program), None)
        self._kinds: dict[int, str] = {}
        self._states = dict(self._thread_states())
        self._frames: dict[int, tuple[PyFrame, ...]] = {}

    def frames(self, thread: Thread) -> tuple[PyFrame, ...]:
        """The frames of a thread, innermost first."""
        if thread.tid not in self._frames:
            self._frames[thread.tid] = self._read(thread)
        return self._frames[thread.tid]

    def _read(self, thread: Thread) -> tuple[PyFrame, ...]:
        layout, state = self._layout, self._states.get(thread.tid)
        if layout is None or state is None:
            return ()
        at = self._number(state + layout.frame)
        if layout.within >= 0:
            at = self._number(at + layout.within)
        found: list[PyFrame] = []
        while at and len(found) < _FRAMES_MAX:
            if layout.owner < 0 or self._number(at + layout.owner, 1) != _OWNED_BY_C:
                references = tuple(self._references(at, layout))
                code = self._number(at + layout.code)
                found.append(PyFrame(references, self._number(at + layout.globals), code))
            at = self._number(at + layout.previous)
        return tuple(found)

    def is_locked(self, lock: int) -> bool:
        """Whether anybody holds a lock object that is not re-entrant."""
        return self._number(lock + _LOCKED, 1) == 1

    def joined(self, lock: int) -> Thread | None:
        """The thread whose end a lock stands for (threading's _tstate_lock, up to 3.12)."""
        layout = self._layout
        if layout is None or layout.tstate_lock < 0:
            return None
        for tid, state in self._states.items():
            if self._number(self._number(state + layout.tstate_lock) + _REFERENT) == lock:
                return self._program.threads[tid]
        return None

    def of_handle(self, handle: int) -> Thread | None:
        """The thread that a thread handle is of (3.13)."""
        return self._program.by_pthread(self._number(self._number(handle + HANDLE) + _IDENT))

    def global_name(self, frame: PyFrame, value: int) -> str:
        """What a frame's module calls an object; empty if it does not know it, or the name is not ASCII."""
        layout = self._layout
        keys = self._number(frame.globals + 32)  # ma_keys
        if layout is None or not keys:
            return ""
        if not layout.is_old:
            log, kind, count = self._number(keys + 9, 1), self._number(keys + 10, 1), self._number(keys + 24)
            start, size = keys + 32 + (1 << min(log, 32)), 24 if kind == 0 else 16  # DICT_KEYS_GENERAL
        else:
            slots, count = self._number(keys + 8), self._number(keys + 32)
            width = 1 if slots <= 0xFF else 2 if slots <= 0xFFFF else 4
            start, size = keys + 40 + slots * width, 24
        for at in range(start, start + min(count, _ENTRIES_MAX) * size, size):
            if self._number(at + size - 8) == value:
                return self._text(self._number(at + size - 16), layout)
        return ""

    def uses(self, frame: PyFrame, value: int) -> bool:
        """Whether an object is among a frame's variables, or a global one that its code names."""
        if any(reference.address == value for reference in frame.references):
            return True
        layout, name = self._layout, self.global_name(frame, value)
        if layout is None or not name:
            return False
        names = self._number(frame.code + (_NAMES_OLD if layout.is_old else _NAMES))
        count = min(self._number(names + HANDLE), _SLOTS_MAX)  # ob_size, behind PyObject_HEAD
        return any(self._text(self._number(names + _ITEMS + 8 * at), layout) == name for at in range(count))

    def _thread_states(self) -> Iterator[tuple[int, int]]:
        layout = self._layout
        runtime = self._program.symbols.address_of("_PyRuntime") if layout is not None else None
        if layout is None or runtime is None:
            return
        state = self._number(self._number(runtime + layout.interpreter) + layout.threads)
        for _ in range(_THREADS_MAX):
            if not state:
                return
            thread = self._program.by_pthread(self._number(state + layout.thread_id))
            if thread is not None:
                yield thread.tid, state
            state = self._number(state + 8)

    def _references(self, frame: int, layout: _Layout) -> Iterator[Reference]:
        """The locks and thread handles among its variables and on its value stack, the last one first."""
        code = self._number(frame + layout.code)
        count = self._number(code + layout.stacksize, 4)
        if layout.is_old:
            variables = (self._number(frame + _VALUE_STACK) - frame - layout.slots) // 8
        else:
            variables = self._number(code + layout.stacksize + 8, 4)
        if not 0 <= variables + count <= _SLOTS_MAX:
            return
        for at in reversed(range(variables + count)):
            value = self._number(frame + layout.slots + 8 * at)
            kind = self._kind(value)
            if kind == "cell":  # a variable that functions inside of this one use, or of one outside
                value = self._number(value + _CONTENTS)
                kind = self._kind(value)
            if kind in (LOCK, RLOCK, THREAD):
                yield Reference(value, kind, False)
            elif kind == "builtin_function_or_method":
                method, owner = (self._number(value + offset) for offset in _METHOD)
                if (kind := self._kind(owner)) in (LOCK, RLOCK, THREAD):
                    name = self._program.string(self._number(method))
                    yield Reference(owner, kind, at >= variables and name == "__exit__")

    def _kind(self, value: int) -> str:
        """The name of an object's type; empty where there is no object."""
        if not value or value % 8 or not 0 < self._number(value) <= _REFERENCES_MAX:
            return ""
        kind = self._number(value + _TYPE)
        if kind not in self._kinds:
            self._kinds[kind] = self._program.string(self._number(kind + _TYPE_NAME)) if kind else ""
        return self._kinds[kind]

    def _text(self, text: int, layout: _Layout) -> str:
        length = self._number(text + HANDLE)
        found = self._program.string(text + layout.text) if 0 < length < 256 else ""
        return found if len(found) == length and found.isidentifier() else ""

    def _number(self, address: int, size: int = 8) -> int:
        """0 where it cannot be read."""
        return self._program.number(address, size) or 0


@functools.lru_cache(maxsize=1)  # the threads of a process come one after the other
def python_memory(program: Program) -> PythonMemory:
    """The Python frames of a process, read once."""
    return PythonMemory(program)


def _minor_version(program: Program) -> int:
    """12 of CPython 3.12; 0 if it is not known."""
    at = program.symbols.address_of("Py_Version")  # since 3.11 (PY_VERSION_HEX)
    if at is not None and (version := program.number(at)) and version >> 24 == 3:
        return version >> 16 & 0xFF
    for file in program.linux.text_files:
        if found := _VERSION.search(file.path):
            return int(found[1])
    return 0
