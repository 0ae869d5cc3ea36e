"""The pages that change something: each is one order to the agent, in the name of whoever is logged in."""

from __future__ import annotations

from typing import Final

from flask import Response, make_response, redirect, request
from werkzeug.exceptions import Forbidden, NotFound

from agent.pages.ordering import APPROVE, CONFIRM, DENY, END_SILENCE, MANY, MODE, ORDERS, UNDO, Order, text
from agent.pages.sessions import Said
from agent.pages.site import Site, named
from agent.visible import visible

REASON: Final = Said("bad", "Not done: a reason is needed; it stands in the evidence.")


class Acting:
    """The views behind POST."""

    def __init__(self, site: Site) -> None:
        self._site = site

    # Coming and going -------------------------------------------------------------------------------------------------------

    def login(self) -> Response:
        """Use a link up. Whoever only looked at it, as mail scanners do, has not."""
        entered = self._site.sessions.enter(request.form.get("link", ""))
        if entered is None:
            self._site.gate.missed()
            raise Forbidden("this link was used, or is too old; ask for a new one: contain web")
        response = make_response(redirect("/", 303))
        self._site.gate.keep(response, entered[0])
        return response

    def logout(self) -> Response:
        """End this login."""
        self._site.sessions.leave(self._site.gate.cookie())
        response = make_response(redirect("/login", 303))
        self._site.gate.keep(response, "")
        return response

    # Orders -----------------------------------------------------------------------------------------------------------------

    def incident(self, name: str, order: str) -> Response:
        """Any order about an incident."""
        wanted = ORDERS.get(order)
        if wanted is None:
            raise NotFound("no order goes by this name")
        return self._site.order(wanted, wanted.body(named("INC", name), request.form), f"/incidents/{name}")

    def end_silence(self, name: str) -> Response:
        """Have people told again."""
        return self._site.order(END_SILENCE, {"what": named("S", name)}, "/incidents")

    def undo_incident(self, name: str) -> Response:
        """Lift what holds for an incident."""
        path = f"/incidents/{named('INC', name)}"
        held = [one for one in self._site.ask("why", target=name)["mitigations"] if one["stage"] == "in_force"]
        if len(held) > MANY and (wrong := _not_typed(name)):
            return self._site.back(f"{path}/undo", wrong)
        return self._reasoned(UNDO, name, path, f"{path}/undo")

    def undo(self, name: str) -> Response:
        """Lift one mitigation."""
        return self._reasoned(UNDO, named("M", name), "/mitigations", f"/mitigations/{name}/undo")

    def confirm(self, name: str) -> Response:
        """Have stay what takes itself back."""
        return self._reasoned(CONFIRM, named("M", name), "/mitigations", f"/mitigations/{name}/undo")

    def approve(self, name: str) -> Response:
        """Say yes to the plan that was shown, once its target was typed."""
        path = f"/approvals/{named('A', name)}"
        if not text(request.form, "plan"):
            return self._site.back(path, Said("bad", "Not done: it was not said to which plan; read it, and say so again."))
        found = [one for one in self._site.ask("approvals")["items"] if one["id"] == name]
        if found and (wrong := _not_typed(found[0]["target"] or found[0]["action"])):
            return self._site.back(path, wrong)
        return self._reasoned(APPROVE, name, "/approvals", path)

    def deny(self, name: str) -> Response:
        """Say no."""
        return self._reasoned(DENY, named("A", name), "/approvals", f"/approvals/{name}")

    def mode(self, name: str) -> Response:
        """Switch a policy; what will act from here on needs its name typed."""
        known = [one["policy"] for one in self._site.ask("policies")["items"]]
        if name not in known:
            raise NotFound("no policy goes by this name")
        if request.form.get("mode") == "enforce" and (wrong := _not_typed(name)):
            return self._site.back(f"/policies/{name}", wrong)
        return self._site.order(MODE, MODE.body(name, request.form), "/policies")

    def _reasoned(self, order: Order, what: str, done: str, again: str) -> Response:
        if not text(request.form, "why"):
            return self._site.back(again, REASON)
        return self._site.order(order, order.body(what, request.form), done)


def _not_typed(word: str) -> Said | None:
    if text(request.form, "typed") in (word.strip(), visible(word).strip()):
        return None
    return Said("bad", f"Not done: to go on, type {word} exactly.")
