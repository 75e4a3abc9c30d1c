"""Who a request comes from, what its key may do, and what its tenant may use.

Opens and changes nothing.
"""
