"""
Imported by an agent-server (`--import-modules`) that shall serve no sandbox, but become any number of them.

It imports everything that an agent-server needs, once. For each line that it reads it makes a copy of itself by fork(2),
and the copy becomes the agent-server of one sandbox, as if it had been started by a command of its own: in a
session, a directory, an environment and with a log of its own, holding the lock of its sandbox. What the two ways to
start have to do alike is in `process-launch.ts`, whose shell does it for commands; a change there is a change here.

    standard input   {"id": 1, "directory": "…", "file": "…", "until": 3.5}, one a line; its end is the end of this process, not of
                     its copies
    descriptor 3     {"ready": true} or {"unsuitable": "why"}, then {"id": 1, "pid": 2} or {"id": 1, "refused": "why"}, and
                     {"pid": 2, "status": 0}

What is secret is in a file of the sandbox's directory, which the copy reads and removes: nothing of a sandbox ever is in the
process from which the next one is made. Whoever removes the file withdraws the request. A copy that has not got the lock of
its sandbox by `until`, seconds of the monotonic clock, comes too late, whatever has held it up: others have begun to start that
sandbox in another way, and perhaps ended it since.
"""

import ctypes
import fcntl
import gc
import glob
import importlib
import json
import os
import select
import signal
import sys
import time

ANSWERS = 3
CONFIGURATION = 8
LOCK = 9
# Exit code of a copy when another one holds the lock (EX_TEMPFAIL), as the shell has it, or is about to.
LOCK_HELD = 75
# Of prctl(2): the signal that a process gets when its parent ends.
PR_SET_PDEATHSIG = 1
# Of this process: what Callboard tells it by the environment.
SETTINGS = "CALLBOARD_FORK_SERVER"
# Nothing: it only makes place for the environments that the copies show.
ROOM = "CALLBOARD_FORK_SERVER_ROOM"


def serve():
    """Returns in a copy only, with what it has to become."""
    began = (time.time(), time.monotonic())
    # The end of standard input is not noticed by one that is stopped. Copies do not inherit this.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    pristine = importlib.import_module("callboard_pristine")
    settings = json.loads(os.environ.pop(SETTINGS))
    tracer = pristine.Tracer(settings["tracer"], settings["home"])
    log_limit = settings["log_limit"]
    del settings
    os.environ.pop(ROOM, None)
    reserve()
    open_before = descriptors()
    try:
        configure({"session_api_keys": [tracer.text + "-session"], "secret_key": tracer.text + "-secret"})
        importlib.import_module("callboard_startup")
        reserve()
        if os.listdir(tracer.home):
            raise pristine.Unsuitable("its import writes files into the home directory")
        # Copies would have one connection, or one epoll, in common.
        if descriptors() - open_before:
            raise pristine.Unsuitable("its import leaves connections open")
        for name in [name for name, value in os.environ.items() if tracer.text in value]:
            del os.environ[name]
        found = pristine.pristine(tracer, began)
    except pristine.Unsuitable as reason:
        answer({"unsuitable": str(reason)})
        os._exit(0)
    # What all copies have in common is not touched by their collections, and so stays in common.
    gc.freeze()
    request = make_copies()
    become(request, log_limit)
    found.take_on(os.environ["HOME"])
    return request["arguments"]


def make_copies():
    """Reads the requests and notes the ends of copies, until there is no more to read. Returns in each copy."""
    heard, hear = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(hear, warn_on_full_buffer=False)
    # What is said but not written yet would be said by every copy.
    sys.stdout.flush()
    sys.stderr.flush()
    answer({"ready": True})
    rest = b""
    while True:
        ready, _, _ = select.select([0, heard], [], [])
        if heard in ready:
            os.read(heard, 4096)
            note_ends()
        if 0 not in ready:
            continue
        read = os.read(0, 65536)
        if not read:
            os._exit(0)
        *lines, rest = (rest + read).split(b"\n")
        for line in lines:
            request = json.loads(line)
            try:
                pid = os.fork()
            except OSError as error:  # no memory, or no more processes: perhaps there are later
                answer({"id": request["id"], "refused": str(error)})
                continue
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for descriptor in (heard, hear, ANSWERS):
                    os.close(descriptor)
                return read_request(**request)
            answer({"id": request["id"], "pid": pid})


def note_ends():
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        answer({"pid": pid, "status": os.waitstatus_to_exitcode(status)})


