"""Pushing: send models and apps to an object store, for other machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from preheat.api.session import Session

if TYPE_CHECKING:
    from preheat.verbs.stores.push_plan import PushPlan


def plan_push(to: str, *what: str, session: Session | None = None) -> PushPlan:
    """Return the plan of a push of models and apps by name to an object store: what it has, and what it lacks.

    `to`: `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`. Nothing is written. Raise NotPreloaded
    for files that are not in the library, HubError for a bucket that cannot be read, IntegrityError if the store has
    other files of the same commit.
    """
    from preheat.api.carrying.packing import pack
    from preheat.verbs.stores.push_plan import PushedApp
    from preheat.verbs.stores.push_plan import plan_push as plan

    session = session or Session()
    store = session.object_stores.bucket(to)
    models, apps = pack(what, session, PushedApp)
    return plan(models, apps, session.library, store)


def push(plan: PushPlan, *, session: Session | None = None) -> None:
    """Send what a plan lists: each blob whole or not at all, and a model's manifest after its blobs.

    Up to 16 of the session's `connections` are used. Raise HubError if the store refuses, IntegrityError for a file
    that is corrupt in the library. The next push sends only what is missing.
    """
    from preheat.verbs.stores.push import PushPolicy
    from preheat.verbs.stores.push import push as send

    session = session or Session()
    settings = session.settings
    policy = PushPolicy(min(settings.connections, 16), settings.limit_rate, session.patience)
    send(plan, session.library, session.object_stores.bucket(plan.name), policy, session.on_event)
