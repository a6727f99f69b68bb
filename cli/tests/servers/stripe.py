"""localstripe on loopback alone, with its book in memory alone. Prints the port that it got."""

import socket

from aiohttp import web
from localstripe.resources import store
from localstripe.server import app

# It would write every change to one file under /tmp, whoever else runs one.
store.dump_to_disk = lambda: None

listener = socket.socket()
listener.bind(("127.0.0.1", 0))
print("ready:", listener.getsockname()[1], flush=True)
web.run_app(app, sock=listener, print=None, access_log=None)