def reserve():
    """Keeps the numbers of what each copy opens for itself from being anybody else's."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor in (CONFIGURATION, LOCK):
        os.dup2(nothing, descriptor)
    os.close(nothing)


def descriptors():
    """All open ones but files and devices, by what they are."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            what = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # that of the list itself
        if not what.startswith("/"):
            found.add((name, what))
    return found


def answer(line):
    try:
        os.write(ANSWERS, json.dumps(line).encode() + b"\n")
    except BrokenPipeError:
        os._exit(0)  # Callboard has ended


def configure(configuration):
    """Puts the configuration where the agent-server is told to read it; no directory has a name for it."""
    file = os.memfd_create("configuration")
    os.write(file, json.dumps(configuration).encode())
    os.dup2(file, CONFIGURATION)
    os.close(file)


def read_request(file, **request):
    try:
        with open(file, encoding="utf-8") as text:
            wanted = json.load(text)
        # Of those who want it removed, one succeeds.
        os.unlink(file)
    except FileNotFoundError:
        os._exit(LOCK_HELD)
    return {**wanted, **request}


def become(request, log_limit):
    """Becomes a process of the sandbox; until it has noted who it is, it ends with the exit codes of the shell."""
    os.setsid()
    directory = request["directory"]
    os.chdir(directory)
    sys.path[0] = directory  # as `python -m` has it
    variables = {**os.environ, **request["environment"]}
    os.environ.clear()
    os.environ.update(variables)
    show(variables, [*sys.orig_argv[:3], *request["arguments"]], request["mark"])
    hold(os.path.join(directory, "lock"))
    if time.monotonic() > request["until"]:
        os._exit(LOCK_HELD)
    withdraw_others(directory)
    write_log_to(os.path.join(directory, "agent-server.log"), log_limit)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(f"{request['line']} at {now}, pid {os.getpid()}", flush=True)
    record = os.path.join(directory, "sandbox.json")
    if os.path.exists(record):
        end_those_left(request["mark"])
    configure(request["configuration"])
    note = {"backend": "process", "pid": os.getpid(), "startTime": stat()[19], **request["rest"]}
    with open(record + ".new", "w", encoding="utf-8") as file:
        json.dump(note, file)
    os.rename(record + ".new", record)


def stat():
    """Fields of /proc/<pid>/stat from the state on, which is the third."""
    with open("/proc/self/stat", encoding="utf-8") as file:
        return file.read().rpartition(") ")[2].split()


def show(variables, arguments, mark):
    """
    Puts arguments and environment where the system shows those of a process, as far as there is place; the mark of the
    sandbox, by which its processes are found, comes first. Nothing points there any more: arguments have been copied by
    Python, and variables by `os.environ.update`.
    """
    fields = stat()
    arguments_from, arguments_to, variables_from, variables_to = map(int, fields[45:49])
    lines = sorted((f"{name}={value}" for name, value in variables.items()), key=lambda line: not line.startswith(mark))
    fill(arguments_from, arguments_to, arguments)
    fill(variables_from, variables_to, lines)


def fill(start, end, texts):
    place = end - start
    block = b""
    for text in texts:
        more = os.fsencode(text) + b"\0"
        if len(block) + len(more) <= place:
            block += more
    ctypes.memmove(start, block.ljust(place, b"\0"), place)


def hold(name):
    """The lock belongs to an open file: the system keeps it exactly as long as this process, or one that inherits it."""
    file = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(file, LOCK)
    os.close(file)
    try:
        fcntl.flock(LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os._exit(LOCK_HELD)


def withdraw_others(directory):
    """Requests that came second, and those that nobody read: they hold secrets."""
    for name in glob.glob(".launch-*.json", root_dir=directory):
        try:
            os.unlink(os.path.join(directory, name))
        except FileNotFoundError:
            continue  # read in this moment, by a copy that does not get the lock


def write_log_to(name, limit):
    if os.path.exists(name) and os.path.getsize(name) > limit:
        os.rename(name, name + ".1")
    log = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, descriptor in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, descriptor)
    os.close(log)
    os.close(nothing)


def end_those_left(mark):
    """What an earlier server of this sandbox has left running."""
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                marked = mark.encode() in file.read().split(b"\0")
            if marked:
                os.kill(int(name), signal.SIGKILL)
        except OSError:
            continue  # gone, or somebody else's


if SETTINGS in os.environ:
    sys.argv[1:] = serve()
    sys.modules["__main__"].main()
    sys.exit()
