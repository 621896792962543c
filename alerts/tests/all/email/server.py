"""A mail server of another make (aiosmtpd): prints its port, then one JSON line a message it took.

Listens on a free port, or with --port on that one.

Refuses the address gone@ for good, busy@ for now. Arguments: --tls CERT KEY offers STARTTLS and wants it,
--login NAME PASSWORD wants a sign-on.
"""

import argparse
import asyncio
import base64
import json
import ssl

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("gone@"):
            return "550 5.1.1 no such user"
        if address.startswith("busy@"):
            return "451 4.3.0 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        taken = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "data": base64.b64encode(envelope.content).decode(),
            "tls": session.ssl is not None,
            "login": bool(session.authenticated),
        }
        print(json.dumps(taken), flush=True)
        return "250 taken"


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", nargs=2)
    parser.add_argument("--login", nargs=2)
    parser.add_argument("--port", type=int, default=0)
    args = parser.parse_args()
    options = {"hostname": "localhost"}
    if args.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*args.tls)
        options |= {"tls_context": context, "require_starttls": True}
    if args.login:
        name, password = (a.encode() for a in args.login)

        def check(server, session, envelope, mechanism, data):
            return AuthResult(success=(data.login, data.password) == (name, password), handled=False)

        options |= {"authenticator": check, "auth_required": True, "auth_require_tls": bool(args.tls)}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Handler(), **options), "127.0.0.1", args.port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
