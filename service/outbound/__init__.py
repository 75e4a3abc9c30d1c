"""Requests that go out: whom they may reach, and one attempt at one. Knows no job and no event."""
