"""The pages that show: each is one question to the agent or two, and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from flask import Response, make_response, request
from werkzeug.exceptions import NotFound, ServiceUnavailable

from agent.pages.ordering import LENGTHS, MANY
from agent.pages.site import Site, named
from agent.pages.timeline import report, timeline

GLANCE: Final = 10
"""Rows of each kind on Now."""
MOST: Final = 200
"""Rows of a listing."""
LOOKED_AT: Final = 1000
"""Events that a filter is applied to, the newest."""
ALONE: Final = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
"""What a report may: its style stands in it. It names the hash of that itself."""
LIFTABLE: Final = ("applying", "in_force", "lifting")

Answer = Mapping[str, Any]


class Looking:
    """The views behind GET."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def now(self) -> Response:
        """What is wrong, what is in force, what to do next: as `contain status`."""
        status = self._site.ask("status")
        leads = [one for one in status["incidents"]["items"] if not one["lead"]]
        return self._site.show("now.html", status=status, leads=leads[:GLANCE], most=GLANCE, answers=_answers(status))

    def incidents(self) -> Response:
        """What goes on, and the latest that are over."""
        found = [one for one in self._site.ask("incidents", ended=True)["items"] if not one["lead"]]
        going = [one for one in found if _phase(one) not in ("resolved", "closed")]
        over = sorted((one for one in found if one not in going), key=lambda one: -one["last"])
        return self._site.show("incidents.html", going=going, over=over, most=MOST)

    def incident(self, name: str) -> Response:
        """One incident, with all that is told with it."""
        one, members = self._incident(named("INC", name))
        holds = self._holding(one, members)
        waits = [each for each in self._site.ask("approvals")["items"] if each["incident"] in members and not each["over"]]
        said = timeline(self._site.journal, members)
        lengths = [word for word, seconds in LENGTHS.items() if one["severity"] != "P0" or seconds <= 3600]
        return self._site.show(
            "incident.html",
            one=one,
            members=members[1:],
            holds=holds,
            waits=waits,
            timeline=said,
            lengths=lengths,
            phase=_phase(one),
            runbook=_web(one["runbook"]),
            most=MOST,
        )

    def undo_incident(self, name: str) -> Response:
        """What would be lifted, before it is."""
        one, members = self._incident(named("INC", name))
        found = [each for each in self._holding(one, members) if each["stage"] in LIFTABLE and each["incident"] == name]
        path = f"/incidents/{one['id']}"
        return self._site.show("undo.html", what=one["id"], found=found, path=path, back=path, typed=len(found) > MANY, most=MOST)

    def report(self, name: str) -> Response:
        """The report of an incident: a page of its own, which may do nothing at all."""
        from agent.evidence.journal_file import CannotUseJournal

        try:
            text = report(self._site.journal, named("INC", name))
        except CannotUseJournal as error:
            raise ServiceUnavailable(str(error)) from error
        if text is None:
            raise NotFound(f"the journal has no {name}")
        response = make_response(text)
        response.headers["Content-Security-Policy"] = ALONE
        return response

    def _incident(self, name: str) -> tuple[Answer, list[str]]:
        """One incident, and its name before those that are told with it."""
        about = [one for one in self._site.ask("why", target=name)["incidents"] if one["id"] == name]
        if not about:
            raise NotFound(f"{name} is not at hand; the journal may have it: contain evidence show --incident {name}")
        return about[0], [name, *(about[0]["whole"] or {}).get("with", ())]

    def _holding(self, one: Answer, members: Sequence[str]) -> list[Answer]:
        """What was done for it, the newest first; for several that are told as one, what still holds as well."""
        found = list(self._site.ask("why", target=one["id"])["mitigations"])
        if len(members) > 1:
            others = frozenset(members[1:])
            found += [each for each in self._site.ask("mitigations")["items"] if each["incident"] in others]
        return sorted(found, key=lambda each: (each["stage"] not in LIFTABLE, -each["since"]))

    def mitigations(self) -> Response:
        """What is in force, and the latest that are over."""
        answer = self._site.ask("mitigations", ended=True)
        found = answer["items"]
        going = [one for one in found if one["stage"] in (*LIFTABLE, "would")]
        over = [one for one in found if one not in going]
        return self._site.show("mitigations.html", going=going, over=over, total=answer["total"], most=MOST)

    def undo(self, name: str) -> Response:
        """One mitigation, and what lifting it would do."""
        found = [one for one in self._site.ask("why", target=named("M", name))["mitigations"] if one["id"] == name]
        if not found:
            raise NotFound(f"{name} is not at hand; the journal may have it: contain evidence show --mitigation {name}")
        path = f"/mitigations/{name}"
        return self._site.show("undo.html", what=name, found=found, path=path, back="/mitigations", typed=False, most=MOST)

    def approvals(self) -> Response:
        """What waits for a person, and what came of the latest."""
        items = self._site.ask("approvals")["items"]
        waiting, over = ([one for one in items if bool(one["over"]) is done] for done in (False, True))
        return self._site.show("approvals.html", waiting=waiting, over=over, most=MOST)

    def approval(self, name: str) -> Response:
        """One question, whole, before the answer."""
        found = [one for one in self._site.ask("approvals")["items"] if one["id"] == named("A", name)]
        if not found:
            raise NotFound(f"there is no approval {name}, or not any more")
        return self._site.show("approval.html", one=found[0])

    def policies(self) -> Response:
        """Every policy with its mode, and what is wrong with the files."""
        items, problems = self._site.ask("policies")["items"], self._site.ask("status")["problems"]
        return self._site.show("policies.html", items=items, problems=problems.splitlines(), most=MOST)

    def policy(self, name: str) -> Response:
        """One policy, to switch its mode."""
        found = [one for one in self._site.ask("policies")["items"] if one["policy"] == name]
        if not found:
            raise NotFound("no policy goes by this name")
        return self._site.show("policy.html", one=found[0])

    def events(self) -> Response:
        """What was seen and kept, the newest first."""
        kind, about = request.args.get("kind", "").strip()[:100], request.args.get("about", "").strip()[:100]
        items = self._site.ask("events", limit=LOOKED_AT)["items"]
        found = [one for one in items if one["kind"].startswith(kind) and (not about or _names(one, about))]
        return self._site.show("events.html", items=found, kind=kind, about=about, most=MOST, looked_at=len(items))

    def health(self) -> Response:
        """How the agent itself is."""
        status = self._site.ask("status")
        short = [one for one in status["mitigations"]["items"] if one["short"]]
        return self._site.show("health.html", status=status, answers=_answers(status), short=short, most=MOST)


def _phase(one: Answer) -> str:
    return str((one["whole"] or one)["phase"])


def _names(event: Answer, about: str) -> bool:
    return any(str(value) == about for value in event["fields"].values())


def _answers(status: Answer) -> list[tuple[str, Answer]]:
    """Every answer to a check, the bad ones first."""
    rank = {"bad": 0, "unknown": 1}
    found = [(check["name"], one) for check in status["checks"] for one in check["answers"]]
    return sorted(found, key=lambda row: rank.get(row[1]["state"], 2))


def _web(link: str) -> str:
    """A link that may stand in a page; nothing but the web."""
    return link if link.startswith(("https://", "http://")) else ""
