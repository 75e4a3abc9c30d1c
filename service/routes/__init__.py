"""The paths of the API: each reads its request, asks another room, answers. No rule is here."""
