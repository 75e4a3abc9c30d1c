"""What operators are told: metrics, log lines, spans. Knows no route, and changes nothing."""
