"""
Points, lines and polygons on a sphere, as unit vectors: distances, crossings, containment.

No documents and no degrees but in ``from_degrees``.  Edges are the shortest arcs of great circles.  MongoDB uses
Google's S2 library, which would be, as shapely, a heavy thing to install for what ``$geoWithin`` asks; the maths
below is plain, and slower: some 0.5 µs an edge.

S2 sees a point as a cell of about a centimetre, and what touches a border as on it.  So does ``NEAR``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

from connectome.query.deadline import check

Vector = tuple[float, float, float]

# Radians; 6 mm on the Earth.
NEAR: Final = 1e-9
# A side is not told where a point is less than this off a great circle: there is no truth left in the last digits.
_NOISE: Final = 1e-15


def from_degrees(longitude: float, latitude: float) -> Vector:
    """The unit vector of a place; the two poles have one each, whatever the longitude."""
    if abs(latitude) == 90:
        return (0.0, 0.0, math.copysign(1, latitude))
    lng, lat = math.radians(longitude), math.radians(latitude)
    return (math.cos(lat) * math.cos(lng), math.cos(lat) * math.sin(lng), math.sin(lat))


def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _cross(a: Vector, b: Vector) -> Vector:
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def _plus(a: Vector, b: Vector) -> Vector:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2])


def _minus(a: Vector, b: Vector) -> Vector:
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


def _unit(a: Vector) -> Vector:
    length = math.sqrt(_dot(a, a))
    return (a[0] / length, a[1] / length, a[2] / length)


def angle(a: Vector, b: Vector) -> float:
    """The distance of two points, in radians; exact for points that are close, unlike the arc cosine."""
    normal = _cross(a, b)
    return math.atan2(math.sqrt(_dot(normal, normal)), _dot(a, b))


@dataclass(frozen=True)
class Edge:
    """The shortest arc from one point to another."""

    start: Vector
    end: Vector

    @cached_property
    def normal(self) -> Vector:
        """The unit vector to the left of the arc; zero where the arc has no length."""
        # Of sum and difference, not of the points themselves: it keeps its digits where they are close.
        normal = _cross(_minus(self.end, self.start), _plus(self.end, self.start))
        length = math.sqrt(_dot(normal, normal))
        return (normal[0] / -length, normal[1] / -length, normal[2] / -length) if length else (0.0, 0.0, 0.0)

    @cached_property
    def middle(self) -> Vector:
        """The point half way."""
        return _unit(_plus(self.start, self.end))

    @cached_property
    def _half(self) -> float:
        return angle(self.start, self.end) / 2

    def _is_apart(self, other: Edge) -> bool:
        """Whether a glance shows that the arcs do not meet: 1 µs, where the whole look takes 4."""
        reach = self._half + other._half + NEAR
        return reach < math.pi and _dot(self.middle, other.middle) < math.cos(reach) - 1e-15

    def side(self, point: Vector) -> int:
        """1 to the left of the great circle of the arc, -1 to its right, 0 on it."""
        distance = _dot(self.normal, point)
        return 0 if abs(distance) < _NOISE else 1 if distance > 0 else -1

    def distance(self, point: Vector) -> float:
        """The distance of a point from the arc, in radians."""
        along = _cross(self.normal, point)
        if _dot(along, self.start) <= 0 <= _dot(along, self.end) and self.start != self.end:
            return abs(math.asin(max(-1.0, min(1.0, _dot(self.normal, point)))))
        return min(angle(self.start, point), angle(self.end, point))

    def crosses(self, other: Edge) -> bool:
        """Whether the arcs cross at a point that is inside of both."""
        if self._is_apart(other):
            return False
        one, two = self.side(other.start), self.side(other.end)
        three, four = other.side(self.start), other.side(self.end)
        return one == four != 0 and two == three == -one

    def touches(self, other: Edge) -> bool:
        """Whether the arcs have a point in common."""
        return not self._is_apart(other) and (
            self.crosses(other)
            or min(self.distance(other.start), self.distance(other.end)) <= NEAR
            or min(other.distance(self.start), other.distance(self.end)) <= NEAR
        )

    def cut_by(self, others: Sequence[Edge]) -> Iterator[Vector]:
        """The middles of the pieces that other arcs cut this one into."""
        cuts = [self.start, self.end]
        for other in others:
            if self.crosses(other):
                meeting = _unit(_cross(self.normal, other.normal))
                cuts.append(meeting if _dot(meeting, self.middle) > 0 else (-meeting[0], -meeting[1], -meeting[2]))
            elif not self._is_apart(other):
                cuts += (end for end in (other.start, other.end) if self.distance(end) <= NEAR)
        cuts.sort(key=lambda cut: angle(self.start, cut))
        for one, two in pairwise(cuts):
            if angle(one, two) > NEAR:
                yield _unit(_plus(one, two))


def path(points: Sequence[Vector]) -> tuple[Edge, ...]:
    """The edges from each point to the next."""
    return tuple(Edge(one, two) for one, two in pairwise(points))


class Loop:
    """
    A closed line, and the part of the sphere to its left.

    Args:
        points: Each once; the last is joined to the first.
        normalize: Turn the loop around where more than half of the sphere would be to its left.
    """

    def __init__(self, points: Sequence[Vector], *, normalize: bool = True) -> None:
        if normalize and _turning(points) < 0:
            points = points[::-1]
        self.points = points
        self.edges = path([*points, points[0]])
        middle = (sum(p[0] for p in points), sum(p[1] for p in points), sum(p[2] for p in points))
        self._middle = _unit(middle) if normalize and _dot(middle, middle) > _NOISE else None
        # A cap of less than half of the sphere that has all corners has the whole loop.
        self._reach = max(angle(self._middle, p) for p in points) + NEAR if self._middle else math.pi

    def has_on_border(self, point: Vector) -> bool:
        return self._within_reach(point) and any(edge.distance(point) <= NEAR for edge in self.edges)

    def has_inside(self, point: Vector) -> bool:
        """Whether a point that is not on the border is inside."""
        if not self._within_reach(point):
            return False
        # From the middle of an edge, of which the left side is inside, straight to the point: inside and outside
        # change with every edge on the way.  Where the way meets a corner another edge is tried.
        for first in self.edges:
            beginning = first.side(point)
            if not beginning or angle(first.middle, point) > math.pi - NEAR:
                continue
            way = Edge(first.middle, point)
            sides = [way.side(corner) for corner in self.points]
            if 0 not in sides:
                changes = sum(edge is not first and way.crosses(edge) for edge in self.edges)
                return (beginning > 0) == (changes % 2 == 0)
        return False

    def _within_reach(self, point: Vector) -> bool:
        return self._middle is None or self._reach >= math.pi / 2 or angle(self._middle, point) <= self._reach

    def problem(self) -> str | None:
        """What keeps the loop from being the border of something."""
        if len(set(self.points)) < len(self.points):
            return "it has a point twice"
        spans = sorted(
            (min(edge.start[0], edge.end[0]) - bulge, max(edge.start[0], edge.end[0]) + bulge, place)
            for place, edge in enumerate(self.edges)
            for bulge in [1 - math.cos(angle(edge.start, edge.end) / 2)]
        )
        for position, (_, last, one) in enumerate(spans):
            check()
            for first, _, two in spans[position + 1 :]:
                if first > last:
                    break
                if self.edges[one].crosses(self.edges[two]):
                    return "two of its edges cross"
        return None

    def inner_point(self) -> Vector | None:
        """A point inside: the middle of a triangle of corners that no other corner is in."""
        around = [*self.points, *self.points[:2]]
        for one, two, three in zip(around, around[1:], around[2:], strict=False):
            total = _plus(_plus(one, two), three)
            if _dot(total, total) > _NOISE:
                middle = _unit(total)
                if not self.has_on_border(middle) and self.has_inside(middle):
                    return middle
        return None


def _turning(points: Sequence[Vector]) -> float:
    """
    The sum of the turns to the left on the way around: a full turn less the area to the left.

    Negative where more than half of the sphere is to the left.
    """
    edges = path([*points, *points[:2]])
    turns = 0.0
    for edge, next_edge in pairwise(edges):
        turns += math.atan2(_dot(_cross(edge.normal, next_edge.normal), edge.end), _dot(edge.normal, next_edge.normal))
    return turns


class Polygon:
    """A loop without the holes in it; its border, that of the holes too, belongs to it."""

    def __init__(self, shell: Loop, holes: Sequence[Loop] = ()) -> None:
        self.shell = shell
        self.holes = holes
        self.loops = [shell, *holes]
        self.edges = [edge for loop in self.loops for edge in loop.edges]

    def problem(self) -> str | None:
        """What keeps the loops from being the border of one area with holes in it."""
        for position, hole in enumerate(self.holes):
            shell = Polygon(self.shell)
            if not shell.covers_line(hole.edges):
                return "a hole is not within its first ring"
            if len(set(hole.points) & set(self.shell.points)) > 1:
                return "a hole shares more than one point with its first ring"
            for other in self.holes[:position]:
                if Polygon(hole).overlaps(Polygon(other)):
                    return "two of its holes overlap"
        return None

    def on_border(self, point: Vector) -> bool:
        return any(loop.has_on_border(point) for loop in self.loops)

    def strictly_contains(self, point: Vector) -> bool:
        check()
        return not self.on_border(point) and self._inside(point)

    def contains(self, point: Vector) -> bool:
        check()
        return self.on_border(point) or self._inside(point)

    def _inside(self, point: Vector) -> bool:
        return self.shell.has_inside(point) and not any(hole.has_inside(point) for hole in self.holes)

    def covers_line(self, line: Sequence[Edge]) -> bool:
        """Whether every point of a line is in the polygon."""
        return all(
            self.contains(edge.start) and self.contains(edge.end) and all(map(self.contains, edge.cut_by(self.edges)))
            for edge in line
        )

    def covers(self, other: Polygon) -> bool:
        """Whether every point of another polygon is in this one."""
        if not self.covers_line(other.edges):
            return False
        # What is left is a hole of ours in the other's midst.
        inner_points = [hole.inner_point() for hole in self.holes]
        return not any(point and other.strictly_contains(point) for point in inner_points)

    def meets_line(self, line: Sequence[Edge]) -> bool:
        """Whether any point of a line is in the polygon."""
        return any(
            self.contains(edge.start) or self.contains(edge.end) or any(map(edge.touches, self.edges)) for edge in line
        )

    def overlaps(self, other: Polygon) -> bool:
        """Whether two polygons have more than a part of their borders in common."""
        return (
            any(one.crosses(two) for one in self.edges for two in other.edges)
            or self._reaches_into(other)
            or other._reaches_into(self)
        )

    def _reaches_into(self, other: Polygon) -> bool:
        if any(map(other.strictly_contains, self.shell.points)):
            return True
        inner = self.shell.inner_point()
        return inner is not None and self._inside(inner) and other.strictly_contains(inner)

    def distance(self, point: Vector) -> float:
        """The distance of a point, in radians; none where it is in the polygon."""
        if self.contains(point):
            return 0.0
        return min(edge.distance(point) for edge in self.edges)
