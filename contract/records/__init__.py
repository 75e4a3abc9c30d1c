"""Records that the API, the workers and the client share. Know neither Redis nor files."""
