"""A server on loopback that speaks S3 and keeps everything in memory. Prints the port that it got.

Usage: s3.py BUCKET...
  BUCKET  a bucket that is there from the beginning
"""

import signal
import sys
import urllib.request

from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
server.start()
_, port = server.get_host_and_port()
for bucket in sys.argv[1:]:
    made = urllib.request.Request(f"http://127.0.0.1:{port}/{bucket}", method="PUT")
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(made).close()
print(f"ready: {port}", flush=True)
signal.pause()
