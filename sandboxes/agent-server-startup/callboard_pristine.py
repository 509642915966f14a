"""
What an agent-server that was imported once has to shed before its copies may serve sandboxes (`callboard_fork_server`).

Modules keep some of what they find in the environment while they are imported. They are imported with a tracer in place of
everything that differs from sandbox to sandbox: directories that do not exist, keys that open nothing. Afterwards all
objects of the process are searched for it. What is found and can be put right is noted and put right in each copy; if
anything else is found, in whatever version, there are no copies (`Unsuitable`).
"""

import gc
import os
import sys
import threading
import time
from pathlib import PurePath

# Singletons that are made by whoever asks first, some of them during the import: back to "nobody has asked".
SINGLETONS = (
    ("openhands.agent_server.config", ("_default_config",)),
    ("openhands.agent_server.conversation_service", ("_conversation_service",)),
    ("openhands.agent_server.bash_service", ("_bash_event_service",)),
    (
        "openhands.agent_server.persistence.store",
        ("_settings_store", "_secrets_store", "_workspaces_store", "_llm_profile_store", "_agent_profile_store"),
    ),
)
# Modules that make something of the configuration while they are imported: each copy imports them for itself.
MADE_ANEW = ("openhands.agent_server.api", "openhands.agent_server.sockets")
# Below these packages a number that is a moment of the import is one, and nothing else.
PACKAGES = ("openhands",)
# Objects that are searched at once.
PORTION = 2_000
# For threads of the import.
PATIENCE_SECONDS = 30


class Unsuitable(Exception):
    """This process cannot be copied; its text says why."""


class Tracer:
    """What is searched for, in an object that the search knows and passes over."""

    __slots__ = ("home", "text")

    def __init__(self, text, home):
        self.text = text
        # The only text with the tracer in it that a copy can replace: a home directory.
        self.home = home

    def is_in(self, one):
        if isinstance(one, str):
            return str.__contains__(one, self.text)
        return isinstance(one, (bytes, bytearray)) and self.text.encode() in one


class Pristine:
    """What has to be done in a copy before it runs."""

    def __init__(self, tracer):
        self.tracer = tracer
        self.paths = []
        self.texts = []
        self.moments = []

    def take_on(self, home):
        """Puts the copy's own home directory and time in place of those of the import."""
        for path in self.paths:
            path_becomes(path, self.own(str(path), home))
        for holder, key in self.texts:
            holder[key] = self.own(holder[key], home)
        for names, name, clock in self.moments:
            names[name] = clock()

    def own(self, text, home):
        return home + text[len(self.tracer.home) :]


def pristine(tracer, began):
    """
    Makes this process as it was before anybody asked anything of it, and finds out what its copies have to put right.
    `began` holds wall clock and monotonic clock before the import.
    """
    forget()
    alone()
    found = Pristine(tracer)
    search(tracer, found)
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in PACKAGES:
            find_moments(vars(module), began, found)
    return found


def forget():
    for name, singletons in SINGLETONS:
        module = sys.modules.get(name)
        for singleton in singletons:
            if singleton in vars(module or object):
                setattr(module, singleton, None)
    for name in MADE_ANEW:
        if sys.modules.pop(name, None) is None:
            raise Unsuitable(f"it has no module {name}")
        parent, _, own = name.rpartition(".")
        vars(sys.modules[parent]).pop(own, None)
    # Twice: what the first finds may be held by what only then lets go.
    gc.collect()
    gc.collect()


def alone():
    """A copy has only the thread that makes it; whatever another one holds, a lock for instance, is held for ever in it."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(PATIENCE_SECONDS)
    if len(os.listdir("/proc/self/task")) != 1:
        raise Unsuitable("there are threads that do not end: " + ", ".join(t.name for t in threading.enumerate()))


def search(tracer, found):
    """Finds all that holds the tracer. The caller has to be rid of its own: environment, arguments, variables."""
    objects = gc.get_objects()
    for one in objects:
        if isinstance(one, PurePath) and tracer.text in str(one):
            if not str(one).startswith(tracer.home):
                raise Unsuitable(f"a path of the import was kept, that of {one.name}")
            found.paths.append(one)
    suspects = []
    for first in range(0, len(objects), PORTION):
        holders = objects[first : first + PORTION]
        while holders:
            held = gc.get_referents(*holders)
            # Keys that are texts are not told.
            held += [key for one in holders if isinstance(one, dict) for key in dict.keys(one)]
            if any(map(tracer.is_in, held)):
                suspects += holders
            # Those that hold nothing but texts and numbers are not among the objects that the collector knows.
            holders = [one for one in held if type(one) in (dict, tuple) and one and not gc.is_tracked(one)]
    del objects, holders, held
    suspects = [one for one in suspects if not isinstance(one, Tracer) and one is not suspects]
    # A path that has changed would not be found again.
    if any(is_looked_up(one, holder) for holder in gc.get_referrers(*found.paths) for one in found.paths):
        raise Unsuitable("a path of the import was kept as a key")
    # A path is found by its parts as well.
    passed = {id(one) for path in found.paths for one in (path, *gc.get_referents(path))}
    for one in suspects:
        if id(one) in passed:
            continue
        if isinstance(one, dict):
            note_texts(one, tracer, found)
        elif any(map(tracer.is_in, gc.get_referents(one))):
            raise Unsuitable(f"something of the import was kept by a {type(one).__module__}.{type(one).__qualname__}")


def is_looked_up(one, holder):
    return isinstance(holder, (dict, set, frozenset)) and any(one is key for key in holder)


def note_texts(holder, tracer, found):
    for key, value in list(holder.items()):
        if tracer.is_in(key):
            raise Unsuitable("something of the import was kept as a key")
        if not tracer.is_in(value):
            continue
        if not (isinstance(value, str) and value.startswith(tracer.home)):
            raise Unsuitable(f"something of the import was kept under the name {key!r}")
        found.texts.append((holder, key))


def find_moments(names, began, found):
    for clock, start in zip((time.time, time.monotonic), began, strict=True):
        now = clock()
        for name, value in names.items():
            if type(value) is float and start <= value <= now:
                found.moments.append((names, name, clock))


def path_becomes(path, text):
    """Paths never change, and many may hold this one; a copy of it in each place would miss some of them."""
    for kind in type(path).__mro__:
        for slot in getattr(kind, "__slots__", ()):
            if slot != "__weakref__" and hasattr(path, slot):
                delattr(path, slot)
    path.__init__(text)
    if str(path) != text:
        raise Unsuitable("paths of this Python cannot be changed")
