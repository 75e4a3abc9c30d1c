"""Telling receivers of what ended: the event, its signatures, and the process that sends it.

Knows no route; nothing but its own process imports it.
"""
