"""
The operators on places: ``$geoWithin``, ``$geoIntersects``, ``$near`` and ``$nearSphere``.

What a place is, in a filter and in a document: a GeoJSON object, on the sphere, or a legacy pair ``[x, y]`` or
``{lng: x, lat: y}``, flat.  The maths of the sphere is ``sphere``'s.  No indexes: every document is looked at.

Source:
    MongoDB manual, Geospatial Query Operators; the server's ``geoparser.cpp``, ``geometry_container.cpp`` and
    ``expression_geo.cpp`` for what is refused, and which shape is asked of which.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from connectome.errors import QueryError, at
from connectome.extjson import preview
from connectome.query.paths import Test
from connectome.query.sphere import NEAR, Edge, Loop, Polygon, Vector, angle, from_degrees, path
from connectome.query.values import MISSING, Document, Value, exact, is_number

EARTH_RADIUS_METRES: Final = 6_378_100.0

Pair = tuple[float, float]
_T = TypeVar("_T")

_CRS: Final = frozenset({"urn:ogc:def:crs:OGC:1.3:CRS84", "EPSG:4326"})
_STRICT_WINDING: Final = "urn:x-mongodb:crs:strictwinding:EPSG:4326"


@dataclass(frozen=True)
class Shape:
    """
    A geometry in its parts.

    pair: the coordinates of what is one point, for flat maths.
    flat: a legacy pair; it is on the sphere too, as one of ``points``, where its degrees are within bounds.
    strict: a polygon that says by its winding which side is inside; stored, it never matches.
    """

    points: tuple[Vector, ...] = ()
    lines: tuple[tuple[Edge, ...], ...] = ()
    polygons: tuple[Polygon, ...] = ()
    pair: Pair | None = None
    flat: bool = False
    strict: bool = False


def geo_within(operand: Value) -> Test:
    """
    Match places that lie wholly within a shape; what is on its border lies within.

    Args:
        operand: An object with one of ``$geometry`` (a GeoJSON Polygon or MultiPolygon), ``$box``, ``$polygon``,
            ``$center`` and ``$centerSphere``.

    Raises:
        QueryError: ``BadValue`` -- not such an object, or a shape that is malformed or has no inside.
    """
    specifiers = _specifiers(operand, "$geoWithin")
    if len(specifiers) > 1:
        raise QueryError(f"$geoWithin takes one shape, not {', '.join(specifiers)}")
    (name,) = specifiers
    with at(name):
        return _WITHIN[name](specifiers[name])


def geo_intersects(operand: Value) -> Test:
    """
    Match places that have a point in common with a shape on the sphere.

    Args:
        operand: ``{$geometry: …}``, a GeoJSON object of any type or a legacy pair.

    Raises:
        QueryError: ``BadValue`` -- not such an object, or a geometry that is malformed.
    """
    specifiers = _specifiers(operand, "$geoIntersects")
    for name, shape in specifiers.items():
        with at(name):
            if name == "$centerSphere":
                _cap(shape)  # MongoDB takes it, and no place intersects it
                return lambda _: False
            if name != "$geometry":
                raise QueryError(f"$geoIntersects needs $geometry, not {name}")
            asked = _place(shape, more=False)
            if not _is_spherical(asked):
                raise QueryError(f"$geoIntersects needs a place on the sphere, not {preview(shape)}")
    return _on_sphere(lambda shape: _meet(asked, shape))


def _specifiers(operand: Value, name: str) -> Document:
    if type(operand) is not dict:
        raise QueryError(f"{name} needs an object with a shape in it, not {preview(operand)}")
    for specifier, shape in operand.items():
        if specifier not in _WITHIN or type(shape) not in (dict, list):
            with at(specifier):
                raise QueryError(f"unknown geo specifier: {specifier}: {preview(shape)}")
    if not operand:
        raise QueryError(f"{name} needs a shape, and the object is empty")
    return operand


def _stored(value: Value) -> Shape | None:
    """The geometry of a stored value; None where it is no place, or a malformed one."""
    if type(value) is not dict and type(value) is not list:
        return None
    try:
        shape = _place(value, more=True)
    except QueryError:
        return None
    return None if shape.strict else shape


def _on_sphere(test: Callable[[Shape], bool]) -> Test:
    def passes(value: Value) -> bool:
        shape = _stored(value)
        return shape is not None and _is_spherical(shape) and test(shape)

    return passes


def _on_plane(test: Callable[[float, float], bool]) -> Test:
    """A test that only points can pass."""

    def passes(value: Value) -> bool:
        shape = _stored(value)
        return shape is not None and shape.pair is not None and test(*shape.pair)

    return passes


def _is_spherical(shape: Shape) -> bool:
    return not shape.flat or bool(shape.points)


def _within_geometry(operand: Value) -> Test:
    asked = _place(operand, more=False)
    if not asked.polygons:
        raise QueryError(f"$geoWithin needs a geometry that has an inside, not {preview(operand)}")

    def covered(shape: Shape) -> bool:
        return (
            all(any(polygon.contains(point) for polygon in asked.polygons) for point in shape.points)
            and all(any(polygon.covers_line(line) for polygon in asked.polygons) for line in shape.lines)
            and all(any(polygon.covers(other) for polygon in asked.polygons) for other in shape.polygons)
        )

    return _on_sphere(covered)


def _within_box(operand: Value) -> Test:
    corners = _members(operand)
    if len(corners) < 2:
        raise QueryError(f"$box needs two corners, not {preview(operand)}")
    (x1, y1), (x2, y2) = (_pair(corner, more=False) for corner in corners[:2])
    west, east, south, north = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
    return _on_plane(lambda x, y: west <= x <= east and south <= y <= north)


def _within_polygon(operand: Value) -> Test:
    corners = [_pair(corner, more=False) for corner in _members(operand)]
    if len(corners) < 3:
        raise QueryError(f"$polygon needs at least three corners, not {preview(operand)}")
    return _on_plane(lambda x, y: _in_polygon(x, y, corners))


def _in_polygon(x: float, y: float, corners: Sequence[Pair]) -> bool:
    """
    Whether a point is in a flat polygon, as the server counts it.

    Corners and points on level and upright edges are in.  A point on a slanting edge is in where the polygon is to
    the left of it, as the ray that counts the edges goes to the right.
    """
    inside = False
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if (x, y) in ((x1, y1), (x2, y2)):
            return True
        if y1 == y2:
            if y == y1 and min(x1, x2) <= x <= max(x1, x2):
                return True
        elif min(y1, y2) < y <= max(y1, y2) and x <= max(x1, x2):
            if x == x1 == x2:
                return True
            if x1 == x2 or x <= (y - y1) * (x2 - x1) / (y2 - y1) + x1:
                inside = not inside
    return inside


def _within_center(operand: Value) -> Test:
    (x0, y0), radius = _circle(operand, "$center")
    return _on_plane(lambda x, y: _flat_distance_within(x - x0, y - y0, x, y, x0, y0, radius))


def _flat_distance_within(dx: float, dy: float, x: float, y: float, x0: float, y0: float, radius: float) -> bool:
    # Along an axis by adding, as the server: 52 - 51.9999 is a little more than 0.0001, 51.9999 + 0.0001 is 52.
    if dx == 0:
        return max(y, y0) <= min(y, y0) + radius
    if dy == 0:
        return max(x, x0) <= min(x, x0) + radius
    return math.sqrt(dx * dx + dy * dy) <= radius


def _within_center_sphere(operand: Value) -> Test:
    center, radius = _cap(operand)
    return _on_sphere(
        lambda shape: (
            not shape.lines
            and not shape.polygons
            and all(angle(center, point) <= radius + NEAR for point in shape.points)
        )
    )


def _cap(operand: Value) -> tuple[Vector, float]:
    pair, radius = _circle(operand, "$centerSphere")
    return _vector(pair), radius


def _circle(operand: Value, name: str) -> tuple[Pair, float]:
    members = _members(operand)
    if len(members) != 2:
        raise QueryError(f"{name} needs a point and a radius, not {preview(operand)}")
    center = _pair(members[0], more=False)
    radius = _float(members[1])
    if radius is None or not radius >= 0:
        raise QueryError(f"the radius of {name} is a number that is not negative, not {preview(members[1])}")
    return center, radius


_WITHIN: Final[dict[str, Callable[[Value], Test]]] = {
    "$geometry": _within_geometry,
    "$box": _within_box,
    "$polygon": _within_polygon,
    "$center": _within_center,
    "$centerSphere": _within_center_sphere,
}


def _meet(one: Shape, other: Shape) -> bool:
    return (
        any(_meets_point(one, point) for point in other.points)
        or any(_meets_line(one, line) for line in other.lines)
        or any(_meets_polygon(one, polygon) for polygon in other.polygons)
    )


def _meets_point(shape: Shape, point: Vector) -> bool:
    return (
        any(angle(point, own) <= NEAR for own in shape.points)
        or any(edge.distance(point) <= NEAR for line in shape.lines for edge in line)
        or any(polygon.contains(point) for polygon in shape.polygons)
    )


def _meets_line(shape: Shape, line: Sequence[Edge]) -> bool:
    return (
        any(edge.distance(point) <= NEAR for point in shape.points for edge in line)
        or any(own.touches(edge) for own_line in shape.lines for own in own_line for edge in line)
        or any(polygon.meets_line(line) for polygon in shape.polygons)
    )


def _meets_polygon(shape: Shape, polygon: Polygon) -> bool:
    return (
        any(map(polygon.contains, shape.points))
        or any(map(polygon.meets_line, shape.lines))
        or any(map(polygon.overlaps, shape.polygons))
    )


@dataclass(frozen=True)
class Near:
    """
    A compiled ``$near`` or ``$nearSphere``: whether a value is near, and how far it is.

    distance: from a value to metres for GeoJSON, radians for a legacy pair with ``$nearSphere``, the unit of the
        coordinates for a legacy pair with ``$near``; None for what is no place.  Of the places in an array the
        nearest counts.
    least, most: the distances, both included, between which a value matches.
    """

    distance: Callable[[Value], float | None]
    least: float
    most: float

    def __call__(self, value: Value) -> bool:
        """Whether a value, an array as it stands, is a place between the two distances."""
        distance = self.distance(value)
        return distance is not None and self.least <= distance <= self.most


def near(operand: Value, max_distance: Value = MISSING, min_distance: Value = MISSING) -> Near:
    """
    Match places by their distance from a point; a find also sorts by it, the nearest first.

    Args:
        operand: ``{$geometry: <GeoJSON Point>, $minDistance: …, $maxDistance: …}`` or a GeoJSON Point, with
            distances in metres; or a legacy pair, flat, with distances in its own unit.
        max_distance, min_distance: What ``$maxDistance`` and ``$minDistance`` say beside it; they go with a
            GeoJSON Point and a legacy pair, not with ``$geometry``.

    Raises:
        QueryError: ``BadValue`` -- not a point, an unknown argument, a distance that is negative or no number;
            ``Location16893`` to ``16896``, ``18522`` -- the same of a distance beside it or in ``[x, y, most]``.
    """
    return _near(operand, max_distance, min_distance, sphere=False)


def near_sphere(operand: Value, max_distance: Value = MISSING, min_distance: Value = MISSING) -> Near:
    """
    Match places by their distance on the sphere from a point; a find also sorts by it, the nearest first.

    As ``near``, but for a legacy pair distances are on the sphere, in radians.
    """
    return _near(operand, max_distance, min_distance, sphere=True)


def _near(operand: Value, max_distance: Value, min_distance: Value, *, sphere: bool) -> Near:
    if type(operand) not in (dict, list):
        raise QueryError(f"$near needs a point, not {preview(operand)}")
    least = _bound(min_distance, "$minDistance", ("Location16893", "Location16894"), 0.0)
    most = _bound(max_distance, "$maxDistance", ("Location16895", "Location16896"), math.inf)
    if type(operand) is dict and any(name.startswith("$") for name in operand):
        if max_distance is not MISSING or min_distance is not MISSING:
            raise QueryError("distances for a $geometry stand beside it, in the same object")
        shape, least, most = _geometry_and_distances(operand)
    else:
        members = _members(operand)
        if len(members) == 3 and all(map(is_number, members)):
            most = _bound(members[2], "the distance", ("Location18522", "Location18522"), math.inf)
            operand = members[:2]
        shape = _place(operand, more=False)
        if shape.pair is None:
            raise QueryError(f"$near needs a point, not {preview(operand)}")

    assert shape.pair is not None
    if shape.flat and not sphere:
        return Near(_nearest(_flat_distance(shape.pair)), least, most)
    if not shape.points:
        raise QueryError(f"the point is out of bounds for a place on the sphere: {preview(operand)}")
    return Near(_nearest(_sphere_distance(shape.points[0], 1.0 if shape.flat else EARTH_RADIUS_METRES)), least, most)


def _geometry_and_distances(operand: Document) -> tuple[Shape, float, float]:
    shape: Shape | None = None
    least, most = 0.0, math.inf
    for name, value in operand.items():
        with at(name):
            if name == "$geometry":
                shape = _place(value, more=False)
                if shape.pair is None or shape.flat:
                    raise QueryError(f"$near needs a GeoJSON Point, not {preview(value)}")
            elif name == "$minDistance":
                least = _bound(value, name, ("BadValue", "BadValue"), 0.0, finite=True)
            elif name == "$maxDistance":
                most = _bound(value, name, ("BadValue", "BadValue"), 0.0, finite=True)
            else:
                raise QueryError(f"invalid argument in geo near query: {name}")
    if shape is None:
        raise QueryError("$near needs a $geometry")
    return shape, least, most


def _bound(value: Value, name: str, codes: tuple[str, str], default: float, *, finite: bool = False) -> float:
    if value is MISSING:
        return default
    number = _float(value)
    if number is None:
        raise QueryError(f"{name} is a number, not {preview(value)}", code=codes[0])
    if not number >= 0 or (finite and number == math.inf):
        raise QueryError(f"{name} is a number that is not negative, not {preview(value)}", code=codes[1])
    return number


def _nearest(distance: Callable[[Shape], float | None]) -> Callable[[Value], float | None]:
    def of_value(value: Value) -> float | None:
        shape = _stored(value)
        if shape is not None:
            return distance(shape)
        if type(value) is not list:
            return None
        found = [_stored(element) for element in value]
        distances = [distance(shape) for shape in found if shape is not None]
        return min((known for known in distances if known is not None), default=None)

    return of_value


def _flat_distance(point: Pair) -> Callable[[Shape], float | None]:
    return lambda shape: None if shape.pair is None else math.dist(point, shape.pair)


def _sphere_distance(point: Vector, radius: float) -> Callable[[Shape], float | None]:
    def distance(shape: Shape) -> float | None:
        distances = [angle(point, other) for other in shape.points]
        distances += [edge.distance(point) for line in shape.lines for edge in line]
        distances += [polygon.distance(point) for polygon in shape.polygons]
        return min(distances) * radius if distances else None

    return distance


def _place(value: Value, *, more: bool) -> Shape:
    """
    Read a GeoJSON object or a legacy pair.

    Args:
        more: Whether a pair may have more than two members, as a stored one may.

    Raises:
        QueryError: ``BadValue`` -- it is malformed.
    """
    if type(value) is list or (type(value) is dict and value and is_number(next(iter(value.values())))):
        pair = _pair(value, more=more)
        points = (from_degrees(*pair),) if _in_bounds(pair) else ()
        return Shape(points=points, pair=pair, flat=True)
    if type(value) is not dict:
        raise QueryError(f"a geometry is an object or an array, not {preview(value)}")
    return _geojson(value)


def _geojson(geometry: Document) -> Shape:
    kind = geometry.get("type", MISSING)
    if type(kind) is not str or kind not in _GEOJSON:
        raise QueryError(f"unknown GeoJSON type: {preview(geometry)}")
    if kind == "GeometryCollection":
        return _collection(geometry)
    strict = _is_strict(geometry)
    if strict and kind != "Polygon":
        with at("crs"):
            raise QueryError("strict winding order is only supported by polygon")
    with at("coordinates"):
        coordinates = geometry.get("coordinates", MISSING)
        return _strict_polygon(coordinates) if strict else _GEOJSON[kind](coordinates)


def _is_strict(geometry: Document) -> bool:
    if "crs" not in geometry:
        return False
    crs = geometry["crs"]
    properties = crs.get("properties") if type(crs) is dict and crs.get("type") == "name" else None
    name = properties.get("name") if type(properties) is dict else None
    if type(name) is not str or (name not in _CRS and name != _STRICT_WINDING):
        with at("crs"):
            raise QueryError(f"unknown coordinate reference system: {preview(crs)}")
    return name == _STRICT_WINDING


def _point(coordinates: Value) -> Shape:
    pair = _pair(coordinates, more=True)
    return Shape(points=(_vector(pair),), pair=pair)


def _line_string(coordinates: Value) -> Shape:
    return Shape(lines=(_line(coordinates),))


def _polygon(coordinates: Value) -> Shape:
    return Shape(polygons=(_rings(coordinates),))


def _multi_point(coordinates: Value) -> Shape:
    return Shape(points=tuple(map(_position, _array(coordinates, "points"))))


def _multi_line_string(coordinates: Value) -> Shape:
    return Shape(lines=tuple(_each(_line, coordinates, "lines")))


def _multi_polygon(coordinates: Value) -> Shape:
    return Shape(polygons=tuple(_each(_rings, coordinates, "polygons")))


def _strict_polygon(coordinates: Value) -> Shape:
    rings = _array(coordinates, "rings")
    if len(rings) != 1:
        raise QueryError("a polygon with strict winding order has one ring")
    with at(0):
        return Shape(polygons=(Polygon(_ring(rings[0], normalize=False)),), strict=True)


def _collection(geometry: Document) -> Shape:
    shapes = []
    with at("geometries"):
        for position, member in enumerate(_array(geometry.get("geometries", MISSING), "geometries")):
            with at(position):
                if type(member) is not dict or member.get("type") == "GeometryCollection":
                    raise QueryError(f"a member of a GeometryCollection is another geometry, not {preview(member)}")
                shapes.append(_geojson(member))
    return Shape(
        points=tuple(point for shape in shapes for point in shape.points),
        lines=tuple(line for shape in shapes for line in shape.lines),
        polygons=tuple(polygon for shape in shapes for polygon in shape.polygons),
    )


_GEOJSON: Final[dict[str, Callable[[Value], Shape]]] = {
    "Point": _point,
    "LineString": _line_string,
    "Polygon": _polygon,
    "MultiPoint": _multi_point,
    "MultiLineString": _multi_line_string,
    "MultiPolygon": _multi_polygon,
    "GeometryCollection": _collection,
}


def _each(read: Callable[[Value], _T], coordinates: Value, what: str) -> list[_T]:
    found = []
    for position, member in enumerate(_array(coordinates, what)):
        with at(position):
            found.append(read(member))
    return found


def _array(value: Value, what: str) -> list[Value]:
    if type(value) is not list or not value:
        shown = "nothing" if value is MISSING else preview(value)
        raise QueryError(f"expected an array of {what}, at least one, not {shown}")
    return value


def _line(coordinates: Value) -> tuple[Edge, ...]:
    points = _without_repetition([_position(member) for member in _array(coordinates, "points")])
    if len(points) < 2:
        raise QueryError(f"a line has at least two different points, not {preview(coordinates)}")
    return path(points)


def _rings(coordinates: Value) -> Polygon:
    shell, *holes = _each(_ring, coordinates, "rings")
    polygon = Polygon(shell, holes)
    if problem := polygon.problem():
        raise QueryError(f"the polygon is not valid: {problem}")
    return polygon


def _ring(coordinates: Value, *, normalize: bool = True) -> Loop:
    points = [_position(member) for member in _array(coordinates, "points")]
    if points[0] != points[-1]:
        raise QueryError(f"a ring ends where it begins, and this one does not: {preview(coordinates)}")
    points = _without_repetition(points)[:-1]
    if len(points) < 3:
        raise QueryError(f"a ring has at least three different points, not {preview(coordinates)}")
    loop = Loop(points, normalize=normalize)
    if problem := loop.problem():
        raise QueryError(f"the ring is not valid: {problem}: {preview(coordinates)}")
    return loop


def _without_repetition(points: list[Vector]) -> list[Vector]:
    return [point for position, point in enumerate(points) if not position or points[position - 1] != point]


def _position(coordinates: Value) -> Vector:
    if type(coordinates) is not list:
        raise QueryError(f"a position is an array of two numbers, not {preview(coordinates)}")
    return _vector(_pair(coordinates, more=True))


def _vector(pair: Pair) -> Vector:
    if not _in_bounds(pair):
        raise QueryError(f"longitude and latitude are out of bounds: {pair[0]:g}, {pair[1]:g}")
    return from_degrees(*pair)


def _in_bounds(pair: Pair) -> bool:
    return abs(pair[0]) <= 180 and abs(pair[1]) <= 90


def _pair(value: Value, *, more: bool) -> Pair:
    members = _members(value)
    if len(members) == 2 or (more and len(members) > 2):
        x, y = _float(members[0]), _float(members[1])
        if x is not None and y is not None and math.isfinite(x) and math.isfinite(y):
            return (x, y)
    raise QueryError(f"a point is two finite numbers, not {preview(value)}")


def _members(value: Value) -> list[Value]:
    """The members of an array, or the values of an object: MongoDB takes both for a point or a list of them."""
    return value if type(value) is list else list(value.values()) if type(value) is dict else []


def _float(value: Value) -> float | None:
    return float(exact(value)) if is_number(value) else None
