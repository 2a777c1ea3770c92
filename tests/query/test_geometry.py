"""Geometry: laws of the sphere, and figures that are known otherwise."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from connectome.query.geometry import EARTH_RADIUS_METRES, geo_intersects, geo_within, near
from connectome.query.sphere import Edge, angle, from_degrees

places = st.tuples(st.floats(-180, 180), st.floats(-90, 90))


def point(place):
    return {"type": "Point", "coordinates": list(place)}


def polygon(*rings):
    return {"type": "Polygon", "coordinates": [[list(place) for place in ring] for ring in rings]}


def metres(one, other):
    return near({"$geometry": point(one)}).distance(point(other))


def on_the_earth(vector):
    """The place of a vector, in degrees."""
    x, y, z = vector
    return math.degrees(math.atan2(y, x)), math.degrees(math.atan2(z, math.hypot(x, y)))


@st.composite
def rings(draw):
    """
    A ring whose corners lie around a centre, at distances of 2 to 20 degrees, and that centre.

    It is star-shaped: the centre sees every corner, hence is inside.
    """
    centre = from_degrees(*draw(places))
    turns = sorted(draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=9, unique=True)))
    gaps = [later - earlier for earlier, later in zip(turns, [*turns[1:], turns[0] + 1], strict=True)]
    assume(min(gaps) > 0.01)
    assume(max(gaps) < 0.45)
    east = (-centre[1], centre[0], 0.0) if abs(centre[2]) < 0.9 else (0.0, -centre[2], centre[1])
    length = math.hypot(*east)
    east = tuple(part / length for part in east)
    north = tuple(centre[(i + 1) % 3] * east[(i + 2) % 3] - centre[(i + 2) % 3] * east[(i + 1) % 3] for i in range(3))
    corners = []
    for turn in turns:
        reach, bearing = math.radians(draw(st.floats(2, 20))), 2 * math.pi * turn
        corners.append(
            on_the_earth(
                tuple(
                    math.cos(reach) * c + math.sin(reach) * (math.cos(bearing) * e + math.sin(bearing) * n)
                    for c, e, n in zip(centre, east, north, strict=True)
                )
            )
        )
    return [*corners, corners[0]], on_the_earth(centre)


class TestDistance:
    @given(places, places)
    def test_it_is_the_same_there_and_back(self, one, other):
        """From one place to another it is as far as back, and never more than half way around."""
        assert metres(one, other) == pytest.approx(metres(other, one), abs=1e-6)
        assert 0 <= metres(one, other) <= math.pi * EARTH_RADIUS_METRES + 1e-6

    @given(places, places, places)
    def test_no_detour_is_shorter(self, one, other, third):
        """The triangle inequality holds."""
        assert metres(one, other) <= metres(one, third) + metres(third, other) + 1e-6

    @given(places)
    def test_a_place_is_at_no_distance_from_itself(self, place):
        """Zero, to the last millimetre."""
        assert metres(place, place) == pytest.approx(0, abs=1e-3)

    def test_a_quarter_of_the_equator(self):
        """From the equator to the pole it is a quarter of a great circle."""
        assert metres((0, 0), (33, 90)) == pytest.approx(math.pi / 2 * 6_378_100)

    @given(places, places, places)
    def test_an_edge_is_no_farther_than_its_ends(self, one, other, place):
        """The nearest point of an arc is at most as far as the nearer end, and lies on the arc."""
        start, end, away = from_degrees(*one), from_degrees(*other), from_degrees(*place)
        assume(angle(start, end) < 3)
        edge = Edge(start, end)

        assert edge.distance(away) <= min(angle(start, away), angle(end, away)) + 1e-12
        assert edge.distance(edge.middle) == pytest.approx(0, abs=1e-12)


class TestPolygons:
    @given(rings())
    def test_the_centre_of_a_star_is_within(self, ring_and_centre):
        """A place inside by construction is within and intersects, wherever on the Earth and however wound."""
        ring, centre = ring_and_centre

        for around in (ring, ring[::-1]):
            assert geo_within({"$geometry": polygon(around)})(point(centre))
            assert geo_intersects({"$geometry": polygon(around)})(point(centre))

    @given(rings())
    def test_the_far_side_of_the_earth_is_not_within(self, ring_and_centre):
        """What lies opposite the centre is not in the polygon."""
        ring, (longitude, latitude) = ring_and_centre
        opposite = (longitude - math.copysign(180, longitude), -latitude)

        assert not geo_within({"$geometry": polygon(ring)})(point(opposite))

    @given(rings())
    def test_corners_and_middles_of_edges_are_within(self, ring_and_centre):
        """The border belongs to the polygon."""
        ring, _ = ring_and_centre
        within = geo_within({"$geometry": polygon(ring)})

        for one, other in pairwise(ring):
            assert within(point(one))
            assert within(point(on_the_earth(Edge(from_degrees(*one), from_degrees(*other)).middle)))

    @given(rings())
    def test_a_polygon_is_within_itself(self, ring_and_centre):
        """A polygon covers itself and meets itself."""
        ring, _ = ring_and_centre

        assert geo_within({"$geometry": polygon(ring)})(polygon(ring))
        assert geo_intersects({"$geometry": polygon(ring)})(polygon(ring))

    @given(rings(), places)
    def test_within_is_at_no_distance(self, ring_and_centre, place):
        """A place is within a polygon exactly where the polygon is at distance zero from it."""
        ring, _ = ring_and_centre
        distance = near({"$geometry": point(place)}).distance(polygon(ring))

        assert geo_within({"$geometry": polygon(ring)})(point(place)) == (distance <= 1e-9 * EARTH_RADIUS_METRES)

    @given(rings(), rings())
    def test_meeting_is_mutual(self, one, other):
        """If one polygon intersects another, so does the other the one; what is within also intersects."""
        first, second = polygon(one[0]), polygon(other[0])
        meets = geo_intersects({"$geometry": first})(second)

        assert meets == geo_intersects({"$geometry": second})(first)
        if geo_within({"$geometry": first})(second):
            assert meets

    @given(st.floats(-10, 10), st.floats(-10, 10), st.floats(0.1, 10))
    def test_a_flat_box_is_the_polygon_of_its_corners(self, x, y, side):
        """``$box`` and ``$polygon`` agree away from the border."""
        box = geo_within({"$box": [[x, y], [x + side, y + side]]})
        corners = geo_within({"$polygon": [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]})

        for part in (-0.5, 0.25, 0.75, 1.5):
            for other in (-0.5, 0.25, 0.75, 1.5):
                pair = [x + part * side, y + other * side]
                assert box(pair) == corners(pair) == (0 < part < 1 and 0 < other < 1)
