"""Asks Synapse's own functions what an event's authorisation, or a resolution of states, comes to. Cases as JSON on stdin, answers on stdout."""

import asyncio
import json
import sys

import synapse.event_auth as event_auth
from synapse.api.errors import SynapseError
from synapse.api.room_versions import KNOWN_ROOM_VERSIONS
from synapse.events import make_event_from_dict
from synapse.state import v1, v2
from synapse.storage.databases.main.event_federation import StateDifference


def key(text):
    return tuple(text.split("\0", 1))


def load(case):
    version = KNOWN_ROOM_VERSIONS[case["version"]]
    events = {}
    for each in case["events"]:
        event = make_event_from_dict(each["json"], version, rejected_reason=each.get("rejected"))
        events[event.event_id] = event
    return version, events


def authorise(case):
    version, events = load(case)
    event = events[case["event"]]
    state = [events[i] for i in case["state"]]
    try:
        event_auth.check_state_dependent_auth_rules(event, state)
        allowed = True
    except SynapseError:
        allowed = False
    types = sorted("\0".join(k) for k in event_auth.auth_types_for_event(version, event))
    return {"allowed": allowed, "types": types}


class Store:
    """Answers the questions of state resolution from memory."""

    def __init__(self, events):
        self.events = events

    async def sleep(self, duration):
        pass

    async def get_events(self, ids, allow_rejected=False):
        return {i: self.events[i] for i in ids if i in self.events}

    def chain(self, ids):
        seen, waiting = set(), list(ids)
        while waiting:
            i = waiting.pop()
            if i not in seen:
                seen.add(i)
                waiting.extend(self.events[i].auth_event_ids())
        return seen

    async def get_auth_chain_difference(self, room_id, state_sets, conflicted, additional):
        chains = [self.chain(ids) for ids in state_sets]
        subgraph = None if conflicted is None else {i for i in self.chain(conflicted) if self.chain([i]) & conflicted}
        return StateDifference(auth_difference=set.union(*chains) - set.intersection(*chains), conflicted_subgraph=subgraph)


def resolve(case):
    version, events = load(case)
    store = Store(events)
    sets = [{key(k): i for k, i in state} for state in case["sets"]]
    room_id = next(iter(events.values())).room_id
    if version.state_res == 1:
        state = asyncio.run(v1.resolve_events_with_store(room_id, version, sets, None, store.get_events))
    else:
        state = asyncio.run(v2.resolve_events_with_store(store, room_id, version, sets, None, store))
    return sorted(["\0".join(k), i] for k, i in state.items())


ask = {"authorise": authorise, "resolve": resolve}[sys.argv[1]]
json.dump([ask(case) for case in json.load(sys.stdin)], sys.stdout)
