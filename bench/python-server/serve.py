"""Starts the Python server on the port given, as it ships but for three things that no measurement could do without.

- The rate limiter lets everything pass: it holds back what comes faster than ten requests a second from one address.
- A sandbox process that sleeps counts as running. As published only one that uses the processor at the very moment at
  which it is looked at does, so that starts wait for an idle sandbox until they give up.
- In a container it finds its sandboxes, which are processes of the same container: it would look for them on the host.

    python serve.py PORT
"""

import sys

import uvicorn
from openhands.app_server.middleware import RateLimitMiddleware
from openhands.app_server.sandbox.process_sandbox_service import ProcessSandboxService
from openhands.app_server.sandbox.sandbox_models import SandboxStatus
from openhands.app_server.utils import docker_utils

RateLimitMiddleware.is_rate_limited_request = lambda self, request: False

status_as_published = ProcessSandboxService._get_process_status


def status(self, process_info):
    found = status_as_published(self, process_info)
    return SandboxStatus.RUNNING if found is SandboxStatus.STARTING else found


ProcessSandboxService._get_process_status = status

docker_utils.is_running_in_docker = lambda: False

uvicorn.run("openhands.app_server.app:app", host="127.0.0.1", port=int(sys.argv[1]))
