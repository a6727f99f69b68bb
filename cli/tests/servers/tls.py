"""Takes TLS off connections and hands them on. Prints "ready" once it listens.

Usage: tls.py PEM LISTEN_HOST:PORT BEHIND_HOST:PORT
  PEM  a file with the private key and the certificate
"""

import asyncio
import ssl
import sys

pem, listen, behind = sys.argv[1], sys.argv[2].split(":"), sys.argv[3].split(":")


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def hand_on(reader, writer):
    try:
        behind_reader, behind_writer = await asyncio.open_connection(*behind)
    except OSError:
        writer.close()
        return
    await asyncio.gather(copy(reader, behind_writer), copy(behind_reader, writer))


async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    server = await asyncio.start_server(hand_on, *listen, ssl=context)
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(main())
