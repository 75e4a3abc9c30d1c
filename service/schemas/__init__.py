"""What clients may send and what they get, in marshmallow. Knows no board and no store."""
