"""
Imported by an agent-server before it loads its own program (`--import-modules`), where Callboard has installed it.

It makes the agent-server do less of one thing and, in a sandbox that is kept warm, other things earlier. Nothing of what
the agent-server answers or stores is changed, and no file, thread or connection is left behind. Whatever a version of
the agent-server has not got under the names used here is left out, with one line in its log.
"""

import importlib
import inspect
import os
import shutil
import threading

# Set for a sandbox that nobody waits for; taken out of the environment, so that no command in the sandbox sees it.
WARM_UP = "CALLBOARD_WARM_UP"
# Added to the nice value for the warm-up, a third of the usual weight: what runs for somebody goes first, and a start
# that takes this sandbox while it boots is not kept waiting for ever.
LOW_PRIORITY = 5

# What a first conversation would import, as the agent-server imports most of itself: in the middle of its work.
FIRST_CONVERSATION = (
    "openhands.agent_server.api",
    "httpcore",
    "litellm.llms.openai.openai",
    "litellm.llms.anthropic.chat.handler",
    "openai.resources.chat",
    "openai.resources.beta",
    "openai.resources.responses",
)
# Two seconds of processor time and 50 MB, where an agent may have a browser.
BROWSER = ("openhands.tools.browser_use.impl",)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def best_effort(what, step, *arguments):
    """Does a step; without it the agent-server works as it does by itself."""
    try:
        step(*arguments)
    except Exception as error:
        print(f"callboard: {what} left out: {type(error).__name__}: {error}", flush=True)


def keep_certificates():
    """
    Lets clients of httpx share what they trust.

    For each delivery of an event the agent-server makes a new client, and each of those reads all certificate
    authorities, 45 ms of processor time, even for an address that begins with http:. One that is told what to trust,
    or to trust everything, gets a context of its own as before, and so do all once the certificates have changed.
    """
    transports = importlib.import_module("httpx._transports.default")
    make = transports.create_ssl_context
    if list(inspect.signature(make).parameters) != ["verify", "cert", "trust_env"]:
        raise TypeError("create_ssl_context of httpx takes other arguments")
    kept = {}
    lock = threading.Lock()

    def create(verify=True, cert=None, trust_env=True):
        if verify is not True or cert is not None:
            return make(verify=verify, cert=cert, trust_env=trust_env)
        source = trusted(trust_env)
        with lock:
            if source not in kept:
                context = make(verify=verify, cert=cert, trust_env=trust_env)
                kept.clear()
                kept[source] = context
            return kept[source]

    transports.create_ssl_context = create


def trusted(trust_env):
    """Names where httpx reads certificate authorities, and what shows that they are still the same."""
    if not trust_env:
        return None
    names = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    return tuple((name, *state(name)) for name in names)


def state(name):
    if not name:
        return ()
    try:
        found = os.stat(name)
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def warm_up():
    """Loads everything in a thread of low priority, which ends; its priority ends with it."""
    thread = threading.Thread(target=load_all, name="callboard-warm-up")
    thread.start()
    thread.join()


def load_all():
    # Of this thread alone, on Linux; the process could not raise its own again.
    best_effort("a low priority", os.nice, LOW_PRIORITY)
    browser = BROWSER if any(map(shutil.which, BROWSERS)) else ()
    for name in (*FIRST_CONVERSATION, *browser):
        best_effort(name, importlib.import_module, name)


def read_certificates():
    transports = importlib.import_module("httpx._transports.default")
    transports.create_ssl_context()


def read_ahead():
    """Reads the certificates beside the imports that follow: OpenSSL lets other threads run meanwhile."""
    threading.Thread(target=best_effort, args=("certificates", read_certificates), name="callboard-certificates").start()


best_effort("sharing certificates", keep_certificates)
best_effort("certificates", read_ahead)
if os.environ.pop(WARM_UP, None) == "1":
    warm_up()
