"""A line of a log for each kind of event that a parser reads, as its program writes it. Tests read them with those parsers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_SSHD: Final = "Nov 23 06:00:01 db1 sshd[812]: "
_POSTGRES: Final = (
    '{"timestamp":"2026-11-23 06:00:01.548 UTC","user":"shop","dbname":"orders","pid":9200,"remote_host":"203.0.113.7",'
    '"remote_port":42408,"session_id":"6b04.1",'
)
_VAULT: Final = (
    '"request":{"id":"c8197d68","operation":"read","mount_point":"secret/","mount_type":"kv","path":"secret/data/shop",'
    '"remote_address":"203.0.113.7","remote_port":37614},"error":"'
)

LINES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "agent.canary": ("canary", "1795413601.0 containment-agent canary: nonce=00112233445566ff ip=198.51.100.254"),
        "auth.http.failure": (
            "apache_error",
            "[Mon Nov 23 18:00:07.684113 2026] [auth_basic:error] [pid 12115:tid 12141] [client 203.0.113.7:58156] "
            "AH01618: user alice not found: /",
        ),
        "auth.mail.failure": (
            "dovecot",
            "Nov 23 18:10:26 db1 dovecot: imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 0 secs): "
            "user=<alice>, method=PLAIN, rip=203.0.113.7, lip=198.51.100.2, secured, session=<s8sWgvVgoJp/AAAB>",
        ),
        "auth.ssh.failure": ("sshd", f"{_SSHD}Failed password for root from 203.0.113.7 port 48297 ssh2"),
        "auth.ssh.invalid_user": ("sshd", f"{_SSHD}Invalid user oracle from 203.0.113.7 port 48297"),
        "auth.ssh.probe": (
            "sshd",
            f"{_SSHD}Failed publickey for root from 203.0.113.7 port 48297 ssh2: ED25519 "
            "SHA256:IHG5sWHdRDdN9/1I3zeezm8Gg2V/oAPL3T/ONWY9Boo",
        ),
        "auth.ssh.success": ("sshd", f"{_SSHD}Accepted password for alice from 203.0.113.7 port 48297 ssh2"),
        "auth.sudo.command": (
            "sudo",
            "Nov 23 06:00:01 db1 sudo:    alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/bin/ls /root",
        ),
        "auth.sudo.failure": (
            "sudo",
            "Nov 23 06:00:01 db1 sudo:    alice : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; "
            "COMMAND=/bin/sh",
        ),
        "falco.alert": (
            "falco",
            '{"hostname":"web1","output":"06:00:01.1: Notice a shell","output_fields":{"container.id":"28c0c7a20575",'
            '"container.name":"web","evt.time":1795413603000000001,"proc.cmdline":"sh -i","proc.name":"sh","user.name":"root"},'
            '"priority":"Critical","rule":"Terminal shell in container","source":"syscall","time":"2026-11-23T06:00:01.1Z"}',
        ),
        "http.denied": (
            "apache_error",
            "[Mon Nov 23 18:00:07.684359 2026] [authz_core:error] [pid 12082:tid 12089] [client 203.0.113.7:58160] "
            "AH01630: client denied by server configuration: /srv/shop/admin",
        ),
        "http.limited": (
            "nginx_error",
            "Nov 23 18:00:05 db1 nginx: 2026/11/23 18:00:05 [error] 11671#11671: *9 limiting requests, excess: 1.000 by zone "
            '"one", client: 203.0.113.7, server: shop, request: "GET /search HTTP/1.1", host: "shop.example.com"',
        ),
        "http.request": (
            "nginx",
            '203.0.113.7 - - [23/Nov/2026:06:00:01 +0000] "GET /a?b=c HTTP/1.1" 200 1234 "https://a.example/" "Mozilla/5.0"',
        ),
        "mail.rejected": (
            "postfix",
            "Nov 23 18:12:05 mail postfix/smtpd[29091]: NOQUEUE: reject: RCPT from unknown[203.0.113.7]: 454 4.7.1 "
            "<bob@example.org>: Relay access denied; from=<eve@example.net> to=<bob@example.org> proto=ESMTP helo=<x>",
        ),
        "postgres.auth.failure": (
            "postgres",
            _POSTGRES + '"error_severity":"FATAL","state_code":"28P01","message":"password authentication failed for user '
            '\\"shop\\"","backend_type":"client backend","query_id":0}',
        ),
        "postgres.connections_full": (
            "postgres",
            _POSTGRES + '"error_severity":"FATAL","state_code":"53300","message":"sorry, too many clients already",'
            '"backend_type":"client backend","query_id":0}',
        ),
        "postgres.corruption": (
            "postgres",
            _POSTGRES + '"error_severity":"ERROR","state_code":"XX001","message":"invalid page in block 0 of relation '
            'base/5/16384","backend_type":"client backend","query_id":0}',
        ),
        "postgres.disk_full": (
            "postgres",
            _POSTGRES + '"error_severity":"ERROR","state_code":"53100","message":"could not extend file \\"base/5/16384\\": '
            'No space left on device","backend_type":"client backend","query_id":0}',
        ),
        "postgres.panic": (
            "postgres",
            _POSTGRES + '"error_severity":"PANIC","state_code":"53100","message":"could not write to file \\"pg_wal/xlogtemp.9\\"'
            ': No space left on device","backend_type":"client backend","query_id":0}',
        ),
        "vault.auth.failure": (
            "vault_audit",
            '{"time":"2026-11-23T06:00:01.015Z","type":"response","auth":{"token_type":"default"},"request":{"id":"c8197d68",'
            '"operation":"update","mount_point":"auth/userpass/","mount_type":"userpass","path":"auth/userpass/login/alice",'
            '"remote_address":"203.0.113.7","remote_port":37614},"error":"invalid credentials"}',
        ),
        "vault.denied": (
            "vault_audit",
            '{"time":"2026-11-23T06:00:02.015Z","type":"response","auth":{"display_name":"userpass-alice",'
            '"policy_results":{"allowed":false},"entity_id":"48f1f22e-bdbb-84bb-ccea-a08f7a5fdb38"},'
            + _VAULT
            + '1 error occurred:\\n\\t* permission denied\\n\\n"}',
        ),
        "vault.unknown": (
            "vault_audit",
            '{"time":"2026-11-23T06:00:02.015Z","type":"response","auth":{},' + _VAULT + 'permission denied"}',
        ),
    }
)
"""Kind → the parser that reads it, and the line."""
