"""An SMTP server, on loopback unless told otherwise, that stores each mail it takes as a file. Prints the port that it got.

Usage: smtp.py FOLDER [--listen HOST:PORT] [--refuse N] [--drop N]
  --refuse N  answers the first N mails with 451: try again later
  --drop N    takes the next N mails and closes the connection without an answer
"""

import argparse
import asyncio
import pathlib

from aiosmtpd.smtp import SMTP

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("--listen", default="127.0.0.1:0")
parser.add_argument("--refuse", type=int, default=0)
parser.add_argument("--drop", type=int, default=0)
args = parser.parse_args()
taken = 0


class Store:
    async def handle_DATA(self, server, session, envelope):
        global taken
        if args.refuse > 0:
            args.refuse -= 1
            return "451 Try again later"
        taken += 1
        partial = args.folder / f".{taken:06}"
        partial.write_bytes(envelope.content)
        partial.rename(args.folder / f"{taken:06}.eml")
        if args.drop > 0:
            args.drop -= 1
            server.transport.abort()
            return "421 Gone"
        return "250 Taken"


async def main():
    args.folder.mkdir(parents=True, exist_ok=True)
    loop = asyncio.get_running_loop()
    host, port = args.listen.split(":")
    server = await loop.create_server(lambda: SMTP(Store(), hostname="mail.test", loop=loop), host, int(port))
    print("ready:", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
