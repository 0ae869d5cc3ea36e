"""fail2ban itself, asked for its verdicts: run by /usr/bin/python3, beside Debian's package, with JSON on both ends.

in:  [{"filter": "sshd[mode=ddos]", "directory": "/etc/fail2ban", "lines": ["…"], "alone": false}, …]
out: [[["failure", "203.0.113.7", {"user": "root"}], ["missed", "", {}], …], …]

It reads the filter with fail2ban's own reader and asks its own Filter, as `fail2ban-regex --usedns no --out` does. With `alone`
each line is the first one that a fresh filter sees.
"""

# mypy: ignore-errors

import json
import logging
import sys

from fail2ban.client.filterreader import FilterReader
from fail2ban.helpers import extractOptions
from fail2ban.server.filter import Filter

SKIPPED = (
    "ip4",
    "ip6",
    "dns",
    "fid",
    "cidr",
    "mlfid",
    "nofail",
    "mlfforget",
    "mlfgained",
    "mlfpending",
    "users",
    "matches",
    "ip",
)


def commands(spec, directory, backend):
    name, given = extractOptions(spec)
    reader = FilterReader(name, "jail", given, basedir=directory)
    if not reader.read():
        raise SystemExit(f"no filter {spec}")
    reader.applyAutoOptions(backend)
    reader.getOptions(None)
    return reader.convert()


def made(stream):
    one = Filter(None)
    one.setUseDns("no")
    one.checkFindTime = False
    ignored = []
    one.onIgnoreRegex = lambda *_: ignored.append(1)
    for command in stream:
        values = command[3] if command[0] == "multi-set" else [command[3]]
        for value in values:
            if command[2] == "prefregex":
                one.prefRegex = value
            elif command[2] == "addfailregex":
                one.addFailRegex(value)
            elif command[2] == "addignoreregex":
                one.addIgnoreRegex(value)
            elif command[2] == "maxlines":
                one.setMaxLines(value)
            elif command[2] == "datepattern":
                one.setDatePattern(value)
            elif command[2] == "usedns":
                one.setUseDns(value)
    return one, ignored


def verdict(one, ignored, line):
    ignored.clear()
    try:
        found = one.processLine(*line) if isinstance(line, tuple) else one.processLine(line)
    except Exception as error:
        return ["error", type(error).__name__, {}]
    for _, who, _, groups in found:
        if not groups.get("nofail"):
            texts = {name: str(text) for name, text in groups.items() if text is not None and name not in SKIPPED}
            return ["failure", str(who), {name: text for name, text in texts.items() if not name.startswith("_")}]
    return ["ignored" if ignored else "missed", "", {}]


def asked(question):
    stream = commands(question["filter"], question.get("directory", "/etc/fail2ban"), question.get("backend", "auto"))
    one, ignored = made(stream)
    verdicts = []
    for line in question["lines"]:
        if question.get("alone"):
            one, ignored = made(stream)
        if question.get("backend") == "systemd":
            told = verdict(one, ignored, (("", "2026-11-23T06:00:00 ", line), 1795413600.0))
        else:
            told = verdict(one, ignored, line)
        verdicts.append(told)
    return verdicts


logging.disable(logging.CRITICAL)
json.dump([asked(one) for one in json.load(sys.stdin)], sys.stdout)
