"""Games in ALFWorld's layout, made up: kitchens and a study, with each kind of task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tests.helpers.alfworld_games import game

PLACES = {
    "CounterTop": "",
    "DiningTable": "",
    "Microwave": "openable",
    "Fridge": "openable",
    "SinkBasin": "",
    "Cabinet": "openable",
    "Shelf": "",
}
"""Furniture, and whether it can be opened; the first cabinet is searched before all else."""
THINGS = ("Apple", "Mug", "Plate", "Book", "DeskLamp")
PLACED = "(exists (?r - receptacle) (exists (?o - object) (and {more}(objectType ?o {thing}Type) \
(receptacleType ?r {place}Type) (inReceptacle ?o ?r))))"
TWO = "(exists (?r - receptacle) (exists (?o1 - object) (and (objectType ?o1 {thing}Type) \
(receptacleType ?r {place}Type) (inReceptacle ?o1 ?r) (exists (?o2 - object) (and \
(not (= ?o1 ?o2)) (objectType ?o2 {thing}Type) (receptacleType ?r {place}Type) \
(inReceptacle ?o2 ?r))))))"
LOOKED = "(exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and \
(objectType ?ot {place}Type) (toggleable ?ot) (isToggled ?ot) (receptacleAtLocation ?r ?l) \
(atLocation ?a ?l) (inReceptacle ?ot ?r) (exists (?o - object) (and \
(objectType ?o {thing}Type) (holds ?a ?o)))))"
KINDS: dict[str, tuple[str, str, str]] = {
    "pick_and_place_simple": ("put a {o} in {r}", PLACED, ""),
    "pick_clean_then_place_in_recep": ("put a clean {o} in {r}", PLACED, "(isClean ?o) "),
    "pick_heat_then_place_in_recep": ("heat some {o} and put it in {r}", PLACED, "(isHot ?o) "),
    "pick_cool_then_place_in_recep": ("put a cool {o} in {r}", PLACED, "(isCool ?o) "),
    "pick_two_obj_and_place": ("put two {o} in {r}", TWO, ""),
    "look_at_obj_in_light": ("look at {o} under the {r}", LOOKED, ""),
}
GAMES: Sequence[tuple[str, str, str, tuple[tuple[str, str], ...]]] = (
    # Kind, thing, place or lamp, and where things are.
    ("pick_and_place_simple", "Apple", "CounterTop", (("Apple", "Cabinet"),)),
    ("pick_clean_then_place_in_recep", "Mug", "DiningTable", (("Mug", "Cabinet"),)),
    ("pick_heat_then_place_in_recep", "Apple", "DiningTable", (("Apple", "CounterTop"),)),
    ("pick_two_obj_and_place", "Plate", "Shelf", (("Plate", "Cabinet"), ("Plate", "CounterTop"))),
    ("pick_cool_then_place_in_recep", "Mug", "Shelf", (("Mug", "CounterTop"),)),
    ("pick_and_place_simple", "Book", "Shelf", (("Book", "CounterTop"), ("Mug", "Cabinet"))),
    ("look_at_obj_in_light", "Book", "DeskLamp", (("Book", "CounterTop"), ("DeskLamp", "Cabinet"))),
    ("pick_clean_then_place_in_recep", "Plate", "Cabinet", (("Plate", "DiningTable"),)),
    ("pick_cool_then_place_in_recep", "Apple", "CounterTop", (("Apple", "Cabinet"),)),
    ("pick_heat_then_place_in_recep", "Mug", "Shelf", (("Mug", "CounterTop"),)),
    ("pick_and_place_simple", "Plate", "Shelf", (("Plate", "Cabinet"), ("Book", "Shelf"))),
    ("look_at_obj_in_light", "Mug", "DeskLamp", (("Mug", "CounterTop"), ("DeskLamp", "Cabinet"))),
)
FOLDERS = ("train", "valid_seen", "valid_unseen")


def write(download: Path) -> list[str]:
    """Write the games below ``json_2.1.1``; their ids."""
    ids = []
    for number, (kind, thing, place, where) in enumerate(GAMES):
        lamp = kind == "look_at_obj_in_light"
        name = f"{kind}-{thing}-None-{place}-{900 + number}"
        folder = download / "json_2.1.1" / FOLDERS[number // 4] / name / f"trial_T{number}"
        folder.mkdir(parents=True)
        words, goal, more = KINDS[kind]
        task = words.format(o=thing.lower(), r=place.lower())
        text = problem(where, goal.format(thing=thing, place=place, more=more))
        (folder / "initial_state.pddl").write_text(text)
        (folder / "game.tw-pddl").write_text(game(text, task))
        parts = {
            "object_target": thing,
            "parent_target": "" if lamp else place,
            "toggle_target": place if lamp else "",
            "mrecep_target": "",
            "object_sliced": False,
        }
        about = {"task_type": kind, "pddl_params": parts}
        (folder / "traj_data.json").write_text(json.dumps(about))
        ids.append(f"{FOLDERS[number // 4]}:{name}:trial_T{number}")
    return ids


def problem(where: Sequence[tuple[str, str]], goal: str) -> str:
    """A room with all furniture, and things in it, in PDDL."""
    objects = ["agent1 - agent"]
    facts = ["(= (total-cost) 0)", "(atLocation agent1 loc_bar_0)"]
    objects += [f"loc_bar_{number} - location" for number in range(len(PLACES) + 1)]
    at = {}
    for number, (place, opens) in enumerate(PLACES.items(), 1):
        name = "Sink_bar_1_bar_SinkBasin" if place == "SinkBasin" else f"{place}_bar_1"
        at[place] = name, f"loc_bar_{number}"
        objects += [f"{name} - receptacle", f"{place}Type - rtype"]
        facts += [f"(receptacleAtLocation {name} loc_bar_{number})"]
        facts += [f"(receptacleType {name} {place}Type)"]
        facts += [f"(canContain {place}Type {thing}Type)" for thing in THINGS]
        facts += [f"({opens} {name})"] if opens else []
    objects += [f"{thing}Type - otype" for thing in (*THINGS, "ButterKnife", "Knife")]
    for number, (thing, place) in enumerate(where, 1):
        name, (inside, location) = f"{thing}_bar_{number}", at[place]
        objects.append(f"{name} - object")
        facts += [f"(inReceptacle {name} {inside})", f"(objectAtLocation {name} {location})"]
        facts.append(f"(objectType {name} {thing}Type)")
        if thing == "DeskLamp":
            facts.append(f"(toggleable {name})")
        else:
            doable = ("pickupable", "cleanable", "heatable", "coolable")
            facts += [f"({can} {name})" for can in doable]
    return (
        "(define (problem made)\n(:domain alfred)\n(:objects\n" + "\n".join(objects) + "\n)\n"
        "(:init\n" + "\n".join(facts) + f"\n)\n(:goal (and {goal}))\n"
        "(:metric minimize (total-cost))\n)"
    )
